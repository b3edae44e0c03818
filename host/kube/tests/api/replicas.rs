//! Two engines over one API server, neither of which hears of the other but by conflicts.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::json;
use tenure_core::lease::Lease;
use tenure_engine::Engine;
use tenure_sim::{Site, pool};
use tenure_store::Store as _;
use tokio::task::JoinSet;

use crate::lab::Lab;

/// ADDs of both engines together.
const ADDS: usize = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_allocators_that_both_believe_to_lead_share_a_pool_without_giving_an_address_twice() {
    let lab = Lab::default();
    let site = Site::new(&[]).await;
    let stores = [Arc::new(lab.store()), Arc::new(lab.store())];
    let pools = vec![
        // More than is asked for: a row that one engine met and that the other then took back stays in its ledger, until
        // a watch or a live LIST tells it.
        pool("v4", &json!({"cidr": "10.6.0.0/26"})),
        pool("v6", &json!({"cidr": "fd00::/122"})),
    ];
    stores[0].put_objects(pools).await.unwrap();
    let engines: [Arc<Engine>; 2] =
        stores.each_ref().map(|store| site.engine_over(store.clone(), "boot-1"));
    let mut adds = JoinSet::new();
    for n in 0..ADDS {
        let (engine, request) = (engines[n % 2].clone(), site.request(&format!("c{n}")));
        adds.spawn(async move {
            // As the kubelet: again, where the engine says so.
            let mut last = None;
            for _ in 0..100 {
                match engine.add(request.clone()).await {
                    Ok(answer) => return answer.addresses,
                    Err(error) => last = Some(error),
                }
            }
            panic!("an ADD never succeeded: {last:?}")
        });
    }
    let mut given: Vec<IpAddr> = Vec::new();
    for answer in adds.join_all().await {
        assert_eq!(answer.len(), 2, "I3");
        given.extend(answer.iter().map(|granted| granted.address.addr()));
    }
    let distinct: BTreeSet<IpAddr> = given.iter().copied().collect();
    assert_eq!(distinct.len(), 2 * ADDS, "I1");
    let mut bound: Vec<Lease> = Vec::new();
    stores[0].scan(&mut |row| bound.extend(row.lease.is_bound().then_some(row.lease))).unwrap();
    assert_eq!(bound.iter().map(|lease| lease.address).collect::<BTreeSet<_>>(), distinct);
    let conflicts: u64 = engines.iter().map(|engine| engine.counters().conflicts.get()).sum();
    println!("{} ADDs of two addresses, {conflicts} conflicts", ADDS);
    assert!(conflicts > 0, "they did meet");
}
