//! Export and import through the port.

use tenure_core::lease::Epoch;
use tenure_core::time::WallMs;

use super::Harness;
use super::samples::{all_states, nth, pool, reservation};
use crate::port::{Contents, ImportMode, Revision, Store, StoreError, Write};
use crate::transfer::{ExportFormat, export, read_export};

fn contents(epoch: u64, revision: u64) -> Contents {
    Contents {
        epoch: Epoch(epoch),
        revision: Revision(revision),
        objects: vec![pool("blue", "10.6.0.0/16")],
        leases: vec![nth(1)],
        history: None,
    }
}

fn exported(store: &dyn Store) -> Contents {
    let mut text = Vec::new();
    export(store, WallMs(1_780_000_000_000), ExportFormat::Whole, &mut text).unwrap();
    let mut contents = read_export(&mut text.as_slice()).unwrap();
    contents.leases.sort_by_key(|lease| lease.address);
    contents.objects.sort_by_key(|object| (object.kind(), object.name().clone()));
    contents
}

pub async fn what_is_exported_and_imported_is_the_same<H: Harness>() {
    let (from, to) = (H::default(), H::default());
    let (from, to) = (from.open(), to.open());
    from.commit(all_states().into_iter().map(Write::Create).collect()).await.unwrap();
    let objects = vec![pool("blue", "10.6.0.0/16"), reservation("router", "10.6.0.1")];
    from.put_objects(objects.clone()).await.unwrap();
    let first = exported(&from);
    assert_eq!((&first.leases, &first.objects), (&all_states(), &objects));
    to.import(first.clone(), ImportMode::IntoEmpty).await.unwrap();
    let second = exported(&to);
    assert_eq!((second.leases, second.objects), (first.leases, first.objects));
}

pub async fn an_import_into_a_store_that_holds_something_is_refused_and_changes_nothing<
    H: Harness,
>() {
    let harness = H::default();
    let store = harness.open();
    store.commit(vec![Write::Create(nth(7))]).await.unwrap();
    let before = store.identity();
    let refused = store.import(contents(1, 1), ImportMode::IntoEmpty).await;
    assert!(matches!(refused, Err(StoreError::NotEmpty { leases: 1, objects: 0 })), "{refused:?}");
    assert_eq!(store.identity(), before);
    assert!(store.get(&nth(7).key()).await.unwrap().is_some());
    assert_eq!(store.get(&nth(1).key()).await.unwrap(), None);
}

pub async fn an_import_that_may_replace_leaves_nothing_of_before<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    store.commit(vec![Write::Create(nth(7))]).await.unwrap();
    store.put_objects(vec![reservation("router", "10.6.0.1")]).await.unwrap();
    store.import(contents(1, 1), ImportMode::Replace).await.unwrap();
    let now = exported(&store);
    assert_eq!((now.leases, now.objects), (contents(1, 1).leases, contents(1, 1).objects));
}

pub async fn an_import_raises_the_epoch_above_both<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let identity = store.import(contents(6, 1), ImportMode::Replace).await.unwrap();
    assert_eq!(identity.epoch, Epoch(7));
    let identity = store.import(contents(2, 1), ImportMode::Replace).await.unwrap();
    assert_eq!(identity.epoch, Epoch(8));
    assert_eq!(store.identity().epoch, Epoch(8));
}

pub async fn an_import_gives_revisions_above_both<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let before = store.commit(vec![Write::Create(nth(2))]).await.unwrap()[0];
    store.import(contents(1, before.0 + 900), ImportMode::Replace).await.unwrap();
    let first = store.get(&nth(1).key()).await.unwrap().unwrap().revision;
    assert!(first > before);
    assert!(first.0 > before.0 + 900 || !H::OWN_REVISIONS);
    store.import(contents(1, 5), ImportMode::Replace).await.unwrap();
    let second = store.get(&nth(1).key()).await.unwrap().unwrap().revision;
    assert!(second > first);
}
