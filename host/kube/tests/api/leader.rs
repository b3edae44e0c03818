//! Who is asked first.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tenure_kube::{Leader, LeaderOptions, Leadership};
use tenure_lab::Relay;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::lab::{Lab, NAMESPACE};

/// Two cores that compile beside it are slow; where a figure is promised, it is asserted.
const PATIENCE: Duration = Duration::from_secs(60);

struct Replica {
    identity: String,
    leadership: Leadership,
    leader: watch::Receiver<Leader>,
}

// === impl Replica ===

impl Replica {
    fn start(client: Client, lease: &str, identity: &str) -> Self {
        let options =
            LeaderOptions { name: lease.to_owned(), ..LeaderOptions::new(NAMESPACE, identity) };
        let leadership = Leadership::start(client, options);
        Self { identity: identity.to_owned(), leader: leadership.watch(), leadership }
    }

    async fn until(&mut self, what: &str, condition: impl FnMut(&Leader) -> bool) -> Leader {
        match timeout(PATIENCE, self.leader.wait_for(condition)).await {
            Ok(seen) => seen.unwrap().clone(),
            Err(_) => panic!("{} never came to see: {what}", self.identity),
        }
    }

    async fn until_leading(&mut self) {
        self.until("that it leads", |leader| leader.is_me).await;
    }

    async fn until_it_follows(&mut self, whom: &str) {
        let follows = |leader: &Leader| !leader.is_me && leader.holder.as_deref() == Some(whom);
        self.until("another leader", follows).await;
    }

    fn leads(&self) -> bool {
        self.leader.borrow().is_me
    }
}

/// Replicas of a lease of this name, of which the first leads.
async fn replicas<const N: usize>(lab: &Lab, lease: &str) -> [Replica; N] {
    leases(lab).delete(lease, &DeleteParams::default()).await.ok();
    let mut all = Vec::new();
    for n in 0..N {
        let mut replica = Replica::start(lab.client(), lease, &format!("replica-{n}"));
        match n {
            0 => replica.until_leading().await,
            _ => replica.until_it_follows("replica-0").await,
        }
        all.push(replica);
    }
    all.try_into().unwrap_or_else(|_| panic!("as many"))
}

fn leases(lab: &Lab) -> Api<Lease> {
    Api::namespaced(lab.client(), NAMESPACE)
}

async fn holder(lab: &Lab, lease: &str) -> Option<String> {
    leases(lab).get(lease).await.unwrap().spec.unwrap().holder_identity
}

async fn edit(lab: &Lab, lease: &str, spec: serde_json::Value) {
    let patch = Patch::Merge(json!({ "spec": spec }));
    leases(lab).patch(lease, &PatchParams::default(), &patch).await.unwrap();
}

/// Requests of a flow schema that the server has begun to serve, in this priority level.
async fn served(lab: &Lab, schema: &str, level: &str) -> u64 {
    let request = http::Request::get("/metrics").body(Vec::new()).unwrap();
    let text = lab.client().request_text(request).await.unwrap();
    let (name, level) =
        ("apiserver_flowcontrol_dispatched_requests_total{", format!("priority_level=\"{level}\""));
    let schema = format!("flow_schema=\"{schema}\"");
    let is_it =
        |line: &&str| line.starts_with(name) && line.contains(&level) && line.contains(&schema);
    let number = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64;
    text.lines().filter(is_it).map(number).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_renews_in_a_priority_level_apart_from_the_flood_of_addresses() {
    let lab = Lab::default();
    let deploy = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/kubernetes");
    for file in ["10-rbac.yaml", "20-flowschema.yaml"] {
        let text = std::fs::read_to_string(deploy.join(file)).unwrap();
        let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(&text).unwrap();
        for document in documents {
            tenure_lab::cluster::create(&lab.client(), document).await;
        }
    }
    // With the rights of the allocator and no more: whoever may do everything is served before all others.
    let mut config = lab.config();
    let groups =
        ["system:serviceaccounts", "system:serviceaccounts:tenure-system", "system:authenticated"];
    config.auth_info.impersonate_groups = Some(groups.map(str::to_owned).to_vec());
    let client = Client::try_from(config).unwrap();
    let mut replica = Replica::start(client, "tenure-allocator", "replica-0");
    replica.until_leading().await;
    let renewals = async || served(&lab, "tenure-allocator-leader", "leader-election").await;
    let flood = async || served(&lab, "tenure-allocator", "workload-high").await;
    // The server takes up a new flow schema after some moments.
    let deadline = Instant::now() + PATIENCE;
    while renewals().await == 0 {
        assert!(Instant::now() < deadline, "renewals are served as anything else");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let before = (renewals().await, flood().await);
    while renewals().await < before.0 + 3 {
        assert!(Instant::now() < deadline, "it renews no more");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(flood().await, before.1, "a renewal queued with the addresses");
    assert!(replica.leads());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_replicas_that_start_together_all_follow_the_same_one() {
    let lab = Lab::default();
    let start = |n: usize| Replica::start(lab.client(), "together", &format!("replica-{n}"));
    let mut all = [start(0), start(1), start(2)];
    let mut holders = Vec::new();
    for replica in &mut all {
        holders.push(replica.until("a leader", |it| it.holder.is_some()).await.holder.unwrap());
    }
    assert_eq!(holders[0], holders[1]);
    assert_eq!(holders[1], holders[2]);
    let leading = all.iter().filter(|it| it.leads()).map(|it| it.identity.clone());
    assert_eq!(leading.collect::<Vec<_>>(), [holders[0].clone()]);
    assert_eq!(holder(&lab, "together").await.as_deref(), Some(holders[0].as_str()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_replica_leads_within_five_seconds_after_the_leader_has_died() {
    let lab = Lab::default();
    let [first, mut second, mut third] = replicas(&lab, "died").await;
    let dead = first.leader.clone();
    drop(first);
    let died = Instant::now();
    let next = tokio::select! {
        () = second.until_leading() => "replica-1",
        () = third.until_leading() => "replica-2",
    };
    println!("another one led {:?} after the leader had died", died.elapsed());
    assert!(died.elapsed() < Duration::from_secs(5), "{:?}", died.elapsed());
    assert!(!dead.borrow().is_me, "a dead one says nothing");
    let other = if next == "replica-1" { &mut third } else { &mut second };
    other.until_it_follows(next).await;
    assert_eq!(holder(&lab, "died").await.as_deref(), Some(next));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_resigns_hands_over_at_once() {
    let lab = Lab::default();
    let [first, mut second] = replicas(&lab, "resigned").await;
    let resigned = Instant::now();
    let before = first.leader.clone();
    first.leadership.resign().await;
    assert!(!before.borrow().is_me);
    second.until_leading().await;
    println!("another one led {:?} after the leader had resigned", resigned.elapsed());
    // Without handing over nobody may lead earlier than the duration after the last renewal.
    assert!(resigned.elapsed() < Duration::from_millis(2500), "{:?}", resigned.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_says_so_before_another_leads() {
    let lab = Lab::default();
    leases(&lab).delete("cut-off", &DeleteParams::default()).await.ok();
    let relay = Relay::before(&lab.config()).await;
    let through = Client::try_from(relay.through(lab.config())).unwrap();
    let mut first = Replica::start(through, "cut-off", "replica-0");
    first.until_leading().await;
    let mut second = Replica::start(lab.client(), "cut-off", "replica-1");
    second.until_it_follows("replica-0").await;
    relay.freeze();
    second.until_leading().await;
    assert!(!first.leads(), "both say that they lead");
    relay.thaw();
    first.until_it_follows("replica-1").await;
    assert!(second.leads());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_was_deleted_is_made_anew() {
    let lab = Lab::default();
    let [first, _second] = replicas(&lab, "deleted").await;
    let before = leases(&lab).get("deleted").await.unwrap().metadata.uid;
    leases(&lab).delete("deleted", &DeleteParams::default()).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let made = leases(&lab).get_opt("deleted").await.unwrap();
        if made.is_some_and(|lease| lease.metadata.uid != before) {
            break;
        }
        assert!(Instant::now() < deadline, "nobody made it");
    }
    drop(first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_an_edit_names_leads_until_its_duration_has_passed() {
    let lab = Lab::default();
    let [mut first, mut second] = replicas(&lab, "edited").await;
    // As another program would: with times of a clock that is a century ahead.
    let named = json!({
        "holderIdentity": "somebody",
        "leaseDurationSeconds": 6,
        "renewTime": "2126-01-01T00:00:00.000000Z",
    });
    edit(&lab, "edited", named).await;
    let edited = Instant::now();
    first.until_it_follows("somebody").await;
    second.until_it_follows("somebody").await;
    let takes = async {
        tokio::select! {
            () = first.until_leading() => {}
            () = second.until_leading() => {}
        }
    };
    takes.await;
    assert!(edited.elapsed() >= Duration::from_secs(6), "{:?}", edited.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_that_names_a_follower_makes_it_lead() {
    let lab = Lab::default();
    let [mut first, mut second] = replicas(&lab, "moved").await;
    edit(&lab, "moved", json!({"holderIdentity": "replica-1"})).await;
    let edited = Instant::now();
    first.until_it_follows("replica-1").await;
    // It renewed at most 1 s before, and would else have led for 3.5 s from there.
    assert!(edited.elapsed() < Duration::from_millis(2500), "{:?}", edited.elapsed());
    second.until_leading().await;
}
