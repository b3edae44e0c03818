//! Which allocator is spoken to: the one that leads, for it sweeps; else any that is ready.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client};

use super::error::ClusterError;

/// What the pods of allocators have.
const LABEL: &str = "app.kubernetes.io/name=tenure-allocator";
/// The lease of the leader.
const LEADER: &str = "tenure-allocator";

/// A pod that may be spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) pod: String,
    pub(super) node: String,
}

/// Reads pods and leader, and answers whom to try, the best first.
pub(super) async fn find(
    client: &Client,
    server: &str,
    namespace: &str,
) -> Result<Vec<Candidate>, ClusterError> {
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let leases = Api::<Lease>::namespaced(client.clone(), namespace);
    let wanted = ListParams::default().labels(LABEL);
    let (listed, leader) = tokio::join!(pods.list(&wanted), leases.get_opt(LEADER));
    let listed = listed
        .map_err(|error| ClusterError::of_request(&error, server, namespace, "list pods"))?
        .items;
    if listed.is_empty() {
        return Err(ClusterError::NoAllocator { namespace: namespace.to_owned(), label: LABEL });
    }
    // Who leads is a preference: whoever may not read it is served by any of them.
    let leader = leader.ok().flatten().and_then(|lease| lease.spec?.holder_identity);
    let found = in_order(&listed, leader.as_deref());
    if found.is_empty() {
        let pods: Vec<String> = listed.iter().map(words).collect();
        let (namespace, pods) = (namespace.to_owned(), pods.join(", "));
        return Err(ClusterError::NoneReady { namespace, pods });
    }
    Ok(found)
}

/// The ready ones, the leader first. It is known as its pod and a random word.
fn in_order(pods: &[Pod], leader: Option<&str>) -> Vec<Candidate> {
    let leader = leader.and_then(|identity| identity.rsplit_once('-')).map(|(pod, _)| pod);
    let candidate = |pod: &Pod| Candidate { pod: name(pod).to_owned(), node: node(pod).to_owned() };
    let mut found: Vec<Candidate> =
        pods.iter().filter(|pod| is_ready(pod)).map(candidate).collect();
    found.sort_by_key(|candidate| Some(candidate.pod.as_str()) != leader);
    found
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut ready = conditions.filter(|condition| condition.type_ == "Ready");
    pod.metadata.deletion_timestamp.is_none() && ready.any(|condition| condition.status == "True")
}

/// What keeps a pod from being ready, shortly.
fn words(pod: &Pod) -> String {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Unknown");
    let how = match (pod.metadata.deletion_timestamp.is_some(), phase) {
        (true, _) => "is being deleted".to_owned(),
        (false, "Running") => "runs and is not ready".to_owned(),
        (false, phase) => format!("is {phase}"),
    };
    let node = Some(node(pod)).filter(|node| !node.is_empty());
    let place = node.map(|node| format!(" on {node}")).unwrap_or_default();
    format!("{}{place} {how}", name(pod))
}

fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::serde_json::{from_value, json};

    use super::*;

    fn pod(name: &str, ready: &str, deleted: bool) -> Pod {
        let mut pod = json!({
            "metadata": {"name": name}, "spec": {"nodeName": format!("node-of-{name}"), "containers": []},
            "status": {"phase": "Running", "conditions": [
                {"type": "Initialized", "status": "True"}, {"type": "Ready", "status": ready},
            ]},
        });
        if deleted {
            pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        from_value(pod).unwrap()
    }

    #[test]
    fn the_leader_is_first_and_who_is_not_ready_is_left_out() {
        let pods = [
            pod("tenure-allocator-a", "True", false),
            pod("tenure-allocator-a-b", "True", false),
            pod("tenure-allocator-c", "False", false),
            pod("tenure-allocator-d", "True", true),
        ];
        let order = |leader: Option<&str>| {
            let found = in_order(&pods, leader);
            found.into_iter().map(|candidate| candidate.pod).collect::<Vec<_>>()
        };
        let (a, b) = ("tenure-allocator-a", "tenure-allocator-a-b");
        assert_eq!(order(None), [a, b]);
        assert_eq!(order(Some("tenure-allocator-a-b-0a1b2c3d")), [b, a]);
        assert_eq!(order(Some("tenure-allocator-a-0a1b2c3d")), [a, b]);
        assert_eq!(order(Some("tenure-allocator-c-0a1b2c3d")), [a, b], "it cannot answer");
        assert_eq!(order(Some("")), [a, b]);
    }

    #[test]
    fn what_keeps_a_pod_from_being_ready_is_said() {
        assert_eq!(words(&pod("a", "False", false)), "a on node-of-a runs and is not ready");
        assert_eq!(words(&pod("a", "True", true)), "a on node-of-a is being deleted");
        let pending = json!({"metadata": {"name": "a"}, "status": {"phase": "Pending"}});
        assert_eq!(words(&from_value(pending).unwrap()), "a is Pending");
    }
}
