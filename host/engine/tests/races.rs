//! What happens between two steps: verbs that meet each other, the spool, a silent witness, and a changed configuration.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use tenure_core::decision::{Affinity, IfHeld};
use tenure_core::error::{Coded as _, Kind};
use tenure_core::lease::{LeaseState, Netns, NodeRef, QuarantineCause};
use tenure_core::name::{IfName, ObjectName};
use tenure_core::objects::ObjectKind;
use tenure_core::ports::{Census, Kernel, Question, Sight, WireLink, WitnessError};
use tenure_core::time::WallMs;
use tenure_engine::{
    AddRequest, Caller, DelRequest, Deleted, Engine, EngineError, FixedAddress, GcRequest,
    LeaseView, Options, Ports, ReleaseRequest, SpoolInstant,
};
use tenure_sim::{FakeKernel, Gate, SimStore, Site, attachment, names, pod, until};
use tenure_store::{Contents, Fault, ImportMode, Store, export, read_export};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn sticky(if_held: IfHeld) -> Affinity {
    Affinity::Sticky { key: "web-0".into(), if_held, retain_s: 600, preferred: Vec::new() }
}

/// The operator lets go of the first hold of an address, whoever lives.
fn forced(address: IpAddr) -> ReleaseRequest {
    ReleaseRequest {
        address,
        space: "default".parse().unwrap(),
        generation: 1,
        even_if_live: true,
        reason: "test".into(),
    }
}

async fn view(site: &Site, address: IpAddr) -> LeaseView {
    site.engine.lease("default".parse().unwrap(), address).await.unwrap()
}

#[tokio::test]
async fn a_spooled_del_does_not_end_the_hold_of_a_later_repeated_add() {
    let site = Site::new(&[("p", json!({"cidr": "10.0.0.0/24"}))]).await;
    site.add("c1").await.unwrap();
    site.clock.pass(Duration::from_secs(10));
    let spooled = SpoolInstant { boot: "boot-1".into(), boottime_ms: 1_010_000 };
    site.clock.pass(Duration::from_secs(10));
    site.add("c1").await.unwrap();
    let del = DelRequest { bound_before: Some(spooled), ..DelRequest::of(attachment("c1")) };
    site.engine.del(del).await.unwrap();
    assert_eq!(site.held().await, 1, "the runtime attached it again after it had deleted it");
}

#[tokio::test]
async fn a_repeated_add_in_a_namespace_that_cannot_be_read_is_blind_and_not_reclaimed() {
    let site = Site::new(&[("p", json!({"cidr": "10.0.0.0/24"}))]).await;
    let first = site.add("c1").await.unwrap();
    site.kernel.end("c1");
    let request = site.request("c1");
    site.kernel.be_silent(true);
    assert_eq!(site.add_as(&request).await.unwrap(), first);
    site.kernel.be_silent(false);
    assert_eq!(site.reclaim().await, 0, "its present namespace is not the one that ended");
}

#[tokio::test]
async fn a_quarantined_address_is_freed_by_the_del_of_its_holder_or_by_its_proved_end() {
    let site = Site::new(&[("p", json!({"cidr": "10.0.0.0/31"}))]).await;
    for container in ["c1", "c2"] {
        let address = site.add(container).await.unwrap()[0];
        let request = forced(address);
        site.engine.release_by_hand(request, "root").await.unwrap();
    }
    site.del("c1").await;
    assert_ne!(view(&site, ip("10.0.0.0")).await.view, "quarantined");
    site.kernel.end("c2");
    assert_eq!(site.reclaim().await, 1);
    assert_ne!(view(&site, ip("10.0.0.1")).await.view, "quarantined");
}

#[tokio::test]
async fn a_repeated_add_of_a_quarantined_holder_binds_its_own_row_again() {
    let site = Site::new(&[("p", json!({"cidr": "10.0.0.0/24"}))]).await;
    let first = site.add("c1").await.unwrap();
    let request = forced(first[0]);
    site.engine.release_by_hand(request, "root").await.unwrap();
    assert_eq!(site.add("c1").await.unwrap(), first, "no second lease (I4)");
    assert_eq!(view(&site, first[0]).await.view, "held");
}

#[tokio::test]
async fn a_quarantined_holder_keeps_its_key() {
    let site = Site::new(&[("p", json!({"cidr": "10.0.0.0/24"}))]).await;
    *site.policies.affinity.lock() = sticky(IfHeld::Wait);
    let first = site.add("c1").await.unwrap();
    let request = forced(first[0]);
    site.engine.release_by_hand(request, "root").await.unwrap();
    assert_eq!(site.add("c2").await.unwrap_err().code(), "KEY_HELD");
    assert_eq!(site.add("c1").await.unwrap(), first, "it lives, and is bound again");
}

#[tokio::test]
async fn of_two_adds_that_bring_a_key_at_once_one_holds_it() {
    let site = Arc::new(Site::new(&[("p", json!({"cidr": "10.0.0.0/24"}))]).await);
    *site.policies.affinity.lock() = sticky(IfHeld::Wait);
    let stalled = site.store.hold().await;
    let first = tokio::spawn({
        let site = site.clone();
        async move { site.add("c1").await }
    });
    site.store.until_begun(1).await;
    let second = site.add("c2").await.unwrap_err();
    assert_eq!((second.code(), second.kind()), ("KEY_HELD", Kind::Retry));
    drop(stalled);
    first.await.unwrap().unwrap();
    assert_eq!(site.held().await, 1);
}

#[tokio::test]
async fn an_address_that_its_key_left_behind_is_kept_for_it_no_longer() {
    let site = Site::new(&[("p", json!({"cidr": "10.0.0.0/24"}))]).await;
    *site.policies.affinity.lock() = sticky(IfHeld::Other);
    let first = site.add("c1").await.unwrap();
    site.kernel.put_on_link("c1", first[0]);
    site.del("c1").await;
    // Its last holder is still on a link: the key takes another address.
    let second = site.add("c2").await.unwrap();
    assert_ne!(second, first);
    let left = view(&site, first[0]).await.lease;
    assert!(matches!(left.state, LeaseState::Released { keep_until: None, .. }), "{left:?}");
    site.del("c2").await;
    assert_eq!(view(&site, second[0]).await.view, "retained");
}

#[tokio::test]
async fn a_key_waits_for_its_own_address_that_only_rests() {
    let site = Site::new(&[("p", json!({"cidr": "10.0.0.0/24"}))]).await;
    *site.policies.affinity.lock() = sticky(IfHeld::Other);
    let first = site.add("c1").await.unwrap();
    site.del("c1").await;
    assert_eq!(site.add("c2").await.unwrap_err().kind(), Kind::Retry);
    site.clock.pass(Duration::from_secs(5));
    assert_eq!(site.add("c2").await.unwrap(), first);
}

#[tokio::test]
async fn a_key_whose_address_was_reserved_meanwhile_gets_another_one() {
    let site = Site::new(&[("p", json!({"cidr": "10.0.0.0/24"}))]).await;
    *site.policies.affinity.lock() = sticky(IfHeld::Wait);
    let first = site.add("c1").await.unwrap();
    site.del("c1").await;
    site.kernel.end("c1");
    site.settle().await;
    site.apply(&[("p", json!({"cidr": "10.0.0.0/24", "exclude": [first[0].to_string()]}))]).await;
    assert_ne!(site.add("c2").await.unwrap(), first);
}

#[tokio::test]
async fn a_retention_is_kept_within_the_limit_of_the_pool() {
    let pool = json!({"cidr": "10.0.0.0/24", "limits": {"retainMax": "60s"}});
    let site = Site::new(&[("p", pool)]).await;
    *site.policies.affinity.lock() = sticky(IfHeld::Wait);
    let address = site.add("c1").await.unwrap()[0];
    assert_eq!(view(&site, address).await.lease.sticky.unwrap().retain_s, 60);
    assert_eq!(site.engine.counters().clamped.get(), 1);
}

#[tokio::test]
async fn a_reboot_is_proof_although_the_witness_is_silent() {
    let mut site = Site::new(&[("p", json!({"cidr": "10.0.0.0/24"}))]).await;
    site.add("c1").await.unwrap();
    site.kernel.be_silent(true);
    site.restart("boot-2");
    assert_eq!(site.reclaim().await, 1);
}

#[tokio::test]
async fn a_pool_that_is_deleted_gives_nothing_from_the_first_moment() {
    let site = Arc::new(Site::new(&[("p", json!({"cidr": "10.0.0.0/24"}))]).await);
    let name = ObjectName::new("p").unwrap();
    let stalled = site.store.hold().await;
    let add = tokio::spawn({
        let site = site.clone();
        async move { site.add("c1").await }
    });
    site.store.until_begun(1).await;
    drop(stalled);
    let deleted = site.engine.delete(ObjectKind::IPPool, &name).await.unwrap();
    assert_eq!(deleted, Deleted::Waiting { held: 1 }, "an ADD under way is a holder");
    add.await.unwrap().unwrap();
    assert_eq!(site.add("c2").await.unwrap_err().code(), "NO_POOL");
    site.del("c1").await;
    site.engine.sweep().await.unwrap();
    assert_eq!(site.engine.pools().unwrap().len(), 0);
}

#[tokio::test]
async fn a_pool_that_is_deleted_waits_for_a_quarantined_holder_outside_its_ranges() {
    let site = Site::new(&[("p", json!({"cidr": "10.0.0.0/24"}))]).await;
    let address = site.add("c1").await.unwrap()[0];
    let request = forced(address);
    site.engine.release_by_hand(request, "root").await.unwrap();
    let excluded = json!({"cidr": "10.0.0.0/24", "exclude": [address.to_string()]});
    site.apply(&[("p", excluded)]).await;
    let name = ObjectName::new("p").unwrap();
    let deleted = site.engine.delete(ObjectKind::IPPool, &name).await.unwrap();
    assert_eq!(deleted, Deleted::Waiting { held: 1 });
}

#[tokio::test]
async fn a_caller_that_goes_away_during_its_del_does_not_open_the_attachment_to_others() {
    let site = Arc::new(Site::new(&[("p", json!({"cidr": "10.0.0.0/24"}))]).await);
    site.add("c1").await.unwrap();
    let stalled = site.store.hold().await;
    let del = site.engine.del(DelRequest::of(attachment("c1")));
    assert!(tokio::time::timeout(Duration::from_millis(20), del).await.is_err());
    let add = tokio::spawn({
        let site = site.clone();
        async move { site.add("c1").await }
    });
    assert!(!add.is_finished());
    drop(stalled);
    add.await.unwrap().unwrap();
    assert_eq!(site.held().await, 1, "the ADD came after the DEL and holds its address");
}

#[tokio::test]
async fn an_add_that_an_import_overtakes_is_decided_anew() {
    let pool = [("p", json!({"cidr": "10.0.0.0/24"}))];
    let (site, before) = (Site::new(&pool).await, Site::new(&pool).await);
    let mut fixed = before.request("c1");
    fixed.fixed = vec![FixedAddress { address: ip("10.0.0.9"), prefix: None }];
    before.add_as(&fixed).await.unwrap();
    // Its pod had an address here, which is read for the affinity policy.
    let of_pod = |container| AddRequest { owner: pod("web-0", "uid"), ..site.request(container) };
    site.add_as(&of_pod("c0")).await.unwrap();
    site.del("c0").await;
    let store = site.held_store();
    let engine = site.engine_over(store.clone(), "boot-1");
    store.set_gate(Gate::Reads);
    let add = tokio::spawn({
        let (engine, request) = (engine.clone(), of_pod("c1"));
        async move { engine.add(request).await }
    });
    until(|| store.reads_waiting() > 0).await;
    engine.import(exported(&before), ImportMode::Replace).await.unwrap();
    store.set_gate(Gate::Open);
    let answer = add.await.unwrap().unwrap();
    assert_eq!(answer.addresses[0].address.addr(), ip("10.0.0.9"), "it holds that one by now");
    assert_eq!(engine.pools().unwrap()[0].status.counts.held, 1, "one set of leases (I4)");
}

#[tokio::test]
async fn a_set_is_not_taken_for_a_half_one_while_an_import_comes_in() {
    let pools = [("a", json!({"cidr": "10.0.0.0/24"})), ("b", json!({"cidr": "fd00::/64"}))];
    let (site, before) = (Site::new(&pools).await, Site::new(&pools).await);
    let both = before.add("c1").await.unwrap();
    // Here c1 had the first of them alone.
    let mut only_v4 = site.request("c1");
    only_v4.pools = names(&["a"]);
    assert_eq!(site.add_as(&only_v4).await.unwrap(), both[..1]);
    site.del("c1").await;
    let store = site.held_store();
    let engine = site.engine_over(store.clone(), "boot-1");
    store.set_gate(Gate::After);
    let import = tokio::spawn({
        let (engine, export) = (engine.clone(), exported(&before));
        async move { engine.import(export, ImportMode::Replace).await }
    });
    until(|| store.under_way() > 0).await;
    let add = tokio::spawn({
        let (engine, request) = (
            engine.clone(),
            AddRequest { caller: Caller::Here { netns: None }, ..site.request("c1") },
        );
        async move { engine.add(request).await }
    });
    // Without a namespace to look at, it asks at once what it holds.
    tokio::task::yield_now().await;
    store.set_gate(Gate::Open);
    import.await.unwrap().unwrap();
    let answer = add.await.unwrap().unwrap();
    let addresses: Vec<_> = answer.addresses.iter().map(|granted| granted.address.addr()).collect();
    assert_eq!(addresses, both, "the same ADD, the same answer (I4)");
}

#[tokio::test]
async fn a_series_of_looks_does_not_outlive_an_import() {
    let pool = [("p", json!({"cidr": "10.0.0.0/32"}))];
    let (site, before) = (Site::new(&pool).await, Site::new(&pool).await);
    before.add("c0").await.unwrap();
    site.add("c1").await.unwrap();
    site.kernel.end("c1");
    site.engine.sweep().await.unwrap();
    site.clock.pass(Duration::from_secs(60));
    site.engine.import(exported(&before), ImportMode::Replace).await.unwrap();
    let swept = site.engine.sweep().await.unwrap();
    assert!(swept.reclaimed.is_empty(), "another holder, though of the same generation");
    assert_eq!(site.reclaim().await, 1);
}

#[tokio::test]
async fn a_series_of_looks_does_not_outlive_a_re_add() {
    let site = Site::new(&[("p", json!({"cidr": "10.0.0.0/32"}))]).await;
    site.add("c1").await.unwrap();
    site.kernel.end("c1");
    site.engine.sweep().await.unwrap();
    site.add("c1").await.unwrap();
    site.kernel.end("c1");
    site.clock.pass(Duration::from_secs(60));
    let swept = site.engine.sweep().await.unwrap();
    assert!(swept.reclaimed.is_empty(), "its second namespace was seen dead once");
    assert_eq!(site.reclaim().await, 1);
}

type Happens = Mutex<Option<Box<dyn FnOnce() + Send>>>;

/// A witness that something happens to when it is asked.
#[derive(Default)]
struct Interrupted {
    kernel: Arc<FakeKernel>,
    before_identify: Happens,
    after_look: Happens,
    after_census: Happens,
}

fn happen(what: &Happens) {
    let happens = what.lock().take();
    if let Some(happens) = happens {
        happens();
    }
}

impl Kernel for Interrupted {
    fn identify(&self, path: &Path) -> Result<Netns, WitnessError> {
        happen(&self.before_identify);
        self.kernel.identify(path)
    }

    fn look_at(&self, questions: &[Question]) -> Vec<Sight> {
        let sights = self.kernel.look_at(questions);
        happen(&self.after_look);
        sights
    }

    fn census(&self) -> Result<Census, WitnessError> {
        let census = self.kernel.census();
        happen(&self.after_census);
        census
    }
}

/// An engine over the rows of this site that knows what lives, and its witness.
async fn interrupted(site: &Site) -> (Arc<Engine>, Arc<Interrupted>) {
    let (engine, witness) = started(site);
    engine.sweep().await.unwrap();
    (engine, witness)
}

/// The same before its first census.
fn started(site: &Site) -> (Arc<Engine>, Arc<Interrupted>) {
    started_over(site, site.store.clone())
}

fn started_over(site: &Site, store: Arc<dyn Store>) -> (Arc<Engine>, Arc<Interrupted>) {
    let kernel = site.kernel.clone();
    let witness = Arc::new(Interrupted { kernel, ..Interrupted::default() });
    let ports = Ports {
        store,
        policies: site.policies.clone(),
        kernel: witness.clone(),
        wire: Some(site.wire.clone()),
        clock: site.clock.clone(),
    };
    let node = NodeRef { agent: "agent".into(), boot: "boot-1".into(), ..NodeRef::default() };
    (Engine::start(ports, Options::new(node)).unwrap(), witness)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_bound_after_the_look_is_not_judged_by_it() {
    let site = Arc::new(Site::new(&[("p", json!({"cidr": "10.0.0.0/24"}))]).await);
    site.add("c1").await.unwrap();
    let (engine, witness) = interrupted(&site).await;
    let runtime = tokio::runtime::Handle::current();
    let (again, host) = (engine.clone(), site.clone());
    site.kernel.end("c1");
    *witness.after_look.lock() = Some(Box::new(move || {
        runtime.block_on(again.add(host.request("c1"))).unwrap();
    }));
    let swept = engine.sweep().await.unwrap();
    assert!(witness.after_look.lock().is_none());
    assert_eq!(swept.next, None, "what the look saw gone is the namespace of the hold before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_census_is_taken_again_if_a_row_changed_under_it() {
    let site = Site::new(&[("p", json!({"cidr": "10.0.0.0/24", "cooldown": "0s"}))]).await;
    let address = site.add("c1").await.unwrap()[0];
    site.kernel.make("stranger");
    site.kernel.put_on_link("stranger", address);
    let (engine, witness) = started(&site);
    let (other, runtime) = (engine.clone(), tokio::runtime::Handle::current());
    let del = DelRequest::of(attachment("c1"));
    *witness.after_census.lock() = Some(Box::new(move || {
        runtime.block_on(other.del(del)).unwrap();
    }));
    engine.learn_what_lives().await.unwrap();
    assert!(witness.after_census.lock().is_none());
    let state = view(&site, address).await.lease.state;
    let found = matches!(state, LeaseState::Quarantined { cause: QuarantineCause::Found, .. });
    assert!(found, "the second census judges the row as it is: {state:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_add_reserves_under_the_census_of_an_import_is_found_by_it() {
    let pool = json!({"cidr": "10.0.0.0/24", "ranges": ["10.0.0.1"], "probe": "always"});
    let site = Site::new(&[("p", pool)]).await;
    let export = exported(&site);
    let (engine, witness) = interrupted(&site).await;
    site.kernel.make("stranger");
    site.kernel.put_on_link("stranger", ip("10.0.0.1"));
    let link = Some(WireLink::Macvlan { parent: IfName::new("eth1").unwrap() });
    let request = AddRequest { link, ..site.request("c1") };
    // ADD: known what lives | import, links looked at | reserves | census judges | writes
    let (begun, is_begun) = channel();
    let (go_on, may_go_on) = channel();
    let (reserved, is_reserved) = channel();
    let (judged, is_judged) = channel::<()>();
    *witness.before_identify.lock() = Some(Box::new(move || {
        begun.send(()).unwrap();
        may_go_on.recv().unwrap();
    }));
    *witness.after_census.lock() = Some(Box::new(move || {
        go_on.send(()).unwrap();
        is_reserved.recv().unwrap();
    }));
    site.wire.during_next(move || {
        reserved.send(()).unwrap();
        is_judged.recv().unwrap();
    });
    let add = tokio::spawn({
        let engine = engine.clone();
        async move { engine.add(request).await }
    });
    tokio::task::spawn_blocking(move || is_begun.recv().unwrap()).await.unwrap();
    engine.import(export, ImportMode::Replace).await.unwrap();
    judged.send(()).unwrap();
    assert_eq!(add.await.unwrap().unwrap_err().code(), "POOL_EXHAUSTED", "the stranger has it");
    assert_eq!(site.wire.asked(), [ip("10.0.0.1")], "it was reserved");
}

#[tokio::test]
async fn a_witness_that_falls_silent_before_the_commit_frees_nothing() {
    let site = Site::new(&[("p", json!({"cidr": "10.0.0.0/24"}))]).await;
    let address = site.add("c1").await.unwrap()[0];
    let (engine, witness) = interrupted(&site).await;
    site.kernel.end("c1");
    engine.sweep().await.unwrap();
    site.clock.pass(Duration::from_secs(60));
    let kernel = site.kernel.clone();
    *witness.after_look.lock() = Some(Box::new(move || kernel.be_silent(true)));
    assert!(engine.sweep().await.unwrap().reclaimed.is_empty(), "no fresh look, no commit");
    assert_eq!(view(&site, address).await.view, "held");
}

/// A DEL of c1 that became durable without an answer, and now reads what stands in the store.
async fn doubting_del(
    engine: &Arc<Engine>,
    store: &SimStore,
) -> tokio::task::JoinHandle<Result<(), EngineError>> {
    store.fail_commit(1, Fault::UnknownDone);
    store.set_gate(Gate::Before);
    let del = tokio::spawn({
        let (engine, attachment) = (engine.clone(), attachment("c1"));
        async move { engine.del(DelRequest::of(attachment)).await }
    });
    until(|| store.under_way() > 0).await;
    store.set_gate(Gate::Reads);
    until(|| store.reads_waiting() > 0).await;
    del
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_read_again_is_learned_though_its_holder_was_seen_meanwhile() {
    let site = Site::new(&[("p", json!({"cidr": "10.0.0.0/24"}))]).await;
    let address = site.add("c1").await.unwrap()[0];
    site.kernel.put_on_link("c1", address);
    let store = site.held_store();
    let (engine, witness) = started_over(&site, store.clone());
    // The sweep has begun before the DEL, and marks what it saw while the DEL reads.
    let (go, gone) = std::sync::mpsc::channel();
    *witness.after_look.lock() = Some(Box::new(move || gone.recv().unwrap()));
    let sweep = tokio::spawn({
        let engine = engine.clone();
        async move { engine.sweep().await }
    });
    while witness.after_look.lock().is_some() {
        tokio::task::yield_now().await;
    }
    let del = doubting_del(&engine, &store).await;
    go.send(()).unwrap();
    sweep.await.unwrap().unwrap();
    store.set_gate(Gate::Open);
    assert_eq!(del.await.unwrap().unwrap_err().code(), "STORE_UNKNOWN");
    assert_eq!(engine.pools().unwrap()[0].status.counts.held, 0, "it was released");
}

#[tokio::test]
async fn who_finds_a_row_being_read_again_waits_until_it_is_known() {
    let site = Site::new(&[("p", json!({"cidr": "10.0.0.0/24"}))]).await;
    site.add("c1").await.unwrap();
    let store = site.held_store();
    let engine = site.engine_over(store.clone(), "boot-1");
    let del = doubting_del(&engine, &store).await;
    let mut add = Box::pin(engine.add(site.request("c2")));
    for _ in 0..100 {
        tokio::select! {
            biased;
            answer = &mut add => panic!("{answer:?}, while a row was neither known nor in doubt"),
            () = tokio::task::yield_now() => {}
        }
    }
    assert_eq!(store.under_way(), 0, "the ADD writes nothing yet");
    store.set_gate(Gate::Open);
    add.await.unwrap();
    assert_eq!(del.await.unwrap().unwrap_err().code(), "STORE_UNKNOWN");
}

#[tokio::test]
async fn a_row_that_another_wrote_is_learned_before_it_is_tried_again() {
    let site = Site::new(&[("p", json!({"cidr": "10.0.0.0/24", "ranges": ["10.0.0.1"]}))]).await;
    site.add("c1").await.unwrap();
    site.del("c1").await;
    site.clock.pass(Duration::from_secs(600));
    let store = site.held_store();
    let engine = site.engine_over(store.clone(), "boot-1");
    // The row goes through another holder's hands, behind the back of this engine.
    site.add("c2").await.unwrap();
    site.del("c2").await;
    site.clock.pass(Duration::from_secs(600));
    let error = engine.add(site.request("c3")).await.unwrap_err();
    assert_eq!(error.code(), "POOL_EXHAUSTED", "{error}: it rests from the moment it was learned");
    assert_eq!(engine.counters().conflicts.get(), 1, "the second try knows the row");
    site.clock.pass(Duration::from_secs(600));
    engine.add(site.request("c3")).await.unwrap();
}

#[tokio::test]
async fn gc_does_not_free_what_was_bound_again_while_it_read() {
    let site = Site::new(&[("p", json!({"cidr": "10.0.0.0/24"}))]).await;
    let first = site.add("c1").await.unwrap();
    site.kernel.reboot();
    let store = site.held_store();
    let engine = site.engine_over(store.clone(), "boot-2");
    site.clock.pass(Duration::from_secs(60));
    store.set_gate(Gate::Before);
    let add = tokio::spawn({
        let (engine, request) = (engine.clone(), site.request("c1"));
        async move { engine.add(request).await }
    });
    until(|| store.under_way() > 0).await;
    // GC has listed the row of the old boot, and reads it once the ADD has bound it in the new one.
    store.set_gate(Gate::Reads);
    let network = attachment("c1").network;
    let mut gc = Box::pin(engine.gc(GcRequest {
        node: None,
        network,
        valid: Vec::new(),
        allow_empty: true,
    }));
    tokio::select! {
        biased;
        answer = &mut gc => panic!("{answer:?}"),
        () = std::future::ready(()) => {}
    }
    assert_eq!(store.reads_waiting(), 1);
    assert_eq!(add.await.unwrap().unwrap().addresses[0].address.addr(), first[0]);
    store.set_gate(Gate::Open);
    let passing = tokio::spawn(async move {
        loop {
            site.clock.pass(Duration::from_millis(20));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let answer = gc.await.unwrap();
    passing.abort();
    assert_eq!((answer.released, answer.kept), (vec![], vec![]), "it is too young to be judged");
}

#[tokio::test]
async fn a_released_address_whose_lost_write_could_not_be_read_is_given_once_it_can() {
    let pool = json!({"cidr": "10.0.0.0/24", "ranges": ["10.0.0.1"], "cooldown": "0s"});
    let site = Site::new(&[("p", pool)]).await;
    let first = site.add("c1").await.unwrap();
    site.del("c1").await;
    let store = site.held_store();
    let engine = site.engine_over(store.clone(), "boot-1");
    store.fail_commit(1, Fault::UnknownLost);
    store.set_gate(Gate::Before);
    let add = tokio::spawn({
        let (engine, request) = (engine.clone(), site.request("c2"));
        async move { engine.add(request).await }
    });
    until(|| store.under_way() > 0).await;
    store.fail_reads(true);
    store.set_gate(Gate::Open);
    assert_eq!(add.await.unwrap().unwrap_err().code(), "STORE_UNKNOWN");
    store.fail_reads(false);
    let answer = engine.add(site.request("c3")).await.unwrap();
    assert_eq!(answer.addresses[0].address.addr(), first[0]);
}

fn exported(site: &Site) -> Contents {
    let mut text = Vec::new();
    export(&*site.store, WallMs(0), tenure_store::ExportFormat::default(), &mut text).unwrap();
    read_export(&mut &text[..]).unwrap()
}
