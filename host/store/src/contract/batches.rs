//! Several writes in one commit: all or none.

use super::samples::{key, lease, nth};
use super::{Harness, conflict};
use crate::port::{Revision, Store as _, Write};

pub async fn an_empty_batch_succeeds_and_changes_nothing<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let before = store.identity();
    assert_eq!(store.commit(Vec::new()).await.unwrap(), Vec::new());
    assert_eq!(store.identity(), before);
}

pub async fn a_dual_stack_batch_writes_both_rows<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    store
        .commit(vec![Write::Create(lease("10.6.0.1")), Write::Create(lease("fd00::1"))])
        .await
        .unwrap();
    assert!(store.get(&key("10.6.0.1")).await.unwrap().is_some());
    assert!(store.get(&key("fd00::1")).await.unwrap().is_some());
}

pub async fn if_the_first_condition_fails_nothing_is_written<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    store.commit(vec![Write::Create(lease("10.6.0.1"))]).await.unwrap();
    let batch = vec![Write::Create(lease("10.6.0.1")), Write::Create(lease("fd00::1"))];
    assert_eq!(conflict(store.commit(batch).await).0, 0);
    assert_eq!(store.get(&key("fd00::1")).await.unwrap(), None);
}

pub async fn if_the_last_condition_fails_nothing_is_written<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    store.commit(vec![Write::Create(lease("fd00::1"))]).await.unwrap();
    let batch = vec![Write::Create(lease("10.6.0.1")), Write::Create(lease("fd00::1"))];
    assert_eq!(conflict(store.commit(batch).await).0, 1);
    assert_eq!(store.get(&key("10.6.0.1")).await.unwrap(), None);
}

pub async fn a_conflict_names_the_first_write_that_failed<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    store.commit(vec![Write::Create(nth(2)), Write::Create(nth(3))]).await.unwrap();
    let batch = (1..=4).map(|n| Write::Create(nth(n))).collect();
    let (index, row) = conflict(store.commit(batch).await);
    assert_eq!((index, row.unwrap().lease), (1, nth(2)));
}

pub async fn one_batch_may_create_replace_and_delete<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let old = store.commit(vec![Write::Create(nth(1)), Write::Create(nth(2))]).await.unwrap();
    let mut replaced = nth(1);
    replaced.tag = 7;
    let batch = vec![
        Write::Replace { lease: replaced.clone(), expect: old[0] },
        Write::Delete { key: nth(2).key(), expect: old[1] },
        Write::Create(nth(3)),
    ];
    store.commit(batch).await.unwrap();
    assert_eq!(store.get(&nth(1).key()).await.unwrap().unwrap().lease, replaced);
    assert_eq!(store.get(&nth(2).key()).await.unwrap(), None);
    assert_eq!(store.get(&nth(3).key()).await.unwrap().unwrap().lease, nth(3));
}

pub async fn a_batch_of_a_thousand_rows_is_whole<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let batch = (0..1000).map(|n| Write::Create(nth(n))).collect();
    assert_eq!(store.commit(batch).await.unwrap().len(), 1000);
    let mut found = 0;
    store.scan(&mut |_| found += 1).unwrap();
    assert_eq!(found, 1000);
}

pub async fn creating_an_address_twice_in_one_batch_is_refused<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let batch = vec![Write::Create(nth(1)), Write::Create(nth(1))];
    assert_eq!(conflict(store.commit(batch).await).0, 1);
    assert_eq!(store.get(&nth(1).key()).await.unwrap(), None);
}

pub async fn a_batch_may_delete_an_address_and_create_it_again<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let expect = store.commit(vec![Write::Create(nth(1))]).await.unwrap()[0];
    let mut again = nth(1);
    again.tag = 1;
    let batch = vec![Write::Delete { key: nth(1).key(), expect }, Write::Create(again.clone())];
    let revisions = store.commit(batch).await.unwrap();
    let row = store.get(&nth(1).key()).await.unwrap().unwrap();
    assert_eq!((row.lease, row.revision), (again, revisions[1]));
    assert!(row.revision > Revision(expect.0));
}
