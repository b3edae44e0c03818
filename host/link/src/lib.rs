//! The link between the agents of the nodes and the allocators: who asks, who answers, and who is witness of what.
//!
//! What it is not: it allocates nothing, judges nothing and knows nothing of Kubernetes. Where the allocators are, how a
//! connection is secured and who may speak for which node is brought from outside ([`agent::Dial`],
//! [`allocator::Reception`]).
//!
//! ```text
//! plugin -> cni -> agent::Agent (lock, namespace, past) -> agent::Links --HTTP/2--> allocator::Service -> Verbs (engine)
//!                     ^ acknowledged set, fsynced                |  ^                         |
//!                     |                                          v  | looks, probes           v
//!                  kernel and wire witness <----------- agent::session <------------ allocator::Sessions <- engine
//! ```
//!
//! An agent holds one connection to every replica. On each it opens a *session*: a stream of lines in both directions, on
//! which it says who it is, beats, and answers what is asked about its kernel and its wires. Verbs are requests beside it.
//!
//! Invariants kept here: I2 (an ADD is answered once it is noted on disk), I4 (one verb at a time per attachment; what may
//! have been written before is looked for), I5 (each DEL carries the instant at which it came, so that a late one frees
//! nothing that came after it), I7 (what an agent does not answer in time is unknown), I12 (queues, lines, connections and
//! waits are bounded).

pub mod agent;
pub mod allocator;
pub mod messages;

mod lines;
