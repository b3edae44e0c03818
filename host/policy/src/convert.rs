//! The domain in the words of the contract: rows become columns, flags become bits. The way back is
//! in `check`, because an answer is believed only when it has been checked.

use std::net::IpAddr;

use tenure_core::decision::{
    AffinityRequest, Candidate, Holder, MAX_CANDIDATES, Pressure, Previous, ReclaimRequest,
    SelectRequest, Suspect,
};
use tenure_core::lease::OwnerKind;

use crate::bindings::{affinity_types, reclaim_types, select_types, types};

/// What a policy knows of a holder: of the attributes, those that it asked for.
pub(crate) fn holder(holder: &Holder, keys: &[String]) -> types::Holder {
    let attribute = |key: &String| {
        let value = holder.attributes.get(key)?.clone();
        Some(types::Attribute { key: key.clone(), value })
    };
    types::Holder {
        owner_kind: owner_name(holder.owner.kind).to_owned(),
        namespace: holder.owner.namespace.to_string(),
        name: holder.owner.name.to_string(),
        uid: holder.owner.uid.to_string(),
        controller_kind: holder.controller_kind.clone(),
        controller_name: holder.controller_name.clone(),
        node: holder.node.clone(),
        zone: holder.zone.clone(),
        network: holder.network.clone(),
        interface_name: holder.interface.clone(),
        attributes: keys.iter().filter_map(attribute).collect(),
    }
}

/// The rows that a `select` policy is shown.
pub(crate) fn shown(request: &SelectRequest) -> &[Candidate] {
    request.candidates.get(..MAX_CANDIDATES).unwrap_or(&request.candidates)
}

pub(crate) fn select(
    request: &SelectRequest,
    keys: &[String],
) -> (select_types::Request, select_types::Candidates) {
    let rows = shown(request);
    let asked = select_types::Request {
        holder: holder(&request.holder, keys),
        families: request.families.bits(),
        now_ms: request.now.0,
        seed: request.seed,
    };
    let candidates = select_types::Candidates {
        pool: column(rows, |c| c.pool),
        family: column(rows, |c| u32::from(c.family.number())),
        free: column(rows, |c| c.free),
        used: column(rows, |c| c.used),
        resting: column(rows, |c| c.resting),
        retained: column(rows, |c| c.retained),
        waiting: column(rows, |c| c.waiting),
        held_by_namespace: column(rows, |c| c.held_by_namespace),
        held_by_controller: column(rows, |c| c.held_by_controller),
        priority: column(rows, |c| c.priority),
        bits: column(rows, |c| bits([c.named, c.in_zone, c.by_selector])),
        order: column(rows, |c| c.order.unwrap_or(u32::MAX)),
    };
    (asked, candidates)
}

pub(crate) fn affinity(request: &AffinityRequest, keys: &[String]) -> affinity_types::Request {
    let previous = |p: &Previous| affinity_types::Previous {
        address: address(p.address),
        pool: p.pool,
        held_s: p.held_s,
        since_release_s: p.since_release_s,
        bits: bits([p.same_uid, p.same_name, p.retained, p.resting]),
    };
    affinity_types::Request {
        holder: holder(&request.holder, keys),
        families: request.families.bits(),
        previous: request.previous.iter().map(previous).collect(),
        now_ms: request.now.0,
        seed: request.seed,
    }
}

/// The leases at `rows` of the request, and the pools that they are in.
pub(crate) fn reclaim(request: &ReclaimRequest, rows: &[usize]) -> reclaim_types::Request {
    let leases: Vec<&Suspect> = rows.iter().filter_map(|at| request.leases.get(*at)).collect();
    let concerned = |p: &&Pressure| leases.iter().any(|lease| lease.pool == p.pool);
    let pressure: Vec<&Pressure> = request.pressure.iter().filter(concerned).collect();
    reclaim_types::Request {
        leases: reclaim_types::Leases {
            tag: column(&leases, |l| l.tag),
            pool: column(&leases, |l| l.pool),
            owner: column(&leases, |l| l.owner as u32),
            bits: column(&leases, |l| suspect_bits(l)),
            held_s: column(&leases, |l| l.held_s),
            suspect_s: column(&leases, |l| l.suspect_s),
            terminating_s: column(&leases, |l| l.terminating_s),
            termination_grace_s: column(&leases, |l| l.termination_grace_s),
            node_lost_s: column(&leases, |l| l.node_lost_s),
        },
        pressure: reclaim_types::Pressure {
            pool: column(&pressure, |p| p.pool),
            free: column(&pressure, |p| p.free),
            size: column(&pressure, |p| p.size),
            waiting: column(&pressure, |p| p.waiting),
        },
        now_ms: request.now.0,
        seed: request.seed,
    }
}

/// 128 bits, IPv4 in its mapped form.
fn address(address: IpAddr) -> types::Address {
    let number = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of 128 bits")]
    let (hi, lo) = ((number >> 64) as u64, number as u64);
    types::Address { hi, lo }
}

fn owner_name(kind: OwnerKind) -> &'static str {
    match kind {
        OwnerKind::Pod => "pod",
        OwnerKind::Vm => "vm",
        OwnerKind::Claim => "claim",
        OwnerKind::Container => "container",
    }
}

fn suspect_bits(lease: &Suspect) -> u32 {
    bits([
        lease.kernel_gone,
        lease.api_gone,
        lease.api_alive,
        lease.terminating,
        lease.finished,
        lease.node_lost,
        lease.node_fenced,
        lease.sticky,
    ])
}

fn column<R, T>(rows: &[R], field: impl Fn(&R) -> T) -> Vec<T> {
    rows.iter().map(field).collect()
}

/// Bit 0 is the first.
fn bits<const N: usize>(flags: [bool; N]) -> u32 {
    flags.iter().rev().fold(0, |bits, flag| bits << 1 | u32::from(*flag))
}
