//! What an ADD and a DEL cost, by the API server's own count: the engine over the store.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tenure_core::objects::Object;
use tenure_engine::{AddRequest, DelRequest, Engine};
use tenure_sim::{Site, attachment, pool};
use tenure_store::Store as _;

use crate::lab::Lab;

struct Counts {
    writes: [u64; 4],
    reads: u64,
}

async fn counts(lab: &Lab) -> Counts {
    let mut writes = [0; 4];
    for (at, verb) in ["POST", "PUT", "PATCH", "DELETE"].into_iter().enumerate() {
        writes[at] = lab.counted(verb).await;
    }
    Counts { writes, reads: lab.counted("GET").await + lab.counted("LIST").await }
}

/// Writes by verb (POST, PUT, PATCH, DELETE) and reads that `work` made.
async fn cost(lab: &Lab, work: impl Future<Output = ()>) -> ([u64; 4], u64) {
    let before = counts(lab).await;
    work.await;
    let after = counts(lab).await;
    let mut writes = after.writes;
    for (write, before) in writes.iter_mut().zip(before.writes) {
        *write -= before;
    }
    (writes, after.reads - before.reads)
}

/// Two addresses of each family.
fn pools() -> Vec<Object> {
    vec![
        pool("v4", &json!({"cidr": "10.6.0.0/30", "cooldown": "0s"})),
        pool("v6", &json!({"cidr": "fd00::/64", "ranges": ["fd00::1-fd00::2"], "cooldown": "0s"})),
    ]
}

async fn add(engine: &Arc<Engine>, request: AddRequest) {
    assert_eq!(engine.add(request).await.unwrap().addresses.len(), 2);
}

async fn del(engine: &Arc<Engine>, container: &str) {
    let request = DelRequest::of(attachment(container));
    engine.del(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_add_and_a_del_are_one_write_per_address_and_no_read() {
    let lab = Lab::default();
    let site = Site::new(&[]).await;
    let store = Arc::new(lab.store());
    store.put_objects(pools()).await.unwrap();
    let engine = site.engine_over(store.clone(), "boot-1");
    let (writes, reads) = cost(&lab, add(&engine, site.request("c1"))).await;
    println!("ADD of two addresses without a row: {writes:?} writes, {reads} reads");
    assert_eq!((writes, reads), ([2, 0, 0, 0], 0));
    add(&engine, site.request("c2")).await;
    let (writes, reads) = cost(&lab, del(&engine, "c1")).await;
    println!("DEL of two addresses: {writes:?} writes, {reads} reads");
    assert_eq!((writes, reads), ([0, 2, 0, 0], 0));
    let (writes, reads) = cost(&lab, add(&engine, site.request("c3"))).await;
    println!("ADD of two released addresses: {writes:?} writes, {reads} reads");
    assert_eq!((writes, reads), ([0, 2, 0, 0], 0));
    let (writes, reads) = cost(&lab, add(&engine, site.request("c3"))).await;
    println!("the same ADD again: {writes:?} writes, {reads} reads");
    assert_eq!((writes, reads), ([0, 2, 0, 0], 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_was_replaced_keeps_no_record_of_who_owns_which_field() {
    let lab = Lab::default();
    let site = Site::new(&[]).await;
    let store = Arc::new(lab.store());
    store
        .put_objects(vec![pool("v4", &json!({"cidr": "10.6.0.1/32", "cooldown": "0s"}))])
        .await
        .unwrap();
    let engine = site.engine_over(store.clone(), "boot-1");
    let fields = async || lab.leases().get("10.6.0.1").await.unwrap().metadata.managed_fields;
    engine.add(site.request("c1")).await.unwrap();
    assert!(fields().await.is_some(), "of a row that was created: then this test says nothing");
    for container in ["c1", "c2"] {
        del(&engine, container).await;
        assert_eq!(fields().await, None, "after the DEL of {container}");
        site.kernel.end(container);
        engine.sweep().await.unwrap();
        site.clock.pass(Duration::from_secs(2));
        engine.add(site.request("c2")).await.unwrap();
        assert_eq!(fields().await, None, "after the ADD of c2");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_is_one_write_for_each_zombie_and_no_read_of_anything() {
    let lab = Lab::default();
    let site = Site::new(&[]).await;
    let store = Arc::new(lab.store());
    store.put_objects(vec![pool("v4", &json!({"cidr": "10.6.0.0/27"}))]).await.unwrap();
    let engine = site.engine_over(store.clone(), "boot-1");
    for n in 0..20 {
        engine.add(site.request(&format!("c{n}"))).await.unwrap();
    }
    (0..15).for_each(|n| site.kernel.end(&format!("c{n}")));
    let kinds = ["ippools", "ipreservations", "ipampolicies"];
    let lists = async || {
        let mut lists = 0;
        for kind in kinds {
            lists += lab.counted_of(kind, "LIST").await;
        }
        lists
    };
    let before = lists().await;
    let sweeps = async {
        for reclaimed in [0, 15, 0] {
            assert_eq!(engine.sweep().await.unwrap().reclaimed.len(), reclaimed);
            site.clock.pass(Duration::from_secs(3));
        }
    };
    let (writes, reads) = cost(&lab, sweeps).await;
    let lists = lists().await - before;
    println!(
        "three sweeps, 15 zombies: {writes:?} writes, {reads} reads, {lists} lists of objects"
    );
    assert_eq!((writes, reads, lists), ([0, 15, 0, 0], 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_another_replica_wrote_cost_no_read_once_they_were_heard() {
    let lab = Lab::default();
    let site = Site::new(&[]).await;
    let stores = [Arc::new(lab.store()), Arc::new(lab.store())];
    stores[0].put_objects(pools()).await.unwrap();
    let engines = stores.each_ref().map(|store| site.engine_over(store.clone(), "boot-1"));
    let following = tokio::spawn(engines[1].clone().follow());
    // Its first look at all objects is over once it hears of a row.
    let heard = async |rows: u64| {
        while engines[1].counters().heard.get() < rows {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    add(&engines[0], site.request("c1")).await;
    add(&engines[0], site.request("c2")).await;
    heard(4).await;
    let (writes, reads) = cost(&lab, del(&engines[1], "c1")).await;
    println!("DEL of what another replica bound: {writes:?} writes, {reads} reads");
    assert_eq!((writes, reads), ([0, 2, 0, 0], 0));
    del(&engines[0], "c2").await;
    heard(6).await;
    let (writes, reads) = cost(&lab, add(&engines[1], site.request("c3"))).await;
    println!("ADD of what was released, by whomever: {writes:?} writes, {reads} reads");
    assert_eq!((writes, reads), ([0, 2, 0, 0], 0));
    following.abort();
}
