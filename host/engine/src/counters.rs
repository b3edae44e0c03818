//! What the engine counts, for metrics. Plain numbers: the API crate gives them their names.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

/// The engine's counts since its start.
#[derive(Debug, Default)]
pub struct Counters {
    /// ADDs answered with addresses.
    pub adds: Count,
    /// ADDs answered again without a write (invariant I4).
    pub adds_repeated: Count,
    /// ADDs that moved a lease to another namespace, boot or container of the same pod.
    pub adds_rebound: Count,
    /// ADDs that waited for an address.
    pub adds_waited: Count,
    /// ADDs answered with an error.
    pub adds_failed: Count,
    /// Sets that were written and answered to nobody, and given up (invariant I4).
    pub unanswered: Count,
    /// DELs that released something.
    pub dels: Count,
    /// DELs that found nothing (invariant I5).
    pub dels_empty: Count,
    /// Leases taken back on proof.
    pub reclaimed: Count,
    /// Leases of lost nodes put into quarantine.
    pub quarantined: Count,
    /// Quarantined leases whose holder proved alive.
    pub returned: Count,
    /// Probes on the wire that nobody answered, while the witness was heard.
    pub probes_silent: Count,
    /// Probes that a foreign machine answered: the address went to quarantine.
    pub probes_answered: Count,
    /// Probes that said nothing.
    pub probes_blind: Count,
    /// Addresses found on links of which the store knew nothing.
    pub found: Count,
    /// Sweeps completed.
    pub sweeps: Count,
    /// Sweeps in which the kernel witness was silent.
    pub sweeps_silent: Count,
    /// Releases whose end was proved afterwards.
    pub proved: Count,
    /// Looks that saw a released address still on a link of its old holder.
    pub lingered: Count,
    /// Leases whose namespace could not be read at ADD.
    pub blind: Count,
    /// Writes that met a row changed by somebody else.
    pub conflicts: Count,
    /// Rows of which somebody else's change was heard before this daemon met it.
    pub heard: Count,
    /// Pools that were listed live before they were called full.
    pub lists: Count,
    /// Figures of a reclaim policy that were clamped to the pool's limits.
    pub clamped: Count,
    /// I1: an address seen to be given while another attachment held it. Anything but 0 is a defect.
    pub breaches_i1: Count,
    /// I10: counts of a pool that did not add up. Anything but 0 is a defect.
    pub breaches_i10: Count,
}

impl Count {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn one(&self) {
        self.add(1);
    }

    /// The number now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
