//! Reclaim: zombies come back, live addresses never do.
//!
//! ```text
//! take the bound rows down -> look (leases first, evidence second) -> series of looks per row
//!   -> ask the policy for grace -> judge -> a fresh look -> write with the generation unchanged
//! ```
//!
//! Invariants: I6 (gone within grace + 2 looks), I7 (only on proof, on fresh reads, with the row's version
//! unchanged at commit; everything unknown keeps), I8 (the series is counted on our own clock).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tenure_core::decision::{
    Holder, MAX_RECLAIM_ROWS, Pressure, RETAIN_AS_AT_ADD, ReclaimRequest, Suspect, Verdict,
};
use tenure_core::judge::{Case, Judgement, KernelSays, Suspicion, judge, observe};
use tenure_core::lease::{Generation, Lease, LeaseKey, LeaseState, Proof};
use tenure_core::ledger::{Home, RowAt, Slot, Status};
use tenure_core::objects::PoolLimits;
use tenure_core::ports::{AddressLook, KernelLook, NetnsLook};
use tenure_store::{Row, Write};

use crate::candidates::saturate;
use crate::proof::is_unproved;
use crate::{Engine, EngineError};

/// Rows are forgotten only after so long a rest.
const FORGET_AFTER: Duration = Duration::from_secs(3600);
/// So many rows are taken down, judged or forgotten at once, and looked for on their links in one sweep: memory and the
/// time of one look stay small whatever the number of rows.
const SLICE: usize = 1024;
/// Whoever wakes the sweep meanwhile shares the next one.
const SWEEPS_APART: Duration = Duration::from_millis(200);
/// So many rows go into one commit: a thousand zombies cost a handful of fsyncs.
const COMMIT_SLICE: usize = 256;

/// Unbroken series of looks that said gone, by address and generation. Evidence in memory: a restart begins
/// each anew, which can only lengthen.
pub(crate) type Suspicions = HashMap<LeaseKey, (Generation, Suspicion)>;

/// A row that the witness says is dead, with its record.
struct Zombie {
    row: Row,
    kernel: KernelSays,
    suspicion: Suspicion,
}

/// What a sweep did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Bound rows looked at.
    pub looked_at: usize,
    /// Taken back.
    pub reclaimed: Vec<LeaseKey>,
    /// When the next row can be decided, if one is suspect.
    pub next: Option<Duration>,
}

impl Engine {
    /// Sweeps until the task is dropped: at the jittered interval, when a suspect is due, and when woken.
    pub(crate) async fn sweep_forever(self: Arc<Self>) {
        let mut pause = Duration::from_millis(100);
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.sweep_now.notified() => {}
            }
            let next = match self.sweep().await {
                Ok(swept) => swept.next,
                Err(error) => {
                    tracing::warn!(%error, "a sweep did not end; what it had not yet taken back is kept");
                    None
                }
            };
            let regular = jittered(self.options.sweep);
            pause = next.map_or(regular, |next| next.min(regular)).max(SWEEPS_APART);
            tokio::time::sleep(SWEEPS_APART).await;
        }
    }

    /// One sweep over all rows.
    ///
    /// # Errors
    /// The store failed. A silent witness is no error: everything is kept then.
    pub async fn sweep(self: &Arc<Self>) -> Result<Swept, EngineError> {
        self.resolve_doubts().await;
        let bound = self.state.lock().ledger.keys_where(may_have_holder);
        let looked_at = bound.len();
        let mut suspects = self.in_background(move |engine| engine.look_at_all(bound)).await?;
        let (mut reclaimed, mut next) = (Vec::new(), None);
        while !suspects.is_empty() {
            let slice = suspects.split_off(suspects.len().saturating_sub(SLICE));
            let zombies = self.with_records(slice).await?;
            let (taken, due) = self.reclaim(zombies).await?;
            reclaimed.extend(taken);
            next = next.into_iter().chain(due).min();
        }
        for (what, outcome) in [
            ("forgetting old rows", self.forget_old_rows().await),
            ("finishing the deletion of pools", self.finish_deletions().await),
        ] {
            if let Err(error) = outcome {
                tracing::warn!(%error, what, "it is tried again in the next sweep");
            }
        }
        self.counters.sweeps.one();
        Ok(Swept { looked_at, reclaimed, next })
    }

    /// What the witness says of each row that may have a holder, and of releases that are not proved yet; suspects
    /// with their series.
    fn look_at_all(&self, mut bound: Vec<LeaseKey>) -> Vec<(RowAt, KernelSays, Suspicion)> {
        // Each sweep begins elsewhere: of what costs a question each, it does a slice.
        let turn = self.turn(bound.len());
        bound.rotate_left(turn);
        let mut suspects = Vec::new();
        let mut before = std::mem::take(&mut *self.suspicions.lock());
        let mut kept = Suspicions::new();
        let (mut links, mut silent) = (SLICE, false);
        for slice in bound.chunks(SLICE) {
            // Leases first, evidence second: what is bound after this line is not judged by the look below.
            let rows = self.state.lock().ledger.rows_at(slice, may_have_holder);
            let look = self.ports.kernel.look().ok();
            silent |= look.is_none();
            for row in rows {
                let kernel = kernel_says(look.as_deref(), &row);
                if links > 0 && kernel == KernelSays::Alive && is_unseen(&row) {
                    self.see_on_link(look.as_deref(), &row);
                    links = links.saturating_sub(1);
                }
                let known = before.remove(&row.key).filter(|(g, _)| *g == row.slot.generation);
                let now = self.now().moment;
                if let Some(series) = observe(known.map(|(_, series)| series), kernel, now) {
                    kept.insert(row.key.clone(), (row.slot.generation, series));
                    suspects.push((row, kernel, series));
                }
            }
        }
        *self.suspicions.lock() = kept;
        if silent {
            self.counters.sweeps_silent.one();
        }
        self.look_at_released();
        suspects
    }

    /// Where this sweep begins in a list of which it takes a slice.
    fn turn(&self, length: usize) -> usize {
        let turn = usize::try_from(self.counters.sweeps.get()).unwrap_or(0).wrapping_mul(SLICE);
        turn.checked_rem(length).unwrap_or(0)
    }

    /// Remembers that an address stands on a link: only then its absence will be proof.
    fn see_on_link(&self, look: Option<&dyn KernelLook>, row: &RowAt) {
        let (Some(look), Some(netns)) = (look, row.slot.netns) else { return };
        if look.address(&netns, row.key.address) == AddressLook::OnLink {
            self.state.lock().ledger.note_seen(&row.key, row.slot.generation);
        }
    }

    fn look_at_released(&self) {
        let mut keys = self.state.lock().ledger.keys_where(is_unproved);
        let turn = self.turn(keys.len());
        keys.rotate_left(turn);
        keys.truncate(SLICE);
        let rows = self.state.lock().ledger.rows_at(&keys, is_unproved);
        let Ok(look) = self.ports.kernel.look() else { return };
        for row in rows {
            self.look_after(&*look, &row.key, row.slot.generation);
        }
    }

    async fn with_records(
        &self,
        suspects: Vec<(RowAt, KernelSays, Suspicion)>,
    ) -> Result<Vec<Zombie>, EngineError> {
        let mut zombies = Vec::new();
        for (at, kernel, suspicion) in suspects {
            let row = self.ports.store.get(&at.key).await?;
            let Some(row) = row.filter(|row| row.revision.0 == at.slot.revision) else {
                // Changed since it was taken down, or the ledger is wrong about it.
                self.doubt([at.key]);
                continue;
            };
            if row.lease.has_holder() {
                zombies.push(Zombie { row, kernel, suspicion });
            }
        }
        self.resolve_doubts().await;
        Ok(zombies)
    }

    /// Judges the zombies in batches and takes back those whose time has come.
    async fn reclaim(
        self: &Arc<Self>,
        zombies: Vec<Zombie>,
    ) -> Result<(Vec<LeaseKey>, Option<Duration>), EngineError> {
        let mut reclaimed = Vec::new();
        let mut next: Option<Duration> = None;
        let mut zombies = zombies.into_iter().peekable();
        while zombies.peek().is_some() {
            let batch: Vec<Zombie> = zombies.by_ref().take(MAX_RECLAIM_ROWS).collect();
            let question = self.question(&batch);
            let verdicts = self
                .in_background(move |engine| engine.ports.policies.reclaim(&question))
                .await?
                .answer;
            let now = self.now().moment;
            let mut dead = Vec::new();
            for (zombie, verdict) in batch.into_iter().zip(verdicts) {
                let verdict = self.clamp(verdict, &zombie.row.lease);
                let case =
                    Case { kernel: zombie.kernel, suspicion: Some(zombie.suspicion), verdict };
                match judge(&case, now) {
                    Judgement::Free { proof } => dead.push((zombie.row, proof, verdict)),
                    Judgement::Wait { left } => next = Some(next.map_or(left, |n| n.min(left))),
                    Judgement::Keep { .. } => {}
                }
            }
            reclaimed.extend(self.take_back(dead, "reclaim").await?);
        }
        Ok((reclaimed, next))
    }

    /// The commit, after a fresh look: the row's version must be the one that was judged.
    pub(crate) async fn take_back(
        self: &Arc<Self>,
        dead: Vec<(Row, Proof, Verdict)>,
        why: &'static str,
    ) -> Result<Vec<LeaseKey>, EngineError> {
        if dead.is_empty() {
            return Ok(Vec::new());
        }
        let dead = self.in_background(move |engine| engine.still_dead(dead)).await?;
        let mut reclaimed = Vec::new();
        for slice in dead.chunks(COMMIT_SLICE) {
            let wall = self.now().wall;
            let writes = slice.iter().map(|(row, proof, verdict)| Write::Replace {
                lease: reclaimed_lease(row.lease.clone(), *proof, *verdict, wall),
                expect: row.revision,
            });
            for lease in self.commit_each(writes.collect()).await? {
                self.counters.reclaimed.one();
                tracing::info!(address = %lease.key(), owner = %lease.owner, why, "reclaimed: its holder is gone");
                reclaimed.push(lease.key());
            }
        }
        Ok(reclaimed)
    }

    /// Commits together what can be; a row that somebody else changed meanwhile is left out, not the others.
    async fn commit_each(self: &Arc<Self>, writes: Vec<Write>) -> Result<Vec<Lease>, EngineError> {
        let leases = |writes: &[Write]| writes.iter().filter_map(Write::lease).cloned().collect();
        match self.commit(writes.clone(), Vec::new()).await {
            Ok(()) => return Ok(leases(&writes)),
            Err(EngineError::Store(tenure_store::StoreError::Conflict { .. })) => {}
            Err(error) => return Err(error),
        }
        let mut done = Vec::new();
        for write in writes {
            match self.commit(vec![write.clone()], Vec::new()).await {
                Ok(()) => done.extend(leases(&[write])),
                Err(EngineError::Store(tenure_store::StoreError::Conflict { .. })) => {
                    self.counters.conflicts.one();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// A fresh look precedes each commit: what is not gone any more, or cannot be said, is kept.
    fn still_dead(&self, dead: Vec<(Row, Proof, Verdict)>) -> Vec<(Row, Proof, Verdict)> {
        // Another boot is proof without a look.
        let look = self.ports.kernel.look().ok();
        let gone = |(row, proof, _): &(Row, Proof, Verdict)| match (&look, row.lease.netns) {
            _ if *proof == Proof::Reboot => true,
            (Some(look), Some(netns)) => look.namespace(&netns) == NetnsLook::Gone,
            _ => false,
        };
        dead.into_iter().filter(gone).collect()
    }

    fn question(&self, batch: &[Zombie]) -> ReclaimRequest {
        let now = self.now();
        let mut state = self.state.lock();
        let catalogue = state.catalogue.clone();
        let mut leases = Vec::new();
        let mut pools = Vec::new();
        for zombie in batch {
            let lease = &zombie.row.lease;
            let pool = state.ledger.pool_of(&lease.key()).and_then(|p| u32::try_from(p).ok());
            let pool = pool.unwrap_or(u32::MAX);
            if !pools.contains(&pool) {
                pools.push(pool);
            }
            let held = now.wall.0.saturating_sub(lease.bound_at.0) / 1000;
            let suspect = now.moment.since(zombie.suspicion.since).as_secs();
            leases.push(suspect_of(lease, zombie.kernel, pool, held, suspect));
        }
        let pressure = pools.into_iter().map(|pool| {
            let counts = state.ledger.counts(pool as usize, now);
            Pressure { pool, free: saturate(counts.free), size: saturate(counts.size), waiting: 0 }
        });
        let pressure = pressure.collect();
        ReclaimRequest { leases, pressure, catalogue, now: now.wall, seed: now.moment.0 }
    }

    /// Figures of a policy, within the pool's limits.
    fn clamp(&self, verdict: Verdict, lease: &Lease) -> Verdict {
        let limits = {
            let state = self.state.lock();
            let pool = state.ledger.pool_of(&lease.key()).and_then(|p| state.ledger.pool(p));
            pool.map_or_else(PoolLimits::default, |pool| pool.spec.limits.clone())
        };
        let clamped = Verdict {
            grace: verdict.grace.max(limits.grace_min.0).min(limits.grace_max.0),
            retain: match verdict.retain {
                RETAIN_AS_AT_ADD => RETAIN_AS_AT_ADD,
                retain => retain.min(limits.retain_max.0),
            },
            cooldown: verdict.cooldown.min(limits.cooldown_max.0),
            ..verdict
        };
        if clamped != verdict {
            self.counters.clamped.one();
        }
        clamped
    }

    async fn forget_old_rows(self: &Arc<Self>) -> Result<(), EngineError> {
        let now = self.now();
        let mut old =
            self.state.lock().ledger.forgettable(self.options.rows_kept, FORGET_AFTER, now.moment);
        old.truncate(SLICE);
        for (key, slot) in old {
            let expect = tenure_store::Revision(slot.revision);
            match self.commit(vec![Write::Delete { key, expect }], Vec::new()).await {
                Ok(()) | Err(EngineError::Store(tenure_store::StoreError::Conflict { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

pub(crate) fn kernel_says(look: Option<&dyn KernelLook>, row: &RowAt) -> KernelSays {
    match row.slot.home {
        Home::Here => {}
        Home::EarlierBoot => return KernelSays::Rebooted,
        // A lease of another machine is never judged by this kernel.
        Home::Elsewhere => return KernelSays::Blind,
    }
    let (Some(look), Some(netns)) = (look, row.slot.netns) else {
        return if row.slot.netns.is_none() { KernelSays::Blind } else { KernelSays::Silent };
    };
    match look.namespace(&netns) {
        NetnsLook::Alive => KernelSays::Alive,
        NetnsLook::Gone => KernelSays::Gone,
        NetnsLook::Unknown => KernelSays::Silent,
    }
}

/// Rows whose holder may live: bound, and quarantined ones whose namespace is known.
fn may_have_holder(slot: &Slot) -> bool {
    slot.is_bound() || (slot.status == Status::Quarantined && slot.netns.is_some())
}

fn is_unseen(row: &RowAt) -> bool {
    matches!(row.slot.status, Status::Bound { seen: false, .. })
}

fn suspect_of(lease: &Lease, kernel: KernelSays, pool: u32, held: u64, suspect: u64) -> Suspect {
    let seconds = |s: u64| u32::try_from(s).unwrap_or(u32::MAX);
    Suspect {
        tag: lease.tag,
        pool,
        owner: lease.owner.kind,
        kernel_gone: matches!(kernel, KernelSays::Gone | KernelSays::Rebooted),
        api_gone: false,
        api_alive: false,
        terminating: false,
        finished: false,
        node_lost: false,
        node_fenced: kernel == KernelSays::Rebooted,
        sticky: lease.sticky.is_some(),
        held_s: seconds(held),
        suspect_s: seconds(suspect),
        terminating_s: 0,
        termination_grace_s: 0,
        node_lost_s: 0,
        holder: Holder {
            owner: lease.owner.clone(),
            node: lease.node.name.to_string(),
            network: lease.attachment.network.to_string(),
            interface: lease.attachment.ifname.to_string(),
            ..Holder::default()
        },
    }
}

fn reclaimed_lease(
    mut lease: Lease,
    proof: Proof,
    verdict: Verdict,
    wall: tenure_core::time::WallMs,
) -> Lease {
    let seconds = |d: Duration| u32::try_from(d.as_secs()).unwrap_or(u32::MAX);
    if let Some(sticky) = lease.sticky.as_mut().filter(|_| verdict.retain != RETAIN_AS_AT_ADD) {
        sticky.retain_s = seconds(verdict.retain);
    }
    let released = lease.released(wall, proof, seconds(verdict.cooldown));
    debug_assert!(matches!(released.state, LeaseState::Released { .. }));
    released
}

/// A quarter shorter at most, so that many daemons do not sweep in step.
fn jittered(interval: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(0);
    interval.saturating_sub(interval / 4 * (random % 1000) / 1000)
}
