//! A store that others write as well: what they change is heard late, twice, out of order or not at all, and neither a
//! held address is given nor a free one refused for it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tenure_core::decision::{Affinity, IfHeld};
use tenure_core::error::Coded as _;
use tenure_core::lease::LeaseKey;
use tenure_core::name::{Digest, ObjectName};
use tenure_core::objects::{Object, ObjectKind};
use tenure_engine::{AddRequest, DelRequest, Engine, EngineError};
use tenure_sim::{Gate, SimStore, Site, attachment, pool, start_add, until};
use tenure_store::{Change, Fault, MemoryStore, Revision, Row, Store, StoreError, Write};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

type Answer = Result<Vec<IpAddr>, EngineError>;

/// An engine that follows, and another one on the same store, of which the first hears what the test tells it.
struct Scene {
    site: Site,
    store: Arc<SimStore>,
    behind: Arc<MemoryStore>,
    engine: Arc<Engine>,
    others: Arc<Engine>,
    feed: mpsc::Sender<Change>,
}

impl Scene {
    /// With a pool of so many addresses, from 10.0.0.1 on, that rest for so long.
    async fn new(addresses: u8, cooldown: &str) -> Self {
        let ranges = format!("10.0.0.1-10.0.0.{addresses}");
        let spec = json!({"cidr": "10.0.0.0/24", "ranges": [ranges], "cooldown": cooldown});
        Self::with(vec![pool("p", &spec)]).await
    }

    async fn with(pools: Vec<Object>) -> Self {
        let site = Site::new(&[]).await;
        let behind = Arc::new(MemoryStore::new());
        behind.put_objects(pools).await.unwrap();
        let store = Arc::new(SimStore::new(behind.clone(), site.clock.clone()));
        let feed = store.share();
        let engine = site.engine_over(store.clone(), "boot-1");
        let others = site.engine_over(behind.clone(), "boot-1");
        tokio::spawn(engine.clone().follow());
        Self { site, store, behind, engine, others, feed }
    }

    fn add(&self, container: &str, wait: Duration) -> JoinHandle<Answer> {
        start_add(&self.engine, AddRequest { wait, ..self.site.request(container) })
    }

    /// An ADD of the engine that does not wait.
    async fn added(&self, container: &str) -> Answer {
        self.add(container, Duration::ZERO).await.unwrap()
    }

    async fn added_by_others(&self, container: &str) -> IpAddr {
        start_add(&self.others, self.site.request(container)).await.unwrap().unwrap()[0]
    }

    async fn row(&self, address: IpAddr) -> Row {
        self.behind.get(&key(address)).await.unwrap().unwrap()
    }

    async fn delete_row(&self, address: IpAddr) -> Revision {
        let expect = self.row(address).await.revision;
        let write = Write::Delete { key: key(address), expect };
        self.behind.commit(vec![write]).await.unwrap()[0]
    }

    /// The engine has heard it.
    async fn tell(&self, change: Change) {
        self.feed.send(change).await.unwrap();
        // One thread: whoever can go on has gone on.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    /// It hears of the row as it stands now.
    async fn tell_of(&self, address: IpAddr) {
        self.tell(Change::Row(Box::new(self.row(address).await))).await;
    }

    /// It hears a list of all rows.
    async fn tell_list(&self) {
        let mut rows = Vec::new();
        self.behind.scan(&mut |row| rows.push(row)).unwrap();
        let keys = rows.iter().map(|row| row.lease.key()).collect();
        for row in rows {
            self.tell(Change::Row(Box::new(row))).await;
        }
        let revision = self.behind.identity().revision;
        self.tell(Change::Listed { revision, keys }).await;
    }

    fn held(&self) -> u128 {
        self.engine.pools().unwrap().iter().map(|pool| pool.status.counts.held).sum()
    }

    fn conflicts(&self) -> u64 {
        self.engine.counters().conflicts.get()
    }
}

async fn del(engine: &Arc<Engine>, container: &str) {
    let request = DelRequest::of(attachment(container));
    engine.del(request).await.unwrap();
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

fn key(address: IpAddr) -> LeaseKey {
    LeaseKey { space: "default".parse().unwrap(), address }
}

#[tokio::test]
async fn what_another_replica_binds_and_releases_is_known_without_a_conflict_or_a_sweep() {
    let scene = Scene::new(2, "0s").await;
    let theirs = scene.added_by_others("c1").await;
    scene.tell_of(theirs).await;
    assert_eq!(scene.held(), 1);
    assert_ne!(scene.added("c2").await.unwrap(), [theirs]);
    del(&scene.others, "c1").await;
    scene.tell_of(theirs).await;
    assert_eq!(scene.added("c3").await.unwrap(), [theirs]);
    assert_eq!((scene.conflicts(), scene.store.lists()), (0, 0));
    assert_eq!(scene.engine.counters().sweeps.get(), 0);
}

#[tokio::test]
async fn a_del_of_what_another_replica_bound_releases_it() {
    let scene = Scene::new(1, "0s").await;
    let theirs = scene.added_by_others("c1").await;
    scene.tell_of(theirs).await;
    del(&scene.engine, "c1").await;
    assert!(scene.row(theirs).await.lease.is_released());
}

#[tokio::test]
async fn late_old_and_repeated_events_free_no_held_address() {
    let scene = Scene::new(1, "0s").await;
    let mut past = Vec::new();
    for container in ["c1", "c2"] {
        scene.added(container).await.unwrap();
        past.push(scene.row(ip(1)).await);
        del(&scene.engine, container).await;
        past.push(scene.row(ip(1)).await);
    }
    scene.added("c3").await.unwrap();
    let present = scene.row(ip(1)).await;
    let before = Revision(present.revision.0 - 1);
    for row in past.into_iter().rev().chain([present]) {
        scene.tell(Change::Row(Box::new(row))).await;
        assert_eq!(scene.held(), 1, "I1");
    }
    scene.tell(Change::Gone { key: key(ip(1)), revision: before }).await;
    scene.tell(Change::Listed { revision: before, keys: [].into() }).await;
    assert_eq!(scene.held(), 1, "I1");
    assert_eq!(scene.added("c4").await.unwrap_err().code(), "POOL_EXHAUSTED");
    del(&scene.engine, "c3").await;
    assert!(scene.row(ip(1)).await.lease.is_released(), "its DEL finds it");
}

#[tokio::test]
async fn a_release_that_is_heard_again_does_not_begin_its_rest_anew() {
    let scene = Scene::new(1, "60s").await;
    scene.added("c1").await.unwrap();
    del(&scene.engine, "c1").await;
    scene.site.clock.pass(Duration::from_secs(57));
    scene.tell_of(ip(1)).await;
    scene.tell_list().await;
    // Less than even a full pool waits for.
    scene.site.clock.pass(Duration::from_secs(4));
    assert_eq!(scene.added("c2").await.unwrap(), [ip(1)]);
}

#[tokio::test]
async fn a_release_of_long_ago_rests_from_when_it_is_heard() {
    let scene = Scene::new(1, "60s").await;
    let theirs = scene.added_by_others("c1").await;
    scene.tell_of(theirs).await;
    del(&scene.others, "c1").await;
    // Their clock may be any: only what passes here counts (I8).
    scene.site.clock.pass(Duration::from_secs(3600));
    scene.tell_of(theirs).await;
    assert_eq!(scene.added("c2").await.unwrap_err().code(), "POOL_EXHAUSTED");
    scene.site.clock.pass(Duration::from_secs(61));
    assert_eq!(scene.added("c2").await.unwrap(), [theirs]);
}

#[tokio::test]
async fn an_event_for_an_address_that_an_add_has_just_reserved_is_left_to_its_conflict() {
    let scene = Scene::new(3, "0s").await;
    scene.store.set_gate(Gate::Before);
    let ours = scene.add("c1", Duration::ZERO);
    until(|| scene.store.under_way() == 1).await;
    let theirs = scene.added_by_others("c2").await;
    assert_eq!(theirs, ip(1), "both chose the same");
    scene.tell_of(theirs).await;
    scene.store.set_gate(Gate::Open);
    assert_eq!(ours.await.unwrap().unwrap(), [ip(2)]);
    assert_eq!((scene.conflicts(), scene.held()), (1, 2));
}

#[tokio::test]
async fn an_event_for_an_address_that_an_add_has_reserved_in_vain_is_not_lost() {
    let scene = Scene::new(3, "0s").await;
    scene.store.set_gate(Gate::Before);
    scene.store.fail_commit(1, Fault::Io);
    let ours = scene.add("c1", Duration::ZERO);
    until(|| scene.store.under_way() == 1).await;
    let theirs = scene.added_by_others("c2").await;
    scene.tell_of(theirs).await;
    scene.store.set_gate(Gate::Open);
    let error = ours.await.unwrap().unwrap_err();
    assert!(matches!(error, EngineError::Store(StoreError::Io { .. })), "{error}");
    assert_eq!(scene.held(), 1, "theirs");
    assert_eq!(scene.added("c3").await.unwrap(), [ip(2)]);
    assert_eq!(scene.conflicts(), 0, "it was known");
}

#[tokio::test]
async fn our_own_write_that_is_heard_before_its_answer_changes_nothing() {
    let scene = Scene::new(2, "0s").await;
    scene.store.set_gate(Gate::After);
    let ours = scene.add("c1", Duration::ZERO);
    until(|| scene.store.under_way() == 1).await;
    scene.tell_of(ip(1)).await;
    scene.store.set_gate(Gate::Open);
    assert_eq!(ours.await.unwrap().unwrap(), [ip(1)]);
    assert_eq!(scene.held(), 1);
    del(&scene.engine, "c1").await;
    assert_eq!(scene.held(), 0);
}

#[tokio::test]
async fn after_lost_events_a_list_says_which_rows_are_gone_and_frees_no_other() {
    let scene = Scene::new(3, "0s").await;
    let gone = scene.added_by_others("c1").await;
    let kept = scene.added_by_others("c2").await;
    scene.tell_list().await;
    assert_eq!(scene.held(), 2);
    scene.delete_row(gone).await;
    let (mut rows, revision) = (Vec::new(), scene.behind.identity().revision);
    scene.behind.scan(&mut |row| rows.push(row.lease.key())).unwrap();
    // Written after the moment of the list.
    let ours = scene.added("c3").await.unwrap();
    scene.tell(Change::Listed { revision, keys: rows.into_iter().collect() }).await;
    assert_eq!(scene.held(), 2, "theirs and ours");
    assert_eq!(scene.added("c4").await.unwrap(), [gone]);
    assert_ne!(ours, [kept]);
    assert_eq!(scene.conflicts(), 0);
    assert_eq!(scene.added("c5").await.unwrap_err().code(), "POOL_EXHAUSTED");
}

#[tokio::test]
async fn a_row_that_was_deleted_is_free() {
    let scene = Scene::new(1, "0s").await;
    scene.added("c1").await.unwrap();
    let revision = scene.delete_row(ip(1)).await;
    scene.tell(Change::Gone { key: key(ip(1)), revision }).await;
    assert_eq!(scene.added("c2").await.unwrap(), [ip(1)]);
    assert_eq!((scene.conflicts(), scene.store.lists()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_woken_by_a_release_of_another_replica() {
    let scene = Scene::new(1, "0s").await;
    let theirs = scene.added_by_others("c1").await;
    scene.tell_of(theirs).await;
    let waiter = scene.add("c2", Duration::from_secs(30));
    until(|| scene.engine.waiting() == 1).await;
    del(&scene.others, "c1").await;
    let since = tokio::time::Instant::now();
    scene.tell_of(theirs).await;
    assert_eq!(waiter.await.unwrap().unwrap(), [theirs]);
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
}

#[tokio::test]
async fn a_free_address_of_which_no_event_told_is_found_before_the_pool_is_called_full() {
    let scene = Scene::new(2, "0s").await;
    let released = scene.added_by_others("c1").await;
    let deleted = scene.added_by_others("c2").await;
    scene.tell_list().await;
    del(&scene.others, "c1").await;
    scene.delete_row(deleted).await;
    let mut given = vec![scene.added("c3").await.unwrap()[0]];
    given.push(scene.added("c4").await.unwrap()[0]);
    given.sort();
    assert_eq!(given, [released, deleted]);
    assert_eq!(scene.store.lists(), 1);
    assert_eq!(scene.conflicts(), 0);
    assert_eq!(scene.added("c5").await.unwrap_err().code(), "POOL_EXHAUSTED");
}

#[tokio::test]
async fn who_waits_takes_what_comes_free_while_the_store_is_looked_at() {
    let scene = Scene::new(1, "0s").await;
    let theirs = scene.added_by_others("c1").await;
    scene.tell_list().await;
    del(&scene.others, "c1").await;
    scene.store.set_gate(Gate::Reads);
    let waiter = scene.add("c2", Duration::from_secs(30));
    // Who comes first is first in line: two that come at once are in any order.
    until(|| scene.engine.waiting() == 1).await;
    let late = scene.add("c3", Duration::from_secs(30));
    until(|| scene.store.lists() == 1 && scene.engine.waiting() == 2).await;
    let revision = scene.delete_row(theirs).await;
    scene.tell(Change::Gone { key: key(theirs), revision }).await;
    assert_eq!(
        waiter.await.unwrap().unwrap(),
        [theirs],
        "the first in line, with the list under way"
    );
    assert_eq!(scene.store.lists(), 1);
    assert!(!late.is_finished());
    scene.store.set_gate(Gate::Open);
    until(|| scene.store.lists() == 2).await;
    assert_eq!(
        scene.engine.waiting(),
        1,
        "what was left in the middle is begun anew for the others"
    );
}

#[tokio::test(start_paused = true)]
async fn an_add_that_waited_looks_once_more_before_it_gives_up() {
    let scene = Scene::new(1, "0s").await;
    scene.added_by_others("c1").await;
    scene.tell_list().await;
    let waiter = scene.add("c2", Duration::from_secs(30));
    until(|| scene.store.lists() == 1 && scene.engine.waiting() == 1).await;
    del(&scene.others, "c1").await;
    assert_eq!(waiter.await.unwrap().unwrap(), [ip(1)]);
    assert_eq!(scene.store.lists(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_crowd_at_a_full_pool_shares_a_live_list() {
    let scene = Scene::new(1, "0s").await;
    scene.added_by_others("c0").await;
    scene.tell_list().await;
    let crowd: Vec<_> = (1..=200).map(|n| scene.add(&format!("c{n}"), Duration::ZERO)).collect();
    for refused in crowd {
        assert_eq!(refused.await.unwrap().unwrap_err().code(), "POOL_EXHAUSTED");
    }
    let lists = scene.store.lists();
    assert!(
        (1..=2).contains(&lists),
        "those who asked while the first was under way share the second: {lists}"
    );
}

#[tokio::test(start_paused = true)]
async fn ten_full_pools_are_listed_together_and_once_for_a_crowd() {
    let spec =
        |n| json!({"cidr": format!("10.0.{n}.0/24"), "ranges": [format!("10.0.{n}.1-10.0.{n}.1")]});
    let pools = (0..10).map(|n| pool(&format!("p{n}"), &spec(n))).collect();
    let scene = Scene::with(pools).await;
    for n in 0..10 {
        scene.added(&format!("c{n}")).await.unwrap();
    }
    scene.store.set_gate(Gate::Reads);
    let crowd: Vec<_> = (10..60).map(|n| scene.add(&format!("c{n}"), Duration::ZERO)).collect();
    // None of them has ended.
    until(|| scene.store.reads_waiting() == 10).await;
    assert_eq!(scene.store.lists(), 10);
    let since = tokio::time::Instant::now();
    scene.store.set_gate(Gate::Open);
    for refused in crowd {
        assert_eq!(refused.await.unwrap().unwrap_err().code(), "POOL_EXHAUSTED");
    }
    let lists = scene.store.lists();
    assert!(matches!(lists, 10 | 20), "each pool once, or once more for the late: {lists}");
    // The clock moves only for pauses: one between two lists of a pool, whatever the number of pools.
    assert!(since.elapsed() <= Duration::from_millis(1100), "{:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_list_that_had_begun_before_an_add_asked_does_not_count_for_it() {
    let scene = Scene::new(1, "0s").await;
    scene.added_by_others("c1").await;
    scene.tell_list().await;
    scene.store.set_gate(Gate::Reads);
    let early = scene.add("c2", Duration::ZERO);
    until(|| scene.store.lists() == 1).await;
    del(&scene.others, "c1").await;
    let late = scene.add("c3", Duration::ZERO);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    scene.store.set_gate(Gate::Open);
    assert_eq!(early.await.unwrap().unwrap_err().code(), "POOL_EXHAUSTED");
    assert_eq!(late.await.unwrap().unwrap(), [ip(1)]);
    assert_eq!(scene.store.lists(), 2);
}

#[tokio::test(start_paused = true)]
async fn where_the_store_cannot_be_listed_a_full_pool_is_called_full_in_time() {
    let scene = Scene::new(1, "0s").await;
    scene.added("c1").await.unwrap();
    scene.store.set_gate(Gate::Reads);
    let since = tokio::time::Instant::now();
    assert_eq!(scene.added("c2").await.unwrap_err().code(), "POOL_EXHAUSTED");
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    scene.store.set_gate(Gate::Open);
    scene.store.fail_reads(true);
    assert_eq!(scene.added("c3").await.unwrap_err().code(), "POOL_EXHAUSTED");
}

#[tokio::test]
async fn a_pool_that_was_disabled_and_is_deleted_by_others_goes_when_its_last_holder_has_left() {
    let scene = Scene::new(1, "0s").await;
    scene.added("c1").await.unwrap();
    let name = ObjectName::new("p").unwrap();
    let spec = json!({"cidr": "10.0.0.0/24", "ranges": ["10.0.0.1-10.0.0.1"], "disabled": true});
    let Object::IPPool(mut leaving) = pool("p", &spec) else { unreachable!() };
    scene.behind.put_objects(vec![Object::IPPool(leaving.clone())]).await.unwrap();
    scene.tell(Change::Objects).await;
    leaving.metadata.deletion_timestamp = Some("2026-01-01T00:00:00Z".to_owned());
    scene.behind.put_objects(vec![Object::IPPool(leaving)]).await.unwrap();
    scene.tell(Change::Objects).await;
    scene.engine.sweep().await.unwrap();
    assert!(scene.engine.object(ObjectKind::IPPool, &name).is_ok(), "c1 holds an address of it");
    del(&scene.engine, "c1").await;
    scene.engine.sweep().await.unwrap();
    assert!(scene.engine.object(ObjectKind::IPPool, &name).is_err());
}

#[tokio::test]
async fn a_pool_that_left_and_came_again_under_its_name_is_not_deleted() {
    let scene = Scene::new(1, "0s").await;
    let name = ObjectName::new("p").unwrap();
    let present = scene.engine.object(ObjectKind::IPPool, &name).unwrap();
    let Object::IPPool(mut leaving) = present.clone() else { unreachable!() };
    leaving.metadata.deletion_timestamp = Some("2026-01-01T00:00:00Z".to_owned());
    scene.behind.put_objects(vec![Object::IPPool(leaving)]).await.unwrap();
    scene.tell(Change::Objects).await;
    // Nobody has told of this one yet.
    scene.behind.put_objects(vec![present]).await.unwrap();
    scene.engine.sweep().await.unwrap();
    assert!(scene.engine.object(ObjectKind::IPPool, &name).is_ok());
}

#[tokio::test]
async fn a_pool_that_another_replica_applied_is_served() {
    let scene = Scene::new(1, "0s").await;
    scene.added("c1").await.unwrap();
    let wider = json!({"cidr": "10.0.0.0/24", "ranges": ["10.0.0.1-10.0.0.2"], "cooldown": "0s"});
    scene.others.apply(vec![pool("p", &wider)], false).await.unwrap();
    scene.tell(Change::Objects).await;
    until(|| scene.engine.pools().unwrap()[0].status.counts.size == 2).await;
    assert_eq!(scene.added("c2").await.unwrap(), [ip(2)]);
}

#[tokio::test]
async fn a_life_that_another_replica_began_is_read_anew() {
    let scene = Scene::new(2, "0s").await;
    scene.added("c1").await.unwrap();
    let theirs = scene.added_by_others("c2").await;
    scene.behind.raise_epoch().await.unwrap();
    assert!(!scene.engine.knows_what_lives(), "until it has followed");
    scene.tell(Change::Life).await;
    until(|| scene.engine.knows_what_lives()).await;
    assert_eq!((scene.held(), scene.conflicts()), (2, 0));
    del(&scene.engine, "c2").await;
    assert!(scene.row(theirs).await.lease.is_released());
}

#[tokio::test]
async fn a_store_that_nobody_else_writes_is_never_listed() {
    let site = Site::new(&[("p", json!({"cidr": "10.0.0.1/32"}))]).await;
    let store = site.held_store();
    let engine = site.engine_over(store.clone(), "boot-1");
    engine.add(site.request("c1")).await.unwrap();
    let full = engine.add(site.request("c2")).await.unwrap_err();
    assert_eq!((full.code(), store.lists()), ("POOL_EXHAUSTED", 0));
    // It ends at once.
    engine.follow().await;
}

/// The pools that have addresses to give.
fn served(engine: &Engine) -> Vec<String> {
    let pools = engine.pools().unwrap().into_iter();
    let pools = pools.filter(|pool| pool.status.counts.size > 0);
    pools.map(|pool| pool.pool.metadata.name.to_string()).collect()
}

#[tokio::test]
async fn a_pool_that_cannot_be_served_hinders_nobody_and_serves_once_it_can() {
    let scene = Scene::new(2, "0s").await;
    // As with kubectl: the engine was not asked.
    let twin = json!({"cidr": "10.0.0.0/25"});
    let twisted = json!({"cidr": "10.9.0.0/24", "ranges": ["10.8.0.1"]});
    let unasked = vec![pool("q", &twin), pool("twisted", &twisted)];
    scene.behind.put_objects(unasked).await.unwrap();
    scene.tell(Change::Objects).await;
    assert_eq!(served(&scene.engine), ["p"]);
    let next_start = scene.site.engine_over(scene.store.clone(), "boot-1");
    assert_eq!(served(&next_start), ["p"]);
    scene.added("c1").await.unwrap();

    let other = pool("r", &json!({"cidr": "10.1.0.0/24"}));
    scene.engine.apply(vec![other], false).await.unwrap();
    assert_eq!(served(&scene.engine), ["p", "r"]);
    for name in ["q", "twisted"] {
        let again =
            scene.engine.object(ObjectKind::IPPool, &ObjectName::new(name).unwrap()).unwrap();
        let error = scene.engine.apply(vec![again], false).await.unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }

    let attachment = attachment("c1");
    scene.engine.del(DelRequest::of(attachment)).await.unwrap();
    scene.engine.delete(ObjectKind::IPPool, &ObjectName::new("p").unwrap()).await.unwrap();
    assert_eq!(served(&scene.engine), ["q", "r"]);
}

#[tokio::test]
async fn without_a_reservation_that_cannot_be_read_nothing_is_taken_over() {
    let scene = Scene::new(2, "0s").await;
    let reservation = json!({
        "apiVersion": "tenure.dev/v1alpha1", "kind": "IPReservation", "metadata": {"name": "kept"},
        "spec": {"addresses": ["10.0.0.2-10.0.0.1"]},
    });
    match Object::from_json(reservation) {
        Ok(object) => {
            scene.behind.put_objects(vec![object, pool("q", &json!({"cidr": "10.1.0.0/24"}))])
        }
        Err(error) => panic!("{error}"),
    }
    .await
    .unwrap();
    scene.tell(Change::Objects).await;
    assert_eq!(served(&scene.engine), ["p"], "what was known goes on serving");
}

#[tokio::test]
async fn a_store_that_went_back_under_a_running_engine_gives_no_live_address_away() {
    let scene = Scene::new(2, "0s").await;
    let address = scene.added("a").await.unwrap()[0];
    scene.site.kernel.put_on_link("a", address);
    let epoch = scene.engine.epoch();
    // The store forgets it, and tells what it holds now.
    let revision = scene.delete_row(address).await;
    scene.tell(Change::WentBack).await;
    scene.tell(Change::Listed { revision, keys: HashSet::new() }).await;
    let other = scene.added("b").await.unwrap()[0];
    assert_ne!(other, address);
    assert!(scene.engine.epoch() > epoch, "a new life of the store");
    assert_eq!(scene.row(address).await.lease.state_name(), "Quarantined");
}

#[tokio::test]
async fn a_list_without_the_lease_of_an_old_hold_is_that_of_a_store_that_went_back() {
    let scene = Scene::new(3, "0s").await;
    let address = scene.added("a").await.unwrap()[0];
    scene.site.kernel.put_on_link("a", address);
    scene.site.clock.pass(Duration::from_secs(301));
    let young = scene.added("b").await.unwrap()[0];
    let epoch = scene.engine.epoch();
    // An ADD that failed halfway leaves none.
    scene.delete_row(young).await;
    scene.tell_list().await;
    assert_eq!((scene.engine.epoch(), scene.held()), (epoch, 1));
    scene.delete_row(address).await;
    scene.tell_list().await;
    until(|| scene.engine.epoch() > epoch).await;
    let other = scene.added("c").await.unwrap()[0];
    assert_ne!(other, address);
    assert_eq!(scene.row(address).await.lease.state_name(), "Quarantined");
}

/// The policy `mine` in this version.
fn policy(version: &str) -> Object {
    let spec = json!({"source": {"bundled": "mine"}, "digest": Digest::of(version.as_bytes())});
    let object = json!({
        "apiVersion": "tenure.dev/v1alpha1", "kind": "IPAMPolicy", "metadata": {"name": "mine"}, "spec": spec,
    });
    Object::from_json(object).unwrap()
}

/// The digests of the policies that serve.
fn policies(scene: &Scene) -> Vec<Digest> {
    scene.engine.policies().into_iter().map(|policy| policy.digest).collect()
}

#[tokio::test]
async fn policies_that_others_apply_change_and_delete_are_followed() {
    let scene = Scene::new(1, "0s").await;
    for version in ["one", "two"] {
        scene.behind.put_objects(vec![policy(version)]).await.unwrap();
        scene.tell(Change::Objects).await;
        until(|| policies(&scene) == [Digest::of(version.as_bytes())]).await;
    }
    let name = ObjectName::new("mine").unwrap();
    scene.behind.delete_object(ObjectKind::IPAMPolicy, &name).await.unwrap();
    scene.tell(Change::Objects).await;
    until(|| policies(&scene).is_empty()).await;
}

#[tokio::test]
async fn a_policy_of_others_is_not_lost_to_an_own_apply_that_came_before_the_news() {
    let scene = Scene::new(1, "0s").await;
    scene.behind.put_objects(vec![policy("theirs")]).await.unwrap();
    let other = pool("q", &json!({"cidr": "10.1.0.0/24"}));
    scene.engine.apply(vec![other], false).await.unwrap();
    assert_eq!(policies(&scene), [], "not yet heard");
    scene.tell(Change::Objects).await;
    until(|| policies(&scene) == [Digest::of(b"theirs")]).await;
}

/// From here on all ADDs bring one key, and want this address at its first use.
fn use_key(scene: &Scene, preferred: &[IpAddr]) {
    let (key, if_held, preferred) = ("web-0".into(), IfHeld::Wait, preferred.to_vec());
    *scene.site.policies.affinity.lock() =
        Affinity::Sticky { key, if_held, retain_s: 600, preferred };
}

/// Another replica gives the key an address, of which the engine does not hear and which it would not choose.
async fn used_by_others(scene: &Scene) -> IpAddr {
    use_key(scene, &[ip(5)]);
    let theirs = scene.added_by_others("c1").await;
    use_key(scene, &[]);
    theirs
}

#[tokio::test]
async fn a_key_that_another_replica_uses_unheard_is_given_up_before_it_is_answered() {
    let scene = Scene::new(9, "0s").await;
    let theirs = used_by_others(&scene).await;
    assert_eq!(scene.added("c2").await.unwrap_err().code(), "KEY_HELD");
    let mut rows = Vec::new();
    scene.behind.scan(&mut |row| rows.push(row.lease)).unwrap();
    let (bound, left): (Vec<_>, Vec<_>) = rows.into_iter().partition(|lease| lease.is_bound());
    assert_eq!(bound.iter().map(|lease| lease.address).collect::<Vec<_>>(), [theirs]);
    assert!(left.iter().all(|lease| lease.is_released() && lease.sticky.is_none()), "{left:?}");
    assert_eq!(left.len(), 1, "it was written before anybody knew");
    assert_eq!(scene.store.lists(), 1);
    // From here on the key is known.
    assert_eq!(scene.added("c3").await.unwrap_err().code(), "KEY_HELD");
    assert_eq!(scene.store.lists(), 1);
}

#[tokio::test]
async fn an_address_that_is_kept_for_a_key_unheard_is_taken_after_all() {
    let scene = Scene::new(9, "0s").await;
    let theirs = used_by_others(&scene).await;
    del(&scene.others, "c1").await;
    scene.site.kernel.end("c1");
    assert_eq!(scene.added("c2").await.unwrap_err().code(), "ADDRESS_UNAVAILABLE", "it rests");
    scene.site.clock.pass(Duration::from_secs(5));
    assert_eq!(scene.added("c2").await.unwrap(), [theirs]);
    assert_eq!(scene.held(), 1);
}

#[tokio::test]
async fn a_first_use_without_rivals_costs_one_list_and_the_next_none() {
    let scene = Scene::new(9, "0s").await;
    scene.added("c0").await.unwrap();
    assert_eq!(scene.store.lists(), 0, "no key, no list");
    use_key(&scene, &[]);
    let first = scene.added("c1").await.unwrap();
    assert_eq!(scene.store.lists(), 1);
    del(&scene.engine, "c1").await;
    assert_eq!(scene.added("c2").await.unwrap(), first);
    assert_eq!((scene.conflicts(), scene.store.lists()), (0, 1));
}

#[tokio::test]
async fn an_add_whose_key_cannot_be_looked_for_fails_and_the_next_try_looks_again() {
    let scene = Scene::new(9, "0s").await;
    let theirs = used_by_others(&scene).await;
    scene.store.fail_reads(true);
    scene.added("c2").await.unwrap_err();
    scene.store.fail_reads(false);
    assert_eq!(scene.added("c2").await.unwrap_err().code(), "KEY_HELD");
    scene.tell_list().await;
    assert_eq!(scene.held(), 1);
    assert!(scene.row(theirs).await.lease.is_bound());
}

#[tokio::test(start_paused = true)]
async fn of_two_replicas_that_first_use_a_key_at_once_one_keeps_it() {
    let scene = Scene::new(9, "0s").await;
    use_key(&scene, &[]);
    let second = Arc::new(SimStore::new(scene.behind.clone(), scene.site.clock.clone()));
    let feed = second.share();
    let other = scene.site.engine_over(second.clone(), "boot-1");
    tokio::spawn(other.clone().follow());
    for store in [&scene.store, &second] {
        store.set_gate(Gate::Reads);
    }
    let wait = Duration::from_secs(30);
    let mut adds =
        [scene.add("c1", wait), start_add(&other, AddRequest { wait, ..scene.site.request("c2") })];
    // Both have written, and neither has looked.
    until(|| scene.store.reads_waiting() == 1 && second.reads_waiting() == 1).await;
    for store in [&scene.store, &second] {
        store.set_gate(Gate::Open);
    }
    let deadline = tokio::time::Instant::now() + wait;
    while !adds.iter().any(JoinHandle::is_finished) && tokio::time::Instant::now() < deadline {
        scene.tell_list().await;
        let mut rows = Vec::new();
        scene.behind.scan(&mut |row| rows.push(row)).unwrap();
        for row in rows {
            feed.send(Change::Row(Box::new(row))).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (done, waiting) = adds.iter_mut().partition::<Vec<_>, _>(|add| add.is_finished());
    assert_eq!((done.len(), waiting.len()), (1, 1));
    for add in done {
        add.await.unwrap().unwrap();
    }
    let mut bound = Vec::new();
    scene.behind.scan(&mut |row| bound.extend(row.lease.is_bound().then_some(row))).unwrap();
    assert_eq!(bound.len(), 1, "{bound:?}");
}
