//! Probes on the wire: who answers keeps the address, silence is permission, and a blind witness permits nothing
//! that needs permission.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tenure_core::decision::{Affinity, IfHeld};
use tenure_core::lease::{Lease, LeaseState, QuarantineCause};
use tenure_core::name::IfName;
use tenure_core::ports::WireLink;
use tenure_engine::{AddRequest, EngineError};
use tenure_sim::Site;
use tenure_store::{Store as _, Write};

fn pool(probe: &str) -> Value {
    json!({"cidr": "10.0.0.0/29", "ranges": ["10.0.0.1-10.0.0.2"], "probe": probe})
}

async fn site(probe: &str) -> Site {
    Site::new(&[("p", pool(probe))]).await
}

fn on_macvlan(site: &Site, container: &str) -> AddRequest {
    let link = Some(WireLink::Macvlan { parent: IfName::new("eth1").unwrap() });
    AddRequest { link, ..site.request(container) }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

async fn lease(site: &Site, text: &str) -> Lease {
    site.engine.lease(Default::default(), address(text)).await.unwrap().lease
}

#[tokio::test]
async fn a_foreign_answer_quarantines_the_address_and_the_add_takes_another() {
    let site = site("always").await;
    site.wire.set_foreign(address("10.0.0.1"), true);
    let given = site.add_as(&on_macvlan(&site, "a")).await.unwrap();
    assert_eq!(given, [address("10.0.0.2")]);
    let taken = lease(&site, "10.0.0.1").await;
    assert!(matches!(taken.state, LeaseState::Quarantined { cause: QuarantineCause::Wire, .. }));
    assert!(!taken.has_holder());
    // The ADD that met it has no right to it: the same ADD again, and its DEL, leave it alone.
    assert_eq!(site.add_as(&on_macvlan(&site, "a")).await.unwrap(), given);
    site.del("a").await;
    assert_eq!(lease(&site, "10.0.0.1").await.state_name(), "Quarantined");
    let counts = site.engine.pools().unwrap()[0].status.counts;
    assert!(counts.add_up() && counts.quarantined == 1, "{counts:?}");
}

#[tokio::test]
async fn a_wire_quarantine_ends_by_a_silent_probe_and_not_before() {
    let site = site("always").await;
    site.wire.set_foreign(address("10.0.0.1"), true);
    site.add_as(&on_macvlan(&site, "a")).await.unwrap();
    let full = |error| matches!(error, EngineError::Exhausted { .. });
    assert!(full(site.add_as(&on_macvlan(&site, "b")).await.unwrap_err()), "it rests for a minute");
    site.clock.pass(Duration::from_secs(61));
    assert!(full(site.add_as(&on_macvlan(&site, "b")).await.unwrap_err()), "it still answers");
    site.clock.pass(Duration::from_secs(61));
    site.wire.set_foreign(address("10.0.0.1"), false);
    site.wire.be_blind(true);
    assert!(
        full(site.add_as(&on_macvlan(&site, "b")).await.unwrap_err()),
        "blind is no permission"
    );
    site.wire.be_blind(false);
    assert!(full(site.add("b").await.unwrap_err()), "no method, no permission");
    site.clock.pass(Duration::from_secs(61));
    assert_eq!(site.add_as(&on_macvlan(&site, "b")).await.unwrap(), [address("10.0.0.1")]);
    assert_eq!(lease(&site, "10.0.0.1").await.generation.0, 2);
}

#[tokio::test]
async fn only_what_is_unproved_is_probed_unless_the_pool_says_otherwise() {
    for (setting, fresh, unproved) in [("unproven", 0, 1), ("always", 1, 2), ("never", 0, 0)] {
        let spec =
            json!({"cidr": "10.0.0.0/29", "ranges": ["10.0.0.1-10.0.0.1"], "probe": setting});
        let site = Site::new(&[("p", spec)]).await;
        site.add_as(&on_macvlan(&site, "a")).await.unwrap();
        assert_eq!(site.wire.asked().len(), fresh, "{setting}: an address that was never used");
        site.del("a").await;
        site.clock.pass(Duration::from_secs(200));
        site.add_as(&on_macvlan(&site, "b")).await.unwrap();
        assert_eq!(site.wire.asked().len(), unproved, "{setting}: the old holder may live");
    }
}

#[tokio::test]
async fn a_blind_witness_does_not_keep_an_ordinary_address_back() {
    let site = site("always").await;
    site.wire.be_blind(true);
    assert!(site.add_as(&on_macvlan(&site, "a")).await.is_ok());
    assert_eq!(site.engine.counters().probes_blind.get(), 1);
}

#[tokio::test]
async fn a_key_whose_address_a_foreign_machine_has_gets_another_one() {
    let site = site("always").await;
    *site.policies.affinity.lock() = Affinity::Sticky {
        key: "web-0".into(),
        if_held: IfHeld::Wait,
        retain_s: 600,
        preferred: Vec::new(),
    };
    assert_eq!(site.add_as(&on_macvlan(&site, "a")).await.unwrap(), [address("10.0.0.1")]);
    site.kernel.end("a");
    site.del("a").await;
    site.settle().await;
    site.wire.set_foreign(address("10.0.0.1"), true);
    assert_eq!(site.add_as(&on_macvlan(&site, "b")).await.unwrap(), [address("10.0.0.2")]);
    assert_eq!(site.wire.asked().len(), 3, "its own address was asked for first");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_whose_pool_shrinks_while_it_is_asked_for_is_not_held_by_anybody() {
    let site = site("always").await;
    site.wire.set_foreign(address("10.0.0.1"), true);
    let (engine, runtime) = (site.engine.clone(), tokio::runtime::Handle::current());
    let shrunk = json!({"cidr": "10.0.0.0/29", "ranges": ["10.0.0.2"], "probe": "always"});
    let shrunk = tenure_sim::pool("p", &shrunk);
    site.wire.during_next(move || {
        runtime.block_on(engine.apply(vec![shrunk], false)).unwrap();
    });
    assert_eq!(site.add_as(&on_macvlan(&site, "a")).await.unwrap(), [address("10.0.0.2")]);
    site.apply(&[("p", pool("always"))]).await;
    let counts = site.engine.pools().unwrap()[0].status.counts;
    assert_eq!((counts.held, counts.free), (1, 1), "{counts:?}");
}

/// As the Kubernetes allocator writes it for a lost node.
async fn quarantine_unfenced(site: &mut Site, text: &str) {
    let key = tenure_core::lease::LeaseKey { space: Default::default(), address: address(text) };
    let row = site.store.get(&key).await.unwrap().unwrap();
    let state =
        LeaseState::Quarantined { at: row.lease.bound_at, cause: QuarantineCause::Unfenced };
    let write = Write::Replace { lease: Lease { state, ..row.lease }, expect: row.revision };
    site.store.commit(vec![write]).await.unwrap();
    site.restart("boot-1");
}

#[tokio::test]
async fn a_quarantined_holder_that_lives_gets_its_address_back_in_the_same_generation() {
    let mut site = site("unproven").await;
    site.add("a").await.unwrap();
    quarantine_unfenced(&mut site, "10.0.0.1").await;
    let swept = site.engine.sweep().await.unwrap();
    assert_eq!((swept.returned.len(), swept.reclaimed.len()), (1, 0));
    let lease = lease(&site, "10.0.0.1").await;
    assert!(lease.is_bound() && lease.generation.0 == 1);
}

#[tokio::test]
async fn a_quarantined_holder_that_is_gone_lets_go_and_a_silent_witness_changes_nothing() {
    let mut site = site("unproven").await;
    site.add("a").await.unwrap();
    quarantine_unfenced(&mut site, "10.0.0.1").await;
    site.kernel.be_silent(true);
    assert_eq!(site.reclaim().await, 0);
    assert_eq!(lease(&site, "10.0.0.1").await.state_name(), "Quarantined");
    site.kernel.be_silent(false);
    site.kernel.end("a");
    assert_eq!(site.reclaim().await, 1);
    assert!(lease(&site, "10.0.0.1").await.is_released());
}

#[tokio::test]
async fn the_add_and_the_del_of_a_quarantined_holder_work_on_its_row() {
    let mut site = site("unproven").await;
    let held = site.add("a").await.unwrap();
    quarantine_unfenced(&mut site, "10.0.0.1").await;
    assert_eq!(site.add("a").await.unwrap(), held);
    assert!(lease(&site, "10.0.0.1").await.is_bound());
    quarantine_unfenced(&mut site, "10.0.0.1").await;
    site.del("a").await;
    assert!(lease(&site, "10.0.0.1").await.is_released());
}

#[tokio::test]
async fn a_quarantined_holder_who_answers_on_the_wire_stays_its_holder() {
    let mut site = site("unproven").await;
    site.add("a").await.unwrap();
    site.add("b").await.unwrap();
    quarantine_unfenced(&mut site, "10.0.0.1").await;
    // Its node is cut off and its container lives.
    site.kernel.be_silent(true);
    site.wire.set_foreign(address("10.0.0.1"), true);
    assert!(site.add_as(&on_macvlan(&site, "c")).await.is_err());
    let taken = lease(&site, "10.0.0.1").await;
    let unfenced = LeaseState::Quarantined { at: taken.bound_at, cause: QuarantineCause::Unfenced };
    assert_eq!(taken.state, unfenced, "the record knows who that is");
    site.kernel.be_silent(false);
    assert_eq!(site.engine.sweep().await.unwrap().returned.len(), 1);
    site.del("a").await;
    assert_eq!(lease(&site, "10.0.0.1").await.state_name(), "Released");
}
