//! The shape of a lease in the API, made from core's record and read back into it.
//!
//! Times are RFC 3339, because humans and printer columns read them. Numbers that may need all 64 bits, and the 128 bits
//! of an attempt, are texts: JSON numbers of Kubernetes end at 63 bits. A field that is not known here is an error and not
//! a guess: a newer version wrote it.

use std::net::IpAddr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tenure_core::address::Families;
use tenure_core::lease::{
    Attachment, AttemptId, Epoch, Generation, Lease, LeaseState, Netns, NodeRef, Owner, PastHolder,
    Proof, QuarantineCause, StickyKey,
};
use tenure_core::name::{ContainerId, Digest, PoolName, SpaceName};
use tenure_core::time::WallMs;

/// `spec` of an IPLease: the one record of one address. Written by the allocator only, whole at each write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LeaseSpec {
    /// The address.
    address: IpAddr,
    /// Its pool at the time of the ADD.
    pool: PoolName,
    /// Its routing domain.
    space: SpaceName,
    /// What the address is now.
    state: State,
    /// How it was released, while it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    released: Option<Released>,
    /// Why it is quarantined, while it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quarantined: Option<Quarantined>,
    /// Who holds it, or held it last.
    attachment: Attachment,
    /// For whom.
    owner: Owner,
    /// Where.
    node: NodeRef,
    /// The namespace of the holder; absent where it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    netns: Option<NetnsSpec>,
    /// The attempt that wrote this hold: 32 hexadecimal digits.
    attempt: Attempt,
    /// The families of the set that this row belongs to.
    families: Families,
    /// Raised at each change of holder.
    generation: u64,
    /// The store's life in which this hold began.
    epoch: u64,
    /// The key that the address is kept for, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sticky: Option<Sticky>,
    /// The affinity policy's own mark.
    tag: Number,
    /// Digest of the configuration of the ADD.
    config: Digest,
    /// Digests of the policies that decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    decided_by: Vec<Digest>,
    /// When the present hold began, for humans.
    bound_at: Time,
    /// When it began by `CLOCK_BOOTTIME` of its boot, in milliseconds.
    bound_boottime_ms: u64,
    /// Earlier holders, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    previous: Vec<Past>,
}

/// What an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
enum State {
    /// Held by the attachment.
    Bound,
    /// Held by nobody.
    Released,
    /// May still be in use.
    Quarantined,
}

/// How an address was released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Released {
    /// When.
    at: Time,
    /// What was proved then about the end of the holder.
    proof: Proof,
    /// How long it rests, in seconds.
    rest_seconds: u32,
    /// Until when it is kept for the sticky key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keep_until: Option<Time>,
}

/// Why an address is quarantined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Quarantined {
    /// When.
    at: Time,
    /// Why.
    cause: Cause,
    /// What the operator said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<Box<str>>,
}

/// The cause of a quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
enum Cause {
    /// Its node is lost and not fenced.
    Unfenced,
    /// A foreign machine answered for it on the wire.
    Wire,
    /// An operator said so.
    Operator,
    /// Two holders claim it after the store went back in time.
    TwoClaims,
    /// It was found on a link of a container of which the store knows nothing.
    Found,
}

/// The identity of a network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NetnsSpec {
    /// Unique for the life of a kernel.
    cookie: Number,
    /// Device of the namespace file.
    dev: Number,
    /// Inode of the namespace file.
    ino: Number,
    /// Its id in the agent's own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nsid: Option<i32>,
}

/// The key that an address is kept for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Sticky {
    /// The key.
    key: Arc<str>,
    /// How long it stays kept after its release, in seconds.
    retain_seconds: u32,
}

/// An earlier holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Past {
    /// Whose address it was.
    owner: Owner,
    /// Its container.
    container: ContainerId,
    /// The generation of its hold.
    generation: u64,
    /// From when.
    from: Time,
    /// Until when.
    to: Time,
    /// `del`, `reclaim`, `rebind`, `takeover`, `quarantine` or `operator`.
    ended_by: Arc<str>,
}

/// A number of 64 bits, as decimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String")]
struct Number(u64);

/// Hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String")]
struct Attempt(AttemptId);

/// RFC 3339 with milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Time(WallMs);

/// Why an object is not a lease.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

// === impl LeaseSpec ===

impl From<&Lease> for LeaseSpec {
    fn from(lease: &Lease) -> Self {
        let (state, released, quarantined) = split(&lease.state);
        Self {
            address: lease.address,
            pool: lease.pool.clone(),
            space: lease.space.clone(),
            state,
            released,
            quarantined,
            attachment: lease.attachment.clone(),
            owner: lease.owner.clone(),
            node: lease.node.clone(),
            netns: lease.netns.map(NetnsSpec::from),
            attempt: Attempt(lease.attempt),
            families: lease.families,
            generation: lease.generation.0,
            epoch: lease.epoch.0,
            sticky: lease
                .sticky
                .as_ref()
                .map(|sticky| Sticky { key: sticky.key.clone(), retain_seconds: sticky.retain_s }),
            tag: Number(lease.tag),
            config: lease.config.clone(),
            decided_by: lease.decided_by.clone(),
            bound_at: Time(lease.bound_at),
            bound_boottime_ms: lease.bound_boottime_ms,
            previous: lease.previous.iter().map(Past::from).collect(),
        }
    }
}

impl TryFrom<LeaseSpec> for Lease {
    type Error = Unreadable;

    fn try_from(spec: LeaseSpec) -> Result<Self, Unreadable> {
        Ok(Self {
            address: spec.address,
            pool: spec.pool,
            space: spec.space,
            attachment: spec.attachment,
            owner: spec.owner,
            node: spec.node,
            netns: spec.netns.map(Netns::from),
            attempt: spec.attempt.0,
            families: spec.families,
            generation: Generation(spec.generation),
            epoch: Epoch(spec.epoch),
            state: join(spec.state, spec.released, spec.quarantined)?,
            sticky: spec.sticky.map(|s| StickyKey { key: s.key, retain_s: s.retain_seconds }),
            tag: spec.tag.0,
            config: spec.config,
            decided_by: spec.decided_by,
            bound_at: spec.bound_at.0,
            bound_boottime_ms: spec.bound_boottime_ms,
            previous: spec.previous.into_iter().map(PastHolder::from).collect(),
        })
    }
}

fn split(state: &LeaseState) -> (State, Option<Released>, Option<Quarantined>) {
    match state {
        LeaseState::Bound => (State::Bound, None, None),
        LeaseState::Released { at, proof, rest_s, keep_until } => {
            let keep_until = keep_until.map(Time);
            let released =
                Released { at: Time(*at), proof: *proof, rest_seconds: *rest_s, keep_until };
            (State::Released, Some(released), None)
        }
        LeaseState::Quarantined { at, cause } => {
            let (cause, reason) = match cause {
                QuarantineCause::Unfenced => (Cause::Unfenced, None),
                QuarantineCause::Wire => (Cause::Wire, None),
                QuarantineCause::Operator(why) => (Cause::Operator, Some(why.clone())),
                QuarantineCause::TwoClaims => (Cause::TwoClaims, None),
                QuarantineCause::Found => (Cause::Found, None),
            };
            let quarantined = Quarantined { at: Time(*at), cause, reason };
            (State::Quarantined, None, Some(quarantined))
        }
    }
}

fn join(
    state: State,
    released: Option<Released>,
    quarantined: Option<Quarantined>,
) -> Result<LeaseState, Unreadable> {
    match (state, released, quarantined) {
        (State::Bound, None, None) => Ok(LeaseState::Bound),
        (State::Released, Some(released), None) => Ok(LeaseState::Released {
            at: released.at.0,
            proof: released.proof,
            rest_s: released.rest_seconds,
            keep_until: released.keep_until.map(|time| time.0),
        }),
        (State::Quarantined, None, Some(Quarantined { at, cause, reason })) => {
            let cause = match cause {
                Cause::Unfenced => QuarantineCause::Unfenced,
                Cause::Wire => QuarantineCause::Wire,
                Cause::Operator => QuarantineCause::Operator(reason.unwrap_or_default()),
                Cause::TwoClaims => QuarantineCause::TwoClaims,
                Cause::Found => QuarantineCause::Found,
            };
            Ok(LeaseState::Quarantined { at: at.0, cause })
        }
        _ => Err(Unreadable("state and its details do not agree".to_owned())),
    }
}

// === impl NetnsSpec ===

impl From<Netns> for NetnsSpec {
    fn from(netns: Netns) -> Self {
        let Netns { cookie, dev, ino, nsid } = netns;
        Self { cookie: Number(cookie), dev: Number(dev), ino: Number(ino), nsid }
    }
}

impl From<NetnsSpec> for Netns {
    fn from(spec: NetnsSpec) -> Self {
        let NetnsSpec { cookie, dev, ino, nsid } = spec;
        Self { cookie: cookie.0, dev: dev.0, ino: ino.0, nsid }
    }
}

// === impl Past ===

impl From<&PastHolder> for Past {
    fn from(past: &PastHolder) -> Self {
        Self {
            owner: past.owner.clone(),
            container: past.container.clone(),
            generation: past.generation.0,
            from: Time(past.from),
            to: Time(past.to),
            ended_by: past.ended_by.clone(),
        }
    }
}

impl From<Past> for PastHolder {
    fn from(past: Past) -> Self {
        Self {
            owner: past.owner,
            container: past.container,
            generation: Generation(past.generation),
            from: past.from.0,
            to: past.to.0,
            ended_by: past.ended_by,
        }
    }
}

// === impl Number ===

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

// === impl Attempt ===

impl Serialize for Attempt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:032x}", self.0.0))
    }
}

impl<'de> Deserialize<'de> for Attempt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = u128::from_str_radix(&text, 16).map_err(serde::de::Error::custom)?;
        Ok(Self(AttemptId(number)))
    }
}

// === impl Time ===

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "format": "date-time"})
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_rfc3339_ms())
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = WallMs::from_rfc3339(&text).map(Self);
        time.ok_or_else(|| serde::de::Error::custom(format!("{text:?} is not a time")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tenure_store::contract::samples::{all_states, lease};

    use super::*;

    fn written(lease: &Lease) -> Value {
        serde_json::to_value(LeaseSpec::from(lease)).unwrap()
    }

    fn read(spec: Value) -> Result<Lease, String> {
        let spec: LeaseSpec = serde_json::from_value(spec).map_err(|e| e.to_string())?;
        Lease::try_from(spec).map_err(|e| e.to_string())
    }

    #[test]
    fn every_state_and_the_largest_numbers_survive_writing_and_reading() {
        let mut leases = all_states();
        let netns = Netns { cookie: u64::MAX, dev: u64::MAX, ino: u64::MAX, nsid: None };
        let large = Lease {
            netns: Some(netns),
            tag: u64::MAX,
            attempt: AttemptId(u128::MAX),
            ..lease("fd00::1")
        };
        leases.push(large);
        leases.push(Lease { netns: None, ..lease("10.6.9.9") });
        for lease in leases {
            assert_eq!(read(written(&lease)), Ok(lease));
        }
    }

    #[test]
    fn a_field_of_a_newer_version_is_refused_and_not_dropped() {
        let mut spec = written(&lease("10.6.0.1"));
        spec["shard"] = json!(7);
        assert!(read(spec).unwrap_err().contains("unknown field `shard`"));
    }

    #[test]
    fn a_state_that_does_not_fit_its_details_is_refused() {
        let mut spec = written(&lease("10.6.0.1"));
        spec["state"] = json!("Released");
        assert!(read(spec).unwrap_err().contains("do not agree"));
    }
}
