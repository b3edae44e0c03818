//! The power goes at any moment: what was acknowledged is there, what was not is there whole or not at all, and the
//! history tells of exactly the rows that are there.
//!
//! A history runs on a recording disk through the store as it ships. Then the power is cut at points of the
//! recording, some images are cut again while they are repaired, and the store is opened on what is left.
//!
//! `TENURE_POWER_CUT_IMAGES` sets how many images, `TENURE_POWER_CUT_SEED` where the random numbers begin.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::RngExt as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use support::disk::{Image, Op, Platter, Recorder};
use tenure_core::history::{self, Entry, What};
use tenure_core::lease::{Lease, LeaseKey, Proof};
use tenure_core::name::{ContainerId, SpaceName};
use tenure_core::time::WallMs;
use tenure_store::{RedbOptions, RedbStore, Revision, Row, Store, Write};

/// Images that a run opens; about 2,000 a second.
const IMAGES: usize = 20_000;

/// Commits of a history. The file is split and merged over them, and the log stays short.
const COMMITS: usize = 60;

/// Addresses of a history: few, so that rows are replaced and deleted often.
const ADDRESSES: u8 = 24;

/// Chance of a cut at each step of the log, and images made at a cut.
const CUT_AT: f64 = 0.25;
const IMAGES_PER_CUT: usize = 3;

/// Entries of the history at most: few, so that most commits drop some.
const TOLD: usize = 16;

/// Tag and revision of each address.
type Rows = BTreeMap<IpAddr, (u64, Revision)>;

/// What the store must hold.
#[derive(Debug, Clone, Default, PartialEq)]
struct Held {
    rows: Rows,
    told: Vec<Entry>,
}

/// A history as it was meant: what stands after each commit, and what the disk was told.
struct History {
    after: Vec<Held>,
    log: Vec<Op>,
}

fn rng(seed: u64) -> TestRng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn options() -> RedbOptions {
    RedbOptions { cache_bytes: 1024 * 1024, history_events: TOLD as u64 }
}

// === histories ===

fn key(n: u8) -> LeaseKey {
    // Half of them are IPv6, so a batch is often a dual-stack set.
    let text = if n.is_multiple_of(2) { format!("10.6.0.{n}") } else { format!("fd00::{n:x}") };
    LeaseKey { space: SpaceName::default(), address: text.parse().unwrap() }
}

/// A lease of varying length, so that pages fill unevenly, and of a holder that comes and goes.
fn lease(n: u8, tag: u64) -> Lease {
    let mut lease = support::lease(key(n).address, tag);
    lease.attachment.container = ContainerId::new(format!("c{}", tag % 3)).unwrap();
    match tag % 4 {
        0 => lease.released(WallMs(tag), Proof::Kernel, 1),
        _ => lease,
    }
}

/// Writes to one to three addresses, all with the same tag: what the next state is if all happen.
fn batch(rng: &mut TestRng, before: &Held, tag: u64, last: &mut u64) -> (Vec<Write>, Held) {
    let mut held = before.clone();
    let mut writes = Vec::new();
    let first = rng.random_range(0..ADDRESSES);
    for n in (first..ADDRESSES).take(rng.random_range(1..=3)) {
        let key = key(n);
        let present = held.rows.get(&key.address).copied();
        let old = present.map(|(tag, _)| lease(n, tag));
        if let Some((_, expect)) = present.filter(|_| rng.random_bool(0.3)) {
            held.rows.remove(&key.address);
            held.tell(old.as_ref(), None);
            writes.push(Write::Delete { key, expect });
            continue;
        }
        *last += 1;
        held.rows.insert(key.address, (tag, Revision(*last)));
        let lease = lease(n, tag);
        held.tell(old.as_ref(), Some(&lease));
        writes.push(match present {
            Some((_, expect)) => Write::Replace { lease, expect },
            None => Write::Create(lease),
        });
    }
    (writes, held)
}

impl Held {
    fn tell(&mut self, old: Option<&Lease>, new: Option<&Lease>) {
        let next = self.told.last().map_or(0, Entry::seq) + 1;
        self.told.extend(history::event(old, new, next, WallMs(0)).map(Entry::Event));
        self.told.drain(..self.told.len().saturating_sub(TOLD));
    }

    /// Without the times that no record has.
    fn told_by(store: &RedbStore) -> Result<Vec<Entry>, String> {
        let mut told = Vec::new();
        let kept = store.history(None, &mut |mut entry| {
            match &mut entry {
                Entry::Event(event) if event.what == What::Forgotten => event.at = WallMs(0),
                _ => {}
            }
            told.push(entry);
        });
        kept.map_err(|e| format!("its history cannot be read: {e}"))?;
        Ok(told)
    }
}

/// Runs a history of commits, alone and in groups, with a re-opening in the middle.
fn history(disk: &Recorder, rng: &mut TestRng) -> History {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut after = vec![Held::default()];
    let mut last = 0;
    let mut store = RedbStore::open_on(disk.clone(), &options()).unwrap();
    while after.len() <= COMMITS {
        if rng.random_bool(0.05) {
            drop(store);
            store = RedbStore::open_on(disk.clone(), &options()).unwrap();
        }
        let group = if rng.random_bool(0.5) { 1 } else { rng.random_range(2..8) };
        let mut answers = Vec::new();
        for _ in 0..group {
            let tag = after.len() as u64;
            let (writes, held) = batch(rng, after.last().unwrap(), tag, &mut last);
            after.push(held);
            disk.note(Op::Sent(after.len() - 1));
            answers.push(store.commit(writes));
        }
        for answer in answers {
            runtime.block_on(answer).unwrap();
        }
        disk.note(Op::Acknowledged(after.len() - 1));
    }
    drop(store);
    History { after, log: disk.log() }
}

// === judging an image ===

/// Opens the store on `image` and compares it with every state that may be: from the last acknowledged
/// commit to the last one sent.
fn judge(image: Image, history: &History, platter: &Platter) -> Result<(), String> {
    let disk = Recorder::holding(image);
    let store =
        RedbStore::open_on(disk, &options()).map_err(|e| format!("it does not open: {e}"))?;
    let mut rows = Rows::new();
    let mut wrong = None;
    store
        .scan(&mut |Row { lease, revision }| {
            rows.insert(lease.address, (lease.tag, revision));
            let n = (0..ADDRESSES).find(|n| key(*n).address == lease.address).unwrap();
            if lease != self::lease(n, lease.tag) {
                wrong = Some(format!("{} reads as something never written", lease.address));
            }
        })
        .map_err(|e| format!("it does not scan: {e}"))?;
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    let expected = rows.values().map(|(_, revision)| *revision).max().unwrap_or_default();
    if store.identity().revision < expected {
        return Err(format!("revision {expected:?} would be given again"));
    }
    let held = Held { rows, told: Held::told_by(&store)? };
    let possible = &history.after[platter.acknowledged..=platter.sent];
    if possible.contains(&held) {
        return Ok(());
    }
    if possible.iter().any(|state| state.rows == held.rows) {
        return Err(format!("the history is not that of the rows: {:?}", held.told));
    }
    let older = history.after[..platter.acknowledged].iter().rposition(|state| *state == held);
    Err(match older {
        Some(n) => format!("{} commits were acknowledged, {n} are there", platter.acknowledged),
        None => format!("a half commit between {} and {}", platter.acknowledged, platter.sent),
    })
}

/// Cuts the power up to twice more while the image is opened and repaired.
fn cut_during_repair(mut image: Image, rng: &mut TestRng) -> Result<Image, String> {
    for _ in 0..rng.random_range(0..=2) {
        let disk = Recorder::holding(image.clone());
        let opened = RedbStore::open_on(disk.clone(), &options());
        drop(opened.map_err(|e| format!("it does not open: {e}"))?);
        let log = disk.log();
        let mut platter = Platter::holding(image);
        let steps = rng.random_range(0..=log.len());
        log.iter().take(steps).for_each(|op| platter.step(op));
        image = platter.cut(rng);
    }
    Ok(image)
}

/// Runs histories until `images` images were judged; the first violation found.
fn find_violation(disk: fn() -> Recorder, seed: u64, images: usize) -> Option<String> {
    let judged = AtomicUsize::new(0);
    let next_seed = AtomicUsize::new(0);
    let work = || {
        while judged.load(Ordering::Relaxed) < images {
            let seed = seed + next_seed.fetch_add(1, Ordering::Relaxed) as u64;
            let run = AssertUnwindSafe(|| one_history(disk(), seed, images, &judged));
            let outcome = catch_unwind(run).unwrap_or_else(|_| Err("it panicked".to_owned()));
            if let Err(violation) = outcome {
                judged.store(images, Ordering::Relaxed);
                return Some(format!("{violation}; TENURE_POWER_CUT_SEED={seed}"));
            }
        }
        None
    };
    std::thread::scope(|scope| {
        let workers = [scope.spawn(work), scope.spawn(work)];
        workers.into_iter().find_map(|worker| worker.join().unwrap())
    })
}

fn one_history(
    disk: Recorder,
    seed: u64,
    images: usize,
    judged: &AtomicUsize,
) -> Result<(), String> {
    let mut rng = rng(seed);
    let history = history(&disk, &mut rng);
    let mut platter = Platter::holding(Image { file: Vec::new(), published: false });
    for (step, op) in history.log.iter().enumerate() {
        platter.step(op);
        if !rng.random_bool(CUT_AT) {
            continue;
        }
        for _ in 0..IMAGES_PER_CUT {
            if judged.fetch_add(1, Ordering::Relaxed) >= images {
                return Ok(());
            }
            cut_during_repair(platter.cut(&mut rng), &mut rng)
                .and_then(|image| judge(image, &history, &platter))
                .map_err(|why| format!("cut after step {step}: {why}"))?;
        }
    }
    Ok(())
}

#[test]
fn what_is_acknowledged_survives_power_cuts_and_nothing_is_there_by_halves() {
    let images = setting("TENURE_POWER_CUT_IMAGES", IMAGES);
    let seed = setting("TENURE_POWER_CUT_SEED", 1) as u64;
    if let Some(violation) = find_violation(Recorder::default, seed, images) {
        panic!("{violation}");
    }
}

#[test]
fn a_disk_that_does_not_sync_is_found_out() {
    let violation = find_violation(Recorder::that_lies, 1, 2_000);
    assert!(violation.is_some(), "the power-cut test passes without fsync, so it proves nothing");
}
