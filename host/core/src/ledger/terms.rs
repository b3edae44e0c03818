//! The words of the ledger: what is asked of it and what it answers.

use std::time::Duration;

use super::{Print, Slot};
use crate::lease::LeaseKey;
use crate::time::{Moment, WallMs};

/// Both clocks at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic.
    pub moment: Moment,
    /// Wall.
    pub wall: WallMs,
}

/// What an ADD wants of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Any address that is unused or rested.
    Rested,
    /// Any address, also one whose rest may be cut short.
    Pressed,
    /// One in quarantine that a silent probe may end: whoever takes it must probe.
    Quarantined,
}

/// For whom an exact address is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// For this sticky key: may take what is retained for it.
    Key(Print),
    /// For nobody in particular.
    Anyone,
    /// For the holder who had it last, by an answer of the affinity policy: may take what is retained.
    Policy,
}

/// A reserved address. It must be settled: by [`Ledger::apply`] after the write, or by [`Ledger::cancel`].
#[derive(Debug)]
#[must_use = "a reserved address that is not settled is lost until the next start"]
pub struct Hold {
    /// The address.
    pub key: LeaseKey,
    /// What stood there before; none for an address without a row.
    pub prior: Option<Slot>,
    /// What the reserved row carries while this hold stands.
    pub(super) ticket: u64,
}

/// Why an address or pool cannot give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unavailable {
    /// No pool has this address.
    NoPool,
    /// The pool may not hand it out (exclusion, reservation, gateway, outside the ranges, disabled).
    NotUsable,
    /// Somebody holds it.
    Held {
        /// Fingerprint of the attachment.
        by: Print,
    },
    /// It is kept for another key.
    Retained,
    /// It may still be in use.
    Quarantined,
    /// It rests, or its old holder is still seen; due by time alone in so long, if that can be known.
    Resting {
        /// How long still.
        due: Option<Duration>,
    },
    /// The pool has nothing to give; due by time alone in so long, if that can be known.
    Exhausted {
        /// How long still.
        due: Option<Duration>,
    },
}

/// What a look said of a released row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterRelease {
    /// Its namespace is gone. Links outlive a namespace by milliseconds, so the proof counts after [`SETTLING`].
    Gone,
    /// The address, seen on a link before, stands on none now: proved at once.
    OffLink,
    /// The address still stands on a link of the old holder.
    Lingers,
    /// Nothing can be said.
    Silent,
}

impl AfterRelease {
    /// Whether the end of the holder is proved.
    #[must_use]
    pub fn is_proof(self) -> bool {
        matches!(self, Self::Gone | Self::OffLink)
    }
}

pub use crate::defaults::SETTLING;

/// One row as taken down at some instant.
#[derive(Debug, Clone)]
pub struct RowAt {
    /// The address.
    pub key: LeaseKey,
    /// The row.
    pub slot: Slot,
}
