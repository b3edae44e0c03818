//! Write address policies for Tenure: plain traits, plain rows, one declarative macro.
//!
//! ```
//! use tenure_policy::*;
//!
//! /// Fills the emptiest pool first.
//! pub struct Emptiest;
//!
//! impl Policy for Emptiest {
//!     type Settings = NoSettings;
//!     fn describe() -> Description {
//!         Description::new("emptiest", env!("CARGO_PKG_VERSION"), NoSettings::SCHEMA)
//!     }
//!     fn new(_: NoSettings) -> Result<Self, Vec<FieldError>> {
//!         Ok(Self)
//!     }
//! }
//!
//! impl Select for Emptiest {
//!     fn select(&self, _: &SelectRequest, candidates: &Candidates) -> Result<Selection, PolicyError> {
//!         let mut rows: Vec<Candidate> = candidates.iter().collect();
//!         rows.sort_by_key(|row| std::cmp::Reverse(row.free));
//!         Ok(rank(rows))
//!     }
//! }
//!
//! export!(Emptiest: select);
//! # fn main() {}
//! ```
//!
//! What it is not: a policy has no clock, no randomness, no files and no network, and keeps nothing
//! from one call to the next: each decision runs on a fresh instance. Time and a seed come with the
//! request, so that every decision can be replayed.
//!
//! Natively everything compiles too, with stand-ins for the host's functions ([`testing`]), so that
//! `cargo test` needs no Wasm. The contract behind it is `wit/`.

#![warn(missing_docs)]

mod affinity;
#[doc(hidden)]
pub mod bindings;
mod host;
mod macros;
#[cfg(target_arch = "wasm32")]
mod memory;
mod policy;
mod reclaim;
#[doc(hidden)]
pub mod rt;
mod select;
mod settings;
pub mod testing;

pub use affinity::{AffinityAnswer, AffinityRequest, Choice, Fixed, IfHeld, Previous, Sticky};
pub use bindings::imports::tenure::policy::host::Level;
pub use bindings::imports::tenure::policy::types::{
    Address, Attribute, FieldError, Holder, PolicyError,
};
pub use host::{lease_holder, log, log_enabled, pool_by_name, pool_label, pool_name};
pub use policy::{Affinity, Description, Policy, Reclaim, Select};
pub use reclaim::{Lease, Owner, Pressure, ReclaimRequest, Verdict, Verdicts};
pub use select::{Candidate, Candidates, Family, MAX_RANKED, SelectRequest, Selection, rank};
pub use settings::{NoSettings, parse_settings};
