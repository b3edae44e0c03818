//! What policies are asked and what they answer, in plain data: the host crate turns it into the
//! Wasm contract (`sdk/wit/`), the engine never sees Wasm.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::address::{Families, Family};
use crate::lease::{Owner, OwnerKind};
use crate::name::{Digest, ObjectName, PoolName};
use crate::time::WallMs;

/// At most so many candidate rows reach a `select` policy.
pub const MAX_CANDIDATES: usize = 512;
/// At most so many rows may a `select` policy rank.
pub const MAX_RANKED: usize = 16;
/// At most so many addresses may an `affinity` policy name.
pub const MAX_FIXED: usize = 4;
/// At most so many leases reach a `reclaim` policy in one call.
pub const MAX_RECLAIM_ROWS: usize = 1000;

/// A hook of the policy contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Hook {
    /// Which pools, in which order.
    Select,
    /// Which address, and what to keep for whom.
    Affinity,
    /// How long to wait before a lease is taken back, and what happens then.
    Reclaim,
}

impl Hook {
    /// As it stands in manifests and in the contract: `select`, `affinity` or `reclaim`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Select => "select",
            Self::Affinity => "affinity",
            Self::Reclaim => "reclaim",
        }
    }
}

/// What the host knows of the pools, by the index that requests use. Replaced whole when a pool changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalogue {
    /// One entry per pool; its position is the pool's index.
    pub pools: Vec<PoolFacts>,
}

/// A pool as policies may look it up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolFacts {
    /// Its name.
    pub name: PoolName,
    /// `spec.labels`.
    pub labels: BTreeMap<String, String>,
}

/// Who wants or holds an address, as policies see it. Unknown fields are empty, never guessed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// Kind, namespace, name, uid.
    pub owner: Owner,
    /// Kind of the controlling object, e.g. `StatefulSet`.
    pub controller_kind: String,
    /// Its name.
    pub controller_name: String,
    /// The node.
    pub node: String,
    /// The node's zone.
    pub zone: String,
    /// The CNI network name.
    pub network: String,
    /// The interface name.
    pub interface: String,
    /// All attributes that are known, by their full key (`pod.annotation/KEY`, `cni.args/KEY`, ...);
    /// a policy receives those that it asked for.
    pub attributes: BTreeMap<String, String>,
}

/// One pool that admits the holder. Counts saturate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// Index into the [`Catalogue`].
    pub pool: u32,
    /// Family of the pool.
    pub family: Family,
    /// Addresses that could be given now.
    pub free: u64,
    /// Held addresses.
    pub used: u64,
    /// Released and not yet rested.
    pub resting: u64,
    /// Kept for an affinity key.
    pub retained: u64,
    /// ADDs that wait for this pool.
    pub waiting: u32,
    /// Held by the holder's namespace.
    pub held_by_namespace: u64,
    /// Held by the holder's controller.
    pub held_by_controller: u64,
    /// `spec.priority`, higher first.
    pub priority: i32,
    /// The CNI configuration names it.
    pub named: bool,
    /// It lies in the holder's zone.
    pub in_zone: bool,
    /// It admits only by an explicit selector, and did.
    pub by_selector: bool,
    /// Position in the CNI configuration's list.
    pub order: Option<u32>,
}

impl Candidate {
    /// A pool of which nothing more is known: it has nothing to give, and nobody named it.
    #[must_use]
    pub fn of(pool: u32, family: Family) -> Self {
        Self {
            pool,
            family,
            free: 0,
            used: 0,
            resting: 0,
            retained: 0,
            waiting: 0,
            held_by_namespace: 0,
            held_by_controller: 0,
            priority: 0,
            named: false,
            in_zone: false,
            by_selector: false,
            order: None,
        }
    }
}

/// A `select` question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SelectRequest {
    /// Who asks.
    pub holder: Holder,
    /// Families wanted.
    pub families: Families,
    /// Pools that admit the holder, full ones included, at most [`MAX_CANDIDATES`].
    pub candidates: Vec<Candidate>,
    /// What the pool indexes mean.
    pub catalogue: Arc<Catalogue>,
    /// Wall time, given so that the policy needs no clock.
    pub now: WallMs,
    /// Randomness, given so that the decision replays.
    pub seed: u64,
}

/// A `select` answer that passed the host's checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Selection {
    /// Row indexes into the candidates, best first, families mixed, no duplicates.
    Ranked(Vec<u32>),
    /// The holder is refused, with a reason that its owner will read.
    Deny(String),
}

/// An address that this owner, or its name, held before and that could be given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Previous {
    /// The address.
    pub address: IpAddr,
    /// Index of its pool in the catalogue.
    pub pool: u32,
    /// How long it was held, in seconds.
    pub held_s: u32,
    /// How long ago it was released, in seconds.
    pub since_release_s: u32,
    /// The uid is the same.
    pub same_uid: bool,
    /// Namespace and name are the same.
    pub same_name: bool,
    /// It is retained for a key.
    pub retained: bool,
    /// It still rests.
    pub resting: bool,
}

/// An `affinity` question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AffinityRequest {
    /// Who asks.
    pub holder: Holder,
    /// Families wanted.
    pub families: Families,
    /// What it held before.
    pub previous: Vec<Previous>,
    /// What the pool indexes mean.
    pub catalogue: Arc<Catalogue>,
    /// Wall time.
    pub now: WallMs,
    /// Randomness.
    pub seed: u64,
}

/// What to do while another live holder has the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IfHeld {
    /// Wait, then answer CNI code 11.
    Wait,
    /// Take another address.
    Other,
    /// Fail the ADD.
    Fail,
}

/// An `affinity` answer that passed the host's checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Affinity {
    /// Nothing special.
    None,
    /// A stable address for a key.
    Sticky {
        /// The key, 1 to 253 bytes.
        key: String,
        /// When another live holder has it.
        if_held: IfHeld,
        /// How long it stays kept after release, in seconds.
        retain_s: u32,
        /// Wanted at first use, at most [`MAX_FIXED`].
        preferred: Vec<IpAddr>,
    },
    /// Row indexes into `previous`.
    Reuse(Vec<u32>),
    /// Exactly these addresses, at most [`MAX_FIXED`].
    Fixed {
        /// One per wanted family.
        addresses: Vec<IpAddr>,
        /// When another live holder has one.
        if_held: IfHeld,
    },
}

/// The `affinity` answer and its mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AffinityAnswer {
    /// What to do.
    pub choice: Affinity,
    /// Stored with the lease and shown to `reclaim`.
    pub tag: u64,
}

/// A suspect lease, as `reclaim` sees it. Seconds are observed time; 0 where it does not apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Suspect {
    /// The affinity policy's mark.
    pub tag: u64,
    /// Index of the pool.
    pub pool: u32,
    /// Kind of the owner.
    pub owner: OwnerKind,
    /// The kernel says gone.
    pub kernel_gone: bool,
    /// The API says gone.
    pub api_gone: bool,
    /// The API says alive.
    pub api_alive: bool,
    /// The pod is Terminating.
    pub terminating: bool,
    /// The pod is finished.
    pub finished: bool,
    /// The node is lost and not fenced.
    pub node_lost: bool,
    /// The node is fenced or rebooted.
    pub node_fenced: bool,
    /// The lease has a sticky key.
    pub sticky: bool,
    /// How long it was held.
    pub held_s: u32,
    /// How long it has been suspect without a break.
    pub suspect_s: u32,
    /// How long the pod has been Terminating.
    pub terminating_s: u32,
    /// The pod's own termination grace.
    pub termination_grace_s: u32,
    /// How long the node has been lost.
    pub node_lost_s: u32,
    /// Who holds it, for the look-up `lease-holder`.
    pub holder: Holder,
}

/// How hard a pool is pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pressure {
    /// Index of the pool.
    pub pool: u32,
    /// Addresses that could be given now.
    pub free: u64,
    /// Usable addresses.
    pub size: u64,
    /// ADDs that wait.
    pub waiting: u32,
}

/// A `reclaim` question, batched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReclaimRequest {
    /// At most [`MAX_RECLAIM_ROWS`].
    pub leases: Vec<Suspect>,
    /// The pools of these leases.
    pub pressure: Vec<Pressure>,
    /// What the pool indexes mean.
    pub catalogue: Arc<Catalogue>,
    /// Wall time.
    pub now: WallMs,
    /// Randomness.
    pub seed: u64,
}

/// A retention that says "as the affinity policy decided at ADD".
pub const RETAIN_AS_AT_ADD: Duration = Duration::MAX;

/// A `reclaim` verdict for one lease. The engine clamps it to the pool's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// How long the lease must be continuously suspect first; whole seconds in recordings.
    #[serde(rename = "graceS", with = "seconds")]
    pub grace: Duration,
    /// How long the address is kept for the lease's sticky key, or [`RETAIN_AS_AT_ADD`], which is null in recordings.
    #[serde(rename = "retainS", with = "retention")]
    pub retain: Duration,
    /// How long it rests.
    #[serde(rename = "cooldownS", with = "seconds")]
    pub cooldown: Duration,
    /// Its node being lost and not fenced, it may go to quarantine for a probed reuse. Never set by a fault.
    pub permits_unfenced: bool,
}

/// Who decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DecidedBy {
    /// The strategy built into the host: no policy decided.
    BuiltIn,
    /// A policy.
    Policy {
        /// Name of its IPAMPolicy object.
        name: ObjectName,
        /// Digest of its component.
        digest: Digest,
    },
}

impl DecidedBy {
    /// The policy's name, or `built-in`.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::BuiltIn => "built-in",
            Self::Policy { name, .. } => name.as_str(),
        }
    }
}

/// An answer, who gave it, and where the decision is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided<T> {
    /// The answer.
    pub answer: T,
    /// Who gave it.
    pub by: DecidedBy,
    /// Number of its record in the decision ring.
    pub record: u64,
}

/// How a policy failed. `Display` is the label of the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// It trapped (panic, index, unreachable).
    Trap,
    /// It used up its fuel.
    Fuel,
    /// It used up its wall time.
    Deadline,
    /// It wanted more memory than allowed.
    Memory,
    /// It recursed too deep.
    Stack,
    /// It logged more than allowed.
    Logs,
    /// It made more look-ups than allowed.
    Lookups,
    /// Its answer cannot be used.
    BadOutput,
    /// `init` failed.
    Init,
    /// It answered with an error of its own.
    PolicyError,
    /// No instance could be made.
    Instance,
}

impl FaultKind {
    /// All kinds, for metrics that start at zero.
    pub const ALL: [Self; 11] = [
        Self::Trap,
        Self::Fuel,
        Self::Deadline,
        Self::Memory,
        Self::Stack,
        Self::Logs,
        Self::Lookups,
        Self::BadOutput,
        Self::Init,
        Self::PolicyError,
        Self::Instance,
    ];

    /// The label of the metric.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Fuel => "fuel",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::Stack => "stack",
            Self::Logs => "logs",
            Self::Lookups => "lookups",
            Self::BadOutput => "bad-output",
            Self::Init => "init",
            Self::PolicyError => "policy-error",
            Self::Instance => "instance",
        }
    }
}

/// One entry of the decision ring: all that `explain` shows and `replay` needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionRecord {
    /// Number, growing by one.
    pub id: u64,
    /// When.
    pub at: WallMs,
    /// Which hook.
    pub hook: Hook,
    /// Who decided in the end.
    pub by: DecidedBy,
    /// The policies that were asked, in order, and what each did.
    pub steps: Vec<DecisionStep>,
    /// The request as given.
    pub request: serde_json::Value,
    /// The final answer.
    pub answer: serde_json::Value,
}

/// One policy of a chain at work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionStep {
    /// Name of its IPAMPolicy object.
    pub policy: ObjectName,
    /// Digest of its component.
    pub digest: Digest,
    /// Digest of its settings and limits: [`PolicySpec::terms`](crate::objects::PolicySpec::terms). None in records of versions
    /// that did not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<Digest>,
    /// `decided`, `abstained` or a fault.
    pub outcome: StepOutcome,
    /// Fuel used.
    pub fuel: u64,
    /// Linear memory that it had in the end, in bytes.
    #[serde(default)]
    pub memory: u64,
    /// Wall time used, in microseconds.
    pub micros: u64,
    /// Look-ups and their answers, in order.
    pub lookups: Vec<Lookup>,
    /// Log lines.
    pub log: Vec<String>,
}

/// What one policy did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StepOutcome {
    /// It decided.
    Decided,
    /// It had no opinion.
    Abstained,
    /// It failed.
    Fault {
        /// How.
        kind: FaultKind,
        /// In words.
        message: String,
    },
    /// It was not asked: its breaker is open.
    Skipped,
}

/// One look-up of a policy and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lookup {
    /// The call, e.g. `pool-label(3, "zone")`.
    pub call: String,
    /// The answer as text.
    pub answer: String,
}

/// A time that is recorded in whole seconds.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(time.as_secs())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_secs)
    }
}

/// The same of a retention.
mod retention {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::RETAIN_AS_AT_ADD;

    pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        (*time != RETAIN_AS_AT_ADD).then_some(time.as_secs()).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let seconds = Option::<u64>::deserialize(from)?;
        Ok(seconds.map_or(RETAIN_AS_AT_ADD, Duration::from_secs))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_verdict_is_recorded_in_the_words_of_the_request() {
        let verdict = Verdict {
            grace: Duration::from_secs(5),
            retain: RETAIN_AS_AT_ADD,
            cooldown: Duration::from_secs(120),
            permits_unfenced: true,
        };
        let recorded =
            json!({"graceS": 5, "retainS": null, "cooldownS": 120, "permitsUnfenced": true});
        assert_eq!(serde_json::to_value(verdict).unwrap(), recorded);
        assert_eq!(serde_json::from_value::<Verdict>(recorded).unwrap(), verdict);
        let kept = Verdict { retain: Duration::from_secs(600), ..verdict };
        let recorded = serde_json::to_value(kept).unwrap();
        assert_eq!(recorded["retainS"], 600);
        assert_eq!(serde_json::from_value::<Verdict>(recorded).unwrap(), kept);
    }

    #[test]
    fn an_affinity_is_recorded_in_the_words_of_the_request() {
        let answer = AffinityAnswer {
            choice: Affinity::Sticky {
                key: "shop/db-0".to_owned(),
                if_held: IfHeld::Wait,
                retain_s: 60,
                preferred: Vec::new(),
            },
            tag: 7,
        };
        let sticky = json!({"key": "shop/db-0", "ifHeld": "wait", "retainS": 60, "preferred": []});
        let recorded = json!({"choice": {"sticky": sticky}, "tag": 7});
        assert_eq!(serde_json::to_value(&answer).unwrap(), recorded);
        assert_eq!(serde_json::from_value::<AffinityAnswer>(recorded).unwrap(), answer);
    }
}
