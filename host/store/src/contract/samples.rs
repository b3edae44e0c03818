//! Leases and objects to store.

use tenure_core::address::{Families, Family};
use tenure_core::lease::{
    Attachment, AttemptId, Epoch, Generation, Lease, LeaseKey, LeaseState, Netns, NodeRef, Owner,
    OwnerKind, Proof, QuarantineCause, StickyKey,
};
use tenure_core::name::{ContainerId, Digest, IfName, NetworkName, PoolName, SpaceName};
use tenure_core::objects::{API_VERSION, Object};
use tenure_core::time::WallMs;

/// A pod's lease as a Kubernetes node writes it.
#[must_use]
pub fn lease(address: &str) -> Lease {
    Lease {
        address: address.parse().unwrap(),
        pool: PoolName::new("blue-v4").unwrap(),
        space: SpaceName::default(),
        attachment: Attachment {
            network: NetworkName::new("underlay").unwrap(),
            container: ContainerId::new("4f9a".repeat(16)).unwrap(),
            ifname: IfName::new("eth0").unwrap(),
        },
        owner: Owner {
            kind: OwnerKind::Pod,
            namespace: "payments".into(),
            name: "checkout-7d9c5b6f4-x2lqp".into(),
            uid: "0b5e3c1a-9f42-4c77-8d11-5a6b7c8d9e0f".into(),
        },
        node: NodeRef {
            name: "worker-17".into(),
            uid: "".into(),
            agent: "5d1c0a4e-73b2-4f6d-9a80-1b2c3d4e5f60/8f14e45fceea167a5a36dedd4bea2543".into(),
            boot: "c0ffee00-1234-4abc-8def-0123456789ab".into(),
        },
        netns: Some(Netns { cookie: 4_711, dev: 4, ino: 4_026_532_771, nsid: Some(17) }),
        attempt: AttemptId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
        families: Families::from_iter([Family::V4]),
        generation: Generation(3),
        epoch: Epoch(1),
        state: LeaseState::Bound,
        sticky: None,
        tag: 0,
        config: Digest::of(b"configuration"),
        decided_by: Vec::new(),
        bound_at: WallMs(1_780_000_000_000),
        bound_boottime_ms: 86_400_000,
        previous: Vec::new(),
    }
}

/// The `n`th of a pool of leases.
#[must_use]
pub fn nth(n: u16) -> Lease {
    let [high, low] = n.to_be_bytes();
    lease(&format!("10.6.{high}.{low}"))
}

/// The key of `address` in the default space.
#[must_use]
pub fn key(address: &str) -> LeaseKey {
    LeaseKey { space: SpaceName::default(), address: address.parse().unwrap() }
}

/// One lease for each state, each at its own address.
#[must_use]
pub fn all_states() -> Vec<Lease> {
    let at = WallMs(1_780_000_100_000);
    let quarantined = |cause| LeaseState::Quarantined { at, cause };
    let released = |proof, keep_until| LeaseState::Released { at, proof, rest_s: 120, keep_until };
    let states = [
        LeaseState::Bound,
        released(Proof::None, None),
        released(Proof::Kernel, Some(at.plus_secs(600))),
        released(Proof::Reboot, None),
        released(Proof::Operator, None),
        quarantined(QuarantineCause::Unfenced),
        quarantined(QuarantineCause::Wire),
        quarantined(QuarantineCause::Operator("cable".into())),
        quarantined(QuarantineCause::TwoClaims),
        quarantined(QuarantineCause::Found),
    ];
    let with = |(n, state)| {
        let mut lease = Lease { state, ..nth(n) };
        lease.previous = lease.holder_as_past(at, "del");
        for past in &mut lease.previous {
            past.ended_by = "del".into();
        }
        lease.sticky = Some(StickyKey { key: "payments/checkout-0".into(), retain_s: 600 });
        lease.decided_by = vec![Digest::of(b"policy")];
        lease
    };
    (1..).zip(states).map(with).collect()
}

/// A reservation.
#[must_use]
pub fn reservation(name: &str, address: &str) -> Object {
    object("IPReservation", name, serde_json::json!({"addresses": [address]}))
}

/// A pool.
#[must_use]
pub fn pool(name: &str, cidr: &str) -> Object {
    object("IPPool", name, serde_json::json!({"cidr": cidr}))
}

fn object(kind: &str, name: &str, spec: serde_json::Value) -> Object {
    let metadata = serde_json::json!({"name": name});
    Object::from_json(serde_json::json!({
        "apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec,
    }))
    .unwrap()
}
