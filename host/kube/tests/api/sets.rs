//! What is promised of several rows where there is no transaction.

use std::time::Duration;

use http::Method;
use tenure_core::address::{Families, Family};
use tenure_core::lease::{Generation, Lease, Proof, StickyKey};
use tenure_core::time::WallMs;
use tenure_kube::{KubeOptions, KubeStore};
use tenure_lab::{Fate, Front};
use tenure_store::Selection;
use tenure_store::contract::samples::{lease, nth};
use tenure_store::{Revision, Store as _, StoreError, Write};
use tokio::sync::oneshot;

use crate::lab::{Lab, options};

fn released(lease: Lease) -> Lease {
    lease.released(WallMs(1_780_000_060_000), Proof::Kernel, 120)
}

fn taken(lease: Lease) -> Lease {
    Lease { generation: Generation(9), tag: 9, ..lease }
}

fn dual_stack() -> [Lease; 2] {
    let families = Families::from_iter(Family::ALL);
    ["10.6.0.1", "fd00::1"].map(|address| Lease { families, ..lease(address) })
}

async fn created(store: &KubeStore, lease: Lease) -> Revision {
    store.commit(vec![Write::Create(lease)]).await.unwrap()[0]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_batch_puts_back_what_it_replaced_and_what_it_deleted() {
    let lab = Lab::default();
    let store = lab.store();
    let (one, two) = (released(nth(1)), released(nth(2)));
    let (first, second) = (created(&store, one.clone()).await, created(&store, two.clone()).await);
    created(&store, nth(9)).await;
    let batch = vec![
        Write::Replace { lease: taken(nth(1)), expect: first },
        Write::Delete { key: two.key(), expect: second },
        Write::Create(nth(3)),
        Write::Create(nth(9)),
    ];
    let refused = store.commit(batch).await;
    assert!(matches!(refused, Err(StoreError::Conflict { index: 3, .. })), "{refused:?}");
    assert_eq!(store.get(&one.key()).await.unwrap().unwrap().lease, one);
    assert_eq!(store.get(&two.key()).await.unwrap().unwrap().lease, two);
    assert_eq!(store.get(&nth(3).key()).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_the_server_refuses_for_another_reason_leaves_nothing_either() {
    let lab = Lab::default();
    let store = lab.store();
    let bad =
        Lease { previous: vec![nth(1).holder_as_past(WallMs(1), "add").remove(0); 5], ..nth(2) };
    let refused = store.commit(vec![Write::Create(nth(1)), Write::Create(bad)]).await;
    assert!(matches!(refused, Err(StoreError::Io { .. })), "{refused:?}");
    assert_eq!(store.get(&nth(1).key()).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_somebody_else_changed_meanwhile_is_left_to_them() {
    let lab = Lab::default();
    let front = Front::before(lab.config()).await;
    let (store, other) = (lab.store_with(front.config(), options()), lab.store());
    let [v4, v6] = dual_stack();
    created(&other, v6.clone()).await;
    let (go, held) = oneshot::channel();
    let batch = store.commit(vec![Write::Create(v4.clone()), Write::Create(v6)]);
    // The second POST is held until the other has changed the row of the first.
    let meanwhile = async {
        let row = loop {
            match other.get(&v4.key()).await.unwrap() {
                Some(row) => break row,
                None => tokio::task::yield_now().await,
            }
        };
        let lease = taken(row.lease);
        other.commit(vec![Write::Replace { lease, expect: row.revision }]).await.unwrap();
        go.send(()).unwrap();
    };
    front.next(Method::POST, [Fate::Held(pass()), Fate::Held(held)]);
    let (refused, ()) = tokio::join!(batch, meanwhile);
    assert!(matches!(refused, Err(StoreError::Conflict { index: 1, .. })), "{refused:?}");
    assert_eq!(store.get(&v4.key()).await.unwrap().unwrap().lease, taken(v4));
}

/// Passes at once.
fn pass() -> oneshot::Receiver<()> {
    oneshot::channel().1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_cut_in_the_middle_is_called_unknown_and_seen_to_be_a_part() {
    let lab = Lab::default();
    let front = Front::before(lab.config()).await;
    let soon = KubeOptions { settle_within: Duration::from_millis(500), ..options() };
    let store = lab.store_with(front.config(), soon);
    let [v4, v6] = dual_stack();
    front.next(Method::POST, [Fate::Held(pass())]);
    front.next(Method::POST, (0..30).map(|_| Fate::LostOnTheWay));
    let unknown = store.commit(vec![Write::Create(v4.clone()), Write::Create(v6.clone())]).await;
    assert!(matches!(unknown, Err(StoreError::Unknown { .. })), "{unknown:?}");
    let selection = Selection::Attachment(v4.attachment.clone());
    let listing = lab.store().list(&selection).await.unwrap().unwrap();
    let leases: Vec<_> = listing.rows.into_iter().map(|row| row.lease).collect();
    assert_eq!(leases, [v4], "and its families say that another row belongs to it");
    assert!(leases[0].families.has(Family::V6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_lists_find_the_rows_of_an_attachment_a_pool_a_node_and_a_key() {
    let lab = Lab::default();
    let store = lab.store();
    let [v4, v6] = dual_stack();
    let sticky = StickyKey { key: "payments/checkout-0".into(), retain_s: 600 };
    let v6 = Lease { sticky: Some(sticky), ..v6 };
    let mut elsewhere = nth(7);
    elsewhere.attachment.container = tenure_core::name::ContainerId::new("other").unwrap();
    elsewhere.node.name = "worker-18".into();
    store
        .commit([&v4, &v6, &elsewhere].map(|lease| Write::Create(lease.clone())).to_vec())
        .await
        .unwrap();
    let found = async |selection| {
        let listing = store.list(&selection).await.unwrap().unwrap();
        let mut found: Vec<_> = listing.rows.into_iter().map(|row| row.lease.address).collect();
        found.sort();
        found
    };
    let both = [v4.address, v6.address];
    assert_eq!(found(Selection::Attachment(v4.attachment.clone())).await, both);
    assert_eq!(found(Selection::Node("worker-17".to_owned())).await, both);
    assert_eq!(found(Selection::Pool(v4.pool.clone())).await.len(), 3);
    let key = |family| Selection::Key {
        network: v6.attachment.network.clone(),
        ifname: v6.attachment.ifname.clone(),
        family,
        key: "payments/checkout-0".to_owned(),
    };
    assert_eq!(found(key(Family::V6)).await, [v6.address]);
    assert_eq!(found(key(Family::V4)).await, [v4.address; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_whose_import_was_cut_short_takes_nothing_but_another_import() {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Api;
    use kube::api::{Patch, PatchParams};
    use tenure_core::lease::Epoch;
    use tenure_store::{Contents, ImportMode};

    let lab = Lab::default();
    let store = lab.store();
    created(&store, nth(1)).await;
    drop(store);
    let maps = Api::<ConfigMap>::namespaced(lab.client(), crate::lab::NAMESPACE);
    let cut = Patch::Merge(serde_json::json!({"data": {"importing": "true"}}));
    maps.patch("tenure-store", &PatchParams::default(), &cut).await.unwrap();
    let store = lab.store();
    assert!(store.health().is_err());
    let refused = store.commit(vec![Write::Create(nth(2))]).await;
    assert!(matches!(refused, Err(StoreError::Corrupt { .. })), "{refused:?}");
    assert!(store.scan(&mut |_| {}).is_err());
    let contents = Contents {
        epoch: Epoch(1),
        revision: Revision(1),
        objects: Vec::new(),
        leases: vec![nth(3)],
        history: None,
    };
    store.import(contents, ImportMode::Replace).await.unwrap();
    store.health().unwrap();
    let mut rows = Vec::new();
    store.scan(&mut |row| rows.push(row.lease)).unwrap();
    assert_eq!(rows, [nth(3)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_of_many_pages_are_read_to_their_end() {
    let lab = Lab::default();
    let store = lab.store_with(lab.config(), KubeOptions { page: 3, ..options() });
    let all = (1..=7).map(nth).collect::<Vec<_>>();
    store.commit(all.iter().cloned().map(Write::Create).collect()).await.unwrap();
    let listing = store.list(&Selection::Pool(all[0].pool.clone())).await.unwrap().unwrap();
    assert_eq!(listing.rows.len(), 7);
    let scanned = tokio::task::spawn_blocking(move || {
        let mut scanned = 0;
        store.scan(&mut |_| scanned += 1).unwrap();
        scanned
    });
    assert_eq!(scanned.await.unwrap(), 7);
}
