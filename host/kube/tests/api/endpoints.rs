//! Where the replicas are.

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};
use tenure_kube::Replicas;

use crate::lab::{Lab, NAMESPACE};

fn slice(name: &str, service: &str, family: &str, ports: Value, endpoints: Value) -> EndpointSlice {
    let slice = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": service}},
        "addressType": family,
        "ports": ports,
        "endpoints": endpoints,
    });
    serde_json::from_value(slice).unwrap()
}

async fn put(lab: &Lab, slices: impl IntoIterator<Item = EndpointSlice>) {
    let api = Api::<EndpointSlice>::namespaced(lab.client(), NAMESPACE);
    let all = (DeleteParams::default(), ListParams::default());
    api.delete_collection(&all.0, &all.1).await.unwrap();
    for slice in slices {
        api.create(&PostParams::default(), &slice).await.unwrap();
    }
}

async fn listed(lab: &Lab) -> Vec<String> {
    let listed = Replicas::list(lab.client(), NAMESPACE, "tenure-allocator").await.unwrap();
    listed.iter().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_are_not_ready_come_last() {
    let lab = Lab::default();
    let ports = json!([{"name": "metrics", "port": 9090}, {"name": "agents", "port": 7443}]);
    let v4 = json!([
        {"addresses": ["10.0.0.1"], "conditions": {"ready": false}},
        {"addresses": ["10.0.0.2"], "conditions": {"ready": true}},
        // To be read as ready.
        {"addresses": ["10.0.0.3"]},
    ]);
    let v6 = json!([{"addresses": ["fd00::2"], "conditions": {"ready": true}}]);
    put(
        &lab,
        [
            slice("ours-v4", "tenure-allocator", "IPv4", ports.clone(), v4),
            slice("ours-v6", "tenure-allocator", "IPv6", ports, v6),
        ],
    )
    .await;
    let expected = ["10.0.0.2:7443", "10.0.0.3:7443", "[fd00::2]:7443", "10.0.0.1:7443"];
    assert_eq!(listed(&lab).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_services_and_ports_are_no_replicas() {
    let lab = Lab::default();
    let agents = json!([{"name": "agents", "port": 7443}]);
    let endpoints = json!([{"addresses": ["10.0.0.9"]}]);
    let metrics = json!([{"name": "metrics", "port": 9090}]);
    put(
        &lab,
        [
            slice("other", "other", "IPv4", agents.clone(), endpoints.clone()),
            slice("no-port", "tenure-allocator", "IPv4", metrics, endpoints),
            slice(
                "name",
                "tenure-allocator",
                "FQDN",
                agents,
                json!([{"addresses": ["a.example"]}]),
            ),
        ],
    )
    .await;
    assert!(listed(&lab).await.is_empty());
}
