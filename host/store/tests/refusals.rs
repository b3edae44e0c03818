//! What a store must not open, it must not touch: in use elsewhere, or newer.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use support::{edit, file, fill, rows, snapshot, stored_key};
use tenure_store::{RedbOptions, RedbStore, StoreError};

/// Where the child process of a test finds the store.
const CHILD_STORE: &str = "TENURE_TEST_STORE";

fn open(folder: &Path) -> Result<RedbStore, StoreError> {
    RedbStore::open(folder, &RedbOptions::default())
}

// === in use ===

#[test]
fn a_second_process_is_refused_and_touches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    fill(&store, 3);
    let before = snapshot(folder.path());
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", "child_opens_the_store_of_its_parent"])
        .env(CHILD_STORE, folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stdout);
    let expected = format!("the store {} is in use", file(folder.path()).display());
    assert!(text.contains(&expected), "{text}");
    assert_eq!(snapshot(folder.path()), before);
    assert_eq!(rows(&store).unwrap().len(), 3);
}

#[test]
#[ignore = "run in a child process by a_second_process_is_refused_and_touches_nothing"]
fn child_opens_the_store_of_its_parent() {
    let folder = std::env::var_os(CHILD_STORE).unwrap();
    match open(Path::new(&folder)) {
        Ok(_) => println!("it opened"),
        Err(error) => println!("{error}"),
    }
}

#[test]
fn a_second_store_in_the_same_process_is_refused_until_the_first_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path()).unwrap();
    assert!(matches!(open(folder.path()), Err(StoreError::Locked { .. })));
    first.close();
    open(folder.path()).unwrap();
}

#[test]
fn of_many_that_make_a_store_at_once_one_gets_it() {
    let folder = tempfile::tempdir().unwrap();
    let attempts: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| open(folder.path()))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (opened, refused): (Vec<_>, Vec<_>) = attempts.into_iter().partition(Result::is_ok);
    assert_eq!(opened.len(), 1);
    for error in refused {
        assert!(matches!(error, Err(StoreError::Locked { .. })), "{error:?}");
    }
}

#[test]
fn an_unfinished_creation_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tenure.redb.new"), [0; 70_000]).unwrap();
    let store = open(folder.path()).unwrap();
    fill(&store, 1);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn the_file_belongs_to_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let nested = folder.path().join("state/tenure");
    let _store = open(&nested).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file(&nested)), mode(&nested)), (0o600, 0o700));
}

// === newer ===

fn assert_newer_and_untouched(folder: &Path) {
    let before = snapshot(folder);
    match open(folder) {
        Err(StoreError::Newer { found: 2, known: 1 }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(snapshot(folder), before);
}

#[test]
fn a_store_of_a_newer_format_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    drop(edit(folder.path(), "meta", b"format", &2_u32.to_be_bytes()));
    assert_newer_and_untouched(folder.path());
}

#[test]
fn a_value_of_a_newer_version_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    drop(edit(folder.path(), "leases", &stored_key(), &[2, 0, 0]));
    assert_newer_and_untouched(folder.path());
}

#[test]
fn a_newer_store_that_was_not_closed_is_not_repaired_but_left_as_it_is() {
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(open(folder.path()).unwrap());
    let open_still = edit(folder.path(), "meta", b"format", &2_u32.to_be_bytes());
    std::fs::copy(file(folder.path()), file(copy.path())).unwrap();
    drop(open_still);
    assert_newer_and_untouched(copy.path());
}
