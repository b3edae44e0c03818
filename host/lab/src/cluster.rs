//! What makes an API server one of Tenure: manifests, nodes, and the right to speak as allocator or agent.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, ServiceAccount};
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
};
use kube::core::GroupVersionKind;
use kube::{Api, Client, Config};
use serde_json::{Value, json};

use crate::api_server::ApiServer;
use crate::front::Front;

/// The namespace of Tenure.
pub const NAMESPACE: &str = "tenure-system";

/// The audience of the tokens that agents show.
const AUDIENCE: &str = "tenure-allocator";
/// Custom resources are served some moments after their definitions were made.
const SERVED_WITHIN: Duration = Duration::from_secs(60);

/// A kind of ours.
#[must_use]
pub fn resource(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("tenure.dev", "v1alpha1", kind))
}

/// Applies what operators apply, the folders `crds` and `kubernetes` of `deploy`, and waits until it is served.
///
/// # Panics
/// If something is refused.
pub async fn install(client: &Client, deploy: &Path) {
    for name in ["kube-node-lease", "default"] {
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        create(client, namespace).await;
    }
    let (crds, rest) = (documents(&deploy.join("crds")), documents(&deploy.join("kubernetes")));
    let (policies, rest): (Vec<_>, Vec<_>) =
        rest.into_iter().partition(|document| document["kind"] == "IPAMPolicy");
    for document in crds.into_iter().chain(rest) {
        create(client, document).await;
    }
    for kind in ["IPPool", "IPReservation", "IPAMPolicy", "IPLease"] {
        served(client, kind).await;
    }
    for document in policies {
        create(client, document).await;
    }
    // The controller that makes one in each namespace does not run here.
    create(
        client,
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"}}),
    )
    .await;
}

fn documents(folder: &Path) -> Vec<Value> {
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |file| serde_saphyr::from_multiple(&fs::read_to_string(file).unwrap()).unwrap();
    files.into_iter().flat_map(read as fn(_) -> Vec<Value>).collect()
}

async fn served(client: &Client, kind: &str) {
    let api = Api::<DynamicObject>::all_with(client.clone(), &resource(kind));
    let deadline = Instant::now() + SERVED_WITHIN;
    while api.list(&ListParams::default()).await.is_err() {
        assert!(Instant::now() < deadline, "{kind} is not served");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Creates an object of any kind, which may be there already.
///
/// # Panics
/// If it is refused.
pub async fn create(client: &Client, object: Value) {
    let version = object["apiVersion"].as_str().unwrap();
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let kind = object["kind"].as_str().unwrap();
    let mut resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    if kind == "ValidatingAdmissionPolicy" {
        // The guess at plurals takes it for a plural.
        resource.plural = "validatingadmissionpolicies".to_owned();
    }
    let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let dynamic: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    match api.create(&PostParams::default(), &dynamic).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => panic!("{object} was refused: {error}"),
    }
}

/// Throws away what the test before has left: all objects and leases of Tenure, pods, nodes and what the store says of itself.
/// `allocator` may write leases.
///
/// # Panics
/// If something is refused.
pub async fn empty(client: &Client, allocator: Client) {
    let all = (DeleteParams::default().grace_period(0), ListParams::default());
    for kind in ["IPPool", "IPReservation", "IPAMPolicy", "IPLease"] {
        let api = Api::<DynamicObject>::all_with(allocator.clone(), &resource(kind));
        for object in api.list(&ListParams::default()).await.unwrap() {
            let name = object.metadata.name.unwrap();
            if kind != "IPLease" {
                let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
                let _ = api.patch(&name, &PatchParams::default(), &free).await;
            }
            match api.delete(&name, &DeleteParams::default()).await {
                Ok(_) => {}
                // Somebody who was about to end did it.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => panic!("{name} cannot be deleted: {error}"),
            }
        }
    }
    for namespace in ["default", NAMESPACE] {
        let pods = Api::<Pod>::namespaced(client.clone(), namespace);
        pods.delete_collection(&all.0, &all.1).await.unwrap();
    }
    let nodes = Api::<Node>::all(client.clone());
    nodes.delete_collection(&all.0, &all.1).await.unwrap();
    for namespace in ["kube-node-lease", NAMESPACE] {
        let leases = Api::<Lease>::namespaced(client.clone(), namespace);
        leases.delete_collection(&all.0, &all.1).await.unwrap();
    }
    let maps = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
    for map in ["tenure-store", "tenure-fences"] {
        let _ = maps.delete(map, &DeleteParams::default()).await;
    }
}

/// A Node and the lease that its kubelet renews.
///
/// # Panics
/// If one is refused.
pub async fn create_node(client: &Client, node: &str) {
    let labels = json!({"kubernetes.io/hostname": node});
    create(
        client,
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "labels": labels}}),
    )
    .await;
    create(client, node_lease(node, 0)).await;
}

/// The lease of a node, renewed so many times.
#[must_use]
pub fn node_lease(node: &str, count: u64) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": node, "namespace": "kube-node-lease"},
        "spec": {"holderIdentity": node, "renewTime": format!("2026-01-01T00:00:00.{count:06}Z")},
    })
}

/// The Pod of a node's agent, and a token that is bound to it.
///
/// # Panics
/// If one is refused.
pub async fn agent_token(client: &Client, node: &str) -> String {
    let pods = Api::<Pod>::namespaced(client.clone(), NAMESPACE);
    let pod = json!({
        "metadata": {"name": format!("agent-{node}")},
        "spec": {"nodeName": node, "serviceAccountName": "tenure-agent", "automountServiceAccountToken": false,
                 "containers": [{"name": "agent", "image": "tenure"}]},
    });
    let pod = serde_json::from_value(pod).unwrap();
    let made = pods.create(&PostParams::default(), &pod).await.unwrap().metadata;
    let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": made.name, "uid": made.uid});
    let request: TokenRequest = serde_json::from_value(json!({
        "metadata": {},
        "spec": {"audiences": [AUDIENCE], "expirationSeconds": 3600, "boundObjectRef": bound},
    }))
    .unwrap();
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), NAMESPACE);
    let made =
        accounts.create_token_request("tenure-agent", &PostParams::default(), &request).await;
    made.unwrap().status.unwrap().token
}

// === impl ApiServer ===

impl ApiServer {
    /// A kubeconfig with just the rights of a service account of Tenure.
    #[must_use]
    pub fn kubeconfig(&self, account: &str) -> Value {
        let ca = self.folder().join("ca.crt");
        let server = format!("https://127.0.0.1:{}", self.port());
        kubeconfig(account, &json!({"server": server, "certificate-authority": ca}))
    }

    /// The same through something that stands before it.
    #[must_use]
    pub fn kubeconfig_through(&self, account: &str, front: &Front) -> Value {
        kubeconfig(account, &json!({"server": format!("http://127.0.0.1:{}", front.port())}))
    }

    /// A client that may do everything and counts as the allocator: nobody else may write leases.
    #[must_use]
    pub fn allocator_config(&self) -> Config {
        let mut config = self.config();
        config.auth_info.impersonate = Some(account_name("tenure-allocator"));
        config.auth_info.impersonate_groups = Some(vec!["system:masters".to_owned()]);
        config
    }
}

fn kubeconfig(account: &str, cluster: &Value) -> Value {
    let groups =
        ["system:serviceaccounts", "system:serviceaccounts:tenure-system", "system:authenticated"];
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "lab",
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": [{"name": "lab", "user": {
            "token": "lab", "as": account_name(account), "as-groups": groups}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
    })
}

fn account_name(account: &str) -> String {
    format!("system:serviceaccount:{NAMESPACE}:{account}")
}
