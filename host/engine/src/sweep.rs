//! Reclaim: zombies come back, live addresses never do.
//!
//! ```text
//! take the bound rows down -> look (leases first, evidence second) -> series of looks per row
//!   -> ask the policy for grace -> judge -> a fresh look -> write with the generation unchanged
//! ```
//!
//! Invariants: I6 (gone within grace + 2 looks), I7 (only on proof, on fresh reads, with the row's version
//! unchanged at commit; everything unknown keeps), I8 (the series is counted on our own clock).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tenure_core::decision::{RETAIN_AS_AT_ADD, Verdict};
use tenure_core::judge::{Finding, Judgement, Suspicion, find, observe};
use tenure_core::lease::{Epoch, Lease, LeaseKey, LeaseState, Proof, QuarantineCause};
use tenure_core::ledger::{Home, RowAt, Slot, Status};
use tenure_core::ports::AddressLook;
use tenure_core::time::WallMs;
use tenure_store::{Revision, Row, StoreError, Write};

use tokio::time::{Instant, sleep, sleep_until};

use crate::assess::{Seen, evidence_of, may_have_holder};
use crate::census::is_contested;
use crate::ends::Scope;
use crate::proof::is_unproved;
use crate::{Engine, EngineError};

/// Rows are forgotten only after so long a rest.
const FORGET_AFTER: Duration = Duration::from_secs(3600);
/// So many rows are taken down, judged or forgotten at once, and looked for on their links in one sweep: memory and the
/// time of one look stay small whatever the number of rows.
pub(crate) const SLICE: usize = 1024;
/// Whoever wakes the sweep meanwhile shares the next one.
const SWEEPS_APART: Duration = Duration::from_millis(200);
/// So long after the start: agents come first.
const FIRST_AFTER: Duration = Duration::from_millis(100);
/// A sweep rests for so many times as long as it took, within bounds: a full pool wakes it again and again, and in a large
/// cluster it takes longer.
const REST_FACTOR: u32 = 4;
const LONGEST_REST: Duration = Duration::from_secs(2);
/// Sweeps that the end of a namespace starts are so far apart.
const ENDS_APART: Duration = Duration::from_secs(1);
/// Namespaces rarely end alone.
const ENDS_GATHER: Duration = Duration::from_millis(20);
/// So many rows go into one commit: a thousand zombies cost a handful of fsyncs.
const COMMIT_SLICE: usize = 256;

/// Unbroken series of looks that said gone, by address and version of the row: what was seen of a row says nothing of the
/// next one. Evidence in memory: a restart begins each anew, which can only lengthen.
pub(crate) type Suspicions = HashMap<LeaseKey, (Version, Suspicion)>;

/// A row as it was written: versions begin anew with each life of the store.
pub(crate) type Version = (Epoch, u64);

/// What shall become of a row that was judged.
pub(crate) enum Sentence {
    /// Its holder is proved dead.
    Release { proof: Proof, verdict: Verdict },
    /// Nothing is proved, and reuse after a silent probe is permitted.
    Quarantine,
    /// Its holder lives after all.
    Return,
}

/// What a sweep did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Bound rows looked at.
    pub looked_at: usize,
    /// Taken back, released or quarantined.
    pub reclaimed: Vec<LeaseKey>,
    /// Quarantined rows whose holder lives: bound again.
    pub returned: Vec<LeaseKey>,
    /// When the next row can be decided, if one is suspect.
    pub next: Option<Duration>,
}

impl Engine {
    /// Sweeps until the task is dropped: over everything at the jittered interval and when woken, over suspects when one
    /// is due, over those of whom an end was told.
    pub(crate) async fn sweep_forever(self: Arc<Self>) {
        let mut last = Instant::now();
        let mut regular = last + FIRST_AFTER;
        let mut due = None::<Instant>;
        loop {
            let scope = tokio::select! {
                () = sleep_until(regular) => Scope::All,
                () = self.sweep_now.notified() => Scope::All,
                () = at(due) => Scope::default(),
                () = self.after_an_end(last) => Scope::default(),
            };
            // What was told meanwhile is no further sweep.
            let scope = scope.and(self.ends.take());
            last = Instant::now();
            if scope == Scope::All {
                regular = last + jittered(self.options.sweep);
            }
            due = match self.sweep_over(&scope).await {
                Ok(swept) => swept.next.map(|next| Instant::now() + next.max(SWEEPS_APART)),
                Err(error) => {
                    tracing::warn!(%error, "a sweep did not end; what it had not yet taken back is kept");
                    None
                }
            };
            sleep(SWEEPS_APART.max(last.elapsed() * REST_FACTOR).min(LONGEST_REST)).await;
        }
    }

    /// Ends when a namespace has ended since the last sweep. Containers end all the time, mostly after their DEL: a
    /// sweep for all that ended within a second is enough.
    async fn after_an_end(&self, last: Instant) {
        self.ends.notify.notified().await;
        sleep_until((last + ENDS_APART).max(Instant::now() + ENDS_GATHER)).await;
    }

    /// One sweep over all rows; another one that runs is waited for.
    ///
    /// # Errors
    /// The store failed. A silent witness is no error: everything is kept then.
    pub async fn sweep(self: &Arc<Self>) -> Result<Swept, EngineError> {
        self.sweep_over(&Scope::All).await
    }

    /// The same over a part of the rows, and all suspects.
    async fn sweep_over(self: &Arc<Self>, scope: &Scope) -> Result<Swept, EngineError> {
        let _one = self.sweeping.lock().await;
        self.resolve_doubts().await;
        self.learn_what_lives().await?;
        let bound = self.holders_in(scope);
        let looked_at = bound.len();
        let look = {
            let scope = scope.clone();
            move |engine: &Arc<Self>| {
                let seen = engine.look_at_all(bound);
                engine.look_at_released(&scope);
                seen
            }
        };
        let mut seen = self.in_background(look).await?;
        let mut swept = Swept { looked_at, ..Swept::default() };
        while !seen.is_empty() {
            let slice = seen.split_off(seen.len().saturating_sub(SLICE));
            let rows = self.with_records(slice).await?;
            self.act(rows, &mut swept).await?;
        }
        if *scope == Scope::All {
            self.tidy().await;
        }
        self.counters.sweeps.one();
        Ok(swept)
    }

    /// All suspects are among them, whatever the scope: one that nobody looks at would never be due.
    fn holders_in(&self, scope: &Scope) -> Vec<LeaseKey> {
        let mut keys = self.keys_in(scope, may_have_holder);
        if *scope != Scope::All {
            let known: HashSet<LeaseKey> = keys.iter().cloned().collect();
            let suspects = self.suspicions.lock();
            keys.extend(suspects.keys().filter(|key| !known.contains(key)).cloned());
        }
        keys
    }

    async fn tidy(self: &Arc<Self>) {
        for (what, outcome) in [
            ("forgetting old rows", self.forget_old_rows().await),
            ("finishing the deletion of pools", self.finish_deletions().await),
            ("ending sets that were answered to nobody", self.end_unanswered().await),
        ] {
            if let Err(error) = outcome {
                tracing::warn!(%error, what, "it is tried again in the next sweep");
            }
        }
    }

    /// What the witness says of each row that may have a holder, and of releases that are not proved yet. Answers those
    /// for which something may follow: suspects with their series, and quarantined ones whose holder lives.
    fn look_at_all(&self, mut bound: Vec<LeaseKey>) -> Vec<Seen> {
        // Each sweep begins elsewhere: of what costs a question each, it does a slice.
        let turn = self.turn(bound.len());
        bound.rotate_left(turn);
        let mut out = Vec::new();
        let mut before = std::mem::take(&mut *self.suspicions.lock());
        let mut kept = Suspicions::new();
        let mut links = SLICE;
        for slice in bound.chunks(SLICE) {
            // Leases first, evidence second: what is bound after this line is not judged by the look below.
            let (epoch, rows) = {
                let state = self.state.lock();
                (state.epoch, state.ledger.rows_at(slice, may_have_holder))
            };
            let sights = self.look_at(&rows, |at| {
                let asks = links > 0 && is_unseen(&at.slot);
                links = links.saturating_sub(usize::from(asks));
                asks
            });
            for (at, sight) in rows.into_iter().zip(sights) {
                let evidence = evidence_of(&at.slot, sight);
                let finding = find(&evidence);
                if finding == Finding::Alive && sight.link == AddressLook::OnLink {
                    // Only now its absence will be proof.
                    self.state.lock().ledger.note_seen(&at.key, at.slot.generation);
                }
                let version = (epoch, at.slot.revision);
                let known = before.remove(&at.key).filter(|(row, _)| *row == version);
                let known = known.map(|(_, series)| series);
                let suspicion = observe(known, finding, self.now().moment);
                if let Some(series) = suspicion {
                    kept.insert(at.key.clone(), (version, series));
                }
                let returns = matches!(at.slot.status, Status::Quarantined { returns: true, .. });
                if suspicion.is_some() || (finding == Finding::Alive && returns) {
                    out.push(Seen { at, evidence, suspicion });
                }
            }
        }
        *self.suspicions.lock() = kept;
        if self.ports.kernel.silence().is_some() {
            self.counters.sweeps_silent.one();
        }
        out
    }

    /// Where this sweep begins in a list of which it takes a slice.
    fn turn(&self, length: usize) -> usize {
        let turn = usize::try_from(self.counters.sweeps.get()).unwrap_or(0).wrapping_mul(SLICE);
        turn.checked_rem(length).unwrap_or(0)
    }

    fn look_at_released(&self, scope: &Scope) {
        let mut keys = self.keys_in(scope, is_unproved);
        let turn = self.turn(keys.len());
        keys.rotate_left(turn);
        keys.truncate(SLICE);
        let rows = self.state.lock().ledger.rows_at(&keys, is_unproved);
        self.look_after(&rows);
    }

    /// Judges, and does what follows.
    async fn act(
        self: &Arc<Self>,
        rows: Vec<(Row, Seen)>,
        swept: &mut Swept,
    ) -> Result<(), EngineError> {
        let (alive, suspects): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|(_, seen)| seen.finding() == Finding::Alive);
        let returning = alive.into_iter().map(|(row, _)| (row, Sentence::Return)).collect();
        swept.returned.extend(self.carry_out(returning, "its holder lives").await?);
        let mut sentences = Vec::new();
        for judged in self.assess(suspects).await? {
            match judged.judgement {
                Judgement::Free { proof } => {
                    let verdict = judged.verdict;
                    sentences.push((judged.row, Sentence::Release { proof, verdict }));
                }
                Judgement::Quarantine => sentences.push((judged.row, Sentence::Quarantine)),
                Judgement::Wait { left } => {
                    swept.next = Some(swept.next.map_or(left, |next| next.min(left)));
                }
                Judgement::Keep { .. } => {}
            }
        }
        swept.reclaimed.extend(self.carry_out(sentences, "reclaim").await?);
        Ok(())
    }

    /// The commit, after a fresh look: the row's version must be the one that was judged.
    pub(crate) async fn carry_out(
        self: &Arc<Self>,
        sentences: Vec<(Row, Sentence)>,
        why: &'static str,
    ) -> Result<Vec<LeaseKey>, EngineError> {
        if sentences.is_empty() {
            return Ok(Vec::new());
        }
        let standing = self.in_background(move |engine| engine.still_so(sentences)).await?;
        let mut done = Vec::new();
        for slice in standing.chunks(COMMIT_SLICE) {
            let wall = self.now().wall;
            let writes = slice.iter().map(|(row, sentence)| Write::Replace {
                lease: sentenced(row.lease.clone(), sentence, wall),
                expect: row.revision,
            });
            for lease in self.commit_each(writes.collect()).await? {
                self.count_outcome(&lease, why);
                done.push(lease.key());
            }
        }
        Ok(done)
    }

    fn count_outcome(&self, lease: &Lease, why: &'static str) {
        let (address, owner) = (lease.key(), &lease.owner);
        match &lease.state {
            LeaseState::Released { .. } => {
                self.counters.reclaimed.one();
                self.takings.note(lease);
                tracing::info!(%address, %owner, why, "reclaimed: its holder is gone");
            }
            LeaseState::Quarantined { .. } => {
                self.counters.quarantined.one();
                self.takings.note(lease);
                tracing::warn!(%address, %owner, why, "quarantined: its node is lost and not fenced");
            }
            LeaseState::Bound => {
                self.counters.returned.one();
                tracing::info!(%address, %owner, why, "bound again");
            }
        }
    }

    /// Commits together what can be; a row that somebody else changed meanwhile is left out, not the others.
    pub(crate) async fn commit_each(
        self: &Arc<Self>,
        writes: Vec<Write>,
    ) -> Result<Vec<Lease>, EngineError> {
        let leases = |writes: &[Write]| writes.iter().filter_map(Write::lease).cloned().collect();
        match self.commit(writes.clone(), Vec::new()).await {
            Ok(()) => return Ok(leases(&writes)),
            Err(EngineError::Store(StoreError::Conflict { .. })) => {}
            Err(error) => return Err(error),
        }
        let mut done = Vec::new();
        for write in writes {
            match self.commit(vec![write.clone()], Vec::new()).await {
                Ok(()) => done.extend(leases(&[write])),
                Err(EngineError::Store(StoreError::Conflict { .. })) => {
                    self.counters.conflicts.one();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// A fresh look precedes each commit: what is found otherwise now, or has changed, is kept.
    fn still_so(&self, sentences: Vec<(Row, Sentence)>) -> Vec<(Row, Sentence)> {
        let contested = sentences.iter().map(|(row, _)| &row.lease).filter(|l| is_contested(l));
        let contested: HashSet<_> = contested.map(Lease::key).collect();
        // A row names one claimant; what it is released for must be nobody's.
        let on_no_link = self.on_no_link(contested.clone());
        let mut open = Vec::new();
        let mut rows = Vec::new();
        for (row, sentence) in sentences {
            let key = row.lease.key();
            let slot = self.state.lock().ledger.slot(&key);
            let slot = slot.filter(|slot| slot.revision == row.revision.0);
            let is_anothers = contested.contains(&key) && !on_no_link.contains(&key);
            if let Some(slot) = slot.filter(|_| !is_anothers) {
                open.push((row, sentence));
                rows.push(RowAt { key, slot });
            }
        }
        let found = self.evidence_at(&rows);
        let open = open.into_iter().zip(found);
        let stands = open.filter(|((_, sentence), evidence)| match sentence {
            Sentence::Return => find(evidence) == Finding::Alive,
            Sentence::Release { .. } | Sentence::Quarantine => {
                matches!(find(evidence), Finding::Dead(_))
            }
        });
        stands.map(|(sentence, _)| sentence).collect()
    }

    async fn forget_old_rows(self: &Arc<Self>) -> Result<(), EngineError> {
        let now = self.now();
        let mut old =
            self.state.lock().ledger.forgettable(self.options.rows_kept, FORGET_AFTER, now.moment);
        old.truncate(SLICE);
        for (key, slot) in old {
            let expect = Revision(slot.revision);
            match self.commit(vec![Write::Delete { key, expect }], Vec::new()).await {
                Ok(()) | Err(EngineError::Store(StoreError::Conflict { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether its kernel can see the address on a link, and has not yet.
pub(crate) fn is_unseen(slot: &Slot) -> bool {
    let can_be_seen = slot.home == Home::Here && slot.netns.is_some();
    can_be_seen && matches!(slot.status, Status::Bound { seen: false, .. })
}

/// The record after a sentence. A quarantined hold keeps its generation: its holder's ADD and DEL still work on it.
fn sentenced(mut lease: Lease, sentence: &Sentence, wall: WallMs) -> Lease {
    let seconds = |d: Duration| u32::try_from(d.as_secs()).unwrap_or(u32::MAX);
    match sentence {
        Sentence::Release { proof, verdict } => {
            let retain = Some(verdict.retain).filter(|retain| *retain != RETAIN_AS_AT_ADD);
            if let (Some(sticky), Some(retain)) = (lease.sticky.as_mut(), retain) {
                sticky.retain_s = seconds(retain);
            }
            lease.released(wall, *proof, seconds(verdict.cooldown))
        }
        Sentence::Quarantine => {
            lease.state = LeaseState::Quarantined { at: wall, cause: QuarantineCause::Unfenced };
            lease
        }
        Sentence::Return => {
            lease.state = LeaseState::Bound;
            lease
        }
    }
}

/// At this instant; never, if there is none.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// A quarter shorter at most, so that many daemons do not sweep in step.
fn jittered(interval: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(0);
    interval.saturating_sub(interval / 4 * (random % 1000) / 1000)
}
