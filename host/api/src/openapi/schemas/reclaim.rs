//! Reclaim by the operator, and explanations.

use serde::Serialize;
use utoipa::ToSchema;

use super::lease::{Attachment, LeaseView, Owner};
use super::policy::{DecidedBy, DecisionRecord};

/// What a reclaim did, and what is left.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::openapi) struct ReclaimAnswer {
    /// Nothing was changed.
    dry_run: bool,
    /// Taken back meanwhile.
    reclaimed: Vec<Reclaimed>,
    /// Suspect still, or nothing is known of them.
    suspects: Vec<Suspect>,
    /// So many more there are.
    unlisted: usize,
}

/// An address that was taken back from a holder.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::openapi) struct Reclaimed {
    address: String,
    space: String,
    pool: String,
    attachment: Attachment,
    owner: Owner,
    generation: u64,
    /// Its end is not proved: it is quarantined.
    quarantined: bool,
}

/// A lease whose holder is not known to live.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::openapi) struct Suspect {
    address: String,
    space: String,
    pool: String,
    attachment: Attachment,
    owner: Owner,
    generation: u64,
    evidence: Evidence,
    /// How long it has been suspect without a break, in seconds; null if nothing speaks against its holder.
    suspect_s: Option<u64>,
    /// The grace that applies, in seconds; null where no time would help.
    grace_s: Option<u64>,
    grace_by: Option<DecidedBy>,
    verdict: Outlook,
    /// How long at least until a look can decide, in seconds, if it waits.
    left_s: Option<u64>,
    waits_for: Option<Witness>,
    /// The same in words.
    text: String,
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::openapi) struct Evidence {
    node: NodeSays,
    kernel: KernelSays,
    api: ApiSays,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::openapi) enum NodeSays {
    Heard,
    AgentSilent,
    Fenced,
    Lost,
    LostWithMany,
    Unknown,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::openapi) enum KernelSays {
    Alive,
    Gone,
    Rebooted,
    Blind,
    Silent,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::openapi) enum ApiSays {
    Nothing,
    Alive,
    Overdue,
    Gone,
    Silent,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::openapi) enum Outlook {
    Keep,
    Wait,
    Free,
    Quarantine,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::openapi) enum Witness {
    Kernel,
    Node,
    Api,
}

/// Everything about one address.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::openapi) struct Explanation {
    address: String,
    space: String,
    /// Null if no pool has it.
    pool: Option<String>,
    summary: String,
    /// Null if it has no record.
    lease: Option<LeaseView>,
    /// Those that chose it, newest first and one per hook, as far as they are remembered.
    decisions: Vec<DecisionRecord>,
    witnesses: Vec<Testimony>,
    /// Who keeps the network namespace of its holder.
    kept_by: Vec<String>,
    /// What happens next.
    next: Vec<String>,
}

/// What one witness says of the holder.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::openapi) struct Testimony {
    /// `kernel`, `node` or `api`.
    witness: String,
    says: String,
}
