//! The shapes of the admin API about nodes.

use serde::{Deserialize, Serialize};

/// One machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) uid: String,
    /// A Node with this uid exists now.
    pub(crate) exists: bool,
    pub(crate) state: NodeState,
    pub(crate) connected: bool,
    pub(crate) agent_heard_s: Option<u64>,
    pub(crate) node_lease: NodeLease,
    pub(crate) node_lease_silent_s: u64,
    pub(crate) fence: Option<Fence>,
    pub(crate) held: usize,
}

/// What is to be thought of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum NodeState {
    Up,
    Unknown,
    Silent,
    Lost,
    LostWithMany,
    Fenced,
}

/// What its node lease shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum NodeLease {
    NotRead,
    Absent,
    Present,
}

/// A word that it is dead.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Fence {
    pub(crate) by: FencedBy,
    pub(crate) reason: String,
    pub(crate) seen_s: Option<u64>,
    pub(crate) counts: bool,
}

/// Whose word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum FencedBy {
    Taint,
    Operator,
}

/// The word of an operator.
#[derive(Debug, Serialize)]
pub(crate) struct DeathWord<'a> {
    pub(crate) reason: &'a str,
    pub(crate) by: &'a str,
}

/// What became of one that was taken back.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Unconfirmed {
    pub(crate) was_confirmed: bool,
}

impl NodeState {
    /// For a column.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Unknown => "unknown",
            Self::Silent => "silent",
            Self::Lost => "lost",
            Self::LostWithMany => "lost (with many)",
            Self::Fenced => "fenced",
        }
    }
}
