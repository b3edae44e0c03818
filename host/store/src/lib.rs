//! The store: one port, one contract suite, and the engines behind it.
//!
//! What it is not: it decides nothing and counts no time. A write carries its own condition, and the store says
//! whether it held. Nor is it a second ledger: indexes over the rows live in the engine, in memory.
//!
//! ```text
//! port         Store, Write, Change, StoreError: what the engine sees
//! conditions   the lock of Tenure as a pure function, for all engines here, and what it tells the history
//! gaps         what an import, a new epoch or an older version leave in the history
//! memory       keeps nothing; fails and waits when a test asks
//! redb         one file, one writer thread, durable when answered
//! format       keys and values on disk, version 1
//! packed       the same values for a store that remembers many rows
//! transfer     export and import as JSON lines
//! contract     the suite that every engine passes (feature `contract` for engines of other crates)
//! ```
//!
//! Invariants kept here: I2 (answered means durable), I3 (a batch is whole), I12 (the queue is bounded), I13 (one
//! writer), I14 (newer and damaged files are left as they are; export then import gives the same state).

#[cfg(test)]
mod arbitrary;
mod conditions;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod format;
mod gaps;
mod memory;
mod packed;
mod port;
mod redb;
mod transfer;

pub use self::redb::{Disk, RedbOptions, RedbStore};
pub use memory::{Fault, Hold, MemoryStore};
pub use packed::Packed;
pub use port::{
    BoxFuture, Change, Changes, Contents, History, Identity, ImportMode, Listing, Refusal,
    Revision, Row, Selection, Shown, Store, StoreError, Write,
};
pub use transfer::{ExportFormat, Exported, export, read_export};
