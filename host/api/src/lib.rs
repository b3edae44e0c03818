//! The admin API: what operators and their tools read and change, as JSON over HTTP on a unix socket.
//!
//! What it is not: it decides nothing and keeps nothing. Every answer comes from the engine; the rules are
//! there. It knows no CNI: counters of other edges come in as plain [`MetricFamily`] values.
//!
//! ```text
//! server.rs (socket, caller, bounds) -> router.rs (guard: busy, deadline) -> routes/*.rs -> engine
//!                                                       error.rs: one shape for every refusal
//! ```
//!
//! Invariants:
//! - Only root and the daemon's own user get in (`SO_PEERCRED`; the socket's mode is 0600 from its first moment).
//! - Bounded (I12): connections, requests at once, body sizes and time; what is too much is answered, not queued.
//! - A change that has begun is not cut in half when its caller hangs up or its deadline passes.

mod api;
mod error;
mod extract;
mod guard;
mod metric;
mod nodes;
mod openapi;
mod router;
mod routes;
mod scrape;
mod server;

pub use api::{Api, ApiOptions, Caller, MetricSource};
pub use error::{ApiError, ErrorBody, ErrorText};
pub use metric::{MetricFamily, MetricKind, MetricValue, Sample};
pub use nodes::{
    DeathWord, FenceView, FencedBy, NodeLease, NodeState, NodeView, Nodes, NodesError, NodesFuture,
    Unconfirmed,
};
pub use openapi::openapi_json;
pub use router::router;
pub use server::{Handle, Options, Service};
