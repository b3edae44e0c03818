//! Who held an address when, for humans: events made from what a write changes, and what they tell of a moment.
//!
//! ```text
//! record before a write, record after it -> event() -> the store keeps it with the write
//! events of an address, gaps, its record -> story::Story::held_at(moment) -> HeldAt
//! ```
//!
//! Events are made here only, by whoever applies a write to the record that stands, so that no verb can forget one and
//! all engines of the store agree. Their order is that of the writes (`seq`); wall time is what a reader asks by.
//! Nothing here frees or keeps an address: the record of a lease alone does.

#[cfg(test)]
mod life;
mod story;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::lease::{
    Attachment, Generation, Lease, LeaseKey, LeaseState, Netns, Owner, Proof, QuarantineCause,
};
use crate::name::SpaceName;
use crate::time::WallMs;

pub use story::{HeldAt, Ignorance, Story};

/// How many entries a store keeps where nobody says otherwise: days of a busy machine, in some 20 MB.
pub const EVENTS_KEPT: u64 = 100_000;

/// A change of holder of one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEvent {
    /// Its place among all entries of the store, from 1 and without holes.
    pub seq: u64,
    /// When, by the wall clock of who decided it.
    pub at: WallMs,
    /// The address.
    pub address: IpAddr,
    /// Its routing domain.
    pub space: SpaceName,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
    /// Who held the address until then; none where nobody did.
    pub before: Option<Holder>,
    /// Who holds it from then on; none where nobody does.
    pub after: Option<Holder>,
}

/// What happened to an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "what")]
pub enum What {
    /// An ADD gave it.
    Bound,
    /// The same attachment has it in another namespace or boot.
    Rebound,
    /// Another attachment has it without a release between: a new container of the same pod.
    TakenOver,
    /// A DEL let it go.
    Released,
    /// It was taken back, on this proof.
    Reclaimed {
        /// What was proved about the end of the holder.
        proof: Proof,
    },
    /// It may be used by somebody else than the record says, or still by its holder.
    Quarantined {
        /// Why.
        cause: QuarantineCause,
    },
    /// Out of quarantine to the holder that it had.
    Returned,
    /// Its record was deleted with a holder in it.
    Forgotten,
}

/// Who held an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// For whom.
    pub owner: Owner,
    /// Network, container and interface.
    pub attachment: Attachment,
    /// Name of the node.
    pub node: Arc<str>,
    /// The generation of the hold.
    pub generation: Generation,
    /// When the hold began.
    pub since: WallMs,
}

/// A time of which the history knows nothing, for all addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// Its place among all entries of the store; [`HORIZON`] if it stands for all time before it, too.
    pub seq: u64,
    /// Changes from here on may be missing.
    pub from: WallMs,
    /// From here on they are there again.
    pub to: WallMs,
    /// Why.
    pub cause: GapCause,
}

/// Why nothing is known of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GapCause {
    /// An import replaced the store: what happened since the export is not in it.
    Import,
    /// The store went back in time: what happened since is not in it.
    NewEpoch,
    /// The store was written to without a history, by an older version or by the setting. Its records are true.
    Unrecorded,
}

/// One entry of the history of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::large_enum_variant, reason = "nearly all entries are events")]
pub enum Entry {
    /// A change of holder.
    Event(HistoryEvent),
    /// A time of which nothing is known.
    Gap(Gap),
}

/// The place of the horizon ([`Entry::leaves`]), before all others.
pub const HORIZON: u64 = 0;

/// How far back a store can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// Entries that it keeps at most, of all addresses together; 0: it keeps none.
    pub bound: u64,
    /// From when on every change is there, gaps aside; none where there is no entry but the horizon.
    pub from: Option<WallMs>,
}

/// What a write changes about the holder of an address: the record before it and the one that it leaves. None where
/// the holder stays: an ADD answered again, a retention cleared, a free row forgotten.
///
/// `now` is the time of what no record has a time for: a return from quarantine and a deletion.
#[must_use]
pub fn event(
    old: Option<&Lease>,
    new: Option<&Lease>,
    seq: u64,
    now: WallMs,
) -> Option<HistoryEvent> {
    let what = what(old, new)?;
    let about = new.or(old)?;
    let at = match (&what, &about.state) {
        (What::Returned | What::Forgotten, _) => now,
        (_, LeaseState::Bound) => about.bound_at,
        (_, LeaseState::Released { at, .. } | LeaseState::Quarantined { at, .. }) => *at,
    };
    let holder = |lease: &Lease| lease.has_holder().then(|| Holder::of(lease));
    let (before, after) = (old.and_then(holder), new.and_then(holder));
    Some(HistoryEvent {
        seq,
        at,
        address: about.address,
        space: about.space.clone(),
        what,
        before,
        after,
    })
}

fn what(old: Option<&Lease>, new: Option<&Lease>) -> Option<What> {
    let was_used = old.is_some_and(|old| !old.is_released());
    let Some(new) = new else { return was_used.then_some(What::Forgotten) };
    match &new.state {
        LeaseState::Bound => bound(old.filter(|old| old.has_holder()), new),
        LeaseState::Released { proof: Proof::None, .. } => was_used.then_some(What::Released),
        LeaseState::Released { proof, .. } => was_used.then_some(What::Reclaimed { proof: *proof }),
        LeaseState::Quarantined { cause, .. } => {
            let is_so = |old: &Lease| {
                old.attachment == new.attachment
                    && matches!(&old.state, LeaseState::Quarantined { cause: was, .. } if was == cause)
            };
            (!old.is_some_and(is_so)).then(|| What::Quarantined { cause: cause.clone() })
        }
    }
}

fn bound(holder: Option<&Lease>, new: &Lease) -> Option<What> {
    match holder {
        None => Some(What::Bound),
        Some(old) if old.attachment != new.attachment => Some(What::TakenOver),
        Some(old) if !is_same_home(old, new) => Some(What::Rebound),
        Some(old) if old.is_bound() => None,
        Some(_) => Some(What::Returned),
    }
}

/// The same namespace of the same boot. One that could not be read at the later ADD says nothing about a move.
fn is_same_home(old: &Lease, new: &Lease) -> bool {
    Netns::stayed(old.netns, new.netns)
        && old.node.agent == new.node.agent
        && old.node.boot == new.node.boot
}

// === impl HistoryEvent ===

impl HistoryEvent {
    /// Where it happened.
    #[must_use]
    pub fn key(&self) -> LeaseKey {
        LeaseKey { space: self.space.clone(), address: self.address }
    }

    /// Whom it is about: the new holder, or else the one that was.
    #[must_use]
    pub fn holder(&self) -> Option<&Holder> {
        self.after.as_ref().or(self.before.as_ref())
    }
}

// === impl Holder ===

impl Holder {
    /// The holder of the record, be it the present or the last one.
    #[must_use]
    pub fn of(lease: &Lease) -> Self {
        Self {
            owner: lease.owner.clone(),
            attachment: lease.attachment.clone(),
            node: lease.node.name.clone(),
            generation: lease.generation,
            since: lease.bound_at,
        }
    }
}

// === impl Gap ===

impl Gap {
    /// Within it not even the records are to be believed: those of the time were lost.
    fn hides_records(&self) -> bool {
        match self.cause {
            GapCause::Import | GapCause::NewEpoch => true,
            GapCause::Unrecorded => false,
        }
    }
}

// === impl Entry ===

impl Entry {
    /// Its place among all entries of the store.
    #[must_use]
    pub fn seq(&self) -> u64 {
        match self {
            Self::Event(event) => event.seq,
            Self::Gap(gap) => gap.seq,
        }
    }

    /// When what comes after it begins to be known.
    #[must_use]
    pub fn at(&self) -> WallMs {
        match self {
            Self::Event(event) => event.at,
            Self::Gap(gap) => gap.to,
        }
    }

    /// What must be kept in place of an entry that is dropped, as the one entry at [`HORIZON`]: that a time of which
    /// nothing can be believed ended there. Later events and records may reach back beyond it.
    #[must_use]
    pub fn leaves(&self) -> Option<Gap> {
        match self {
            Self::Gap(gap) if gap.hides_records() => {
                Some(Gap { seq: HORIZON, from: WallMs(0), ..gap.clone() })
            }
            _ => None,
        }
    }
}
