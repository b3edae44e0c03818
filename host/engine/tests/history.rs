//! Every verb that changes a holder is told, and who held what at a time is answered from it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tenure_core::error::{Coded as _, Kind};
use tenure_core::history::{HeldAt, Ignorance, What};
use tenure_core::lease::{Proof, QuarantineCause};
use tenure_core::time::{Clock as _, WallMs};
use tenure_engine::{Engine, EngineError, HistoryRequest, HistoryView, Ports, ReleaseRequest};
use tenure_sim::{Site, pod};
use tenure_store::MemoryStore;

async fn one() -> Site {
    Site::new(&[("p", json!({"cidr": "10.0.0.0/32"}))]).await
}

fn only() -> IpAddr {
    "10.0.0.0".parse().unwrap()
}

async fn ask(
    site: &Site,
    address: &str,
    at: Option<WallMs>,
    limit: usize,
) -> Result<HistoryView, EngineError> {
    let (address, space) = (address.parse().unwrap(), "default".parse().unwrap());
    site.engine.history(HistoryRequest { address, space, at, limit }).await
}

/// What happened to the one address, oldest first, and which container it was about.
async fn told(site: &Site) -> Vec<(What, String)> {
    let items = ask(site, "10.0.0.0", None, 100).await.unwrap().items;
    let who = |event: tenure_core::history::HistoryEvent| {
        let container = event.holder().unwrap().attachment.container.to_string();
        (event.what, container)
    };
    items.into_iter().rev().map(who).collect()
}

fn expected(events: &[(What, &str)]) -> Vec<(What, String)> {
    events.iter().map(|(what, who)| (what.clone(), (*who).to_owned())).collect()
}

/// The container that held the address then, `nobody` or `unknown`.
async fn at(site: &Site, at: WallMs) -> String {
    match ask(site, "10.0.0.0", Some(at), 0).await.unwrap().moment.unwrap().answer {
        HeldAt::Held { holder, .. } => holder.attachment.container.to_string(),
        HeldAt::Nobody { .. } => "nobody".to_owned(),
        HeldAt::Quarantined { .. } => "quarantined".to_owned(),
        HeldAt::Unknown(_) => "unknown".to_owned(),
    }
}

#[tokio::test]
async fn an_add_and_a_del_are_told_and_the_same_add_again_is_not() {
    let site = one().await;
    site.add("c1").await.unwrap();
    site.add("c1").await.unwrap();
    site.del("c1").await;
    site.del("c1").await;
    assert_eq!(told(&site).await, expected(&[(What::Bound, "c1"), (What::Released, "c1")]));
}

#[tokio::test]
async fn a_reclaim_is_told_with_its_proof() {
    let mut site = one().await;
    site.add("c1").await.unwrap();
    site.kernel.end("c1");
    assert_eq!(site.reclaim().await, 1);
    site.settle().await;
    site.add("c2").await.unwrap();
    site.kernel.reboot();
    site.restart("boot-2");
    assert_eq!(site.reclaim().await, 1);
    let by = |proof| What::Reclaimed { proof };
    let events = [
        (What::Bound, "c1"),
        (by(Proof::Kernel), "c1"),
        (What::Bound, "c2"),
        (by(Proof::Reboot), "c2"),
    ];
    assert_eq!(told(&site).await, expected(&events));
}

#[tokio::test]
async fn a_re_add_after_a_reboot_and_a_new_container_of_the_pod_are_told() {
    let mut site = one().await;
    let request = |site: &Site, container: &str| {
        let mut request = site.request(container);
        request.owner = pod("web-0", "uid-1");
        request
    };
    site.add_as(&request(&site, "c1")).await.unwrap();
    site.kernel.reboot();
    site.restart("boot-2");
    site.add_as(&request(&site, "c1")).await.unwrap();
    site.kernel.end("c1");
    site.add_as(&request(&site, "c2")).await.unwrap();
    let events = [(What::Bound, "c1"), (What::Rebound, "c1"), (What::TakenOver, "c2")];
    assert_eq!(told(&site).await, expected(&events));
    let items = ask(&site, "10.0.0.0", None, 1).await.unwrap().items;
    assert_eq!(items[0].before.as_ref().unwrap().attachment.container.as_str(), "c1");
}

#[tokio::test]
async fn what_the_operator_does_is_told_with_his_reason() {
    let site = one().await;
    site.add("c1").await.unwrap();
    let release = || ReleaseRequest {
        address: only(),
        space: "default".parse().unwrap(),
        generation: 1,
        even_if_live: true,
        reason: "cable".to_owned(),
    };
    site.engine.release_by_hand(release(), "uid 0").await.unwrap();
    let quarantine = What::Quarantined { cause: QuarantineCause::Operator("uid 0: cable".into()) };
    assert_eq!(told(&site).await, expected(&[(What::Bound, "c1"), (quarantine.clone(), "c1")]));
    site.engine.release_by_hand(release(), "uid 0").await.unwrap();
    let by_hand = What::Reclaimed { proof: Proof::Operator };
    let events = [(What::Bound, "c1"), (quarantine, "c1"), (by_hand, "c1")];
    assert_eq!(told(&site).await, expected(&events));
}

#[tokio::test]
async fn who_held_it_at_a_time_is_answered() {
    let site = one().await;
    let wall = || site.clock.wall();
    let start = wall();
    site.clock.pass(Duration::from_secs(10));
    site.add("c1").await.unwrap();
    let first = wall();
    site.clock.pass(Duration::from_secs(10));
    site.del("c1").await;
    let free = wall();
    site.kernel.end("c1");
    site.clock.pass(Duration::from_secs(600));
    site.settle().await;
    site.add("c2").await.unwrap();
    let second = wall();
    site.clock.pass(Duration::from_secs(3_600));
    let before = |at: WallMs| WallMs(at.0 - 1);
    for (moment, who) in [
        (start, "unknown"),
        (before(first), "unknown"),
        (first, "c1"),
        (before(free), "c1"),
        (free, "nobody"),
        (before(second), "nobody"),
        (second, "c2"),
        (wall(), "c2"),
    ] {
        assert_eq!(at(&site, moment).await, who, "{}", moment.to_rfc3339_ms());
    }
}

#[tokio::test]
async fn the_newest_events_come_first_and_how_many_there_are_is_told() {
    let site = one().await;
    for round in 0..3 {
        let name = format!("c{round}");
        site.add(&name).await.unwrap();
        site.del(&name).await;
        site.kernel.end(&name);
        site.settle().await;
        site.settle().await;
    }
    let view = ask(&site, "10.0.0.0", None, 2).await.unwrap();
    assert_eq!(view.items.iter().map(|event| event.seq).collect::<Vec<_>>(), [6, 5]);
    assert_eq!((view.total, view.kept.bound, view.moment), (6, 100_000, None));
}

#[tokio::test]
async fn an_address_that_was_never_held_has_an_empty_history_and_one_of_no_pool_none() {
    let site = Site::new(&[("p", json!({"cidr": "10.0.0.0/30"}))]).await;
    site.add("c1").await.unwrap();
    let view = ask(&site, "10.0.0.2", Some(site.clock.wall()), 10).await.unwrap();
    assert!(view.items.is_empty());
    let nobody = HeldAt::Nobody { since: None, until: None, last: None };
    assert_eq!(view.moment.unwrap().answer, nobody);
    let elsewhere = ask(&site, "10.9.0.1", None, 10).await.unwrap_err();
    assert_eq!(elsewhere.kind(), Kind::NotFound);
    assert_eq!(elsewhere.to_string(), "history of 10.9.0.1 not found");
}

#[tokio::test]
async fn the_history_of_an_address_outlives_its_pool() {
    let site = one().await;
    site.add("c1").await.unwrap();
    site.del("c1").await;
    let name = "p".parse().unwrap();
    site.engine.delete(tenure_core::objects::ObjectKind::IPPool, &name).await.unwrap();
    assert_eq!(told(&site).await.len(), 2);
}

/// The same site over a store that keeps so many changes.
async fn keeping(history_events: u64, cidr: &str) -> Site {
    let mut site = Site::new(&[]).await;
    site.store = Arc::new(MemoryStore::keeping(history_events));
    let ports = Ports {
        store: site.store.clone(),
        policies: site.policies.clone(),
        kernel: site.kernel.clone(),
        wire: None,
        clock: site.clock.clone(),
    };
    site.engine = Engine::start(ports, site.engine.options().clone()).unwrap();
    site.apply(&[("p", json!({"cidr": cidr}))]).await;
    site
}

#[tokio::test]
async fn what_is_dropped_from_the_history_is_still_told_by_the_record() {
    for events in [0, 1] {
        let site = keeping(events, "10.0.0.0/31").await;
        site.add("c1").await.unwrap();
        let first = site.clock.wall();
        site.clock.pass(Duration::from_secs(60));
        site.add("c2").await.unwrap();
        site.clock.pass(Duration::from_secs(60));
        let view = ask(&site, "10.0.0.0", None, 10).await.unwrap();
        assert_eq!((view.total, view.kept.bound), (0, events));
        assert_eq!(at(&site, first).await, "c1");
        assert_eq!(at(&site, site.clock.wall()).await, "c1");
        assert_eq!(at(&site, WallMs(first.0 - 1)).await, "unknown");
    }
}

#[tokio::test]
async fn before_anything_happened_nothing_is_known() {
    let site = one().await;
    let view = ask(&site, "10.0.0.0", Some(site.clock.wall()), 10).await.unwrap();
    assert_eq!(view.moment.unwrap().answer, HeldAt::Unknown(Ignorance::NothingKept));
}
