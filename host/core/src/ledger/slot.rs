//! What the ledger remembers of one row: numbers only. Whoever needs names reads the record from the store.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::time::Duration;

use super::stock::{Place, Shelf};
use crate::address::Family;
use crate::defaults::{FLOOR_UNPROVED, PROBES_APART};
use crate::lease::{
    Attachment, Generation, Lease, LeaseState, Netns, Owner, OwnerKind, Proof, QuarantineCause,
};
use crate::objects::PoolSpec;
use crate::time::{Moment, WallMs};

/// A fingerprint of something that the record spells out. Equal fingerprints are a hint: whoever acts on
/// one compares the record first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Print(NonZeroU64);

/// What a row is at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// An ADD in flight has it: the one whose hold carries this ticket.
    Reserved {
        /// Told apart from every other hold of this process.
        ticket: u64,
    },
    /// An attachment holds it.
    Bound {
        /// Since when this process knows of it.
        since: Moment,
        /// The address was seen on a link of the holder's namespace.
        seen: bool,
    },
    /// Nobody holds it.
    Released {
        /// Since when this process knows: a restart begins the rest anew (invariant I8).
        since: Moment,
        /// When, by the record: the order of reuse.
        at: WallMs,
        /// How long it rests, in seconds.
        rest_s: u32,
        /// From when on the end of the old holder counts as proved, durably or in memory; none where it is not.
        proved: Option<Moment>,
        /// The kernel still sees the old holder.
        lingering: bool,
        /// The address was seen on a link of the old holder's namespace.
        seen: bool,
        /// Kept for its sticky key until then.
        keep_until: Option<WallMs>,
    },
    /// It may still be in use.
    Quarantined {
        /// Its holder gets it back once it is seen alive.
        returns: bool,
        /// From when on a silent probe may end it; none if only its holder's end or an operator can.
        probe_from: Option<Moment>,
        /// A census found it where no row had it: whose it is nobody knows.
        found: bool,
    },
}

/// One row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// The store's version of the row.
    pub revision: u64,
    /// The generation of its hold.
    pub generation: Generation,
    /// Who holds it, or held it last.
    pub attachment: Print,
    /// The owner's uid; none if empty.
    pub uid: Option<Print>,
    /// The owner's kind, namespace and name; none if it has no name.
    pub holder: Option<Print>,
    /// The owner's namespace; none if it has none.
    pub namespace: Option<Print>,
    /// Its sticky key on its network, interface and family.
    pub sticky: Option<Print>,
    /// The namespace of the holder.
    pub netns: Option<Netns>,
    /// The node and boot in which its hold began: see [`Ledger::node`](super::Ledger::node).
    pub node: u32,
    /// What that is now.
    pub home: Home,
    /// What it is now.
    pub status: Status,
}

/// Where a hold began, as far as agents have spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Home {
    /// With an agent that has spoken, in its present boot. In standalone mode: on this machine.
    Here,
    /// With such an agent, in an earlier boot: nothing of it lives.
    EarlierBoot,
    /// With an agent that has not spoken, whatever the name of its node.
    Elsewhere,
}

// === impl Print ===

impl Print {
    /// Of an ADD in flight, whose attachment is not yet in any record.
    pub(super) const RESERVED: Self = Self(NonZeroU64::MIN);

    /// Of an attachment.
    #[must_use]
    pub fn attachment(attachment: &Attachment) -> Self {
        Self::of(&("attachment", attachment))
    }

    /// Of an owner's uid; none if it is empty, or that of a bare container: its attachment says the same.
    #[must_use]
    pub fn uid(owner: &Owner) -> Option<Self> {
        (!owner.uid.is_empty() && owner.kind != OwnerKind::Container)
            .then(|| Self::of(&("uid", owner.kind, &owner.uid)))
    }

    /// Of an owner's kind, namespace and name; none if it has no name, or is a bare container.
    #[must_use]
    pub fn holder(owner: &Owner) -> Option<Self> {
        (!owner.name.is_empty() && owner.kind != OwnerKind::Container)
            .then(|| Self::of(&("holder", owner.kind, &owner.namespace, &owner.name)))
    }

    /// Of a namespace; none if it is empty.
    #[must_use]
    pub fn namespace(namespace: &str) -> Option<Self> {
        (!namespace.is_empty()).then(|| Self::of(&("namespace", namespace)))
    }

    /// Of a sticky key on a network, interface and family.
    #[must_use]
    pub fn sticky(attachment: &Attachment, family: Family, key: &str) -> Self {
        Self::of(&("sticky", &attachment.network, &attachment.ifname, family, key))
    }

    fn of(value: &impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        Self(NonZeroU64::new(hasher.finish()).unwrap_or(NonZeroU64::MIN))
    }
}

// === impl Slot ===

impl Slot {
    pub(super) fn new(
        lease: &Lease,
        revision: u64,
        (node, home): (u32, Home),
        now: Moment,
    ) -> Self {
        let family = Family::of(lease.address);
        Self {
            revision,
            generation: lease.generation,
            attachment: Print::attachment(&lease.attachment),
            uid: Print::uid(&lease.owner),
            holder: Print::holder(&lease.owner),
            namespace: Print::namespace(&lease.owner.namespace),
            sticky: lease.sticky.as_ref().map(|s| Print::sticky(&lease.attachment, family, &s.key)),
            netns: lease.netns,
            node,
            home,
            status: match &lease.state {
                LeaseState::Bound => Status::Bound { since: now, seen: false },
                LeaseState::Quarantined { cause, .. } => {
                    let probe_from = match cause {
                        QuarantineCause::Unfenced => Some(now),
                        QuarantineCause::Wire => Some(now.plus(PROBES_APART)),
                        QuarantineCause::Operator(_)
                        | QuarantineCause::TwoClaims
                        | QuarantineCause::Found => None,
                    };
                    let returns = *cause == QuarantineCause::Unfenced;
                    let found = *cause == QuarantineCause::Found;
                    Status::Quarantined { returns, probe_from, found }
                }
                LeaseState::Released { at, proof, rest_s, keep_until } => Status::Released {
                    since: now,
                    at: *at,
                    rest_s: *rest_s,
                    proved: counts_as_proved(*proof, home, lease.netns).then_some(now),
                    lingering: false,
                    seen: false,
                    keep_until: *keep_until,
                },
            },
        }
    }

    /// All fingerprints under which the row can be found.
    pub(super) fn prints(&self) -> impl Iterator<Item = Print> + use<> {
        [Some(self.attachment), self.uid, self.holder, self.sticky].into_iter().flatten()
    }

    /// Whether an attachment holds it.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        matches!(self.status, Status::Bound { .. })
    }

    /// Whether its attachment may still use it: bound, or quarantined for another reason than a foreign answer.
    #[must_use]
    pub fn has_holder(&self) -> bool {
        match self.status {
            Status::Bound { .. } => true,
            Status::Quarantined { returns, probe_from, .. } => returns || probe_from.is_none(),
            Status::Reserved { .. } | Status::Released { .. } => false,
        }
    }

    /// Its agent spoke: the home of its hold is another one now, and nothing of an earlier boot lives.
    pub(super) fn rehome(&mut self, home: Home, now: Moment) {
        self.home = home;
        if let (Home::EarlierBoot, Status::Released { proved, lingering, .. }) =
            (home, &mut self.status)
        {
            *lingering = false;
            *proved = proved.or(Some(now));
        }
    }

    /// What this process knows of the same hold from before: what was seen on a link stays seen across a release, and a
    /// release that is heard of again, in a row that somebody wrote for another reason, does not begin its rest anew.
    pub(super) fn inherit(&mut self, before: &Self) {
        let was_seen = match before.status {
            Status::Bound { seen, .. } | Status::Released { seen, .. } => seen,
            Status::Reserved { .. } | Status::Quarantined { .. } => false,
        };
        if let Status::Bound { seen, .. } | Status::Released { seen, .. } = &mut self.status {
            *seen |= was_seen;
        }
        self.rest_on(before);
    }

    /// Rests on where the row before is of the very same release.
    fn rest_on(&mut self, before: &Self) {
        let Status::Released { since: known, at: then, proved: proof, lingering: lingered, .. } =
            before.status
        else {
            return;
        };
        if let Status::Released { since, at, proved, lingering, .. } = &mut self.status
            && *at == then
        {
            *since = known;
            *proved = proof.or(*proved);
            *lingering = lingered;
        }
    }

    /// When the rest of a released row ends; none while it is held or quarantined.
    pub(super) fn rest_ends(&self) -> Option<Moment> {
        match self.status {
            // Links outlive their namespace by a moment: a proof may begin to count after the cool-down.
            Status::Released { since, rest_s, proved, .. } => {
                Some(since.plus(secs(rest_s)).max(proved.unwrap_or_default()))
            }
            _ => None,
        }
    }

    /// From when on a silent probe may end its quarantine.
    fn probe_from(&self) -> Option<Moment> {
        match self.status {
            Status::Quarantined { probe_from, .. } => probe_from,
            _ => None,
        }
    }

    /// When it was released, by the record; the beginning of time while it is not.
    pub(super) fn released_at(&self) -> WallMs {
        match self.status {
            Status::Released { at, .. } => at,
            _ => WallMs::default(),
        }
    }

    /// How long the row has rested beyond its cool-down; zero while it rests or is held.
    pub(super) fn rested_for(&self, now: Moment) -> Duration {
        self.rest_ends().map_or(Duration::ZERO, |end| now.since(end))
    }

    /// What the row counts as now.
    pub(super) fn shelf(&self, now: Moment, wall: WallMs) -> Shelf {
        match self.status {
            Status::Reserved { .. } | Status::Bound { .. } => Shelf::Held,
            Status::Quarantined { .. } => Shelf::Quarantined,
            Status::Released { lingering: true, .. } => Shelf::Lingering,
            Status::Released { keep_until: Some(until), .. } if until > wall => Shelf::Retained,
            Status::Released { .. } if self.rest_ends() > Some(now) => Shelf::Resting,
            Status::Released { .. } => Shelf::Ready,
        }
    }

    /// The row's keys on that shelf. They follow from the row, so that nothing else need be remembered.
    pub(super) fn place(&self, shelf: Shelf, spec: &PoolSpec) -> Place {
        let (at, keep_until) = match self.status {
            Status::Released { at, keep_until, .. } => (at, keep_until),
            _ => (WallMs::default(), None),
        };
        match shelf {
            Shelf::Held => Place::Held,
            Shelf::Quarantined => Place::Quarantined { probe_from: self.probe_from() },
            Shelf::Lingering => Place::Lingering,
            Shelf::Ready => Place::Ready(at),
            Shelf::Retained => Place::Retained(keep_until.unwrap_or_default()),
            Shelf::Resting => Place::Resting {
                until: self.rest_ends().unwrap_or_default(),
                early: self.earliest(spec).unwrap_or_default(),
            },
        }
    }

    /// From when on the address may be given to one who needs exactly this one, or under pressure: with
    /// proof from the pool's floor on, without not before [`FLOOR_UNPROVED`] either, never later than its full
    /// rest.
    /// None while it is held, lingering or quarantined.
    pub(super) fn earliest(&self, spec: &PoolSpec) -> Option<Moment> {
        match self.status {
            Status::Released { since, rest_s, proved, lingering: false, .. } => {
                let least = if proved.is_some() { Duration::ZERO } else { FLOOR_UNPROVED };
                let floor = spec.cooldown_floor.0.max(least).min(secs(rest_s));
                Some(since.plus(floor).max(proved.unwrap_or_default()))
            }
            _ => None,
        }
    }
}

/// Whether the end of the holder needs no more proof. Nothing of an earlier boot of this machine lives. An operator's
/// word counts where this kernel cannot see for itself; where it can, the holder may still be on its link.
fn counts_as_proved(proof: Proof, home: Home, netns: Option<Netns>) -> bool {
    match (proof, home) {
        (_, Home::EarlierBoot) | (Proof::Kernel | Proof::Reboot, _) => true,
        (Proof::Operator, Home::Here) => netns.is_none(),
        (Proof::Operator, Home::Elsewhere) => true,
        (Proof::None, _) => false,
    }
}

fn secs(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}

/// A row's address as the ledger sorts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Spot {
    /// Index of the space.
    pub(super) space: u16,
    /// The address.
    pub(super) address: IpAddr,
}

impl Spot {
    /// Sorts before every other.
    pub(super) const FIRST: Self =
        Self { space: 0, address: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED) };
}
