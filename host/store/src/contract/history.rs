//! Who held what: written with the rows, bounded, and honest about what it does not know.

use tenure_core::history::{Entry, Gap, GapCause, HORIZON, HistoryEvent, Kept, What};
use tenure_core::lease::{Generation, Lease, LeaseKey, LeaseState, Proof};
use tenure_core::name::{ContainerId, SpaceName};
use tenure_core::time::WallMs;

use super::Harness;
use super::samples::{key, lease, nth};
use crate::port::{ImportMode, Revision, Store, Write};
use crate::transfer::{ExportFormat, export, read_export};

const AT: WallMs = WallMs(1_780_000_000_000);

/// How the memory store and others are asked for the one address that most tests are about.
fn entries(store: &dyn Store, of: Option<&LeaseKey>) -> (Vec<Entry>, Kept) {
    let mut entries = Vec::new();
    let kept = store.history(of, &mut |entry| entries.push(entry)).unwrap();
    (entries, kept)
}

fn events(store: &dyn Store) -> Vec<HistoryEvent> {
    let event = |entry| match entry {
        Entry::Event(event) => event,
        Entry::Gap(gap) => panic!("{gap:?}"),
    };
    entries(store, None).0.into_iter().map(event).collect()
}

fn gap(entry: Option<&Entry>) -> Gap {
    match entry {
        Some(Entry::Gap(gap)) => gap.clone(),
        other => panic!("a gap was expected, not {other:?}"),
    }
}

fn seqs(store: &dyn Store) -> Vec<u64> {
    entries(store, None).0.iter().map(Entry::seq).collect()
}

async fn create(store: &dyn Store, n: u16) -> Revision {
    store.commit(vec![Write::Create(nth(n))]).await.unwrap()[0]
}

async fn replace(store: &dyn Store, lease: Lease, expect: Revision) -> Revision {
    store.commit(vec![Write::Replace { lease, expect }]).await.unwrap()[0]
}

fn released(lease: Lease) -> Lease {
    lease.released(AT.plus_secs(60), Proof::None, 120)
}

/// The next holder of an address.
fn next_holder(lease: &Lease) -> Lease {
    let mut next = Lease { state: LeaseState::Bound, bound_at: AT.plus_secs(120), ..lease.clone() };
    next.attachment.container = ContainerId::new("another").unwrap();
    next.generation = lease.generation.next();
    next
}

pub async fn each_change_of_holder_leaves_one_event_in_the_order_of_the_writes<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let (first, second) = (nth(1), next_holder(&nth(1)));
    let revision = create(&store, 1).await;
    let revision = replace(&store, released(nth(1)), revision).await;
    let revision = replace(&store, second.clone(), revision).await;
    store.commit(vec![Write::Delete { key: nth(1).key(), expect: revision }]).await.unwrap();
    let events = events(&store);
    let told: Vec<_> = events.iter().map(|event| (event.seq, event.what.clone())).collect();
    let expected = [What::Bound, What::Released, What::Bound, What::Forgotten];
    assert_eq!(told, (1..).zip(expected).collect::<Vec<_>>());
    let times: Vec<_> = events.iter().take(3).map(|event| event.at).collect();
    assert_eq!(times, [AT, AT.plus_secs(60), AT.plus_secs(120)]);
    let who = |event: &HistoryEvent| event.holder().unwrap().attachment.clone();
    let attachments: Vec<_> = events.iter().map(who).collect();
    let (first, second) = (first.attachment, second.attachment);
    assert_eq!(attachments, [first.clone(), first, second.clone(), second]);
}

pub async fn a_write_that_changes_no_holder_leaves_none<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let revision = create(&store, 1).await;
    let again = Lease { generation: Generation(4), ..nth(1) };
    let revision = replace(&store, again, revision).await;
    let mut kept = released(nth(1));
    if let LeaseState::Released { keep_until, .. } = &mut kept.state {
        *keep_until = Some(AT.plus_secs(600));
    }
    let revision = replace(&store, kept, revision).await;
    let revision = replace(&store, released(nth(1)), revision).await;
    store.commit(vec![Write::Delete { key: nth(1).key(), expect: revision }]).await.unwrap();
    assert_eq!(seqs(&store), [1, 2], "bound and released");
}

pub async fn a_refused_batch_leaves_none<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    create(&store, 1).await;
    let refused = store.commit(vec![Write::Create(nth(2)), Write::Create(nth(1))]).await;
    assert!(refused.is_err());
    create(&store, 3).await;
    assert_eq!(
        events(&store).iter().map(|e| e.address).collect::<Vec<_>>(),
        [nth(1).address, nth(3).address]
    );
    assert_eq!(seqs(&store), [1, 2]);
}

pub async fn each_write_of_a_batch_leaves_its_own<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let old = store.commit(vec![Write::Create(nth(1)), Write::Create(nth(2))]).await.unwrap();
    let batch = vec![
        Write::Replace { lease: released(nth(2)), expect: old[1] },
        Write::Delete { key: nth(1).key(), expect: old[0] },
        Write::Create(next_holder(&nth(1))),
    ];
    store.commit(batch).await.unwrap();
    let told: Vec<_> = events(&store).into_iter().map(|e| (e.address, e.what)).collect();
    let (one, two) = (nth(1).address, nth(2).address);
    assert_eq!(
        told,
        [
            (one, What::Bound),
            (two, What::Bound),
            (two, What::Released),
            (one, What::Forgotten),
            (one, What::Bound)
        ]
    );
}

pub async fn one_address_is_told_without_the_others<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let red = Lease { space: SpaceName::new("red").unwrap(), ..lease("10.6.0.1") };
    let all = [lease("10.6.0.1"), red.clone(), lease("10.6.0.10"), lease("::ffff:10.6.0.1")];
    store.commit(all.iter().cloned().map(Write::Create).collect()).await.unwrap();
    for lease in all {
        let (told, kept) = entries(&store, Some(&lease.key()));
        let keys = told.iter().map(|entry| match entry {
            Entry::Event(event) => event.key(),
            Entry::Gap(gap) => panic!("{gap:?}"),
        });
        assert_eq!(keys.collect::<Vec<_>>(), [lease.key()]);
        assert_eq!(kept.from, Some(AT));
    }
    assert_eq!(entries(&store, Some(&key("10.6.0.2"))).0, []);
}

pub async fn beyond_the_bound_the_oldest_go_first_and_it_is_told_how_far_back_it_goes<
    H: Harness,
>() {
    let harness = H::default();
    let store = harness.open_keeping(3);
    let created = |n: u16| Lease { bound_at: AT.plus_secs(u64::from(n)), ..nth(n) };
    for n in 0..4 {
        store.commit(vec![Write::Create(created(n))]).await.unwrap();
    }
    assert_eq!(seqs(&store), [2, 3, 4]);
    let (told, kept) = entries(&store, Some(&nth(0).key()));
    assert_eq!((told, kept), (Vec::new(), Kept { bound: 3, from: Some(AT.plus_secs(1)) }));
    let batch = (4..10).map(|n| Write::Create(created(n))).collect();
    store.commit(batch).await.unwrap();
    assert_eq!(seqs(&store), [8, 9, 10]);
}

pub async fn a_history_of_no_entries_is_none<H: Harness>() {
    let harness = H::default();
    let store = harness.open_keeping(0);
    create(&store, 1).await;
    store.raise_epoch().await.unwrap();
    assert_eq!(entries(&store, None), (Vec::new(), Kept::default()));
}

async fn exported(store: &dyn Store, format: ExportFormat) -> crate::port::Contents {
    let mut text = Vec::new();
    export(store, AT.plus_secs(7), format, &mut text).unwrap();
    read_export(&mut text.as_slice()).unwrap()
}

pub async fn what_is_exported_comes_in_with_the_gap_since<H: Harness>() {
    let (from, to) = (H::default(), H::default());
    let (from, to) = (from.open_keeping(2), to.open());
    for n in 1..4 {
        create(&from, n).await;
    }
    create(&to, 9).await;
    let contents = exported(&from, ExportFormat::Whole).await;
    to.import(contents, ImportMode::Replace).await.unwrap();
    let (told, _) = entries(&to, None);
    assert_eq!(told[..2], entries(&from, None).0, "as it was, under the same numbers");
    let gap = gap(told.get(2));
    assert_eq!((gap.seq, gap.cause, told.len()), (4, GapCause::Import, 3));
    assert!(gap.from <= AT.plus_secs(7) && gap.from <= gap.to);
    create(&to, 5).await;
    assert_eq!(seqs(&to), [2, 3, 4, 5]);
}

pub async fn an_export_without_history_leaves_nothing_but_a_gap_over_all_time<H: Harness>() {
    let (from, to) = (H::default(), H::default());
    let (from, to) = (from.open(), to.open());
    create(&from, 1).await;
    create(&to, 9).await;
    let contents = exported(&from, ExportFormat::WithoutHistory).await;
    to.import(contents, ImportMode::Replace).await.unwrap();
    let (told, kept) = entries(&to, None);
    let gap = gap(told.first());
    assert_eq!((gap.seq, gap.from, gap.cause, told.len()), (1, WallMs(0), GapCause::Import, 1));
    assert_eq!(kept.from, Some(gap.to));
}

pub async fn an_export_of_a_store_without_history_leaves_nothing_but_a_gap_over_all_time<
    H: Harness,
>() {
    let (from, to) = (H::default(), H::default());
    let (from, to) = (from.open_keeping(0), to.open());
    create(&from, 1).await;
    let contents = exported(&from, ExportFormat::Whole).await;
    to.import(contents, ImportMode::Replace).await.unwrap();
    let (told, _) = entries(&to, None);
    assert_eq!((gap(told.first()).from, told.len()), (WallMs(0), 1));
}

pub async fn a_new_epoch_is_a_gap_since_the_last_entry<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let long_ago = Lease { bound_at: WallMs(5_000), ..nth(1) };
    store.commit(vec![Write::Create(long_ago)]).await.unwrap();
    store.raise_epoch().await.unwrap();
    let (told, _) = entries(&store, Some(&key("10.6.9.9")));
    let gap = gap(told.first());
    assert_eq!((gap.seq, gap.from, gap.cause), (2, WallMs(5_000), GapCause::NewEpoch));
    assert!(gap.to > gap.from);
}

pub async fn a_gap_that_is_dropped_leaves_its_horizon<H: Harness>() {
    let (harness, other) = (H::default(), H::default());
    let store = harness.open_keeping(2);
    create(&store, 1).await;
    store.raise_epoch().await.unwrap();
    let left = gap(entries(&store, None).0.last());
    for n in 2..4 {
        create(&store, n).await;
    }
    let horizon = Gap { seq: HORIZON, from: WallMs(0), ..left };
    let (told, kept) = entries(&store, Some(&nth(3).key()));
    assert_eq!(gap(told.first()), horizon);
    assert_eq!(kept.from, Some(AT), "the horizon is not part of what is kept");
    create(&store, 4).await;
    assert_eq!(seqs(&store), [HORIZON, 4, 5], "it stays, beside the bound");
    let contents = exported(&store, ExportFormat::Whole).await;
    let copy = other.open();
    copy.import(contents, ImportMode::IntoEmpty).await.unwrap();
    assert_eq!(gap(entries(&copy, None).0.first()), horizon);
    assert_eq!(seqs(&copy), [HORIZON, 4, 5, 6]);
}

// === of engines that outlive themselves ===

pub async fn the_history_goes_on_when_opened_again<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    let revision = create(&store, 1).await;
    store.put_objects(vec![super::samples::pool("blue", "10.6.0.0/16")]).await.unwrap();
    store.raise_epoch().await.unwrap();
    let before = entries(&store, None);
    drop(store);
    let store = harness.open();
    assert_eq!(entries(&store, None), before);
    replace(&store, released(nth(1)), revision).await;
    drop(store);
    assert_eq!(seqs(&harness.open()), [1, 2, 3]);
}

pub async fn a_lower_bound_drops_the_oldest_when_opened_again<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    for n in 1..10 {
        create(&store, n).await;
    }
    drop(store);
    let store = harness.open_keeping(2);
    assert_eq!(seqs(&store), [8, 9]);
    create(&store, 10).await;
    assert_eq!(seqs(&store), [9, 10]);
}

pub async fn a_history_that_was_off_begins_anew_behind_a_gap<H: Harness>() {
    let harness = H::default();
    let store = harness.open();
    create(&store, 1).await;
    drop(store);
    let store = harness.open_keeping(0);
    assert_eq!(entries(&store, None).0, [], "what was kept is dropped");
    create(&store, 2).await;
    drop(store);
    let store = harness.open();
    let (told, kept) = entries(&store, None);
    let gap = gap(told.first());
    assert_eq!((gap.seq, gap.from, gap.cause), (1, WallMs(0), GapCause::Unrecorded));
    assert_eq!(kept.from, Some(gap.to));
    create(&store, 3).await;
    assert_eq!(seqs(&store), [1, 2]);
}
