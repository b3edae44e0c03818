//! Many tasks at once.

use std::sync::Arc;

use tenure_core::lease::Lease;
use tokio::task::JoinSet;

use super::Harness;
use super::samples::{key, lease, nth};
use crate::port::{Revision, Store, StoreError, Write};

const TASKS: u64 = 64;

/// Runs `work` in [`TASKS`] tasks at once and answers what they answered.
async fn race<S, F, T>(store: &Arc<S>, work: impl Fn(Arc<S>, u64) -> F) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let tasks: JoinSet<T> = (0..TASKS).map(|n| work(Arc::clone(store), n)).collect();
    tasks.join_all().await
}

fn tagged(lease: Lease, tag: u64) -> Lease {
    Lease { tag, ..lease }
}

pub async fn of_many_creators_of_one_address_exactly_one_wins<H: Harness>() {
    let harness = H::default();
    let store = Arc::new(harness.open());
    let create = |store: Arc<H::Store>, n| async move {
        (n, store.commit(vec![Write::Create(tagged(nth(1), n))]).await.is_ok())
    };
    let winners: Vec<u64> =
        race(&store, create).await.into_iter().filter(|(_, won)| *won).map(|(n, _)| n).collect();
    let stored = store.get(&nth(1).key()).await.unwrap().unwrap();
    assert_eq!(winners, [stored.lease.tag]);
}

pub async fn of_many_replacers_of_one_revision_exactly_one_wins<H: Harness>() {
    let harness = H::default();
    let store = Arc::new(harness.open());
    let expect = store.commit(vec![Write::Create(nth(1))]).await.unwrap()[0];
    let replace = |store: Arc<H::Store>, n| async move {
        let write = Write::Replace { lease: tagged(nth(1), n), expect };
        store.commit(vec![write]).await.is_ok()
    };
    assert_eq!(race(&store, replace).await.into_iter().filter(|won| *won).count(), 1);
}

pub async fn racing_dual_stack_batches_never_leave_a_half<H: Harness>() {
    let harness = H::default();
    let store = Arc::new(harness.open());
    let take_both = |store: Arc<H::Store>, n: u64| async move {
        let mut batch = vec![
            Write::Create(tagged(lease("10.6.0.1"), n)),
            Write::Create(tagged(lease("fd00::1"), n)),
        ];
        if n.is_multiple_of(2) {
            batch.reverse();
        }
        store.commit(batch).await.is_ok()
    };
    assert_eq!(race(&store, take_both).await.into_iter().filter(|won| *won).count(), 1);
    let v4 = store.get(&key("10.6.0.1")).await.unwrap().unwrap();
    let v6 = store.get(&key("fd00::1")).await.unwrap().unwrap();
    assert_eq!(v4.lease.tag, v6.lease.tag);
}

pub async fn a_counter_raised_by_many_loses_no_step<H: Harness>() {
    let harness = H::default();
    let store = Arc::new(harness.open());
    store.commit(vec![Write::Create(tagged(nth(1), 0))]).await.unwrap();
    race(&store, |store: Arc<H::Store>, _| async move {
        loop {
            let row = store.get(&nth(1).key()).await.unwrap().unwrap();
            let next = tagged(nth(1), row.lease.tag + 1);
            let write = Write::Replace { lease: next, expect: row.revision };
            match store.commit(vec![write]).await {
                Ok(_) => return,
                Err(StoreError::Conflict { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
    })
    .await;
    assert_eq!(store.get(&nth(1).key()).await.unwrap().unwrap().lease.tag, TASKS);
}

pub async fn a_refused_commit_does_not_spoil_those_beside_it<H: Harness>() {
    let harness = H::default();
    let store = Arc::new(harness.open());
    store.commit(vec![Write::Create(nth(0))]).await.unwrap();
    let every_other_is_refused = |store: Arc<H::Store>, n: u64| async move {
        let fresh = nth(u16::try_from(n).unwrap() + 1);
        let refused = n.is_multiple_of(2).then(|| Write::Create(nth(0)));
        let batch = [Write::Create(fresh)].into_iter().chain(refused).collect();
        (n, store.commit(batch).await.is_ok())
    };
    for (n, done) in race(&store, every_other_is_refused).await {
        assert_eq!(done, n % 2 == 1, "commit {n}");
        let row = store.get(&nth(u16::try_from(n).unwrap() + 1).key()).await.unwrap();
        assert_eq!(row.is_some(), done, "row of commit {n}");
    }
}

pub async fn many_commits_at_once_are_all_there<H: Harness>() {
    let harness = H::default();
    let store = Arc::new(harness.open());
    let create = |store: Arc<H::Store>, n| async move {
        let lease = nth(u16::try_from(n).unwrap());
        (lease.key(), store.commit(vec![Write::Create(lease)]).await.unwrap())
    };
    let mut given: Vec<Revision> = Vec::new();
    for (key, revisions) in race(&store, create).await {
        assert_eq!(store.get(&key).await.unwrap().unwrap().revision, revisions[0]);
        given.extend(revisions);
    }
    given.sort_unstable();
    given.dedup();
    assert_eq!(given.len() as u64, TASKS, "each got a revision of its own");
}
