//! One write and its condition.

use tenure_core::lease::{Generation, LeaseKey};
use tenure_core::name::SpaceName;

use super::samples::{all_states, key, lease};
use super::{Harness, conflict};
use crate::port::{Revision, Store as _, Write};

pub async fn a_created_row_reads_back_as_it_was_written<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let revisions = store.commit(vec![Write::Create(lease("10.6.0.1"))]).await.unwrap();
    let row = store.get(&key("10.6.0.1")).await.unwrap().unwrap();
    assert_eq!((row.lease, vec![row.revision]), (lease("10.6.0.1"), revisions));
}

pub async fn an_address_without_a_row_reads_as_none<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    store.commit(vec![Write::Create(lease("10.6.0.1"))]).await.unwrap();
    assert_eq!(store.get(&key("10.6.0.2")).await.unwrap(), None);
}

pub async fn creating_a_taken_address_is_refused_and_shows_its_row<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let first = lease("10.6.0.1");
    let revisions = store.commit(vec![Write::Create(first.clone())]).await.unwrap();
    let mut second = lease("10.6.0.1");
    second.generation = Generation(9);
    let (index, row) = conflict(store.commit(vec![Write::Create(second)]).await);
    let row = row.unwrap();
    assert_eq!((index, row.lease, row.revision), (0, first.clone(), revisions[0]));
    assert_eq!(store.get(&key("10.6.0.1")).await.unwrap().unwrap().lease, first);
}

pub async fn replacing_with_the_present_revision_takes_effect<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let expect = store.commit(vec![Write::Create(lease("10.6.0.1"))]).await.unwrap()[0];
    let mut next = lease("10.6.0.1");
    next.generation = Generation(4);
    let revisions =
        store.commit(vec![Write::Replace { lease: next.clone(), expect }]).await.unwrap();
    let row = store.get(&key("10.6.0.1")).await.unwrap().unwrap();
    assert_eq!((row.lease, vec![row.revision]), (next, revisions));
}

pub async fn replacing_with_a_stale_revision_is_refused_and_changes_nothing<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let stale = store.commit(vec![Write::Create(lease("10.6.0.1"))]).await.unwrap()[0];
    let write = |generation| {
        let mut lease = lease("10.6.0.1");
        lease.generation = Generation(generation);
        Write::Replace { lease, expect: stale }
    };
    store.commit(vec![write(4)]).await.unwrap();
    let (_, row) = conflict(store.commit(vec![write(5)]).await);
    assert_eq!(row, store.get(&key("10.6.0.1")).await.unwrap());
    assert_eq!(row.unwrap().lease.generation, Generation(4));
}

pub async fn replacing_an_address_without_a_row_is_refused<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let write = Write::Replace { lease: lease("10.6.0.1"), expect: Revision(0) };
    assert_eq!(conflict(store.commit(vec![write]).await), (0, None));
    assert_eq!(store.get(&key("10.6.0.1")).await.unwrap(), None);
}

pub async fn deleting_with_the_present_revision_frees_the_address<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let expect = store.commit(vec![Write::Create(lease("10.6.0.1"))]).await.unwrap()[0];
    store.commit(vec![Write::Delete { key: key("10.6.0.1"), expect }]).await.unwrap();
    assert_eq!(store.get(&key("10.6.0.1")).await.unwrap(), None);
}

pub async fn deleting_with_a_stale_revision_is_refused_and_changes_nothing<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let expect = store.commit(vec![Write::Create(lease("10.6.0.1"))]).await.unwrap()[0];
    let replace = Write::Replace { lease: lease("10.6.0.1"), expect };
    store.commit(vec![replace]).await.unwrap();
    let (_, row) =
        conflict(store.commit(vec![Write::Delete { key: key("10.6.0.1"), expect }]).await);
    assert!(row.is_some());
    assert_eq!(row, store.get(&key("10.6.0.1")).await.unwrap());
}

pub async fn deleting_an_address_without_a_row_is_refused<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let write = Write::Delete { key: key("10.6.0.1"), expect: Revision(1) };
    assert_eq!(conflict(store.commit(vec![write]).await), (0, None));
}

pub async fn a_freed_address_can_be_created_again<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let expect = store.commit(vec![Write::Create(lease("10.6.0.1"))]).await.unwrap()[0];
    store.commit(vec![Write::Delete { key: key("10.6.0.1"), expect }]).await.unwrap();
    store.commit(vec![Write::Create(lease("10.6.0.1"))]).await.unwrap();
    assert!(store.get(&key("10.6.0.1")).await.unwrap().is_some());
}

pub async fn one_address_in_two_spaces_is_two_rows<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let mut red = lease("10.6.0.1");
    red.space = SpaceName::new("red").unwrap();
    store.commit(vec![Write::Create(lease("10.6.0.1"))]).await.unwrap();
    store.commit(vec![Write::Create(red.clone())]).await.unwrap();
    let red_key = LeaseKey { space: red.space.clone(), address: red.address };
    assert_eq!(store.get(&red_key).await.unwrap().unwrap().lease, red);
    assert_eq!(store.get(&key("10.6.0.1")).await.unwrap().unwrap().lease, lease("10.6.0.1"));
}

pub async fn a_mapped_address_is_another_than_the_ipv4_address_in_it<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    store.commit(vec![Write::Create(lease("10.6.0.1"))]).await.unwrap();
    store.commit(vec![Write::Create(lease("::ffff:10.6.0.1"))]).await.unwrap();
    let mapped = store.get(&key("::ffff:10.6.0.1")).await.unwrap().unwrap();
    assert_eq!(mapped.lease, lease("::ffff:10.6.0.1"));
}

pub async fn the_same_number_in_two_families_is_two_rows<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    store.commit(vec![Write::Create(lease("0.0.0.7"))]).await.unwrap();
    assert_eq!(store.get(&key("::7")).await.unwrap(), None);
    store.commit(vec![Write::Create(lease("::7"))]).await.unwrap();
    assert_eq!(store.get(&key("0.0.0.7")).await.unwrap().unwrap().lease, lease("0.0.0.7"));
}

pub async fn every_state_of_a_lease_reads_back<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    for lease in all_states() {
        store.commit(vec![Write::Create(lease.clone())]).await.unwrap();
        assert_eq!(store.get(&lease.key()).await.unwrap().unwrap().lease, lease);
    }
}
