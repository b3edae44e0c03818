//! What an ADD and a DEL cost, by the API server's own count: the engine over the store.

use std::sync::Arc;

use serde_json::json;
use tenure_core::objects::Object;
use tenure_engine::DelRequest;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_add_and_a_del_are_one_write_per_address() {
    let lab = Lab::default();
    let site = Site::new(&[]).await;
    let store = Arc::new(lab.store());
    let pools: Vec<Object> = vec![
        pool("v4", &json!({"cidr": "10.6.0.0/30", "cooldown": "0s"})),
        pool("v6", &json!({"cidr": "fd00::/126", "cooldown": "0s"})),
    ];
    store.put_objects(pools).await.unwrap();
    let engine = site.engine_over(store.clone(), "boot-1");
    let add = async |container: &str| {
        let answer = engine.add(site.request(container)).await.unwrap();
        assert_eq!(answer.addresses.len(), 2);
    };
    let del = async |container: &str| {
        let request = DelRequest { attachment: attachment(container), bound_before: None };
        engine.del(request).await.unwrap();
    };
    let (writes, reads) = cost(&lab, add("c1")).await;
    println!("ADD of two addresses without a row: {writes:?} writes, {reads} reads");
    assert_eq!(writes, [2, 0, 0, 0]);
    assert_eq!(reads, 0, "and no read");
    add("c2").await;
    let (writes, reads) = cost(&lab, del("c1")).await;
    println!("DEL of two addresses: {writes:?} writes, {reads} reads");
    assert_eq!(writes, [0, 2, 0, 0]);
    site.settle().await;
    // The IPv4 pool has nothing else than the released address, the IPv6 pool has addresses without a row.
    let (writes, reads) = cost(&lab, add("c3")).await;
    println!(
        "ADD of a released address and of one without a row: {writes:?} writes, {reads} reads"
    );
    assert_eq!(writes, [1, 1, 0, 0]);
}
