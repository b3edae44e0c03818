//! The parts of a stored lease, version 1. Field order and enum order are the format: never change them.

use serde::{Deserialize, Serialize};
use tenure_core::lease::{
    Generation, LeaseState, Netns, NodeRef, Owner, OwnerKind, PastHolder, Proof, QuarantineCause,
};
use tenure_core::name::ContainerId;
use tenure_core::time::WallMs;

use super::text::{Text, TwoPart};
use super::{BadValue, damaged};

#[derive(Serialize, Deserialize)]
pub(super) struct OwnerV1<'a> {
    kind: OwnerKindV1,
    namespace: &'a str,
    name: &'a str,
    #[serde(borrow)]
    uid: Text<'a>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) enum OwnerKindV1 {
    Pod,
    Vm,
    Claim,
    Container,
}

#[derive(Serialize, Deserialize)]
pub(super) struct NodeV1<'a> {
    name: &'a str,
    #[serde(borrow)]
    uid: Text<'a>,
    agent: TwoPart<'a>,
    boot: Text<'a>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct NetnsV1 {
    cookie: u64,
    dev: u64,
    ino: u64,
    nsid: Option<i32>,
}

#[derive(Serialize, Deserialize)]
pub(super) enum StateV1<'a> {
    Bound,
    Released {
        at: u64,
        proof: ProofV1,
        rest_s: u32,
        keep_until: Option<u64>,
    },
    Quarantined {
        at: u64,
        #[serde(borrow)]
        cause: CauseV1<'a>,
    },
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) enum ProofV1 {
    None,
    Kernel,
    Reboot,
    Operator,
}

#[derive(Serialize, Deserialize)]
pub(super) enum CauseV1<'a> {
    Unfenced,
    Wire,
    Operator(&'a str),
    TwoClaims,
    Found,
}

#[derive(Serialize, Deserialize)]
pub(super) struct PastV1<'a> {
    #[serde(borrow)]
    owner: OwnerV1<'a>,
    container: Text<'a>,
    generation: u64,
    from: u64,
    to: u64,
    ended_by: &'a str,
}

// === impl OwnerV1 ===

impl<'a> OwnerV1<'a> {
    pub(super) fn of(owner: &'a Owner) -> Self {
        let kind = match owner.kind {
            OwnerKind::Pod => OwnerKindV1::Pod,
            OwnerKind::Vm => OwnerKindV1::Vm,
            OwnerKind::Claim => OwnerKindV1::Claim,
            OwnerKind::Container => OwnerKindV1::Container,
        };
        Self { kind, namespace: &owner.namespace, name: &owner.name, uid: Text::pack(&owner.uid) }
    }

    pub(super) fn into_owner(self) -> Owner {
        let kind = match self.kind {
            OwnerKindV1::Pod => OwnerKind::Pod,
            OwnerKindV1::Vm => OwnerKind::Vm,
            OwnerKindV1::Claim => OwnerKind::Claim,
            OwnerKindV1::Container => OwnerKind::Container,
        };
        let (namespace, name) = (self.namespace.into(), self.name.into());
        Owner { kind, namespace, name, uid: self.uid.unpack() }
    }
}

// === impl NodeV1, NetnsV1 ===

impl<'a> NodeV1<'a> {
    pub(super) fn of(node: &'a NodeRef) -> Self {
        Self {
            name: &node.name,
            uid: Text::pack(&node.uid),
            agent: TwoPart::pack(&node.agent),
            boot: Text::pack(&node.boot),
        }
    }

    pub(super) fn into_node(self) -> NodeRef {
        NodeRef {
            name: self.name.into(),
            uid: self.uid.unpack(),
            agent: self.agent.unpack(),
            boot: self.boot.unpack(),
        }
    }
}

impl NetnsV1 {
    pub(super) fn of(Netns { cookie, dev, ino, nsid }: Netns) -> Self {
        Self { cookie, dev, ino, nsid }
    }

    pub(super) fn into_netns(self) -> Netns {
        Netns { cookie: self.cookie, dev: self.dev, ino: self.ino, nsid: self.nsid }
    }
}

// === impl StateV1 ===

impl<'a> StateV1<'a> {
    pub(super) fn of(state: &'a LeaseState) -> Self {
        match state {
            LeaseState::Bound => Self::Bound,
            LeaseState::Released { at, proof, rest_s, keep_until } => Self::Released {
                at: at.0,
                proof: ProofV1::of(*proof),
                rest_s: *rest_s,
                keep_until: keep_until.map(|until| until.0),
            },
            LeaseState::Quarantined { at, cause } => {
                Self::Quarantined { at: at.0, cause: CauseV1::of(cause) }
            }
        }
    }

    pub(super) fn into_state(self) -> LeaseState {
        match self {
            Self::Bound => LeaseState::Bound,
            Self::Released { at, proof, rest_s, keep_until } => LeaseState::Released {
                at: WallMs(at),
                proof: proof.into_proof(),
                rest_s,
                keep_until: keep_until.map(WallMs),
            },
            Self::Quarantined { at, cause } => {
                LeaseState::Quarantined { at: WallMs(at), cause: cause.into_cause() }
            }
        }
    }
}

impl ProofV1 {
    pub(super) fn of(proof: Proof) -> Self {
        match proof {
            Proof::None => Self::None,
            Proof::Kernel => Self::Kernel,
            Proof::Reboot => Self::Reboot,
            Proof::Operator => Self::Operator,
        }
    }

    pub(super) fn into_proof(self) -> Proof {
        match self {
            Self::None => Proof::None,
            Self::Kernel => Proof::Kernel,
            Self::Reboot => Proof::Reboot,
            Self::Operator => Proof::Operator,
        }
    }
}

impl<'a> CauseV1<'a> {
    pub(super) fn of(cause: &'a QuarantineCause) -> Self {
        match cause {
            QuarantineCause::Unfenced => Self::Unfenced,
            QuarantineCause::Wire => Self::Wire,
            QuarantineCause::Operator(why) => Self::Operator(why),
            QuarantineCause::TwoClaims => Self::TwoClaims,
            QuarantineCause::Found => Self::Found,
        }
    }

    pub(super) fn into_cause(self) -> QuarantineCause {
        match self {
            Self::Unfenced => QuarantineCause::Unfenced,
            Self::Wire => QuarantineCause::Wire,
            Self::Operator(why) => QuarantineCause::Operator(why.into()),
            Self::TwoClaims => QuarantineCause::TwoClaims,
            Self::Found => QuarantineCause::Found,
        }
    }
}

// === impl PastV1 ===

impl<'a> PastV1<'a> {
    pub(super) fn of(past: &'a PastHolder) -> Self {
        Self {
            owner: OwnerV1::of(&past.owner),
            container: Text::pack(past.container.as_str()),
            generation: past.generation.0,
            from: past.from.0,
            to: past.to.0,
            ended_by: &past.ended_by,
        }
    }

    pub(super) fn into_past(self) -> Result<PastHolder, BadValue> {
        Ok(PastHolder {
            owner: self.owner.into_owner(),
            container: ContainerId::new(self.container.unpack()).map_err(damaged)?,
            generation: Generation(self.generation),
            from: WallMs(self.from),
            to: WallMs(self.to),
            ended_by: self.ended_by.into(),
        })
    }
}
