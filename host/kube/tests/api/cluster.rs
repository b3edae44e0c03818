//! Pods, nodes and node leases as kubelets and controllers would make them: the lab has neither.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, ServiceAccount};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tenure_core::lease::{NodeRef, Owner, OwnerKind};

use crate::lab::{Lab, NAMESPACE};

/// Where the tests' pods are.
pub(crate) const SHOP: &str = "shop";

/// A cluster with nothing in it.
pub(crate) struct Cluster {
    pub(crate) lab: Lab,
    client: Client,
}

/// Waits until it is true.
pub(crate) async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "it never came true: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

// === impl Cluster ===

impl Cluster {
    pub(crate) async fn new() -> Self {
        let lab = Lab::default();
        let client = lab.client();
        let this = Self { lab, client };
        this.empty().await;
        this
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client(), SHOP)
    }

    fn nodes(&self) -> Api<Node> {
        Api::all(self.client())
    }

    fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.client(), "kube-node-lease")
    }

    pub(crate) fn fences(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client(), NAMESPACE)
    }

    /// Makes a pod on a node, with these additions to its metadata; answers its owner's name for it.
    pub(crate) async fn pod(&self, name: &str, metadata: Value) -> Owner {
        let mut pod = json!({
            "metadata": {"name": name, "finalizers": ["test.tenure.dev/stays"]},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "none"}]},
        });
        for (key, value) in metadata.as_object().unwrap() {
            pod["metadata"][key] = value.clone();
        }
        let pod = serde_json::from_value(pod).unwrap();
        let pod = self.pods().create(&PostParams::default(), &pod).await.unwrap();
        let uid = pod.metadata.uid.unwrap().into();
        Owner { kind: OwnerKind::Pod, namespace: SHOP.into(), name: name.into(), uid }
    }

    /// Begins to delete a pod with so long a grace, or lets it end at once.
    pub(crate) async fn delete(&self, name: &str, grace: u32) {
        if grace == 0 {
            self.patch_pod(name, json!({"metadata": {"finalizers": null}})).await;
        }
        let params = DeleteParams { grace_period_seconds: Some(grace), ..Default::default() };
        self.pods().delete(name, &params).await.unwrap();
    }

    pub(crate) async fn patch_pod(&self, name: &str, patch: Value) {
        let params = PatchParams::default();
        self.pods().patch(name, &params, &Patch::Merge(patch)).await.unwrap();
    }

    pub(crate) async fn phase(&self, name: &str, phase: &str) {
        let patch = Patch::Merge(json!({"status": {"phase": phase}}));
        self.pods().patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }

    pub(crate) async fn node(&self, name: &str) -> NodeRef {
        let node =
            serde_json::from_value(json!({"metadata": {"name": name, "labels": {"zone": "a"}}}));
        let node = self.nodes().create(&PostParams::default(), &node.unwrap()).await.unwrap();
        let uid = node.metadata.uid.unwrap().into();
        NodeRef { name: name.into(), uid, ..NodeRef::default() }
    }

    /// Sets the one taint of a node, or takes it away.
    pub(crate) async fn taint(&self, name: &str, key: Option<&str>) {
        let taints: Vec<_> =
            key.iter().map(|key| json!({"key": key, "effect": "NoExecute"})).collect();
        let patch = Patch::Merge(json!({"spec": {"taints": taints}}));
        self.nodes().patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Renews the lease of a node, as its kubelet does; makes it if it is not there.
    pub(crate) async fn renew(&self, name: &str) {
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name},
            "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now},
        });
        let params = PatchParams::apply("kubelet").force();
        self.leases().patch(name, &params, &Patch::Apply(lease)).await.unwrap();
    }

    pub(crate) async fn delete_lease(&self, name: &str) {
        self.leases().delete(name, &DeleteParams::default()).await.unwrap();
    }

    async fn empty(&self) {
        let all = (DeleteParams::default(), ListParams::default());
        let namespaces = Api::<Namespace>::all(self.client());
        let shop = serde_json::from_value(json!({"metadata": {"name": SHOP}})).unwrap();
        let _ = namespaces.create(&PostParams::default(), &shop).await;
        let account = serde_json::from_value(json!({"metadata": {"name": "default"}})).unwrap();
        let accounts = Api::<ServiceAccount>::namespaced(self.client(), SHOP);
        let _ = accounts.create(&PostParams::default(), &account).await;
        for pod in self.pods().list(&all.1).await.unwrap() {
            let name = pod.metadata.name.unwrap();
            self.patch_pod(&name, json!({"metadata": {"finalizers": null}})).await;
            let now = DeleteParams { grace_period_seconds: Some(0), ..Default::default() };
            let _ = self.pods().delete(&name, &now).await;
        }
        self.nodes().delete_collection(&all.0, &all.1).await.unwrap();
        let _ = self.fences().delete("tenure-fences", &all.0).await;
        until("kube-node-lease is there", async || {
            namespaces.get_opt("kube-node-lease").await.unwrap().is_some()
        })
        .await;
        self.leases().delete_collection(&all.0, &all.1).await.unwrap();
    }
}
