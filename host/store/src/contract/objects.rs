//! Objects, and the scan.

use std::collections::HashMap;

use tenure_core::objects::{Object, ObjectKind};

use super::Harness;
use super::samples::{key, lease, nth, pool, reservation};
use crate::port::{Store, Write};

fn sorted(store: &impl Store) -> Vec<Object> {
    let mut objects = store.objects().unwrap();
    objects.sort_by_key(|object| (object.kind(), object.name().clone()));
    objects
}

pub async fn an_object_reads_back_as_it_was_put<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    assert_eq!(store.objects().unwrap(), []);
    let both = vec![pool("blue", "10.6.0.0/16"), reservation("router", "10.6.0.1")];
    store.put_objects(both.clone()).await.unwrap();
    assert_eq!(sorted(&store), both);
}

pub async fn putting_an_object_again_replaces_it<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    store.put_objects(vec![reservation("router", "10.6.0.1")]).await.unwrap();
    store.put_objects(vec![reservation("router", "10.6.0.2")]).await.unwrap();
    assert_eq!(store.objects().unwrap(), [reservation("router", "10.6.0.2")]);
}

pub async fn a_deleted_object_is_gone_and_the_second_delete_says_so<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let object = reservation("router", "10.6.0.1");
    store.put_objects(vec![object.clone()]).await.unwrap();
    assert!(store.delete_object(ObjectKind::IPReservation, object.name()).await.unwrap());
    assert_eq!(store.objects().unwrap(), []);
    assert!(!store.delete_object(ObjectKind::IPReservation, object.name()).await.unwrap());
}

pub async fn objects_of_two_kinds_may_share_a_name<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let both = vec![pool("blue", "10.6.0.0/16"), reservation("blue", "10.6.0.1")];
    store.put_objects(both.clone()).await.unwrap();
    assert_eq!(sorted(&store), both);
    store.delete_object(ObjectKind::IPPool, both[0].name()).await.unwrap();
    assert_eq!(store.objects().unwrap(), both[1..]);
}

pub async fn objects_and_leases_do_not_touch_each_other<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    store.commit(vec![Write::Create(lease("10.6.0.1"))]).await.unwrap();
    store.put_objects(vec![reservation("router", "10.6.0.1")]).await.unwrap();
    let name = reservation("router", "10.6.0.1").name().clone();
    store.delete_object(ObjectKind::IPReservation, &name).await.unwrap();
    assert!(store.get(&key("10.6.0.1")).await.unwrap().is_some());
}

pub async fn a_scan_shows_every_row_once_with_its_revision<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let mut expected = HashMap::new();
    for n in 0..40 {
        let revisions = store.commit(vec![Write::Create(nth(n))]).await.unwrap();
        expected.insert(nth(n).key(), revisions[0]);
    }
    let mut rows = Vec::new();
    store.scan(&mut |row| rows.push((row.lease.key(), row.revision))).unwrap();
    assert_eq!(rows.len(), 40);
    assert_eq!(rows.into_iter().collect::<HashMap<_, _>>(), expected);
}

pub async fn a_scan_of_an_empty_store_shows_nothing<H: Harness>() {
    let harness = H::default();
    harness.open().scan(&mut |row| panic!("{row:?}")).unwrap();
}
