//! A history beside versions that have none, older and newer ones.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::path::Path;

use redb::{Database, TableDefinition};
use support::{edit, file, fill, rows, told};
use tenure_core::history::{Entry, Gap, GapCause};
use tenure_core::time::WallMs;
use tenure_store::{RedbOptions, RedbStore, Store as _, StoreError};

const META: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("meta");
const HISTORY: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("history");

fn open(folder: &Path) -> RedbStore {
    RedbStore::open(folder, &RedbOptions::default()).unwrap()
}

/// A store as a version without a history leaves it, with so many leases.
fn of_older_version(folder: &Path, leases: u8) {
    fill(&open(folder), leases);
    let database = Database::open(file(folder)).unwrap();
    let writing = database.begin_write().unwrap();
    assert!(writing.delete_table(HISTORY).unwrap());
    assert!(writing.open_table(META).unwrap().remove(&b"history"[..]).unwrap().is_some());
    writing.commit().unwrap();
}

fn only_gap(told: &[Entry]) -> Gap {
    match told {
        [Entry::Gap(gap)] => gap.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_store_of_a_version_without_a_history_opens_and_its_history_begins_with_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    of_older_version(folder.path(), 3);
    let store = open(folder.path());
    assert_eq!(rows(&store).unwrap().len(), 3);
    let gap = only_gap(&told(&store).unwrap());
    assert_eq!((gap.from, gap.cause), (WallMs(0), GapCause::Unrecorded));
    drop(store);
    assert_eq!(only_gap(&told(&open(folder.path())).unwrap()), gap, "and with one only");
}

#[test]
fn a_store_that_nobody_ever_wrote_to_has_no_gap() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    assert_eq!(told(&open(folder.path())).unwrap(), []);
}

#[test]
fn what_an_older_version_wrote_in_between_is_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    fill(&open(folder.path()), 2);
    // It counts its writes, and knows of no history that it could tell.
    drop(edit(folder.path(), "meta", b"revision", &9_u64.to_be_bytes()));
    let told = told(&open(folder.path())).unwrap();
    let gap = only_gap(&told[2..]);
    assert_eq!((gap.seq, gap.from, gap.cause), (3, told[1].at(), GapCause::Unrecorded));
}

#[test]
fn of_what_was_before_an_older_version_began_a_new_life_nothing_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    fill(&open(folder.path()), 2);
    drop(edit(folder.path(), "meta", b"epoch", &2_u64.to_be_bytes()));
    let told = told(&open(folder.path())).unwrap();
    let gap = only_gap(&told[2..]);
    assert_eq!((gap.from, gap.cause), (WallMs(0), GapCause::NewEpoch));
}

#[test]
fn an_entry_of_a_newer_version_keeps_nobody_from_his_leases_and_is_named_when_read() {
    let folder = tempfile::tempdir().unwrap();
    fill(&open(folder.path()), 2);
    drop(edit_entry(folder.path(), 2, &[2, 0, 0]));
    let store = open(folder.path());
    assert_eq!(rows(&store).unwrap().len(), 2);
    let newer = told(&store).unwrap_err();
    assert!(matches!(newer, StoreError::Newer { found: 2, known: 1 }), "{newer}");
    drop(store);
    drop(edit(folder.path(), "meta", b"revision", &9_u64.to_be_bytes()));
    fill_more(&open(folder.path()));
    drop(edit_entry(folder.path(), 2, &[1, 0]));
    let damaged = told(&open(folder.path())).unwrap_err().to_string();
    assert!(damaged.contains("history/2"), "{damaged}");
}

fn edit_entry(folder: &Path, seq: u64, value: &[u8]) -> Database {
    let database = Database::open(file(folder)).unwrap();
    let writing = database.begin_write().unwrap();
    writing.open_table(HISTORY).unwrap().insert(seq, value).unwrap();
    writing.commit().unwrap();
    database
}

fn fill_more(store: &RedbStore) {
    let lease = support::lease("10.7.0.1".parse().unwrap(), 1);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.commit(vec![tenure_store::Write::Create(lease)])).unwrap();
}
