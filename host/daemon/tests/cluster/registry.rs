//! Policies that allocators fetch from a registry.

use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};
use tenure_core::name::Digest;
use tenure_lab::Registry as Server;

use crate::lab::modules::{push, reference};
use crate::lab::until;
use crate::world::{Cluster, Process};

fn serves(allocator: &Process, digest: &Digest) -> bool {
    let answer: Value = serde_json::from_str(&allocator.admin("/v1/policies")).unwrap();
    let policies = answer["items"].as_array().unwrap();
    let mine = policies.iter().find(|policy| policy["metadata"]["name"] == "mine");
    mine.is_some_and(|policy| policy["status"]["digest"] == digest.as_str())
}

#[test]
fn every_allocator_fetches_a_policy_and_one_that_starts_again_needs_no_registry() {
    let mut cluster = Cluster::start(2, &["n1"]);
    let mut server = Server::start();
    let digest = push(&server, "v1", "balanced", &[]);
    let object = json!({"apiVersion": "tenure.dev/v1alpha1", "kind": "IPAMPolicy", "metadata": {"name": "mine"},
        "spec": {"source": {"oci": reference(&server, "v1")}}});
    let api = cluster.api("IPAMPolicy");
    let object = serde_json::from_value(object).unwrap();
    cluster.wait(async { api.create(&PostParams::default(), &object).await.unwrap() });
    for allocator in &cluster.allocators {
        until("every allocator serves it", || serves(allocator, &digest));
    }
    until("its digest is shown", || {
        let mine = cluster.wait(async { api.get("mine").await.unwrap() });
        mine.data["status"]["digest"] == digest.as_str()
    });

    server.stop();
    cluster.allocators[0].kill();
    cluster.start_allocator(0);
    cluster.serving();
    until("what is kept serves", || serves(&cluster.allocators[0], &digest));
    cluster.wait(async { api.delete("mine", &DeleteParams::default()).await.unwrap() });
}
