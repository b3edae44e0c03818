//! A store that was damaged from outside is refused and left as it is: nothing of it is guessed.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::path::Path;

use proptest::prelude::RngExt as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use redb::Database;
use support::disk::{Image, Recorder};
use support::{edit, file, fill, rows, snapshot, stored_key, told};
use tenure_core::history::Entry;
use tenure_store::{RedbOptions, RedbStore, Row, StoreError};

/// Bits flipped one at a time.
const FLIPS: usize = 2_000;

/// Bytes that redb's header takes, both commit slots with it.
const HEADER: usize = 320;

fn open(folder: &Path) -> Result<RedbStore, StoreError> {
    RedbStore::open(folder, &RedbOptions::default())
}

fn assert_corrupt_and_untouched(folder: &Path) {
    let before = snapshot(folder);
    match open(folder) {
        Err(StoreError::Corrupt { .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(snapshot(folder), before);
}

#[test]
fn a_foreign_file_an_empty_one_and_a_cut_one_are_refused_and_left_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    fill(&open(folder.path()).unwrap(), 50);
    let whole = std::fs::read(file(folder.path())).unwrap();
    for bytes in
        [&b"#!/bin/sh\n"[..], &[], &[0; 100_000], &whole[..5000], &whole[..whole.len() / 2]]
    {
        std::fs::write(file(folder.path()), bytes).unwrap();
        assert_corrupt_and_untouched(folder.path());
    }
}

#[test]
fn a_record_that_does_not_decode_is_damage_and_its_place_is_named() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    drop(edit(folder.path(), "leases", &stored_key(), &[1, 0, 0]));
    let error = open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("leases/10.6.0.1"), "{error}");
}

#[test]
fn a_database_without_our_tables_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    drop(Database::create(file(folder.path())).unwrap());
    assert_corrupt_and_untouched(folder.path());
}

/// Rows and history.
type Stored = (Vec<Row>, Vec<Entry>);

/// Opens what a store of 120 leases left, closed well, with one bit flipped: refused, or the flip changed
/// nothing that is read. Answers whether it was refused.
fn is_refused_or_harmless(whole: &[u8], stored: &Stored, at: usize, bit: u32) -> bool {
    let mut file = whole.to_vec();
    file[at] ^= 1 << bit;
    let damaged = Recorder::holding(Image { file, published: true });
    match RedbStore::open_on(damaged, &RedbOptions::default()) {
        Err(StoreError::Corrupt { .. }) => return true,
        Err(other) => panic!("bit {bit} of byte {at}: {other}"),
        Ok(store) => {
            let found = (rows(&store).unwrap(), told(&store).unwrap());
            assert_eq!(found, *stored, "bit {bit} of byte {at}");
        }
    }
    false
}

fn filled() -> (Vec<u8>, Stored) {
    let disk = Recorder::default();
    let store = RedbStore::open_on(disk.clone(), &RedbOptions::default()).unwrap();
    fill(&store, 120);
    let stored = (rows(&store).unwrap(), told(&store).unwrap());
    assert_eq!(stored.1.len(), 120);
    drop(store);
    (disk.contents(), stored)
}

#[test]
fn a_flipped_bit_anywhere_is_never_believed() {
    let (whole, stored) = filled();
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let used: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
    let flips = (0..FLIPS).map(|_| (used[rng.random_range(0..used.len())], rng.random_range(0..8)));
    let refused = flips.filter(|(at, bit)| is_refused_or_harmless(&whole, &stored, *at, *bit));
    // The rest fell on pages that are free by now.
    assert!(refused.count() > FLIPS / 5);
}

#[test]
fn a_flipped_bit_in_the_header_never_brings_back_an_older_state() {
    let (whole, stored) = filled();
    for at in 0..HEADER {
        for bit in 0..8 {
            is_refused_or_harmless(&whole, &stored, at, bit);
        }
    }
}
