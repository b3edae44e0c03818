//! Two engines over one API server that hear of each other by watches, and what happens where they do not.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use kube::api::DeleteParams;
use serde_json::json;
use tenure_core::error::Coded as _;
use tenure_core::name::ObjectName;
use tenure_core::objects::{Object, ObjectKind};
use tenure_engine::{AddRequest, DelRequest, Engine};
use tenure_kube::{KubeOptions, KubeStore};
use tenure_lab::Front;
use tenure_sim::{Site, attachment, pool};
use tenure_store::{Store as _, Write};
use tokio::task::JoinSet;

use crate::lab::{Lab, options};

/// Addresses of each of the two pools, exactly as many as are asked for.
const SIZE: usize = 12;

pub(crate) struct Pair {
    pub(crate) site: Site,
    pub(crate) stores: [Arc<KubeStore>; 2],
    pub(crate) engines: [Arc<Engine>; 2],
    following: JoinSet<()>,
    pub(crate) lab: Lab,
}

impl Pair {
    /// Both on the server, or the first one behind a front.
    pub(crate) async fn new(lab: Lab, front: Option<&Front>) -> Self {
        let site = Site::new(&[]).await;
        let short = KubeOptions { watch_for: Duration::from_secs(2), ..options() };
        let first = match front {
            Some(front) => lab.store_with(front.config(), short),
            None => lab.store(),
        };
        let stores = [Arc::new(first), Arc::new(lab.store())];
        stores[1].put_objects(pools()).await.unwrap();
        let engines = stores.each_ref().map(|store| site.engine_over(store.clone(), "boot-1"));
        Self { site, stores, engines, following: JoinSet::new(), lab }
    }

    async fn following() -> Self {
        let mut pair = Self::new(Lab::default(), None).await;
        pair.follow();
        pair
    }

    fn follow(&mut self) {
        for engine in &self.engines {
            self.following.spawn(engine.clone().follow());
        }
    }

    /// ADDs of as many containers as there are addresses, at once; all addresses that they got.
    pub(crate) async fn add_all(&self, engine: usize, prefix: &str) -> BTreeSet<IpAddr> {
        let mut adds = JoinSet::new();
        for n in 0..SIZE {
            let request = self.site.request(&format!("{prefix}{n}"));
            adds.spawn(add(self.engines[engine].clone(), request));
        }
        let given: Vec<IpAddr> = adds.join_all().await.into_iter().flatten().collect();
        let distinct: BTreeSet<IpAddr> = given.iter().copied().collect();
        assert_eq!(distinct.len(), given.len(), "I1");
        distinct
    }

    pub(crate) async fn del_all(&self, engine: usize, prefix: &str) {
        for n in 0..SIZE {
            del(&self.engines[engine], &format!("{prefix}{n}")).await;
        }
    }

    /// The engine knows that so many addresses of both families together are free.
    pub(crate) async fn until_free(&self, engine: usize, free: usize) {
        let engine = &self.engines[engine];
        until(|| free_of(engine) == free as u128).await;
    }
}

fn pools() -> Vec<Object> {
    vec![
        pool(
            "v4",
            &json!({"cidr": "10.6.0.0/24", "ranges": ["10.6.0.1-10.6.0.12"], "cooldown": "0s"}),
        ),
        pool("v6", &json!({"cidr": "fd00::/64", "ranges": ["fd00::1-fd00::c"], "cooldown": "0s"})),
    ]
}

pub(crate) async fn add(engine: Arc<Engine>, request: AddRequest) -> Vec<IpAddr> {
    let answer = engine.add(request).await.unwrap();
    answer.addresses.iter().map(|granted| granted.address.addr()).collect()
}

pub(crate) async fn del(engine: &Arc<Engine>, container: &str) {
    let request = DelRequest::of(attachment(container));
    engine.del(request).await.unwrap();
}

fn free_of(engine: &Arc<Engine>) -> u128 {
    engine.pools().unwrap().iter().map(|pool| pool.status.counts.free).sum()
}

/// How many pools have addresses to give.
pub(crate) fn served(engine: &Arc<Engine>) -> usize {
    engine.pools().unwrap().iter().filter(|pool| pool.status.counts.size > 0).count()
}

async fn until(mut reached: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !reached() {
        assert!(tokio::time::Instant::now() < deadline, "it never came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_replica_releases_the_other_gives_without_a_sweep_or_a_list() {
    let pair = Pair::following().await;
    let all = pair.add_all(0, "a").await;
    assert_eq!(all.len(), 2 * SIZE, "the whole of an exactly sized pool");
    for (round, (from, to)) in [(0, 1), (1, 0)].into_iter().enumerate() {
        let (old, new) = ([("a"), ("b")][round], [("b"), ("c")][round]);
        pair.until_free(to, 0).await;
        pair.del_all(from, old).await;
        pair.until_free(to, 2 * SIZE).await;
        assert_eq!(pair.add_all(to, new).await, all);
    }
    for engine in &pair.engines {
        let counters = engine.counters();
        assert_eq!((counters.sweeps.get(), counters.lists.get()), (0, 0));
        assert_eq!(counters.conflicts.get(), 0, "all was heard");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_del_at_the_replica_that_did_not_give_the_address_releases_it() {
    let pair = Pair::following().await;
    pair.add_all(0, "a").await;
    pair.until_free(1, 0).await;
    pair.del_all(1, "a").await;
    pair.until_free(0, 2 * SIZE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_at_one_replica_gets_what_another_releases() {
    let pair = Pair::following().await;
    pair.add_all(0, "a").await;
    pair.until_free(1, 0).await;
    let patient = AddRequest { wait: Duration::from_secs(60), ..pair.site.request("late") };
    let waiter = tokio::spawn(add(pair.engines[1].clone(), patient));
    until(|| pair.engines[1].waiting() == 1).await;
    let since = std::time::Instant::now();
    del(&pair.engines[0], "a3").await;
    assert_eq!(waiter.await.unwrap().len(), 2);
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_feed_cut_off_a_live_list_still_finds_the_free_addresses() {
    let pair = Pair::new(Lab::default(), None).await;
    let all = pair.add_all(0, "a").await;
    let refused = async || {
        // Each try meets some rows of which it had not heard.
        for _ in 0..SIZE {
            let error = pair.engines[1].add(pair.site.request("x")).await.unwrap_err();
            if error.code() == "POOL_EXHAUSTED" {
                return;
            }
        }
        panic!("it never knew that the pool is full");
    };
    refused().await;
    pair.del_all(0, "a").await;
    assert_eq!(free_of(&pair.engines[1]), 0, "nothing was heard");
    assert_eq!(pair.add_all(1, "b").await, all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pools_that_one_replica_applies_and_deletes_the_other_serves_and_does_not() {
    let pair = Pair::following().await;
    let more = json!({"cidr": "10.7.0.0/30", "cooldown": "0s", "priority": 9});
    pair.engines[0].apply(vec![pool("more", &more)], false).await.unwrap();
    until(|| served(&pair.engines[1]) == 3).await;
    let only = AddRequest { pools: tenure_sim::names(&["more"]), ..pair.site.request("c") };
    assert_eq!(add(pair.engines[1].clone(), only).await, ["10.7.0.1".parse::<IpAddr>().unwrap()]);
    del(&pair.engines[1], "c").await;
    until(|| free_of(&pair.engines[0]) == 2 * SIZE as u128 + 2).await;
    let name = ObjectName::new("more").unwrap();
    pair.engines[0].delete(ObjectKind::IPPool, &name).await.unwrap();
    until(|| served(&pair.engines[1]) == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_somebody_deletes_by_hand_is_free_at_both() {
    let pair = Pair::following().await;
    let all = pair.add_all(0, "a").await;
    pair.until_free(1, 0).await;
    for address in all.iter().filter(|address| address.is_ipv4()) {
        let name = address.to_string();
        pair.lab.leases().delete(&name, &DeleteParams::default()).await.unwrap();
    }
    for engine in 0..2 {
        pair.until_free(engine, SIZE).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_life_that_one_replica_begins_the_other_follows() {
    let pair = Pair::following().await;
    pair.engines[1].learn_what_lives().await.unwrap();
    pair.add_all(0, "a").await;
    let epoch = pair.stores[0].raise_epoch().await.unwrap();
    until(|| pair.engines[1].epoch() == epoch).await;
    until(|| pair.engines[1].knows_what_lives()).await;
    assert_eq!(free_of(&pair.engines[1]), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_events_were_lost_a_list_says_what_came_and_what_is_gone() {
    let lab = Lab::default();
    let front = Front::before(lab.config()).await;
    let mut pair = Pair::new(lab, Some(&front)).await;
    pair.follow();
    let all = pair.add_all(1, "a").await;
    pair.until_free(0, 0).await;
    front.cut_watches(Some(410));
    // One row goes, all others are released.
    pair.del_all(1, "a").await;
    let mut rows = Vec::new();
    pair.stores[1].scan(&mut |row| rows.push(row)).unwrap();
    let (key, expect) = (rows[0].lease.key(), rows[0].revision);
    pair.stores[1].commit(vec![Write::Delete { key, expect }]).await.unwrap();
    // No watch tells of it as long as each is answered so.
    pair.until_free(0, 2 * SIZE).await;
    front.cut_watches(None);
    assert_eq!(pair.add_all(0, "b").await, all);
    assert_eq!(pair.engines[0].counters().conflicts.get(), 0, "what is gone is known to be gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_broke_or_froze_goes_on_where_it_was() {
    let lab = Lab::default();
    let front = Front::before(lab.config()).await;
    let mut pair = Pair::new(lab, Some(&front)).await;
    pair.follow();
    for (n, cut) in
        [Front::freeze_watches, |front: &Front| front.cut_watches(None)].into_iter().enumerate()
    {
        let name = format!("warm{n}");
        add(pair.engines[1].clone(), pair.site.request(&name)).await;
        pair.until_free(0, 2 * (SIZE - 1)).await;
        cut(&front);
        del(&pair.engines[1], &name).await;
        pair.until_free(0, 2 * SIZE).await;
    }
    assert_eq!(pair.engines[0].counters().lists.get(), 0);
}
