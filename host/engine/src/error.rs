//! Why the engine refuses, with a stable code and who must act.

use std::net::IpAddr;
use std::time::Duration;

use tenure_core::address::Family;
use tenure_core::error::{Coded, Kind};
use tenure_core::ledger::Counts;
use tenure_core::name::PoolName;
use tenure_core::objects::BadObject;
use tenure_core::ports::PolicyRefusal;
use tenure_store::StoreError;

/// An error of the engine. `Display` is for the caller: what happened, to which object, what to do next.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineError {
    /// The configuration names a pool that does not exist.
    #[error("pool {name} does not exist; `tenure get pools` lists the pools")]
    UnknownPool {
        /// Its name.
        name: PoolName,
    },
    /// No pool admits the holder.
    #[error("no pool serves network {network}{why}; see `tenure get pools`")]
    NoPool {
        /// The network.
        network: String,
        /// Why the ones that were looked at do not, beginning with `: `, or empty.
        why: String,
    },
    /// A policy refused the holder.
    #[error("refused by policy {policy}: {reason}")]
    Denied {
        /// Which one.
        policy: String,
        /// The reason that it gives.
        reason: String,
    },
    /// Nothing is free in the pools that were ranked.
    #[error("no {family} address is free in {}{}{}{}; try later, or widen the pool", pools_text(pools),
        counts_text(counts), waited_text(*.waited, *.waiting), due_text(*.due))]
    Exhausted {
        /// For which family.
        family: Family,
        /// The pools that were tried, in order.
        pools: Vec<PoolName>,
        /// What their addresses are.
        counts: Box<Counts>,
        /// When the next one comes free by time alone.
        due: Option<Duration>,
        /// How many others wait for one of them, at most.
        waiting: usize,
        /// How long this ADD has waited.
        waited: Duration,
    },
    /// It is not known what is alive, so that an address is given only after a silent probe.
    #[error("no address is given yet: {why}; and on the wire nobody can be asked: {blind}")]
    Unsettled {
        /// Why it is not known.
        why: String,
        /// Why the wire witness is blind.
        blind: String,
    },
    /// A DEL of the attachment came while its ADD waited for an address.
    #[error("a DEL of this attachment came while it waited for an address; nothing was given")]
    DelCame,
    /// The address that was asked for cannot be given.
    #[error("address {address} cannot be given: {why}")]
    FixedUnavailable {
        /// Which.
        address: IpAddr,
        /// Why, and what to do.
        why: String,
        /// Who must act.
        kind: Kind,
        /// When it can be given, if time alone does it.
        due: Option<Duration>,
    },
    /// Another live holder has the sticky key.
    #[error("another live holder has the key {key:?}{}; it is given again when that one ends", held_text(*.address))]
    KeyHeld {
        /// The key.
        key: String,
        /// Its address; none while an ADD that brings the key is under way.
        address: Option<IpAddr>,
        /// Who must act: the policy says whether to wait.
        kind: Kind,
    },
    /// The same attachment asks again with another configuration (invariant I4).
    #[error("attachment {attachment} already holds {held} by another configuration; DEL it first")]
    ConfigChanged {
        /// Which.
        attachment: String,
        /// What it holds.
        held: String,
    },
    /// CHECK found something else than `prevResult` says.
    #[error("attachment {attachment}: {why}")]
    CheckFailed {
        /// Which.
        attachment: String,
        /// What differs.
        why: String,
    },
    /// A GC call that must not be obeyed.
    #[error("GC refused: {why}")]
    GcRefused {
        /// Why, and what to do.
        why: String,
    },
    /// `CNI_NETNS` names no namespace.
    #[error("{why}")]
    BadNetns {
        /// What was found there.
        why: String,
    },
    /// The pools or a row changed while an ADD was decided; it is decided anew.
    #[error("it was overtaken by another change; try again")]
    Overtaken,
    /// The bounded queue of an attachment or of the engine is full (invariant I12).
    #[error("{what} is busy ({bound} wait already); try later")]
    Busy {
        /// What.
        what: &'static str,
        /// The bound.
        bound: usize,
    },
    /// An object cannot be taken.
    #[error(transparent)]
    BadObject(#[from] BadObject),
    /// A policy cannot be loaded.
    #[error(transparent)]
    Policy(#[from] PolicyRefusal),
    /// A rule refuses the request in the present state.
    #[error("{object}: {why}")]
    Refused {
        /// Which object.
        object: String,
        /// Why, and what to do.
        why: String,
    },
    /// There is no such object.
    #[error("{object} not found")]
    NotFound {
        /// Which.
        object: String,
    },
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A defect of Tenure: please report it.
    #[error("internal error: {what}")]
    Bug {
        /// What should not have happened.
        what: String,
    },
}

impl Coded for EngineError {
    fn code(&self) -> &str {
        match self {
            Self::UnknownPool { .. } => "UNKNOWN_POOL",
            Self::NoPool { .. } => "NO_POOL",
            Self::Denied { .. } => "DENIED_BY_POLICY",
            Self::Exhausted { .. } => "POOL_EXHAUSTED",
            Self::Unsettled { .. } => "UNSETTLED",
            Self::DelCame => "DEL_CAME",
            Self::FixedUnavailable { .. } => "ADDRESS_UNAVAILABLE",
            Self::KeyHeld { .. } => "KEY_HELD",
            Self::ConfigChanged { .. } => "CONFIG_CHANGED",
            Self::CheckFailed { .. } => "CHECK_FAILED",
            Self::GcRefused { .. } => "GC_REFUSED",
            Self::BadNetns { .. } => "BAD_NETNS",
            Self::Overtaken => "OVERTAKEN",
            Self::Busy { .. } => "BUSY",
            Self::BadObject(error) => error.code(),
            Self::Policy(error) => error.code(),
            Self::Refused { .. } => "REFUSED",
            Self::NotFound { .. } => "NOT_FOUND",
            Self::Store(error) => error.code(),
            Self::Bug { .. } => "INTERNAL",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::UnknownPool { .. }
            | Self::NoPool { .. }
            | Self::GcRefused { .. }
            | Self::BadNetns { .. } => Kind::Invalid,
            Self::Denied { .. }
            | Self::ConfigChanged { .. }
            | Self::CheckFailed { .. }
            | Self::Refused { .. } => Kind::Refused,
            Self::Exhausted { .. }
            | Self::Unsettled { .. }
            | Self::DelCame
            | Self::Overtaken
            | Self::Busy { .. } => Kind::Retry,
            Self::FixedUnavailable { kind, .. } | Self::KeyHeld { kind, .. } => *kind,
            Self::BadObject(error) => error.kind(),
            Self::Policy(error) => error.kind(),
            Self::NotFound { .. } => Kind::NotFound,
            Self::Store(error) => error.kind(),
            Self::Bug { .. } => Kind::Bug,
        }
    }
}

fn due_text(due: Option<Duration>) -> String {
    match due {
        Some(due) => format!(" (the next one has rested in {} s)", due.as_secs().saturating_add(1)),
        None => String::new(),
    }
}

fn pools_text(pools: &[PoolName]) -> String {
    let names: Vec<_> = pools.iter().map(PoolName::as_str).collect();
    match names.as_slice() {
        [] => "any pool".to_owned(),
        [one] => format!("pool {one}"),
        many => format!("pools {}", many.join(", ")),
    }
}

/// Only what somebody can do something about, beside what is held anyway.
fn counts_text(counts: &Counts) -> String {
    let parts = [
        (counts.resting, "resting after release"),
        (counts.retained, "retained for workloads that may return"),
        (counts.quarantined, "in quarantine"),
    ];
    let parts: Vec<_> = parts.into_iter().filter(|(count, _)| *count > 0).collect();
    if parts.is_empty() {
        return String::new();
    }
    let mut text = format!(" ({} held", counts.held);
    for (count, what) in parts {
        text.push_str(&format!(", {count} {what}"));
    }
    text.push(')');
    text
}

fn waited_text(waited: Duration, waiting: usize) -> String {
    let others =
        if waiting == 0 { String::new() } else { format!(", {waiting} others wait for one") };
    if waited.is_zero() { others } else { format!(" after {} s{others}", waited.as_secs()) }
}

fn held_text(address: Option<IpAddr>) -> String {
    address.map_or_else(String::new, |address| format!(" with {address}"))
}
