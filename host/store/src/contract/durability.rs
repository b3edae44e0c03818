//! What a store keeps when it is closed and opened again.

use tenure_core::lease::Epoch;
use tenure_core::objects::ObjectKind;

use super::Harness;
use super::samples::{all_states, nth, pool, reservation};
use crate::port::{Contents, ImportMode, Revision, Store as _, Write};

pub async fn what_was_written_is_there_when_opened_again<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let batch = all_states().into_iter().map(Write::Create).collect();
    let revisions = store.commit(batch).await.unwrap();
    drop(store);
    let store = harness.open();
    for (lease, revision) in all_states().into_iter().zip(revisions) {
        let row = store.get(&lease.key()).await.unwrap().unwrap();
        assert_eq!((row.lease, row.revision), (lease, revision));
    }
}

pub async fn what_was_deleted_stays_deleted_when_opened_again<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let expect = store.commit(vec![Write::Create(nth(1))]).await.unwrap()[0];
    store.commit(vec![Write::Delete { key: nth(1).key(), expect }]).await.unwrap();
    drop(store);
    assert_eq!(harness.open().get(&nth(1).key()).await.unwrap(), None);
}

pub async fn objects_are_there_when_opened_again<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let kept = pool("blue", "10.6.0.0/16");
    let gone = reservation("router", "10.6.0.1");
    store.put_objects(vec![kept.clone(), gone.clone()]).await.unwrap();
    store.delete_object(ObjectKind::IPReservation, gone.name()).await.unwrap();
    drop(store);
    assert_eq!(harness.open().objects().unwrap(), [kept]);
}

pub async fn revisions_go_on_when_opened_again<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let expect = store.commit(vec![Write::Create(nth(1))]).await.unwrap()[0];
    store.commit(vec![Write::Delete { key: nth(1).key(), expect }]).await.unwrap();
    drop(store);
    let store = harness.open();
    let highest = store.identity().revision;
    assert!(highest == expect || (highest > expect && !H::OWN_REVISIONS), "{highest:?}");
    let again = store.commit(vec![Write::Create(nth(1))]).await.unwrap()[0];
    assert!(again > expect, "the deleted row had {expect:?}, the new one has {again:?}");
}

pub async fn a_store_keeps_its_id_and_epoch_when_opened_again<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    store.raise_epoch().await.unwrap();
    let before = store.identity();
    drop(store);
    let mut now = harness.open().identity();
    assert!(now.revision >= before.revision);
    if !H::OWN_REVISIONS {
        now.revision = before.revision;
    }
    assert_eq!(now, before);
    assert_eq!(before.epoch, Epoch(2));
}

pub async fn a_store_is_fresh_until_it_holds_a_lease<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    store.put_objects(vec![pool("blue", "10.6.0.0/16")]).await.unwrap();
    drop(store);
    let store = harness.open();
    assert!(store.identity().fresh, "objects say nothing about addresses");
    store.commit(vec![Write::Create(nth(1))]).await.unwrap();
    drop(store);
    assert!(!harness.open().identity().fresh);
}

pub async fn an_import_is_there_when_opened_again<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    store.commit(vec![Write::Create(nth(9))]).await.unwrap();
    let contents = Contents {
        epoch: Epoch(4),
        revision: Revision(70),
        objects: vec![pool("blue", "10.6.0.0/16")],
        leases: vec![nth(1), nth(2)],
        history: None,
    };
    let identity = store.import(contents, ImportMode::Replace).await.unwrap();
    drop(store);
    let store = harness.open();
    assert_eq!(store.identity().epoch, Epoch(5));
    let highest = store.identity().revision;
    assert!(highest == identity.revision || (highest > identity.revision && !H::OWN_REVISIONS));
    assert_eq!(store.get(&nth(9).key()).await.unwrap(), None);
    assert_eq!(store.get(&nth(2).key()).await.unwrap().unwrap().lease, nth(2));
    assert_eq!(store.objects().unwrap().len(), 1);
}
