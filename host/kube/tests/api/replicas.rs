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

/// Usable addresses of the pools, and ADDs of both engines together.
const ADDRESSES: usize = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_allocators_that_both_believe_to_lead_share_a_pool_without_giving_an_address_twice() {
    let lab = Lab::default();
    let site = Site::new(&[]).await;
    let stores = [Arc::new(lab.store()), Arc::new(lab.store())];
    let pools = vec![
        pool("v4", &json!({"cidr": "10.6.0.0/27"})),
        pool("v6", &json!({"cidr": "fd00::/123", "exclude": ["fd00::1f"]})),
    ];
    stores[0].put_objects(pools).await.unwrap();
    let engines: [Arc<Engine>; 2] =
        stores.each_ref().map(|store| site.engine_over(store.clone(), "boot-1"));
    let mut adds = JoinSet::new();
    for n in 0..ADDRESSES {
        let (engine, request) = (engines[n % 2].clone(), site.request(&format!("c{n}")));
        adds.spawn(async move {
            // As the kubelet: again, where the engine says so.
            for _ in 0..100 {
                if let Ok(answer) = engine.add(request.clone()).await {
                    return answer.addresses;
                }
            }
            panic!("an ADD never succeeded")
        });
    }
    let mut given: Vec<IpAddr> = Vec::new();
    for answer in adds.join_all().await {
        assert_eq!(answer.len(), 2, "I3");
        given.extend(answer.iter().map(|granted| granted.address.addr()));
    }
    let distinct: BTreeSet<IpAddr> = given.iter().copied().collect();
    assert_eq!(distinct.len(), 2 * ADDRESSES, "I1");
    let mut bound: Vec<Lease> = Vec::new();
    stores[0].scan(&mut |row| bound.extend(row.lease.is_bound().then_some(row.lease))).unwrap();
    assert_eq!(bound.iter().map(|lease| lease.address).collect::<BTreeSet<_>>(), distinct);
    let conflicts: u64 = engines.iter().map(|engine| engine.counters().conflicts.get()).sum();
    println!("{} ADDs of two addresses, {conflicts} conflicts", ADDRESSES);
    assert!(conflicts > 0, "they did meet");
}
