//! What a policy may ask of the host. Each look-up counts against a budget and is recorded with the
//! decision. Natively the stand-ins of [`crate::testing`] answer.

use crate::{Holder, Level};

#[cfg(target_arch = "wasm32")]
use crate::bindings::imports::tenure::policy::host as imp;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing as imp;

/// Writes a line to the decision's record and the host's log. Lines have at most 1 KiB; going on after
/// the budget of lines is a fault.
pub fn log(level: Level, message: &str) {
    imp::log(level, message);
}

/// Whether a line of that level is kept, so that nothing is formatted to be dropped.
#[must_use]
pub fn log_enabled(level: Level) -> bool {
    level as u8 >= imp::log_level() as u8
}

/// The name of a pool.
#[must_use]
pub fn pool_name(pool: u32) -> Option<String> {
    imp::pool_name(pool)
}

/// The index of the pool with that name.
#[must_use]
pub fn pool_by_name(name: &str) -> Option<u32> {
    imp::pool_by_name(name)
}

/// A label of a pool (`spec.labels`).
#[must_use]
pub fn pool_label(pool: u32, key: &str) -> Option<String> {
    imp::pool_label(pool, key)
}

/// In `reclaim`: who holds the lease of that row.
#[must_use]
pub fn lease_holder(row: u32) -> Option<Holder> {
    imp::lease_holder(row)
}
