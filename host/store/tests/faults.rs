//! The disk fails, stalls or comes back, and nobody is told a wrong thing.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use support::disk::{Op, Recorder};
use support::lease;
use tenure_core::lease::Lease;
use tenure_store::{RedbOptions, RedbStore, Revision, Store as _, StoreError, Write};

/// Calls of the disk that a commit and the re-opening behind it make stay below.
const CALLS: u64 = 120;

fn open(disk: &Recorder) -> Result<RedbStore, StoreError> {
    RedbStore::open_on(
        disk.clone(),
        &RedbOptions { cache_bytes: 1024 * 1024, ..Default::default() },
    )
}

fn nth(n: u16) -> Lease {
    let [high, low] = n.to_be_bytes();
    lease(format!("10.6.{high}.{low}").parse().unwrap(), 1)
}

fn create(n: u16) -> Vec<Write> {
    vec![Write::Create(nth(n))]
}

fn syncs(disk: &Recorder) -> usize {
    disk.log().iter().filter(|op| matches!(op, Op::Sync)).count()
}

async fn has(store: &RedbStore, n: u16) -> bool {
    store.get(&nth(n).key()).await.unwrap().is_some()
}

#[tokio::test]
async fn after_a_failed_sync_the_caller_gets_unknown_and_the_store_serves_again() {
    let disk = Recorder::default();
    let store = open(&disk).unwrap();
    store.commit(create(1)).await.unwrap();
    disk.fail_syncs(1);
    let outcome = store.commit(create(2)).await;
    assert!(matches!(outcome, Err(StoreError::Unknown { .. })), "{outcome:?}");
    assert!(has(&store, 1).await);
    store.commit(create(3)).await.unwrap();
    store.health().unwrap();
    assert!(has(&store, 3).await);
}

#[tokio::test]
async fn wherever_the_disk_fails_the_answer_agrees_with_what_is_stored() {
    let mut failures = 0;
    for calls in 0..CALLS {
        let disk = Recorder::default();
        let store = open(&disk).unwrap();
        store.commit(create(1)).await.unwrap();
        disk.fail_after(Some(calls));
        let outcome = store.commit(create(2)).await;
        disk.fail_after(None);
        drop(store);
        let store = open(&disk).unwrap();
        assert!(has(&store, 1).await, "failing after {calls} calls lost an acknowledged row");
        match outcome {
            Ok(_) => assert!(has(&store, 2).await, "acknowledged, but not there: {calls} calls"),
            Err(StoreError::Unknown { .. }) => failures += 1,
            Err(StoreError::Io { .. }) => {
                failures += 1;
                assert!(!has(&store, 2).await, "answered as not written: {calls} calls");
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(
        (5..CALLS).contains(&failures),
        "{failures} failures: the range covers no whole commit"
    );
}

#[tokio::test]
async fn while_the_disk_is_away_the_store_says_so_and_it_heals_when_it_is_back() {
    let disk = Recorder::default();
    let store = open(&disk).unwrap();
    store.commit(create(1)).await.unwrap();
    disk.fail_after(Some(0));
    store.commit(create(2)).await.unwrap_err();
    let again = store.commit(create(2)).await;
    assert!(matches!(again, Err(StoreError::Io { .. })), "{again:?}");
    assert!(matches!(store.health(), Err(StoreError::Io { .. })));
    assert!(matches!(store.get(&nth(1).key()).await, Err(StoreError::Io { .. })));
    disk.fail_after(None);
    store.commit(create(3)).await.unwrap();
    store.health().unwrap();
    assert!(has(&store, 1).await && has(&store, 3).await);
}

#[tokio::test]
async fn a_stalled_disk_fills_the_queue_and_who_comes_then_is_told_to_try_later() {
    let disk = Recorder::default();
    let store = open(&disk).unwrap();
    disk.stall();
    let first = store.commit(create(0));
    disk.until_a_sync_waits();
    let waiting: Vec<_> = (1..=1024).map(|n| store.commit(create(n))).collect();
    assert!(matches!(store.health(), Err(StoreError::Overloaded { bound: 1024 })));
    let late = store.commit(create(2000)).await;
    assert!(matches!(late, Err(StoreError::Overloaded { bound: 1024 })), "{late:?}");
    disk.go_on();
    first.await.unwrap();
    for answer in waiting {
        answer.await.unwrap();
    }
    store.health().unwrap();
    assert!(!has(&store, 2000).await);
}

#[tokio::test]
async fn commits_that_wait_together_share_one_transaction() {
    let disk = Recorder::default();
    let store = open(&disk).unwrap();
    let before = syncs(&disk);
    store.commit(create(0)).await.unwrap();
    let of_one = syncs(&disk) - before;
    disk.stall();
    let first = store.commit(create(1));
    disk.until_a_sync_waits();
    let group: Vec<_> = (2..202).map(|n| store.commit(create(n))).collect();
    disk.go_on();
    first.await.unwrap();
    let before = syncs(&disk);
    for answer in group {
        answer.await.unwrap();
    }
    let of_all = syncs(&disk) - before;
    // redb may sync once more when the file grows; a second transaction would sync twice more.
    assert!(of_all < 2 * of_one, "200 commits synced {of_all} times, one {of_one} times");
    assert_eq!(of_one, 2, "a two-phase commit syncs the data, then the root");
}

#[tokio::test]
async fn within_a_group_the_first_creator_wins_and_the_second_sees_its_row() {
    let disk = Recorder::default();
    let store = open(&disk).unwrap();
    disk.stall();
    let before = store.commit(create(0));
    disk.until_a_sync_waits();
    let first = store.commit(create(1));
    let second = store.commit(vec![Write::Create(nth(2)), Write::Create(nth(1))]);
    let third = store.commit(create(3));
    disk.go_on();
    before.await.unwrap();
    let revision = first.await.unwrap()[0];
    match second.await {
        Err(StoreError::Conflict { index: 1, current: Some(row), .. }) => {
            assert_eq!(row.revision, revision);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(third.await.unwrap(), [Revision(revision.0 + 1)], "the refused one used none");
    assert!(!has(&store, 2).await);
}

#[tokio::test]
async fn who_stops_waiting_does_not_stop_the_commit() {
    let disk = Recorder::default();
    let store = open(&disk).unwrap();
    disk.stall();
    drop(store.commit(create(1)));
    disk.until_a_sync_waits();
    drop(store.commit(create(2)));
    disk.go_on();
    store.commit(create(3)).await.unwrap();
    assert!(has(&store, 1).await && has(&store, 2).await);
}

#[tokio::test]
async fn closing_finishes_what_waits_and_refuses_what_comes_later() {
    let disk = Recorder::default();
    let store = open(&disk).unwrap();
    disk.stall();
    let first = store.commit(create(1));
    disk.until_a_sync_waits();
    let second = store.commit(create(2));
    disk.go_on();
    store.close();
    first.await.unwrap();
    second.await.unwrap();
    assert!(matches!(store.commit(create(3)).await, Err(StoreError::Closed)));
    assert!(matches!(store.get(&nth(1).key()).await, Err(StoreError::Closed)));
    assert!(matches!(store.health(), Err(StoreError::Closed)));
    let store = open(&disk).unwrap();
    assert!(has(&store, 1).await && has(&store, 2).await && !has(&store, 3).await);
}

#[tokio::test]
async fn a_commit_that_changes_nothing_costs_no_sync() {
    let disk = Recorder::default();
    let store = open(&disk).unwrap();
    store.commit(create(1)).await.unwrap();
    let before = syncs(&disk);
    store.commit(create(1)).await.unwrap_err();
    store.commit(Vec::new()).await.unwrap();
    assert_eq!(syncs(&disk), before);
}
