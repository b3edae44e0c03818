//! A deterministic world for tests: what surrounds the engine, moved by hand.
//!
//! What it is not: nothing of it ships. It checks nothing by itself; tests do. The model test of the engine is
//! `tests/model`.
//!
//! ```text
//! Site       an engine over the memory store with the parts below, for tests that tell one story
//! clock      three clocks that stand still until they are moved, apart if need be
//! kernel     network namespaces that begin, linger and end, and a witness that can fall silent or be unsure
//! wire       foreign machines that answer, and a witness that may be blind
//! policies   answers as the test, or the request itself, says
//! store      any store, with commits that wait at a gate, fail, or end without an answer; it keeps a log
//! disk       the disk of a redb store, in memory: it outlives the store
//! ```
//!
//! Invariants: nothing here reads a clock, draws randomness or starts a thread of its own; whatever can be listed
//! is listed in one order. A test that drives an engine with `Options::inline` on one thread repeats exactly.

// The world of a test panics where others answer.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod clock;
mod disk;
mod kernel;
mod policies;
mod requests;
mod site;
mod store;
mod tasks;
mod wire;

pub use clock::{HandClock, Times};
pub use disk::MemoryDisk;
pub use kernel::FakeKernel;
pub use policies::{AFFINITY, FakePolicies, SELECTION};
pub use requests::{attachment, names, pod, pool};
pub use site::Site;
pub use store::{Event, Gate, SimStore};
pub use tasks::{start_add, until};
pub use wire::FakeWire;
