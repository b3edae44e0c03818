//! What stands in the API: made, read and changed by the test, as users, kubelets and operators do.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use kube::Api;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};
use tenure_lab::cluster::{NAMESPACE, create_node, node_lease};

use super::Cluster;
use crate::lab::until;

// === impl Cluster ===

impl Cluster {
    fn create(&self, kind: &str, name: &str, spec: Value) {
        let object = json!({"apiVersion": "tenure.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
        let object = serde_json::from_value(object).unwrap();
        self.wait(self.api(kind).create(&PostParams::default(), &object)).unwrap();
    }

    /// An address that is not given from now on. Nobody waits for who hears of it.
    pub fn reserve(&self, address: &str) {
        self.create("IPReservation", "kept", json!({"addresses": [address]}));
    }

    pub fn pool(&self, name: &str, spec: Value) {
        self.create("IPPool", name, spec);
        self.serving();
        for allocator in self.allocators.iter().filter(|one| one.daemon.is_some()) {
            until("every allocator serves the pool", || {
                let answer: Value = serde_json::from_str(&allocator.admin("/v1/pools")).unwrap();

                let pools = answer["items"].as_array().unwrap();
                let pool = pools.iter().find(|pool| pool["metadata"]["name"] == name);
                pool.is_some_and(|pool| pool["status"]["size"] != 0)
            });
        }
    }

    /// A shipped policy with these settings, served by every allocator.
    pub fn policy(&self, name: &str, settings: Value) {
        self.create("IPAMPolicy", name, json!({"source": {"bundled": name}, "settings": settings}));
        for allocator in self.allocators.iter().filter(|one| one.daemon.is_some()) {
            until("every allocator serves the policy", || {
                let answer: Value = serde_json::from_str(&allocator.admin("/v1/policies")).unwrap();
                let policies = answer["items"].as_array().unwrap();
                let policy = policies.iter().find(|policy| policy["metadata"]["name"] == name);
                policy.is_some_and(|policy| policy["status"]["digest"].is_string())
            });
        }
    }

    /// All leases, as they stand in the API: address and spec.
    pub fn leases(&self) -> BTreeMap<String, Value> {
        let listed = self.wait(self.api("IPLease").list(&ListParams::default())).unwrap();
        listed
            .items
            .into_iter()
            .map(|lease| (lease.metadata.name.unwrap(), lease.data["spec"].clone()))
            .collect()
    }

    /// Whether a pod of this name holds an address.
    pub fn holds(&self, pod: &str) -> bool {
        self.leases().values().any(|spec| spec["state"] == "Bound" && spec["owner"]["name"] == pod)
    }

    /// The uid of a pod.
    pub fn uid(&self, pod: &str) -> String {
        let pods = Api::<Pod>::namespaced(self.client(), "default");
        self.wait(pods.get(pod)).unwrap().metadata.uid.unwrap()
    }

    /// The revision of a lease's last write.
    pub fn revision(&self, name: &str) -> u64 {
        let read = self.wait(self.api("IPLease").get(name)).unwrap();
        read.metadata.resource_version.unwrap().parse().unwrap()
    }

    /// How many addresses are held.
    pub fn held(&self) -> usize {
        self.leases().values().filter(|spec| spec["state"] == "Bound").count()
    }

    /// A running pod of a node; answers its uid.
    pub fn pod(&self, node: &str, name: &str) -> String {
        self.pod_with(node, name, json!({}))
    }

    pub fn pod_with(&self, node: &str, name: &str, metadata: Value) -> String {
        let mut pod = json!({
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeName": node, "automountServiceAccountToken": false,
                     "terminationGracePeriodSeconds": 1,
                     "containers": [{"name": "c", "image": "i"}]},
        });
        crate::lab::merge(&mut pod["metadata"], metadata);
        self.wait(async {
            let pods = Api::<Pod>::namespaced(self.client(), "default");
            let pod = serde_json::from_value(pod).unwrap();
            pods.create(&PostParams::default(), &pod).await.unwrap().metadata.uid.unwrap()
        })
    }

    /// Removes the object at once, as `kubectl delete --force` does.
    pub fn force_delete(&self, name: &str) {
        let pods = Api::<Pod>::namespaced(self.client(), "default");
        self.wait(pods.delete(name, &DeleteParams::default().grace_period(0))).unwrap();
    }

    /// The kubelet of a node renews its lease.
    pub fn renew(&self, node: &str, count: u64) {
        let api = Api::<DynamicObject>::namespaced_with(
            self.client(),
            "kube-node-lease",
            &ApiResource::from_gvk(&GroupVersionKind::gvk("coordination.k8s.io", "v1", "Lease")),
        );
        let patch = Patch::Merge(json!({"spec": node_lease(node, count)["spec"]}));
        self.wait(api.patch(node, &PatchParams::default(), &patch)).unwrap();
    }

    /// The operator says that the machine is off.
    pub fn fence(&self, node: &str) {
        let taint = json!({"spec": {"taints": [{"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}]}});
        let nodes = Api::<Node>::all(self.client());
        self.wait(nodes.patch(node, &PatchParams::default(), &Patch::Merge(taint))).unwrap();
    }

    /// The Node object is deleted and made again, with another uid.
    pub fn remake_node(&self, node: &str) {
        let nodes = Api::<Node>::all(self.client());
        self.wait(nodes.delete(node, &DeleteParams::default().grace_period(0))).unwrap();
        self.wait(async { create_node(&self.client(), node).await });
    }

    /// How many requests about leases the API server has counted, by verb.
    pub fn counted(&self, verb: &str) -> u64 {
        self.counted_with(&format!("verb=\"{verb}\""))
    }

    /// How many of them it refused because their condition did not hold.
    pub fn conflicts(&self) -> u64 {
        self.counted_with("code=\"409\"")
    }

    fn counted_with(&self, label: &str) -> u64 {
        let request = http::Request::get("/metrics").body(Vec::new()).unwrap();
        let text = self.wait(self.client().request_text(request)).unwrap();
        let is_it = |line: &&str| {
            line.starts_with("apiserver_request_total{")
                && line.contains("resource=\"ipleases\"")
                && line.contains(label)
        };
        let number = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64;
        text.lines().filter(is_it).map(number).sum()
    }

    /// Hundreds of writes that concern nobody.
    pub fn write_much(&self) {
        let maps = Api::<ConfigMap>::namespaced(self.client(), "default");
        self.wait(async {
            for count in 0..500 {
                let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "noise"}, "data": {"count": count.to_string()}});
                let params = PatchParams::apply("noise");
                maps.patch("noise", &params, &Patch::Apply(map)).await.unwrap();
            }
        });
    }

    /// How far etcd is.
    pub fn highest_revision(&self) -> u64 {
        let maps = Api::<ConfigMap>::namespaced(self.client(), "default");
        let list = self.wait(maps.list(&ListParams::default().limit(1))).unwrap();
        list.metadata.resource_version.unwrap().parse().unwrap()
    }

    /// How often the allocators have counted on.
    pub fn ticks(&self) -> u64 {
        let maps = Api::<ConfigMap>::namespaced(self.client(), NAMESPACE);
        let map = self.wait(maps.get("tenure-store")).unwrap();
        map.data.unwrap()["ticks"].parse().unwrap()
    }
}
