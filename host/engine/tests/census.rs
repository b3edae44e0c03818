//! A store that went back in time, or that never knew: what stands on a link is not given away.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tenure_core::lease::{Lease, LeaseState, QuarantineCause};
use tenure_core::name::{IfName, NetworkName, ObjectName};
use tenure_core::objects::{API_VERSION, Object, ObjectKind};
use tenure_core::ports::{Kernel as _, WireLink};
use tenure_engine::{AddRequest, Caller, EngineError, ReleaseRequest};
use tenure_sim::Site;
use tenure_store::{Contents, Fault, ImportMode, MemoryStore, Store as _};

fn pool() -> Value {
    json!({"cidr": "10.0.0.0/24", "ranges": ["10.0.0.1-10.0.0.4"], "cooldown": "0s"})
}

/// A site on which these containers hold 10.0.0.1 and so on, each on its link.
async fn site(containers: &[&str]) -> Site {
    let site = Site::new(&[("p", pool())]).await;
    for container in containers {
        attach(&site, container).await;
    }
    site
}

async fn attach(site: &Site, container: &str) -> IpAddr {
    let address = site.add(container).await.unwrap()[0];
    site.kernel.put_on_link(container, address);
    address
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

async fn lease(site: &Site, text: &str) -> Lease {
    site.engine.lease(Default::default(), address(text)).await.unwrap().lease
}

/// Somebody of whom the store knows nothing has this address on its link.
fn stand(site: &Site, stranger: &str, text: &str) {
    site.kernel.make(stranger);
    site.kernel.put_on_link(stranger, address(text));
}

fn cause(lease: &Lease) -> Option<QuarantineCause> {
    match &lease.state {
        LeaseState::Quarantined { cause, .. } => Some(cause.clone()),
        _ => None,
    }
}

fn contents(site: &Site) -> Contents {
    let identity = site.store.identity();
    let mut leases = Vec::new();
    site.store.scan(&mut |row| leases.push(row.lease)).unwrap();
    let objects = site.store.objects().unwrap();
    let (epoch, revision) = (identity.epoch, identity.revision);
    Contents { epoch, revision, objects, leases, history: None }
}

#[tokio::test]
async fn a_store_deleted_under_live_holders_gives_none_of_their_addresses_away() {
    let mut site = site(&["a", "b"]).await;
    site.restart_on(MemoryStore::new(), true);
    site.apply(&[("p", pool())]).await;
    assert_eq!(site.add("c").await.unwrap(), [address("10.0.0.3")]);
    assert_eq!(site.add("d").await.unwrap(), [address("10.0.0.4")]);
    assert!(site.add("e").await.is_err());
    for held in ["10.0.0.1", "10.0.0.2"] {
        assert_eq!(cause(&lease(&site, held).await), Some(QuarantineCause::Found));
    }
    site.kernel.end("a");
    assert_eq!(site.reclaim().await, 1, "the end of the stranger is proved like any other");
    assert_eq!(site.add("e").await.unwrap(), [address("10.0.0.1")]);
}

#[tokio::test]
async fn an_import_of_an_older_state_leaves_the_present_holder_its_address() {
    let site = site(&["old"]).await;
    let backup = contents(&site);
    site.kernel.end("old");
    site.del("old").await;
    site.settle().await;
    for container in ["x", "y", "z", "new"] {
        attach(&site, container).await;
    }
    site.engine.import(backup, ImportMode::Replace).await.unwrap();
    let first = lease(&site, "10.0.0.1").await;
    assert_eq!(cause(&first), Some(QuarantineCause::Found), "its recorded holder is over");
    assert_eq!(first.generation.0, 2);
    assert!(matches!(site.add("other").await, Err(EngineError::Exhausted { .. })));
}

#[tokio::test]
async fn two_live_claims_are_quarantined_for_an_operator() {
    let site = site(&["a"]).await;
    let backup = contents(&site);
    // The recorded holder lives, and another container stands on its address.
    stand(&site, "b", "10.0.0.1");
    site.kernel.take_off_link("a", address("10.0.0.1"));
    site.engine.import(backup, ImportMode::Replace).await.unwrap();
    assert_eq!(cause(&lease(&site, "10.0.0.1").await), Some(QuarantineCause::TwoClaims));
    assert_eq!(site.add("c").await.unwrap(), [address("10.0.0.2")]);
}

#[tokio::test]
async fn an_address_that_lives_in_two_spaces_is_no_second_claim() {
    let blue = json!({"cidr": "10.0.0.0/24", "space": "blue", "networks": ["blue"]});
    let mut red = pool();
    red["networks"] = json!(["net"]);
    let mut site = Site::new(&[("p", red), ("q", blue)]).await;
    attach(&site, "a").await;
    let mut request = site.request("b");
    request.attachment.network = NetworkName::new("blue").unwrap();
    assert_eq!(site.add_as(&request).await.unwrap(), [address("10.0.0.1")]);
    site.kernel.put_on_link("b", address("10.0.0.1"));
    site.restart("boot-1");
    attach(&site, "c").await;
    assert_eq!((site.held().await, site.engine.counters().found.get()), (3, 0));
}

#[tokio::test]
async fn a_cookie_of_an_earlier_boot_names_nobody_of_this_one() {
    let mut site = site(&["a"]).await;
    site.kernel.reboot();
    // The first namespace of this boot has the cookie that the holder's had in the boot before.
    stand(&site, "stranger", "10.0.0.1");
    site.restart("boot-2");
    site.reclaim().await;
    assert_eq!(cause(&lease(&site, "10.0.0.1").await), Some(QuarantineCause::Found));
}

#[tokio::test]
async fn a_namespace_with_the_inode_of_the_recorded_one_is_another_claim() {
    let site = site(&["a"]).await;
    let backup = contents(&site);
    let recorded = lease(&site, "10.0.0.1").await.netns.unwrap();
    let same_inode = (0..10).map(|n| format!("x{n}")).find(|name| {
        site.kernel.make(name);
        site.kernel.identify(Path::new(name)).unwrap().ino == recorded.ino
    });
    site.kernel.put_on_link(&same_inode.unwrap(), address("10.0.0.1"));
    site.kernel.take_off_link("a", address("10.0.0.1"));
    site.engine.import(backup, ImportMode::Replace).await.unwrap();
    assert_eq!(cause(&lease(&site, "10.0.0.1").await), Some(QuarantineCause::TwoClaims));
}

#[tokio::test]
async fn what_the_store_says_rightly_stays_as_it_is() {
    let mut site = site(&["a", "b"]).await;
    let backup = contents(&site);
    site.engine.import(backup, ImportMode::Replace).await.unwrap();
    assert_eq!(site.held().await, 2);
    site.restart("boot-1");
    assert_eq!(attach(&site, "c").await, address("10.0.0.3"));
    assert_eq!(site.engine.counters().found.get(), 0);
}

#[tokio::test]
async fn until_it_is_known_what_is_alive_only_a_silent_probe_permits_an_address() {
    let mut site = site(&["a"]).await;
    site.kernel.be_silent(true);
    site.restart_on(MemoryStore::new(), true);
    site.apply(&[("p", pool())]).await;
    let link = Some(WireLink::Macvlan { parent: IfName::new("eth1").unwrap() });
    site.wire.set_foreign(address("10.0.0.1"), true);
    let probed = AddRequest { link: link.clone(), ..site.request("b") };
    // The holder that nobody sees answers, and the next address is asked for.
    assert_eq!(site.add_as(&probed).await.unwrap(), [address("10.0.0.2")]);
    site.wire.be_blind(true);
    let blind = AddRequest { link, ..site.request("c") };
    assert!(matches!(site.add_as(&blind).await, Err(EngineError::Unsettled { .. })));
    let refused = site.add("c").await.unwrap_err();
    assert!(matches!(refused, EngineError::Unsettled { .. }), "{refused:?}");
    site.kernel.be_silent(false);
    site.clock.pass(Duration::from_secs(6));
    assert_ne!(site.add("c").await.unwrap(), [address("10.0.0.1")]);
    assert_eq!(site.wire.asked().len(), 3, "nobody is asked any more");
}

#[tokio::test]
async fn a_silent_witness_keeps_nobody_waiting_where_the_store_is_the_truth() {
    let mut site = site(&["a"]).await;
    site.kernel.be_silent(true);
    site.restart("boot-1");
    assert_eq!(site.add("b").await.unwrap(), [address("10.0.0.2")]);
}

#[tokio::test]
async fn a_new_pool_spares_what_others_already_use() {
    let site = Site::new(&[]).await;
    stand(&site, "foreign", "10.0.0.1");
    site.apply(&[("p", pool())]).await;
    assert_eq!(site.add("a").await.unwrap(), [address("10.0.0.2")]);
}

#[tokio::test]
async fn an_import_does_not_forget_holders_whose_links_are_not_up_yet() {
    let site = Site::new(&[("p", pool())]).await;
    let backup = contents(&site);
    site.add("a").await.unwrap();
    let blind = AddRequest { caller: Caller::Here { netns: None }, ..site.request("b") };
    site.add_as(&blind).await.unwrap();
    site.add("over").await.unwrap();
    site.kernel.end("over");
    site.engine.import(backup, ImportMode::Replace).await.unwrap();
    for held in ["10.0.0.1", "10.0.0.2"] {
        assert_eq!(cause(&lease(&site, held).await), Some(QuarantineCause::Found), "{held}");
    }
    assert_eq!(site.add("c").await.unwrap(), [address("10.0.0.3")], "its holder is over");
}

#[tokio::test]
async fn what_was_found_is_freed_when_a_complete_census_sees_it_nowhere() {
    let mut site = Site::new(&[]).await;
    for stranger in ["first", "second"] {
        stand(&site, stranger, "10.0.0.1");
    }
    site.restart_on(MemoryStore::new(), true);
    site.apply(&[("p", pool())]).await;
    let named = lease(&site, "10.0.0.1").await.netns.map(|netns| netns.cookie);
    assert_eq!(named, site.kernel.cookie("first"));
    site.kernel.end("first");
    assert_eq!(site.reclaim().await, 0, "the second one has it");
    let elsewhere = site.kernel.make("elsewhere");
    site.kernel.end("second");
    site.kernel.be_unsure(elsewhere, true);
    assert_eq!(site.reclaim().await, 0, "nobody knows what is in there");
    assert_eq!(cause(&lease(&site, "10.0.0.1").await), Some(QuarantineCause::Found));
    site.kernel.be_unsure(elsewhere, false);
    assert_eq!(site.reclaim().await, 1);
}

/// `a` is recorded and `b` stands on its address too.
async fn two_claims() -> Site {
    let site = site(&["a"]).await;
    stand(&site, "b", "10.0.0.1");
    let backup = contents(&site);
    site.engine.import(backup, ImportMode::Replace).await.unwrap();
    assert_eq!(cause(&lease(&site, "10.0.0.1").await), Some(QuarantineCause::TwoClaims));
    site
}

#[tokio::test]
async fn the_end_of_one_of_two_claimants_does_not_free_the_address_of_the_other() {
    let site = two_claims().await;
    site.kernel.end("a");
    assert_eq!(site.reclaim().await, 0);
    site.kernel.end("b");
    assert_eq!(site.reclaim().await, 1);
}

#[tokio::test]
async fn the_add_of_the_recorded_claimant_is_answered_and_does_not_end_the_claim_of_the_other() {
    let site = two_claims().await;
    assert_eq!(site.add("a").await.unwrap(), [address("10.0.0.1")]);
    assert_eq!(cause(&lease(&site, "10.0.0.1").await), Some(QuarantineCause::TwoClaims));
}

#[tokio::test]
async fn the_del_of_one_of_two_claimants_leaves_the_address_to_the_other() {
    let site = two_claims().await;
    site.del("a").await;
    site.kernel.end("a");
    site.settle().await;
    let left = lease(&site, "10.0.0.1").await;
    assert_eq!(cause(&left), Some(QuarantineCause::Found));
    assert_ne!(left.attachment, tenure_sim::attachment("a"));
    assert_eq!(site.add("c").await.unwrap(), [address("10.0.0.2")]);
    site.kernel.end("b");
    assert_eq!(site.reclaim().await, 1);
}

#[tokio::test]
async fn a_reservation_that_is_lifted_gives_nothing_that_somebody_uses() {
    let site = Site::new(&[("p", pool())]).await;
    let reservation = Object::from_json(json!({
        "apiVersion": API_VERSION, "kind": "IPReservation", "metadata": {"name": "r"},
        "spec": {"addresses": ["10.0.0.1"]},
    }));
    site.engine.apply(vec![reservation.unwrap()], false).await.unwrap();
    stand(&site, "stranger", "10.0.0.1");
    let name = ObjectName::new("r").unwrap();
    site.engine.delete(ObjectKind::IPReservation, &name).await.unwrap();
    assert_eq!(site.add("a").await.unwrap(), [address("10.0.0.2")]);
}

#[tokio::test]
async fn a_pool_that_is_enabled_gives_nothing_that_somebody_uses() {
    let mut disabled = pool();
    disabled["disabled"] = json!(true);
    let site = Site::new(&[("p", disabled)]).await;
    stand(&site, "stranger", "10.0.0.1");
    site.apply(&[("p", pool())]).await;
    assert_eq!(site.add("a").await.unwrap(), [address("10.0.0.2")]);
}

#[tokio::test]
async fn what_an_operator_quarantined_in_an_earlier_boot_does_not_hide_who_lives_in_this_one() {
    let mut site = site(&["a"]).await;
    let by_hand = ReleaseRequest {
        address: address("10.0.0.1"),
        space: Default::default(),
        generation: 1,
        even_if_live: true,
        reason: "test".into(),
    };
    site.engine.release_by_hand(by_hand, "root").await.unwrap();
    site.kernel.reboot();
    site.kernel.make("has the cookie of a");
    stand(&site, "stranger", "10.0.0.1");
    site.restart("boot-2");
    site.reclaim().await;
    assert_eq!(cause(&lease(&site, "10.0.0.1").await), Some(QuarantineCause::Found));
    assert_eq!(site.add("b").await.unwrap(), [address("10.0.0.2")]);
}

#[tokio::test]
async fn two_minutes_after_a_store_went_back_a_second_census_finds_who_was_on_the_way() {
    let mut site = Site::new(&[]).await;
    site.kernel.make("late");
    site.restart_on(MemoryStore::new(), true);
    site.apply(&[("p", pool())]).await;
    assert!(site.engine.knows_what_lives());
    stand(&site, "late", "10.0.0.1");
    site.clock.pass(Duration::from_secs(120));
    assert_eq!(site.add("a").await.unwrap(), [address("10.0.0.2")]);
}

#[tokio::test]
async fn a_pool_is_applied_though_its_census_cannot_be_written_and_the_next_add_takes_it() {
    let site = Site::new(&[]).await;
    let store = site.held_store();
    let engine = site.engine_over(store.clone(), "boot-1");
    stand(&site, "stranger", "10.0.0.1");
    store.fail_commit(1, Fault::Io);
    engine.apply(vec![tenure_sim::pool("p", &pool())], false).await.unwrap();
    assert_eq!((store.failed(), engine.counters().found.get()), (1, 0));
    let answer = engine.add(site.request("a")).await.unwrap();
    assert_eq!(answer.addresses[0].address.addr(), address("10.0.0.2"));
    assert_eq!(engine.counters().found.get(), 1);
}
