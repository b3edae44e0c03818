//! Pods as objects of the API, in bulk. What a controller and a scheduler would do is done before a phase is timed.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod as Object;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

const AT_ONCE: usize = 16;
/// As long as a Deployment's pods have by default.
const GRACE_S: u32 = 30;

/// A pod and the container that stands for it.
#[derive(Debug, Clone)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) uid: String,
    /// The number of its node.
    pub(crate) node: usize,
    pub(crate) container: String,
}

// === impl Pod ===

impl Pod {
    /// The container of another try: a runtime makes a new one each time.
    pub(crate) fn next_container(&self, tries: usize) -> String {
        format!("{tries:02x}{}", self.container.get(2..).unwrap_or_default())
    }

    pub(crate) fn cni_args(&self, container: &str) -> String {
        let Self { name, uid, .. } = self;
        format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={name};K8S_POD_INFRA_CONTAINER_ID={container};K8S_POD_UID={uid}"
        )
    }
}

fn api(client: &Client) -> Api<Object> {
    Api::namespaced(client.clone(), "default")
}

/// Makes `count` pods of a generation, evenly on the nodes, and waits until the API server's own cache has them all.
pub(crate) async fn make(
    client: &Client,
    generation: usize,
    count: usize,
    nodes: &[String],
) -> Vec<Pod> {
    let pods = api(client);
    let one = |number: usize| {
        let (pods, node) = (pods.clone(), (number + generation) % nodes.len());
        let name = format!("web-{generation}-{number}");
        let object = object(&name, &nodes[node]);
        async move {
            let made = pods.create(&PostParams::default(), &object).await?;
            let uid = made.metadata.uid.unwrap_or_default();
            // As long as those of containerd; the first two digits count the tries.
            let container = format!("00{generation:06x}{number:056x}");
            Ok::<_, kube::Error>(Pod { name, uid, node, container })
        }
    };
    let made = stream::iter((0..count).map(one)).buffer_unordered(AT_ONCE).try_collect::<Vec<_>>();
    let made = made.await.unwrap();
    let label = format!("generation={generation}");
    let cached = ListParams::default().match_any().labels(&label);
    while pods.list_metadata(&cached).await.unwrap().items.len() < count {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    made
}

fn object(name: &str, node: &str) -> Object {
    let generation = name.split('-').nth(1).unwrap_or_default();
    let owner = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "5f0c3a52-0000-4000-8000-000000000001",
        "controller": true,
    });
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "default", "ownerReferences": [owner],
                     "labels": {"app": "web", "generation": generation, "pod-template-hash": "5d4f8c7b9"}},
        "spec": {"nodeName": node, "automountServiceAccountToken": false,
                 "terminationGracePeriodSeconds": GRACE_S,
                 "containers": [{"name": "c", "image": "i"}]},
    }))
    .unwrap()
}

/// Asks that pods end: until their kubelet has done it they are Terminating.
pub(crate) async fn terminate(client: &Client, pods: &[Pod]) {
    delete(client, pods, &DeleteParams::default()).await;
}

/// Removes the objects at once, as a kubelet does in the end.
pub(crate) async fn remove(client: &Client, pods: &[Pod]) {
    delete(client, pods, &DeleteParams::default().grace_period(0)).await;
}

/// The same of one.
pub(crate) async fn remove_one(client: Client, pod: Pod) {
    api(&client).delete(&pod.name, &DeleteParams::default().grace_period(0)).await.unwrap();
}

async fn delete(client: &Client, pods: &[Pod], params: &DeleteParams) {
    let api = api(client);
    stream::iter(pods)
        .map(|pod| {
            let api = api.clone();
            async move { api.delete(&pod.name, params).await.map(drop) }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<_>>()
        .await
        .unwrap();
}
