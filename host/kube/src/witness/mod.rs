//! What the API says of nodes and owners, for reclaim. *Unknown is never dead*: an error, a timeout, an answer of somebody
//! else than the API server, and whatever is not read now, say nothing.
//!
//! ```text
//! silence  one node: how long its agent and its node lease were silent while we could hear    no I/O
//! table    all nodes: fences, many that are lost at once, what is said of each                no I/O
//! reader   node leases and fences, read live into the table
//! nodes    NodeWitness: when they are read, and what is said
//! look     what is known of one node, for operators
//! fences   the operator's word that a machine is dead, in a ConfigMap
//! pods     PodWitness: what is said of owners
//! ```
//!
//! All of it counts on this process' own monotonic clock (I8): times that others wrote are compared for being equal, and
//! with nothing else.

mod fences;
mod look;
mod nodes;
mod pods;
mod reader;
mod silence;
mod speakers;
mod table;

pub use self::look::{FenceLook, NodeLook};
pub use self::nodes::{NodeOptions, NodeWitness};
pub use self::pods::PodWitness;
pub use self::table::FencedBy;
