//! ADDs that wait for an address: in order, holding nothing, bounded, and gone when nobody wants them any more.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tenure_core::decision::{Affinity, IfHeld};
use tenure_engine::{AddRequest, DelRequest, Engine, EngineError, MAX_WAITERS, SpoolInstant};
use tenure_sim::{Site, attachment, start_add, until};
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(30);

type Answer = Result<Vec<IpAddr>, EngineError>;

async fn full_site() -> Site {
    // Two addresses, no cool-down and no floor but the one without proof.
    let site = Site::new(&[(
        "p",
        json!({"cidr": "10.0.0.0/29", "ranges": ["10.0.0.1-10.0.0.2"], "cooldown": "0s"}),
    )])
    .await;
    for container in ["a", "b"] {
        site.add(container).await.unwrap();
    }
    site
}

/// An ADD that is ready to wait, and waits.
async fn waiter(site: &Site, container: &str) -> JoinHandle<Answer> {
    let before = site.engine.waiting();
    let add = add_patiently(&site.engine, site.request(container));
    until(|| site.engine.waiting() > before).await;
    add
}

fn add_patiently(engine: &Arc<Engine>, request: AddRequest) -> JoinHandle<Answer> {
    start_add(engine, AddRequest { wait: PATIENCE, ..request })
}

/// The holder ends and its DEL comes: the address can be given at once.
async fn leave(site: &Site, container: &str) {
    site.kernel.end(container);
    site.del(container).await;
    site.settle().await;
}

#[tokio::test(start_paused = true)]
async fn waiters_are_served_in_the_order_in_which_they_came() {
    let site = full_site().await;
    let first = waiter(&site, "c").await;
    let second = waiter(&site, "d").await;
    assert!(!first.is_finished() && site.held().await == 2);
    leave(&site, "a").await;
    assert_eq!(first.await.unwrap().unwrap(), ["10.0.0.1".parse::<IpAddr>().unwrap()]);
    assert!(!second.is_finished());
    leave(&site, "b").await;
    assert_eq!(second.await.unwrap().unwrap(), ["10.0.0.2".parse::<IpAddr>().unwrap()]);
    assert_eq!(site.engine.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_later_does_not_overtake() {
    let site = full_site().await;
    let patient = waiter(&site, "c").await;
    // Freed behind the back of the queue: nobody is woken by the clock alone.
    site.kernel.end("a");
    site.del("a").await;
    let newcomer = site.add("d").await.unwrap_err();
    assert!(matches!(newcomer, EngineError::Exhausted { waiting: 1, .. }), "{newcomer:?}");
    site.settle().await;
    let newcomer = site.add("d").await;
    let patient = patient.await.unwrap();
    assert!(patient.is_ok(), "{patient:?}");
    assert!(newcomer.is_err());
}

#[tokio::test(start_paused = true)]
async fn all_of_a_thousand_waiters_get_what_is_freed_at_once() {
    let spec = json!({"cidr": "10.0.0.0/16", "ranges": ["10.0.1.0-10.0.4.231"], "cooldown": "0s"});
    let site = Site::new(&[("p", spec)]).await;
    for n in 0..1000 {
        site.add(&format!("old{n}")).await.unwrap();
    }
    let adds: Vec<_> =
        (0..1000).map(|n| add_patiently(&site.engine, site.request(&format!("new{n}")))).collect();
    until(|| site.engine.waiting() == 1000).await;
    for n in 0..1000 {
        site.kernel.end(&format!("old{n}"));
    }
    assert_eq!(site.reclaim().await, 1000);
    let mut given = std::collections::HashSet::new();
    for add in adds {
        assert!(given.insert(add.await.unwrap().unwrap()));
    }
    assert_eq!((given.len(), site.held().await, site.engine.waiting()), (1000, 1000, 0));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_holds_nothing_and_takes_both_families_together() {
    let site = Site::new(&[
        ("four", json!({"cidr": "10.0.0.0/30", "ranges": ["10.0.0.1-10.0.0.2"]})),
        ("six", json!({"cidr": "fd00::/64", "ranges": ["fd00::1-fd00::1"], "cooldown": "0s"})),
    ])
    .await;
    site.add("a").await.unwrap();
    let both = waiter(&site, "b").await;
    let counts = |name: &str| {
        let pools = site.engine.pools().unwrap();
        pools.into_iter().find(|p| p.pool.metadata.name.as_str() == name).unwrap().status.counts
    };
    assert_eq!((counts("four").free, counts("four").held), (1, 1));
    leave(&site, "a").await;
    assert_eq!(both.await.unwrap().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_del_of_a_waiting_add_sends_it_away_and_the_next_one_is_served() {
    let site = full_site().await;
    let first = waiter(&site, "c").await;
    let second = waiter(&site, "d").await;
    site.del("c").await;
    assert!(matches!(first.await.unwrap(), Err(EngineError::DelCame)));
    assert_eq!(site.engine.waiting(), 1);
    leave(&site, "a").await;
    assert!(second.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_hangs_up_leaves_the_queue() {
    let site = full_site().await;
    let first = waiter(&site, "c").await;
    let second = waiter(&site, "d").await;
    first.abort();
    until(|| site.engine.waiting() == 1).await;
    leave(&site, "a").await;
    assert!(second.await.unwrap().is_ok());
    // The lock of the attachment went too.
    assert!(matches!(site.add("c").await, Err(EngineError::Exhausted { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_gives_up_says_where_how_long_and_who_else() {
    let site = full_site().await;
    let began = tokio::time::Instant::now();
    let first = waiter(&site, "c").await;
    let second = waiter(&site, "d").await;
    let error = first.await.unwrap().unwrap_err();
    assert!(began.elapsed() >= PATIENCE);
    let text = error.to_string();
    assert!(
        text.starts_with("no IPv4 address is free in pool p after 30 s, 1 others wait"),
        "{text}"
    );
    assert!(second.await.unwrap().is_err());
    assert_eq!(site.engine.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_rest_wakes_the_one_who_waits_for_it() {
    let spec = json!({"cidr": "10.0.0.0/29", "ranges": ["10.0.0.1-10.0.0.1"], "cooldown": "60s"});
    let site = Site::new(&[("p", spec)]).await;
    site.add("a").await.unwrap();
    // Without proof: the kernel cannot say whether the holder is gone, so the floor of 5 s holds.
    site.del("a").await;
    let add = waiter(&site, "c").await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(!add.is_finished());
    site.clock.pass(Duration::from_secs(5));
    assert_eq!(add.await.unwrap().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wider_pool_serves_those_who_wait() {
    let site = full_site().await;
    let add = waiter(&site, "c").await;
    site.apply(&[(
        "p",
        json!({"cidr": "10.0.0.0/29", "ranges": ["10.0.0.1-10.0.0.3"], "cooldown": "0s"}),
    )])
    .await;
    assert_eq!(add.await.unwrap().unwrap(), ["10.0.0.3".parse::<IpAddr>().unwrap()]);
}

#[tokio::test(start_paused = true)]
async fn a_new_pool_serves_those_who_wait() {
    let site = full_site().await;
    let adds = [waiter(&site, "c").await, waiter(&site, "d").await];
    site.apply(&[("q", json!({"cidr": "10.0.1.0/29"}))]).await;
    let mut given = BTreeSet::new();
    for add in adds {
        given.extend(add.await.unwrap().unwrap());
    }
    // In which order is open: the pool has no queue yet.
    let both = ["10.0.1.1", "10.0.1.2"].map(|address| address.parse::<IpAddr>().unwrap());
    assert_eq!(given, BTreeSet::from(both));
}

#[tokio::test(start_paused = true)]
async fn a_sticky_key_waits_for_its_own_address_that_rests() {
    let site = Site::new(&[("p", json!({"cidr": "10.0.0.0/24"}))]).await;
    *site.policies.affinity.lock() = Affinity::Sticky {
        key: "db-0".into(),
        if_held: IfHeld::Fail,
        retain_s: 600,
        preferred: Vec::new(),
    };
    let held = site.add("a").await.unwrap();
    site.del("a").await;
    let again = waiter(&site, "b").await;
    site.kernel.end("a");
    site.settle().await;
    assert_eq!(again.await.unwrap().unwrap(), held);
}

#[tokio::test(start_paused = true)]
async fn the_queue_of_a_pool_is_bounded() {
    let site = full_site().await;
    let adds: Vec<_> = (0..MAX_WAITERS)
        .map(|n| add_patiently(&site.engine, site.request(&format!("w{n}"))))
        .collect();
    until(|| site.engine.waiting() == MAX_WAITERS).await;
    let late = site.engine.add(AddRequest { wait: PATIENCE, ..site.request("late") }).await;
    assert!(matches!(late, Err(EngineError::Busy { bound: MAX_WAITERS, .. })), "{late:?}");
    for add in &adds {
        add.abort();
    }
    until(|| site.engine.waiting() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_repeated_add_of_a_waiting_one_is_answered_after_it() {
    let site = full_site().await;
    let first = waiter(&site, "c").await;
    let again = add_patiently(&site.engine, site.request("c"));
    leave(&site, "a").await;
    assert_eq!(first.await.unwrap().unwrap(), again.await.unwrap().unwrap());
    let del = DelRequest::of(attachment("c"));
    site.engine.del(del).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_del_from_the_spool_neither_sends_a_waiting_add_away_nor_waits_behind_it() {
    let site = full_site().await;
    let waits = waiter(&site, "c").await;
    let long_ago = SpoolInstant { boot: "boot-1".into(), boottime_ms: 0 };
    let spooled = DelRequest { bound_before: Some(long_ago), ..DelRequest::of(attachment("c")) };
    let del = site.engine.del(spooled.clone()).await;
    assert!(matches!(del, Err(EngineError::Busy { .. })), "{del:?}");
    leave(&site, "a").await;
    waits.await.unwrap().unwrap();
    site.engine.del(spooled).await.unwrap();
    assert_eq!(site.held().await, 2, "the ADD came later");
}
