//! The domain of Tenure, pure: addresses, pools, leases, the ledger of one daemon and the judge.
//!
//! What it is not: it has no tokio, no clock, no I/O and no randomness. Time comes in as a
//! [`Moment`](time::Moment), evidence as values, and what must be stored goes out as values.
//!
//! ```text
//! objects (YAML) -> pool::Pool ----+
//! store rows ---> lease::Lease --> ledger::Ledger --reserve--> lease::Lease -> store
//! witness -----> judge::Evidence -> judge::judge(lease, evidence, verdict, now) -> Judgement
//! record before and after a write -> history::event(..) -> store; history::Story::held_at(moment)
//! policies ----> decision::{Select, Affinity, Reclaim}
//! ```
//!
//! Invariants kept here: I1 (one reservation per address), I9 (rest before reuse), I10 (counts are
//! derived and add up), and the pure half of I7 (`judge`).

pub mod address;
pub mod decision;
pub mod defaults;
pub mod error;
pub mod history;
pub mod interval;
pub mod judge;
pub mod lease;
pub mod ledger;
pub mod name;
pub mod objects;
pub mod pool;
pub mod ports;
pub mod time;
