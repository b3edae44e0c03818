//! The border to CNI: the plugin `tenure-ipam`, the socket server that it talks to, and the shapes of every
//! CNI version.
//!
//! What it is not: it allocates nothing and keeps no state but the spool of DELs. The verbs behind the server
//! are whatever implements `Verbs` of the engine.
//!
//! ```text
//! runtime -> main plugin -> plugin -> frame::Request ~socket~> connection -> dispatch -> translate -> Verbs
//!                             |                                    ^                                   |
//!                             |                                    +---- frame::Response <- result <---+
//!                             +-> spool folder (DEL, daemon away) -> spool::Spool::drain -> Verbs::del
//! ```
//!
//! Invariants kept here: I5 (a DEL succeeds only once it is durable: at the daemon, or fsynced in the spool; it
//! needs nothing but its key), I12 (frames, connections, spool and every wait are bounded; overload answers
//! code 11). Error code 3 is never answered.
//!
//! Without the feature `server` only the plugin is built, on std alone.

pub mod answer;
pub mod frame;
pub mod intent;
mod json;

pub mod plugin;
mod version;

#[cfg(feature = "server")]
mod args;
#[cfg(feature = "server")]
mod config;
#[cfg(feature = "server")]
mod connection;
#[cfg(feature = "server")]
mod dispatch;
#[cfg(feature = "server")]
mod error;
#[cfg(feature = "server")]
mod fields;
#[cfg(feature = "server")]
mod fixed;
#[cfg(feature = "server")]
mod link;
#[cfg(feature = "server")]
mod metrics;
#[cfg(feature = "server")]
mod prev_result;
#[cfg(feature = "server")]
mod result;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod spool;
#[cfg(feature = "server")]
mod translate;

pub use version::CniVersion;

#[cfg(feature = "server")]
pub use error::Error;
#[cfg(feature = "server")]
pub use metrics::{Metrics, Reading, VerbReading};
#[cfg(feature = "server")]
pub use server::{Handle, MAX_CONNECTIONS, Options, Service};
#[cfg(feature = "server")]
pub use spool::{Drained, Spool};
