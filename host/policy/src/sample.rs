//! Synthetic requests of any size, always the same: for the last stage of loading, and for benches.

use std::sync::Arc;

use tenure_core::address::{Families, Family};
use tenure_core::decision::{
    AffinityRequest, Candidate, Catalogue, Holder, PoolFacts, Pressure, Previous, ReclaimRequest,
    SelectRequest, Suspect,
};
use tenure_core::lease::{Owner, OwnerKind};
use tenure_core::name::PoolName;
use tenure_core::time::WallMs;

/// 2026-01-01T00:00:00Z: any fixed moment, so that a trial can be repeated.
const NOW: WallMs = WallMs(1_767_225_600_000);

/// A `select` request of so many candidates, in pools of either family.
#[must_use]
pub fn select(rows: usize) -> SelectRequest {
    SelectRequest {
        holder: holder(OwnerKind::Pod),
        families: Families { v4: true, v6: rows > 1 },
        candidates: (0..rows).map(candidate).collect(),
        catalogue: catalogue(rows),
        now: NOW,
        seed: 1,
    }
}

fn candidate(row: usize) -> Candidate {
    let number = u64::try_from(row).unwrap_or_default();
    Candidate {
        pool: index(row),
        family: if row.is_multiple_of(2) { Family::V4 } else { Family::V6 },
        free: number.wrapping_mul(7919) % 251,
        used: number.wrapping_mul(104_729) % 251,
        resting: number % 3,
        retained: number % 2,
        waiting: index(row % 2),
        held_by_namespace: number % 5,
        held_by_controller: number % 4,
        priority: 0,
        named: row < 2,
        in_zone: row.is_multiple_of(3),
        by_selector: row.is_multiple_of(4),
        order: (row < 2).then(|| index(row)),
    }
}

/// An `affinity` request of a pod that held so many addresses before.
#[must_use]
pub fn affinity(rows: usize) -> AffinityRequest {
    let previous = |row: usize| Previous {
        address: std::net::Ipv4Addr::from_bits(0x0a06_0001 + index(row)).into(),
        pool: 0,
        held_s: 60,
        since_release_s: 30,
        same_uid: row == 0,
        same_name: true,
        retained: row == 1,
        resting: row == 2,
    };
    AffinityRequest {
        holder: holder(OwnerKind::Pod),
        families: Families { v4: true, v6: false },
        previous: (0..rows).map(previous).collect(),
        catalogue: catalogue(1),
        now: NOW,
        seed: 1,
    }
}

/// A `reclaim` request of so many suspect leases of one pool.
#[must_use]
pub fn reclaim(rows: usize) -> ReclaimRequest {
    let kinds = [OwnerKind::Pod, OwnerKind::Vm, OwnerKind::Claim, OwnerKind::Container];
    let leases = (0..rows).zip(kinds.into_iter().cycle());
    ReclaimRequest {
        leases: leases.map(|(row, kind)| suspect(row, kind)).collect(),
        pressure: vec![Pressure { pool: 0, free: 3, size: 254, waiting: 1 }],
        catalogue: catalogue(1),
        now: NOW,
        seed: 1,
    }
}

fn suspect(row: usize, owner: OwnerKind) -> Suspect {
    Suspect {
        tag: 0,
        pool: 0,
        owner,
        kernel_gone: row.is_multiple_of(2),
        api_gone: row.is_multiple_of(3),
        api_alive: row % 3 == 1,
        terminating: row % 4 == 1,
        finished: row % 8 == 7,
        node_lost: row % 2 == 1,
        node_fenced: false,
        sticky: row.is_multiple_of(5),
        held_s: 3600,
        suspect_s: index(row),
        terminating_s: if row % 4 == 1 { 40 } else { 0 },
        termination_grace_s: 30,
        node_lost_s: if row % 2 == 1 { 45 } else { 0 },
        holder: holder(owner),
    }
}

fn holder(kind: OwnerKind) -> Holder {
    Holder {
        owner: Owner { kind, namespace: "smoke".into(), name: "web-0".into(), uid: "u-1".into() },
        controller_kind: "StatefulSet".to_owned(),
        controller_name: "web".to_owned(),
        node: "node-1".to_owned(),
        zone: "zone-a".to_owned(),
        network: "underlay".to_owned(),
        interface: "eth0".to_owned(),
        ..Holder::default()
    }
}

fn catalogue(pools: usize) -> Arc<Catalogue> {
    let facts = |row| {
        let name = PoolName::new(format!("smoke-{row}")).ok()?;
        Some(PoolFacts { name, labels: std::collections::BTreeMap::new() })
    };
    Arc::new(Catalogue { pools: (0..pools).filter_map(facts).collect() })
}

fn index(row: usize) -> u32 {
    u32::try_from(row).unwrap_or(u32::MAX)
}
