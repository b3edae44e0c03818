//! Any lease that the domain types admit.

use std::net::IpAddr;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use tenure_core::address::Families;
use tenure_core::history::{Entry, Gap, GapCause, HistoryEvent, Holder, What};
use tenure_core::lease::{
    Attachment, AttemptId, Epoch, Generation, HOLDERS_KEPT, Lease, LeaseState, Netns, NodeRef,
    Owner, OwnerKind, PastHolder, Proof, QuarantineCause, StickyKey,
};
use tenure_core::name::{ContainerId, Digest, IfName, NetworkName, PoolName, SpaceName};
use tenure_core::time::WallMs;

/// Texts as they come: ids in every spelling, near misses of them, and anything else.
fn text() -> impl Strategy<Value = Arc<str>> {
    prop_oneof![
        Just(String::new()),
        "[0-9a-f]{1,40}",
        "[0-9a-fA-F]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/[0-9a-f]{32}",
        "[0-9a-f-]{36}",
        "[0-9a-f]{2,4}/[0-9a-f/]{0,9}",
        "\\PC{0,30}",
    ]
    .prop_map(Arc::from)
}

fn container() -> impl Strategy<Value = ContainerId> {
    prop_oneof!["[0-9a-f]{64}", "[0-9a-f]{63}", "[A-Za-z0-9][A-Za-z0-9_.-]{0,80}"]
        .prop_map(|text| ContainerId::new(text).unwrap())
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 8]>().prop_map(|bytes| Digest::of(&bytes))
}

fn wall() -> impl Strategy<Value = WallMs> {
    any::<u64>().prop_map(WallMs)
}

fn owner() -> impl Strategy<Value = Owner> {
    let kind = prop::sample::select(vec![
        OwnerKind::Pod,
        OwnerKind::Vm,
        OwnerKind::Claim,
        OwnerKind::Container,
    ]);
    (kind, text(), text(), text()).prop_map(|(kind, namespace, name, uid)| Owner {
        kind,
        namespace,
        name,
        uid,
    })
}

fn node() -> impl Strategy<Value = NodeRef> {
    (text(), text(), text(), text()).prop_map(|(name, uid, agent, boot)| NodeRef {
        name,
        uid,
        agent,
        boot,
    })
}

fn netns() -> impl Strategy<Value = Netns> {
    (any::<u64>(), any::<u64>(), any::<u64>(), any::<Option<i32>>())
        .prop_map(|(cookie, dev, ino, nsid)| Netns { cookie, dev, ino, nsid })
}

fn proof() -> impl Strategy<Value = Proof> {
    prop::sample::select(vec![Proof::None, Proof::Kernel, Proof::Reboot, Proof::Operator])
}

fn cause() -> impl Strategy<Value = QuarantineCause> {
    prop_oneof![
        Just(QuarantineCause::Unfenced),
        Just(QuarantineCause::Wire),
        Just(QuarantineCause::TwoClaims),
        Just(QuarantineCause::Found),
        text().prop_map(|why| QuarantineCause::Operator((*why).into())),
    ]
}

fn state() -> impl Strategy<Value = LeaseState> {
    prop_oneof![
        Just(LeaseState::Bound),
        (wall(), proof(), any::<u32>(), option::of(wall())).prop_map(
            |(at, proof, rest_s, keep_until)| LeaseState::Released {
                at,
                proof,
                rest_s,
                keep_until
            }
        ),
        (wall(), cause()).prop_map(|(at, cause)| LeaseState::Quarantined { at, cause }),
    ]
}

fn past() -> impl Strategy<Value = PastHolder> {
    (owner(), container(), any::<u64>(), wall(), wall(), text()).prop_map(
        |(owner, container, generation, from, to, ended_by)| PastHolder {
            owner,
            container,
            generation: Generation(generation),
            from,
            to,
            ended_by,
        },
    )
}

fn attachment() -> impl Strategy<Value = Attachment> {
    ("[a-z][a-z0-9_.-]{0,20}", container(), "[a-zA-Z0-9.]{3,15}").prop_map(
        |(network, container, ifname)| Attachment {
            network: NetworkName::new(network).unwrap(),
            container,
            ifname: IfName::new(ifname).unwrap(),
        },
    )
}

/// Any lease.
pub(crate) fn lease() -> impl Strategy<Value = Lease> {
    let names = ("[a-z]([a-z0-9]{0,10}\\.?[a-z]){0,2}", "[a-z](-?[a-z0-9]){0,20}");
    let whose = (attachment(), owner(), node(), option::of(netns()), any::<u128>());
    let counts = (any::<[bool; 2]>(), any::<u64>(), any::<u64>(), any::<u64>());
    let sticky = option::of((text(), any::<u32>()));
    let decided = (digest(), vec(digest(), 0..4));
    let times = (wall(), any::<u64>(), vec(past(), 0..=HOLDERS_KEPT));
    (any::<IpAddr>(), names, whose, counts, state(), sticky, decided, times).prop_map(
        |(address, names, whose, counts, state, sticky, decided, times)| Lease {
            address,
            pool: PoolName::new(names.0).unwrap(),
            space: SpaceName::new(names.1).unwrap(),
            attachment: whose.0,
            owner: whose.1,
            node: whose.2,
            netns: whose.3,
            attempt: AttemptId(whose.4),
            families: Families { v4: counts.0[0], v6: counts.0[1] },
            generation: Generation(counts.1),
            epoch: Epoch(counts.2),
            state,
            sticky: sticky.map(|(key, retain_s)| StickyKey { key, retain_s }),
            tag: counts.3,
            config: decided.0,
            decided_by: decided.1,
            bound_at: times.0,
            bound_boottime_ms: times.1,
            previous: times.2,
        },
    )
}

/// Boxed, as the strategies of texts are large and an event has them many times.
fn holder() -> BoxedStrategy<Holder> {
    (owner(), attachment(), text(), any::<u64>(), wall())
        .prop_map(|(owner, attachment, node, generation, since)| Holder {
            owner,
            attachment,
            node,
            generation: Generation(generation),
            since,
        })
        .boxed()
}

fn event() -> impl Strategy<Value = HistoryEvent> {
    let what = prop_oneof![
        Just(What::Bound),
        Just(What::Rebound),
        Just(What::TakenOver),
        Just(What::Released),
        proof().prop_map(|proof| What::Reclaimed { proof }),
        cause().prop_map(|cause| What::Quarantined { cause }),
        Just(What::Returned),
        Just(What::Forgotten),
    ];
    // After it nobody, the one of before, or another.
    let holders = (option::of(holder()), option::of(option::of(holder())));
    (any::<IpAddr>(), "[a-z](-?[a-z0-9]){0,20}", wall(), what, holders).prop_map(
        |(address, space, at, what, (before, after))| HistoryEvent {
            seq: 1,
            at,
            address,
            space: SpaceName::new(space).unwrap(),
            what,
            after: after.unwrap_or_else(|| before.clone()),
            before,
        },
    )
}

/// Any entry of the history, the first of a store.
pub(crate) fn entry() -> impl Strategy<Value = Entry> {
    let cause =
        prop::sample::select(vec![GapCause::Import, GapCause::NewEpoch, GapCause::Unrecorded]);
    let gap = (wall(), wall(), cause).prop_map(|(from, to, cause)| Gap { seq: 1, from, to, cause });
    prop_oneof![4 => event().prop_map(Entry::Event), 1 => gap.prop_map(Entry::Gap)]
}
