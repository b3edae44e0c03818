//! Requests whose outcome is not known, and servers that have no time: one row each.

use std::time::Duration;

use http::Method;
use kube::api::DynamicObject;
use tenure_core::lease::{Generation, Lease};
use tenure_kube::{KubeOptions, KubeStore, LeaseSpec};
use tenure_lab::{Fate, Front};
use tenure_store::contract::samples::nth;
use tenure_store::{Revision, Row, Store as _, StoreError, Write};
use tokio::sync::oneshot;

use crate::lab::{Lab, options, resource};

/// A store behind a front, and one that goes straight to the server.
struct Scene {
    front: Front,
    store: KubeStore,
    other: KubeStore,
    lab: Lab,
}

impl Scene {
    async fn new(options: KubeOptions) -> Self {
        let lab = Lab::default();
        let front = Front::before(lab.config()).await;
        let store = lab.store_with(front.config(), options);
        let other = lab.store();
        Self { front, store, other, lab }
    }

    async fn row(&self) -> Option<Row> {
        self.other.get(&nth(1).key()).await.unwrap()
    }

    /// The row that all is about, written by the store under test.
    async fn created(&self) -> Revision {
        self.store.commit(vec![Write::Create(nth(1))]).await.unwrap()[0]
    }
}

fn create() -> Vec<Write> {
    vec![Write::Create(nth(1))]
}

fn next(expect: Revision) -> (Lease, Vec<Write>) {
    let lease = Lease { generation: Generation(4), ..nth(1) };
    (lease.clone(), vec![Write::Replace { lease, expect }])
}

fn delete(expect: Revision) -> Vec<Write> {
    vec![Write::Delete { key: nth(1).key(), expect }]
}

fn fates() -> [Fate; 4] {
    [Fate::LostOnTheWay, Fate::AnswerLost, Fate::DoneAndRefused(503), Fate::DoneAndRefused(500)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_without_an_answer_is_sent_again_under_the_same_name_and_found_to_be_ours() {
    for fate in fates() {
        let scene = Scene::new(options()).await;
        let what = format!("{fate:?}");
        scene.front.next(Method::POST, [fate]);
        let revision = scene.created().await;
        let row = scene.row().await.unwrap();
        assert_eq!((row.lease, row.revision), (nth(1), revision), "{what}");
        assert_eq!(scene.front.seen(&Method::POST), 2, "{what}");
        assert_eq!(scene.lab.leases().list(&Default::default()).await.unwrap().items.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replace_without_an_answer_is_done_once() {
    for fate in fates() {
        let scene = Scene::new(options()).await;
        let what = format!("{fate:?}");
        let (lease, writes) = next(scene.created().await);
        scene.front.next(Method::PUT, [fate]);
        let revision = scene.store.commit(writes).await.unwrap()[0];
        let row = scene.row().await.unwrap();
        assert_eq!((row.lease, row.revision), (lease, revision), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_without_an_answer_is_done_once() {
    for fate in fates() {
        let scene = Scene::new(options()).await;
        let what = format!("{fate:?}");
        let revision = scene.created().await;
        scene.front.next(Method::DELETE, [fate]);
        assert_eq!(scene.store.commit(delete(revision)).await.unwrap(), [revision], "{what}");
        assert_eq!(scene.row().await, None, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_somebody_else_took_meanwhile_is_a_conflict_and_not_ours() {
    let scene = Scene::new(options()).await;
    let (go, held) = oneshot::channel();
    scene.front.next(Method::POST, [Fate::LostOnTheWay, Fate::Held(held)]);
    let theirs = Lease { tag: 7, ..nth(1) };
    let ours = scene.store.commit(create());
    let others = async {
        let revision = scene.other.commit(vec![Write::Create(theirs.clone())]).await.unwrap()[0];
        go.send(()).unwrap();
        revision
    };
    let (ours, revision) = tokio::join!(ours, others);
    let Err(StoreError::Conflict { current: Some(row), .. }) = ours else { panic!("{ours:?}") };
    assert_eq!((row.lease, row.revision), (theirs, revision));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_very_same_record_of_somebody_else_is_not_taken_for_ours() {
    let scene = Scene::new(options()).await;
    let (go, held) = oneshot::channel();
    scene.front.next(Method::POST, [Fate::LostOnTheWay, Fate::Held(held)]);
    let others = async {
        scene.other.commit(create()).await.unwrap();
        go.send(()).unwrap();
    };
    let (ours, ()) = tokio::join!(scene.store.commit(create()), others);
    assert!(matches!(ours, Err(StoreError::Conflict { .. })), "{ours:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storms_of_429_and_503_are_waited_out() {
    let scene = Scene::new(options()).await;
    scene.front.next(Method::POST, [429, 503, 429, 503, 504].map(Fate::Refused));
    scene.front.next(Method::GET, [429, 503].map(Fate::Refused));
    let revision = scene.created().await;
    assert_eq!(scene.store.get(&nth(1).key()).await.unwrap().unwrap().revision, revision);
    assert_eq!(scene.front.seen(&Method::POST), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_sheds_load_is_not_asked_again_within_the_second_that_it_asks_for() {
    let patient = KubeOptions { settle_within: Duration::from_secs(3), ..options() };
    let scene = Scene::new(patient).await;
    scene.front.storm(Some(429));
    let refused = scene.store.commit(create()).await;
    assert!(matches!(refused, Err(StoreError::Io { .. })), "{refused:?}");
    // A quarter less than a second each time; by its own pauses it would ask six times.
    assert!(scene.front.seen(&Method::POST) <= 4, "{}", scene.front.seen(&Method::POST));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_known_in_time_is_called_so_and_what_was_only_refused_is_not() {
    let soon = KubeOptions { settle_within: Duration::from_millis(700), ..options() };
    let scene = Scene::new(soon.clone()).await;
    scene.front.next(Method::POST, (0..30).map(|_| Fate::Refused(429)));
    let refused = scene.store.commit(create()).await;
    assert!(matches!(refused, Err(StoreError::Io { .. })), "{refused:?}");
    assert_eq!(scene.row().await, None);
    drop(scene);
    let scene = Scene::new(soon).await;
    scene.front.next(Method::POST, [Fate::AnswerLost]);
    scene.front.next(Method::POST, (0..30).map(|_| Fate::Refused(429)));
    let unknown = scene.store.commit(create()).await;
    assert!(matches!(unknown, Err(StoreError::Unknown { .. })), "{unknown:?}");
    assert!(scene.row().await.is_some(), "it had happened");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_answer_is_left_after_our_deadline() {
    // Long enough for a starved server to let the store open.
    let soon = Duration::from_secs(2);
    let scene =
        Scene::new(KubeOptions { call_deadline: soon, settle_within: soon, ..options() }).await;
    let (_never, held) = oneshot::channel();
    scene.front.next(Method::POST, [Fate::Held(held)]);
    let unknown = scene.store.commit(create()).await;
    assert!(matches!(unknown, Err(StoreError::Unknown { .. })), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_goes_on_when_its_caller_goes_away() {
    let scene = Scene::new(options()).await;
    let (go, held) = oneshot::channel();
    scene.front.next(Method::POST, [Fate::Held(held)]);
    let commit = scene.store.commit(create());
    let left = tokio::time::timeout(Duration::from_millis(200), commit).await;
    assert!(left.is_err() && scene.row().await.is_none());
    go.send(()).unwrap();
    while scene.row().await.is_none() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_was_deleted_and_made_again_is_not_deleted_by_what_knew_the_old_one() {
    let scene = Scene::new(options()).await;
    let stale = scene.created().await;
    scene.other.commit(delete(stale)).await.unwrap();
    scene.other.commit(create()).await.unwrap();
    for writes in [delete(stale), next(stale).1] {
        let refused = scene.store.commit(writes).await;
        assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    }
    assert_eq!(scene.row().await.unwrap().lease, nth(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_somebody_else_replaced_is_not_touched_by_what_read_it_before() {
    let scene = Scene::new(options()).await;
    let read = scene.created().await;
    let (theirs, writes) = next(read);
    scene.other.commit(writes).await.unwrap();
    for writes in [delete(read), next(read).1] {
        let refused = scene.store.commit(writes).await;
        assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    }
    assert_eq!(scene.row().await.unwrap().lease, theirs);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replace_and_delete_always_carry_uid_and_resource_version() {
    let scene = Scene::new(options()).await;
    let first = scene.created().await;
    let uid = scene.lab.leases().get("10.6.0.1").await.unwrap().metadata.uid.unwrap();
    let second = scene.store.commit(next(first).1).await.unwrap()[0];
    let sent = scene.front.last_sent(&Method::PUT);
    let guards = [&sent["metadata"]["uid"], &sent["metadata"]["resourceVersion"]];
    assert_eq!(guards, [&uid, &first.0.to_string()]);
    scene.store.commit(delete(second)).await.unwrap();
    let sent = scene.front.last_sent(&Method::DELETE);
    let guards = [&sent["preconditions"]["uid"], &sent["preconditions"]["resourceVersion"]];
    assert_eq!(guards, [&uid, &second.0.to_string()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_cannot_be_read_is_called_so_at_once_and_not_skipped() {
    let scene = Scene::new(options()).await;
    scene.created().await;
    let mut spec = serde_json::to_value(LeaseSpec::from(&nth(2))).unwrap();
    // The rules of the API let it in, and it is no address.
    spec["address"] = "::ffff:zz".into();
    let mut odd = DynamicObject::new("odd", &resource("IPLease"));
    odd.data = serde_json::json!({"spec": spec});
    scene.lab.leases().create(&Default::default(), &odd).await.unwrap();
    let begun = std::time::Instant::now();
    let unreadable = scene.store.scan(&mut |_| {});
    assert!(matches!(unreadable, Err(StoreError::Corrupt { .. })), "{unreadable:?}");
    assert!(begun.elapsed() < options().settle_within, "and is not asked for again and again");
    assert!(scene.row().await.is_some(), "the others can be read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_commits_than_the_bound_are_told_to_come_later() {
    let scene = Scene::new(KubeOptions { commits: 1, ..options() }).await;
    let (go, held) = oneshot::channel();
    scene.front.next(Method::POST, [Fate::Held(held)]);
    let second = async {
        while scene.front.seen(&Method::POST) == 0 {
            tokio::task::yield_now().await;
        }
        let second = scene.store.commit(vec![Write::Create(nth(2))]).await;
        go.send(()).unwrap();
        second
    };
    let (first, second) = tokio::join!(scene.store.commit(create()), second);
    first.unwrap();
    assert!(matches!(second, Err(StoreError::Overloaded { bound: 1 })), "{second:?}");
}
