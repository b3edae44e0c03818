//! The stored form of a lease, version 1. Field order and enum order are the format: never change them.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use tenure_core::address::{Families, Family};
use tenure_core::lease::{Attachment, AttemptId, Epoch, Generation, Lease, LeaseKey, StickyKey};
use tenure_core::name::{ContainerId, Digest, IfName, NetworkName, PoolName};
use tenure_core::time::WallMs;

use super::parts::{NetnsV1, NodeV1, OwnerV1, PastV1, StateV1};
use super::text::Text;
use super::{BadValue, damaged};
use crate::port::{Revision, Row};

#[derive(Serialize, Deserialize)]
struct LeaseV1<'a> {
    revision: u64,
    pool: &'a str,
    network: &'a str,
    #[serde(borrow)]
    container: Text<'a>,
    ifname: &'a str,
    owner: OwnerV1<'a>,
    node: NodeV1<'a>,
    netns: Option<NetnsV1>,
    attempt: [u8; 16],
    /// Bit 0 IPv4, bit 1 IPv6.
    families: u8,
    generation: u64,
    epoch: u64,
    state: StateV1<'a>,
    sticky: Option<(&'a str, u32)>,
    tag: u64,
    config: [u8; 32],
    decided_by: Vec<[u8; 32]>,
    bound_at: u64,
    bound_boottime_ms: u64,
    previous: Vec<PastV1<'a>>,
}

/// Appends the stored form of `row` to `bytes`.
pub(super) fn write(row: &Row, bytes: &mut Vec<u8>) -> Result<(), BadValue> {
    let stored = LeaseV1::of(row)?;
    postcard::to_io(&stored, bytes).map_err(damaged)?;
    Ok(())
}

/// Reads what [`write`] wrote, to the last byte.
pub(super) fn read(key: LeaseKey, bytes: &[u8]) -> Result<Row, BadValue> {
    let (stored, rest) = postcard::take_from_bytes::<LeaseV1<'_>>(bytes).map_err(damaged)?;
    if !rest.is_empty() {
        return Err(damaged(format!("{} bytes too many", rest.len())));
    }
    stored.into_row(key)
}

// === impl LeaseV1 ===

impl<'a> LeaseV1<'a> {
    fn of(row: &'a Row) -> Result<Self, BadValue> {
        let lease = &row.lease;
        Ok(Self {
            revision: row.revision.0,
            pool: lease.pool.as_str(),
            network: lease.attachment.network.as_str(),
            container: Text::pack(lease.attachment.container.as_str()),
            ifname: lease.attachment.ifname.as_str(),
            owner: OwnerV1::of(&lease.owner),
            node: NodeV1::of(&lease.node),
            netns: lease.netns.map(NetnsV1::of),
            attempt: lease.attempt.0.to_be_bytes(),
            families: u8::from(lease.families.v4) | u8::from(lease.families.v6) << 1,
            generation: lease.generation.0,
            epoch: lease.epoch.0,
            state: StateV1::of(&lease.state),
            sticky: lease.sticky.as_ref().map(|sticky| (&*sticky.key, sticky.retain_s)),
            tag: lease.tag,
            config: digest_bytes(&lease.config)?,
            decided_by: lease.decided_by.iter().map(digest_bytes).collect::<Result<_, _>>()?,
            bound_at: lease.bound_at.0,
            bound_boottime_ms: lease.bound_boottime_ms,
            previous: lease.previous.iter().map(PastV1::of).collect(),
        })
    }

    fn into_row(self, key: LeaseKey) -> Result<Row, BadValue> {
        let lease = Lease {
            address: key.address,
            space: key.space,
            pool: PoolName::new(self.pool).map_err(damaged)?,
            attachment: Attachment {
                network: NetworkName::new(self.network).map_err(damaged)?,
                container: ContainerId::new(self.container.unpack()).map_err(damaged)?,
                ifname: IfName::new(self.ifname).map_err(damaged)?,
            },
            owner: self.owner.into_owner(),
            node: self.node.into_node(),
            netns: self.netns.map(NetnsV1::into_netns),
            attempt: AttemptId(u128::from_be_bytes(self.attempt)),
            families: families(self.families)?,
            generation: Generation(self.generation),
            epoch: Epoch(self.epoch),
            state: self.state.into_state(),
            sticky: self.sticky.map(|(key, retain_s)| StickyKey { key: key.into(), retain_s }),
            tag: self.tag,
            config: digest(&self.config)?,
            decided_by: self.decided_by.iter().map(digest).collect::<Result<_, _>>()?,
            bound_at: WallMs(self.bound_at),
            bound_boottime_ms: self.bound_boottime_ms,
            previous: self.previous.into_iter().map(PastV1::into_past).collect::<Result<_, _>>()?,
        };
        Ok(Row { lease, revision: Revision(self.revision) })
    }
}

fn families(bits: u8) -> Result<Families, BadValue> {
    if bits > 3 {
        return Err(damaged(format!("{bits} is no set of families")));
    }
    let of = |bit, family| (bits & bit != 0).then_some(family);
    Ok([of(1, Family::V4), of(2, Family::V6)].into_iter().flatten().collect())
}

fn digest_bytes(digest: &Digest) -> Result<[u8; 32], BadValue> {
    let digits = digest.as_str().strip_prefix("sha256:").unwrap_or_default();
    let bytes = HEXLOWER.decode(digits.as_bytes()).map_err(damaged)?;
    bytes.try_into().map_err(|_| damaged(format!("{digest} is no SHA-256")))
}

fn digest(bytes: &[u8; 32]) -> Result<Digest, BadValue> {
    Digest::new(format!("sha256:{}", HEXLOWER.encode(bytes))).map_err(damaged)
}
