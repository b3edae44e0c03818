//! Revisions, identity and health.

use tenure_core::lease::Epoch;

use super::samples::{nth, pool};
use super::{Harness, conflict};
use crate::port::{Revision, Store as _, Write};

pub async fn each_write_gets_a_higher_revision_than_all_before<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let mut last = store.commit(vec![Write::Create(nth(0))]).await.unwrap()[0];
    for n in 1..20 {
        let next = store.commit(vec![Write::Create(nth(n))]).await.unwrap()[0];
        assert!(next > last, "{next:?} after {last:?}");
        last = next;
    }
}

pub async fn the_answer_has_one_revision_per_write_in_order<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let batch = (0..5).rev().map(|n| Write::Create(nth(n))).collect();
    let revisions = store.commit(batch).await.unwrap();
    assert_eq!(revisions.len(), 5);
    assert!(revisions.is_sorted() || !H::OWN_REVISIONS);
    for (n, revision) in (0..5).rev().zip(revisions) {
        assert_eq!(store.get(&nth(n).key()).await.unwrap().unwrap().revision, revision);
    }
}

pub async fn a_delete_answers_the_revision_that_it_deleted<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let expect = store.commit(vec![Write::Create(nth(1))]).await.unwrap()[0];
    let delete = Write::Delete { key: nth(1).key(), expect };
    assert_eq!(store.commit(vec![delete]).await.unwrap(), [expect]);
}

pub async fn a_revision_is_not_reused_after_a_delete<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let expect = store.commit(vec![Write::Create(nth(1))]).await.unwrap()[0];
    let delete = Write::Delete { key: nth(1).key(), expect };
    store.commit(vec![delete.clone()]).await.unwrap();
    let again = store.commit(vec![Write::Create(nth(1))]).await.unwrap()[0];
    assert!(again > expect);
    assert!(conflict(store.commit(vec![delete]).await).1.is_some());
}

pub async fn the_identity_tells_the_highest_revision<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let before = store.identity().revision;
    assert!(before == Revision(0) || !H::OWN_REVISIONS);
    let revisions = store.commit(vec![Write::Create(nth(1)), Write::Create(nth(2))]).await.unwrap();
    assert!(before < revisions[0]);
    assert_eq!(store.identity().revision, revisions[1]);
    store.put_objects(vec![pool("blue", "10.6.0.0/16")]).await.unwrap();
    assert!(store.identity().revision > revisions[1]);
}

pub async fn a_new_store_is_fresh_and_in_its_first_epoch<H: Harness>() {
    let harness = H::default();
    let identity = harness.open().identity();
    assert!(identity.fresh && !identity.store_id.is_empty());
    assert_eq!(identity.epoch, Epoch(1));
}

pub async fn a_raised_epoch_is_seen_at_once<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    assert_eq!(store.raise_epoch().await.unwrap(), Epoch(2));
    assert_eq!(store.identity().epoch, Epoch(2));
    assert_eq!(store.raise_epoch().await.unwrap(), Epoch(3));
}

pub async fn an_open_store_is_healthy<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    store.health().unwrap();
    store.commit(vec![Write::Create(nth(1))]).await.unwrap();
    store.health().unwrap();
}
