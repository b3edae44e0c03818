//! An ADD that two replicas serve, because its agent turned to the second while the first still wrote, leaves one set (I4).

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tenure_core::error::Coded as _;
use tenure_core::lease::NodeRef;
use tenure_core::ports::Kernel as _;
use tenure_engine::{AddRequest, AgentCall, Caller, Engine, Past};
use tenure_sim::{Gate, SimStore, Site, names, start_add, until};
use tenure_store::{Change, Fault, Store as _};
use tokio::task::JoinHandle;

/// Two replicas over one store. What one of them writes is not heard by the other.
struct Replicas {
    site: Site,
    first: Arc<Engine>,
    /// What the first one writes goes through here.
    gate: Arc<SimStore>,
    second: Arc<Engine>,
}

impl Replicas {
    /// With two pools, so that both replicas choose different addresses.
    async fn new() -> Self {
        let pool = |cidr: &str| json!({"cidr": cidr, "cooldown": "0s"});
        let site = Site::new(&[("p", pool("10.0.0.0/29")), ("q", pool("10.0.1.0/29"))]).await;
        let (gate, first) = replica(&site);
        let (_, second) = replica(&site);
        Self { site, first, gate, second }
    }

    /// An ADD as the agent sends it.
    fn request(&self, pool: &str, past: Past) -> AddRequest {
        let request = self.site.request("c1");
        let netns = self.site.kernel.identify(Path::new("c1")).ok();
        let call = AgentCall { node: Arc::new(node()), netns, boottime_ms: 0, past };
        AddRequest { caller: Caller::Agent(call), pools: names(&[pool]), ..request }
    }

    /// The same, with a first one that looks after what it told nobody.
    async fn watchful() -> Self {
        let replicas = Self::new().await;
        tokio::spawn(replicas.first.clone().watch_untold());
        replicas
    }

    /// The first replica writes, the agent turns away from it, and the second serves the ADD.
    async fn torn(&self) -> (JoinHandle<()>, IpAddr) {
        self.gate.set_gate(Gate::Before);
        let add = start_add(&self.first, self.request("p", Past::None));
        until(|| self.gate.under_way() == 1).await;
        add.abort();
        let gone = tokio::spawn(async move { assert!(add.await.unwrap_err().is_cancelled()) });
        let answer = self.second.add(self.request("q", Past::Unsure)).await.unwrap();
        (gone, answer.addresses[0].address.addr())
    }

    /// The first replica writes, the agent turns away from it, and the second finds what stands there and answers it.
    async fn taken_over(&self) -> IpAddr {
        self.gate.set_gate(Gate::After);
        let add = start_add(&self.first, self.request("p", Past::None));
        until(|| self.bound().len() == 1).await;
        add.abort();
        let answer = self.second.add(self.request("p", Past::Unsure)).await.unwrap();
        self.gate.set_gate(Gate::Open);
        until(|| self.gate.is_idle()).await;
        answer.addresses[0].address.addr()
    }

    fn bound(&self) -> Vec<IpAddr> {
        let mut bound = Vec::new();
        let mut note = |row: tenure_store::Row| {
            bound.extend(row.lease.is_bound().then_some(row.lease.address));
        };
        self.site.store.scan(&mut note).unwrap();
        bound
    }
}

/// A replica that knows that others write as well, and of which the agent is heard.
fn replica(site: &Site) -> (Arc<SimStore>, Arc<Engine>) {
    let store = site.held_store();
    drop(store.share());
    let engine = site.engine_over(store.clone(), "boot-1");
    engine.note_agent(&node());
    (store, engine)
}

fn node() -> NodeRef {
    NodeRef { name: "n1".into(), agent: "a1".into(), boot: "boot-1".into(), ..NodeRef::default() }
}

#[tokio::test]
async fn what_a_replica_writes_for_a_caller_that_has_gone_it_gives_up_again() {
    let replicas = Replicas::watchful().await;
    let (gone, answered) = replicas.torn().await;
    gone.await.unwrap();
    replicas.gate.set_gate(Gate::Open);
    until(|| replicas.first.counters().unanswered.get() == 1).await;
    until(|| replicas.bound() == [answered]).await;
    assert_eq!(replicas.second.counters().unanswered.get(), 0);
}

/// The first one cannot say what became of its write, and the second looked before it landed.
#[tokio::test]
async fn what_a_replica_wrote_without_learning_the_outcome_it_gives_up_once_it_can_read_it() {
    for (fault, left) in [(Fault::UnknownDone, 2), (Fault::UnknownLost, 1)] {
        let replicas = Replicas::watchful().await;
        replicas.gate.fail_commit(1, fault);
        replicas.gate.set_gate(Gate::Before);
        let add = start_add(&replicas.first, replicas.request("p", Past::None));
        until(|| replicas.gate.under_way() == 1).await;
        let answer = replicas.second.add(replicas.request("q", Past::Unsure)).await.unwrap();
        let answered = answer.addresses[0].address.addr();
        replicas.gate.fail_reads(true);
        replicas.gate.set_gate(Gate::Open);
        let error = add.await.unwrap().unwrap_err();
        assert_eq!((error.code(), replicas.bound().len()), ("STORE_UNKNOWN", left));
        replicas.gate.fail_reads(false);
        until(|| replicas.bound() == [answered]).await;
        until(|| replicas.first.counters().unanswered.get() == u64::from(left == 2)).await;
    }
}

/// Its first try to give it up fails as well.
#[tokio::test]
async fn what_cannot_be_given_up_now_is_given_up_later() {
    let replicas = Replicas::watchful().await;
    let (gone, answered) = replicas.torn().await;
    gone.await.unwrap();
    replicas.gate.fail_commit(1, Fault::Io);
    replicas.gate.fail_commit(2, Fault::UnknownLost);
    replicas.gate.set_gate(Gate::Open);
    until(|| replicas.gate.failed() == 2).await;
    assert_eq!(replicas.bound().len(), 2);
    until(|| replicas.bound() == [answered]).await;
}

/// The second one may have found that row and answered it.
#[tokio::test]
async fn what_another_replica_has_taken_over_meanwhile_is_not_given_up() {
    let replicas = Replicas::watchful().await;
    let answered = replicas.taken_over().await;
    // Whatever the first one does, it is done before its next verb for the container.
    let again = replicas.first.add(replicas.request("p", Past::Unsure)).await.unwrap();
    assert_eq!(again.addresses[0].address.addr(), answered);
    assert_eq!(replicas.first.counters().unanswered.get(), 0);
    assert_eq!(replicas.bound(), [answered]);
}

#[tokio::test]
async fn what_is_heard_to_be_answered_by_another_replica_is_not_given_up() {
    let replicas = Replicas::new().await;
    let news = replicas.gate.share();
    tokio::spawn(replicas.first.clone().follow());
    let answered = replicas.taken_over().await;
    let mut rows = Vec::new();
    replicas.site.store.scan(&mut |row| rows.push(row)).unwrap();
    let heard = replicas.first.counters().heard.get();
    news.send(Change::Row(Box::new(rows.remove(0)))).await.unwrap();
    until(|| replicas.first.counters().heard.get() > heard).await;
    replicas.first.give_up_untold().await;
    assert_eq!(replicas.bound(), [answered]);
}

/// The daemon's own caller asks nobody else: it finds its row again.
#[tokio::test]
async fn a_row_written_for_a_caller_of_this_machine_stays_its_own() {
    let replicas = Replicas::watchful().await;
    replicas.gate.set_gate(Gate::Before);
    let add = start_add(&replicas.first, replicas.site.request("c1"));
    until(|| replicas.gate.under_way() == 1).await;
    add.abort();
    replicas.gate.set_gate(Gate::Open);
    until(|| replicas.bound().len() == 1 && replicas.gate.is_idle()).await;
    let answer = replicas.first.add(replicas.site.request("c1")).await.unwrap();
    assert_eq!(replicas.bound(), [answer.addresses[0].address.addr()]);
}

/// The first replica died before it could give up what it wrote.
async fn left_behind() -> (Replicas, IpAddr, IpAddr) {
    let replicas = Replicas::new().await;
    let (gone, answered) = replicas.torn().await;
    gone.await.unwrap();
    replicas.gate.set_gate(Gate::Open);
    until(|| replicas.bound().len() == 2 && replicas.gate.is_idle()).await;
    let other = *replicas.bound().iter().find(|address| **address != answered).unwrap();
    (replicas, answered, other)
}

/// Another process: the leader from now on.
fn leader(replicas: &Replicas) -> Arc<Engine> {
    replica(&replicas.site).1
}

/// What is bound after some sweeps of a leader, with more than any grace between them.
async fn after_sweeps(replicas: &Replicas) -> Vec<IpAddr> {
    let leader = leader(replicas);
    for _ in 0..3 {
        leader.sweep().await.unwrap();
        replicas.site.clock.pass(Duration::from_secs(60));
    }
    replicas.bound()
}

#[tokio::test]
async fn of_two_sets_the_one_on_no_link_is_given_up_once_the_other_stands_on_one() {
    let (replicas, answered, _) = left_behind().await;
    let leader = leader(&replicas);
    leader.sweep().await.unwrap();
    assert_eq!(replicas.bound().len(), 2, "none stands on a link: either may be the answered one");
    replicas.site.kernel.put_on_link("c1", answered);
    leader.sweep().await.unwrap();
    assert_eq!(replicas.bound(), [answered]);
    assert_eq!(leader.counters().unanswered.get(), 1);
}

#[tokio::test]
async fn two_sets_that_both_stand_on_links_are_kept() {
    let (replicas, answered, other) = left_behind().await;
    for address in [answered, other] {
        replicas.site.kernel.put_on_link("c1", address);
    }
    assert_eq!(after_sweeps(&replicas).await.len(), 2);
}

#[tokio::test]
async fn while_the_kernel_is_silent_both_sets_are_kept() {
    let (replicas, answered, _) = left_behind().await;
    replicas.site.kernel.put_on_link("c1", answered);
    replicas.site.kernel.be_silent(true);
    assert_eq!(after_sweeps(&replicas).await.len(), 2);
}

#[tokio::test]
async fn a_repeated_add_of_an_attachment_with_two_sets_keeps_the_answered_one() {
    let (replicas, answered, _) = left_behind().await;
    let past = Past::Answered(vec![answered]);
    let again = leader(&replicas).add(replicas.request("q", past)).await.unwrap();
    let addresses: Vec<_> = again.addresses.iter().map(|one| one.address.addr()).collect();
    assert_eq!((addresses, replicas.bound()), (vec![answered], vec![answered]));
}

#[tokio::test]
async fn a_repeated_add_of_which_no_set_was_heard_is_answered_one_and_the_other_ends() {
    let (replicas, ..) = left_behind().await;
    let again = leader(&replicas).add(replicas.request("q", Past::Unsure)).await.unwrap();
    let addresses: Vec<_> = again.addresses.iter().map(|one| one.address.addr()).collect();
    assert_eq!((addresses.len(), &addresses), (1, &replicas.bound()));
}

/// Its agent turned to this one again: what was written is its own.
#[tokio::test]
async fn what_was_written_for_a_caller_that_has_gone_is_answered_to_the_next_that_waits() {
    let replicas = Replicas::watchful().await;
    replicas.gate.set_gate(Gate::Before);
    let add = start_add(&replicas.first, replicas.request("p", Past::None));
    until(|| replicas.gate.under_way() == 1).await;
    add.abort();
    let next = start_add(&replicas.first, replicas.request("p", Past::Unsure));
    tokio::task::yield_now().await;
    replicas.gate.set_gate(Gate::Open);
    let answered = next.await.unwrap().unwrap();
    assert_eq!(replicas.bound(), answered);
    assert_eq!(replicas.first.counters().unanswered.get(), 0);
}

/// Nobody was told of it, so nobody can stand on it: it does not rest.
#[tokio::test]
async fn an_address_that_was_given_up_unanswered_is_given_at_once() {
    let replicas = Replicas::new().await;
    let one = json!({"cidr": "10.0.2.0/29", "ranges": ["10.0.2.1"], "cooldown": "60s"});
    replicas.site.apply(&[("one", one)]).await;
    let (gate, first) = replica(&replicas.site);
    tokio::spawn(first.clone().watch_untold());
    gate.set_gate(Gate::Before);
    let add = start_add(&first, replicas.request("one", Past::None));
    until(|| gate.under_way() == 1).await;
    add.abort();
    let _ = add.await;
    gate.set_gate(Gate::Open);
    until(|| first.counters().unanswered.get() == 1).await;
    let again = first.add(replicas.request("one", Past::Unsure)).await.unwrap();
    assert_eq!(again.addresses[0].address.addr(), "10.0.2.1".parse::<IpAddr>().unwrap());
}
