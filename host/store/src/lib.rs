//! The store: one port, one contract suite, and the engines behind it.
//!
//! What it is not: it decides nothing. A write carries its own condition, and the store says whether it held.

mod port;

pub use port::{BoxFuture, Identity, Revision, Row, Store, StoreError, Write};
