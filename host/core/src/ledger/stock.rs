//! The addresses of one pool, sorted by what can be done with them.
//!
//! Choice goes round: an address that was never used first, then the one released longest ago, so
//! that a freed address is the last to be reused.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::interval::IntervalSet;
use crate::pool::{Pool, Reservation};
use crate::time::{Moment, WallMs};

/// What a row counts as. Each row counts once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shelf {
    Held,
    Ready,
    Resting,
    Lingering,
    Retained,
    Quarantined,
}

/// A shelf with the keys that the row has on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Held, or reserved by an ADD in flight.
    Held,
    /// Rested: can be given. The key is when it was released.
    Ready(WallMs),
    /// Rests until the first moment; under pressure it can be given from the second on.
    Resting { until: Moment, early: Moment },
    /// The kernel still sees the old holder: rests whatever the clock says.
    Lingering,
    /// Kept for a sticky key until then.
    Retained(WallMs),
    /// May still be in use. A silent probe may end it from that moment on.
    Quarantined { probe_from: Option<Moment> },
}

/// How many addresses of a pool are what. Derived, never stored.
///
/// `free + held + resting + retained + quarantined == size` (invariant I10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Usable addresses.
    pub size: u128,
    /// Could be given now.
    pub free: u128,
    /// Held by attachments, or reserved by an ADD in flight.
    pub held: u128,
    /// Released and not yet rested, lingering ones included.
    pub resting: u128,
    /// Of the resting ones: the kernel still sees the old holder.
    pub lingering: u128,
    /// Kept for a sticky key.
    pub retained: u128,
    /// May still be in use.
    pub quarantined: u128,
    /// Held, or quarantined, although no longer usable (the pool shrank, or a reservation came); counted apart.
    pub out_of_range: u128,
}

#[derive(Debug)]
pub(super) struct Stock {
    pub(super) pool: Pool,
    usable: IntervalSet,
    /// Usable addresses without a row.
    unused: IntervalSet,
    /// Where the next unused address is looked for.
    cursor: u128,
    ready: BTreeSet<(WallMs, u128)>,
    resting: BTreeSet<(Moment, u128)>,
    early: BTreeSet<(Moment, u128)>,
    retained: BTreeSet<(WallMs, u128)>,
    /// Quarantined ones that a silent probe may end.
    probed: BTreeSet<(Moment, u128)>,
    held: u128,
    lingering: u128,
    quarantined: u128,
    out_of_range: u128,
}

// === impl Counts ===

impl Counts {
    /// Whether the counts add up (invariant I10).
    #[must_use]
    pub fn add_up(&self) -> bool {
        let parts = [self.free, self.held, self.resting, self.retained, self.quarantined];
        parts.iter().fold(0u128, |sum, part| sum.saturating_add(*part)) == self.size
    }

    /// Those of two pools together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            size: self.size.saturating_add(other.size),
            free: self.free.saturating_add(other.free),
            held: self.held.saturating_add(other.held),
            resting: self.resting.saturating_add(other.resting),
            lingering: self.lingering.saturating_add(other.lingering),
            retained: self.retained.saturating_add(other.retained),
            quarantined: self.quarantined.saturating_add(other.quarantined),
            out_of_range: self.out_of_range.saturating_add(other.out_of_range),
        }
    }
}

// === impl Place ===

impl Place {
    /// Whether somebody may still use the address.
    fn has_holder(self) -> bool {
        matches!(self, Self::Held | Self::Quarantined { .. })
    }
}

// === impl Stock ===

impl Stock {
    pub(super) fn new(pool: Pool, reservations: &[Reservation], cursor: u128) -> Self {
        let usable = pool.usable(reservations);
        Self {
            unused: usable.clone(),
            usable,
            pool,
            cursor,
            ready: BTreeSet::new(),
            resting: BTreeSet::new(),
            early: BTreeSet::new(),
            retained: BTreeSet::new(),
            probed: BTreeSet::new(),
            held: 0,
            lingering: 0,
            quarantined: 0,
            out_of_range: 0,
        }
    }

    pub(super) fn cursor(&self) -> u128 {
        self.cursor
    }

    /// Whether the pool may hand the address out at all.
    pub(super) fn is_usable(&self, number: u128) -> bool {
        self.usable.contains(number)
    }

    /// A row appears at `place`.
    pub(super) fn put(&mut self, number: u128, place: Place) {
        if !self.is_usable(number) {
            if place.has_holder() {
                self.out_of_range = self.out_of_range.saturating_add(1);
            }
            return;
        }
        self.unused.remove(number, number);
        match place {
            Place::Held => self.held = self.held.saturating_add(1),
            Place::Lingering => self.lingering = self.lingering.saturating_add(1),
            Place::Quarantined { probe_from } => {
                self.quarantined = self.quarantined.saturating_add(1);
                self.probed.extend(probe_from.map(|from| (from, number)));
            }
            Place::Ready(at) => {
                self.ready.insert((at, number));
            }
            Place::Retained(until) => {
                self.retained.insert((until, number));
            }
            Place::Resting { until, early } => {
                self.resting.insert((until, number));
                self.early.insert((early, number));
            }
        }
    }

    /// A row leaves `place`; without another `put` the address counts as never used.
    pub(super) fn take(&mut self, number: u128, place: Place) {
        if !self.is_usable(number) {
            if place.has_holder() {
                self.out_of_range = self.out_of_range.saturating_sub(1);
            }
            return;
        }
        self.unused.insert(number, number);
        match place {
            Place::Held => self.held = self.held.saturating_sub(1),
            Place::Lingering => self.lingering = self.lingering.saturating_sub(1),
            Place::Quarantined { probe_from } => {
                self.quarantined = self.quarantined.saturating_sub(1);
                if let Some(from) = probe_from {
                    self.probed.remove(&(from, number));
                }
            }
            Place::Ready(at) => {
                self.ready.remove(&(at, number));
            }
            Place::Retained(until) => {
                self.retained.remove(&(until, number));
            }
            Place::Resting { until, early } => {
                self.resting.remove(&(until, number));
                self.early.remove(&(early, number));
            }
        }
    }

    /// Rows whose rest or retention has ended and that have to be placed anew.
    pub(super) fn due(&self, now: Moment, wall: WallMs) -> Vec<u128> {
        let rested = self.resting.iter().take_while(|(until, _)| *until <= now).map(|(_, n)| *n);
        let kept = self.retained.iter().take_while(|(until, _)| *until <= wall).map(|(_, n)| *n);
        rested.chain(kept).collect()
    }

    /// The next address to give. `pressure` says that nothing else is left anywhere: then a resting one
    /// may be taken whose floor has passed.
    pub(super) fn choose(&mut self, now: Moment, pressure: bool) -> Option<u128> {
        if let Some(number) =
            self.unused.at_or_after(self.cursor).or_else(|| self.unused.at_or_after(0))
        {
            self.cursor = number.saturating_add(1);
            return Some(number);
        }
        if let Some((_, number)) = self.ready.first() {
            return Some(*number);
        }
        self.early.first().filter(|(from, _)| pressure && *from <= now).map(|(_, number)| *number)
    }

    /// A quarantined one that may be probed now.
    pub(super) fn choose_quarantined(&self, now: Moment) -> Option<u128> {
        self.probed.first().filter(|(from, _)| *from <= now).map(|(_, number)| *number)
    }

    /// When a quarantined one may be probed, if time alone brings that about.
    pub(super) fn next_probe(&self, now: Moment) -> Option<Duration> {
        self.probed.first().map(|(from, _)| from.since(now))
    }

    /// Whether there is one that needs no pressure.
    pub(super) fn has_some(&self) -> bool {
        !self.unused.is_empty() || !self.ready.is_empty()
    }

    /// When the next address comes free by time alone, as far as that can be known.
    pub(super) fn next_due(&self, now: Moment) -> Option<Duration> {
        self.early.first().map(|(from, _)| from.since(now))
    }

    pub(super) fn ready_rows(&self) -> usize {
        self.ready.len()
    }

    pub(super) fn counts(&self) -> Counts {
        let len = |n: usize| n as u128;
        let counts = Counts {
            size: self.usable.len(),
            free: self.unused.len().saturating_add(len(self.ready.len())),
            held: self.held,
            resting: len(self.resting.len()).saturating_add(self.lingering),
            lingering: self.lingering,
            retained: len(self.retained.len()),
            quarantined: self.quarantined,
            out_of_range: self.out_of_range,
        };
        debug_assert!(counts.add_up(), "I10 {}: {counts:?}", self.pool.name);
        counts
    }
}
