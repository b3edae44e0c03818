//! The nodes of a cluster, as the API asks for them. The allocator answers; a standalone daemon has nobody to ask.

use std::pin::Pin;

use serde::{Deserialize, Serialize};
use tenure_core::error::{Coded, Kind};
use utoipa::ToSchema;

/// What comes later.
pub type NodesFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, NodesError>> + Send + 'a>>;

/// Whoever knows the nodes of the cluster.
pub trait Nodes: Send + Sync {
    /// All that the API, an agent or a lease names, by name and uid.
    fn list(&self) -> NodesFuture<'_, Vec<NodeView>>;

    /// Takes the operator's word that the machine of this Node is dead.
    fn confirm_dead(&self, uid: String, word: DeathWord) -> NodesFuture<'_, NodeView>;

    /// Takes that word back; there may be none.
    fn unconfirm_dead(&self, uid: String) -> NodesFuture<'_, Unconfirmed>;
}

/// One machine, as far as leases can tell: a Node that was made anew is another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// The uid of its Node; empty where its agent came before the Node.
    pub uid: String,
    /// A Node with this uid exists now.
    pub exists: bool,
    /// What is to be thought of it.
    pub state: NodeState,
    /// An agent that names this Node is connected to this allocator.
    pub connected: bool,
    /// Seconds since this allocator last heard an agent of this name; null if it never did.
    pub agent_heard_s: Option<u64>,
    /// What its node lease shows.
    pub node_lease: NodeLease,
    /// Seconds for which the node lease was read and did not change.
    pub node_lease_silent_s: u64,
    /// Who says that it is dead.
    pub fence: Option<FenceView>,
    /// Addresses held there.
    pub held: usize,
}

/// What is to be thought of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum NodeState {
    /// Its agent was heard within the lost time.
    Up,
    /// Not established yet, or not any more.
    Unknown,
    /// Its agent is silent, its kubelet is not.
    Silent,
    /// Agent and kubelet are silent for the lost time.
    Lost,
    /// The same, with a third of all nodes: more likely it is this allocator that is cut off.
    LostWithMany,
    /// Lost, and somebody says that it is dead.
    Fenced,
}

/// What the node lease shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum NodeLease {
    /// It was not read: as long as an agent speaks nobody asks for it.
    NotRead,
    /// There is none.
    Absent,
    /// There is one.
    Present,
}

/// A word that a machine is dead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FenceView {
    /// Who says so.
    pub by: FencedBy,
    /// Why, and of an operator who and when.
    pub reason: String,
    /// Seconds since this allocator saw it; null if it has not yet.
    pub seen_s: Option<u64>,
    /// It counts: agent and kubelet were silent, and no agent was heard since it was seen.
    pub counts: bool,
}

/// Who says that a machine is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum FencedBy {
    /// The taint `node.kubernetes.io/out-of-service`.
    Taint,
    /// `tenure node confirm-dead`.
    Operator,
}

/// The word of an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeathWord {
    /// Why, for the record, in at most 512 bytes.
    pub reason: String,
    /// Who says so, as the caller knows them: for the record only, in at most 256 bytes.
    #[serde(default)]
    pub by: String,
}

/// What became of a word that was taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Unconfirmed {
    /// There was one.
    pub was_confirmed: bool,
}

/// Why nothing can be said of nodes, or nothing done about them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodesError {
    /// There is no cluster.
    #[error("this daemon is standalone; there are no other nodes")]
    Standalone,
    /// Nothing has this uid.
    #[error("no Node has the uid {uid:?}, and no lease names it; `tenure get nodes` lists them")]
    Unknown {
        /// What was asked for.
        uid: String,
    },
    /// It is a name, and names come again.
    #[error(
        "{name} is the name of a node, and one that is made anew has it, too; say which machine by its uid: {uids}"
    )]
    IsName {
        /// The name.
        name: String,
        /// The uids of this name.
        uids: String,
    },
    /// It lives.
    #[error("node {node} is not dead: {why}")]
    IsHeard {
        /// Name and uid.
        node: String,
        /// Who is heard, and what to do.
        why: String,
    },
    /// Nobody knows yet.
    #[error(
        "it is not known of node {node} whether agent and kubelet are silent: this allocator must have watched both for {seconds} s; try again then"
    )]
    NotEstablished {
        /// Name and uid.
        node: String,
        /// The lost time.
        seconds: u64,
    },
    /// The word itself is wrong.
    #[error("{what}")]
    BadWord {
        /// What is wrong with it.
        what: String,
    },
    /// The cluster does not answer.
    #[error("{why}")]
    Unread {
        /// What could not be read or written.
        why: String,
    },
}

impl DeathWord {
    /// Longest reason, in bytes.
    const MAX_REASON: usize = 512;
    /// Longest name of whoever says so, in bytes: longer ones exist in no cluster.
    const MAX_BY: usize = 256;

    /// # Errors
    /// [`NodesError::BadWord`]: no reason, or too long a one.
    pub(crate) fn check(&self) -> Result<(), NodesError> {
        let bad = |what: String| Err(NodesError::BadWord { what });
        if self.reason.trim().is_empty() {
            return bad(
                "a reason is missing: whoever reads of the fence later must know why".into()
            );
        }
        if self.reason.len() > Self::MAX_REASON {
            return bad(format!("the reason is longer than {} bytes", Self::MAX_REASON));
        }
        if self.by.len() > Self::MAX_BY {
            return bad(format!("`by` is longer than {} bytes", Self::MAX_BY));
        }
        Ok(())
    }
}

impl Coded for NodesError {
    fn code(&self) -> &'static str {
        match self {
            Self::Standalone => "STANDALONE",
            Self::Unknown { .. } => "NOT_FOUND",
            Self::IsName { .. } => "NODE_NAME",
            Self::IsHeard { .. } => "NODE_HEARD",
            Self::NotEstablished { .. } => "NODE_UNKNOWN",
            Self::BadWord { .. } => "BAD_BODY",
            Self::Unread { .. } => "API_SILENT",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Standalone | Self::IsHeard { .. } => Kind::Refused,
            Self::Unknown { .. } => Kind::NotFound,
            Self::IsName { .. } | Self::BadWord { .. } => Kind::Invalid,
            Self::NotEstablished { .. } | Self::Unread { .. } => Kind::Retry,
        }
    }
}
