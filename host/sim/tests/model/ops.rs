//! What can happen in a history, and how often. New abilities of the engine get their operations here, their calls in
//! `machine`, and their rules in `rules`.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::Union;
use serde::{Deserialize, Serialize};
use tenure_core::decision::IfHeld;

use crate::cast::{ACTORS, POOLS, SHAPES, SLOTS};

/// One step of a history. Whatever it speaks of that does not exist at that moment makes it do nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// One call.
    Call(Verb),
    /// Calls at once; the number says who gets in between whom.
    Together { verbs: Vec<Verb>, noise: u64 },
    /// The caller of a call under way goes away.
    HangUp { nth: u8 },
    /// A runtime that finds no daemon puts a DEL into the spool.
    Spool { who: u8 },
    /// The operator writes a pool.
    Pool { pool: u8, shape: u8 },
    /// The operator deletes a pool.
    DeletePool { pool: u8 },
    /// The operator reserves addresses from this host on, or takes the reservation back.
    Reserve { slot: u8, from: Option<u8> },
    /// The operator exports the store.
    Export,
    /// The daemon dies and starts again; what waited at the gate was sent in the last moment, or was not. Meanwhile the
    /// last export may have been put in the place of the store.
    Restart { sent: bool, reboot: bool, back: bool },
    /// Time passes.
    Pass { ms: u32 },
    /// Somebody sets the wall clock.
    Wall { by_s: i32 },
    /// The machine sleeps.
    Suspend { s: u16 },
    /// The namespace of a container ends, or its path goes and something keeps it.
    End { who: u8, kept: bool },
    /// What keeps a namespace without a path lets go.
    LetGo { nth: u8 },
    /// The main plugin sets, or removes, the links of a container.
    Link { who: u8, up: bool },
    /// The witness says nothing for some steps.
    Silent { steps: u8 },
    /// The witness cannot tell about one namespace for some steps.
    Unsure { who: u8, steps: u8 },
    /// A foreign machine on the wire takes an address, or lets it go.
    Foreign { address: u8, answers: bool },
    /// Nothing is heard on the wire for some steps.
    Deaf { steps: u8 },
    /// The reclaim policy says other figures.
    Verdict { number: u8 },
    /// Calls of the store are held back for some steps.
    Hold { at: HeldAt, steps: u8 },
    /// A commit to come fails.
    Fault { fault: Fault, nth: u8 },
    /// Reads of rows fail for some steps.
    ReadsFail { steps: u8 },
}

/// A call to the engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Verb {
    Add(Add),
    Del {
        who: u8,
    },
    /// The oldest DEL of the spool reaches the daemon.
    Drain,
    Check {
        who: u8,
        right: bool,
    },
    /// The bits say which attachments the runtime lists.
    Gc {
        listed: u16,
        allow_empty: bool,
    },
    Sweep,
    /// The close watch after releases.
    Watch,
    /// An operator takes an address back.
    Release {
        address: u8,
        stale: bool,
        even_if_live: bool,
    },
    /// The last export is imported: the store goes back in time.
    Import,
}

/// An ADD.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Add {
    pub who: u8,
    pub config: u8,
    pub pools: u8,
    pub wish: Wish,
    pub ranking: Ranking,
    pub netns: NetnsAt,
    /// The main plugin sets the links at once after a good answer.
    pub link: bool,
    /// How long it waits for an address.
    pub wait_s: u8,
    /// The kind of network is one on which addresses can be probed.
    pub wire: bool,
}

/// What is wanted before anything else, and by whose word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Wish {
    None,
    /// The runtime asks.
    Fixed(Vec<u8>),
    /// The affinity policy says.
    Sticky {
        key: u8,
        if_held: IfHeld,
        retain_s: u32,
        preferred: Vec<u8>,
    },
    /// The affinity policy says.
    Policy {
        addresses: Vec<u8>,
        if_held: IfHeld,
    },
    /// The affinity policy says; rows that do not exist, too.
    Reuse(Vec<u8>),
}

/// What the select policy says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Ranking {
    /// All, in their order.
    Usual,
    /// These rows, whether they exist or not, doubles too.
    Rows(Vec<u8>),
    Deny,
}

/// What `CNI_NETNS` says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum NetnsAt {
    /// The container's.
    Its,
    /// The plugin saw another file there.
    OtherFile,
    /// Nothing is there.
    Nowhere,
    /// It was not given.
    Absent,
}

/// Where calls of the store are held back.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum HeldAt {
    /// Commits before they reach the store.
    Before,
    /// Commits before they are answered.
    After,
    /// Reads of rows.
    Reads,
}

/// How a commit fails.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Fault {
    Refused,
    Overloaded,
    UnknownLost,
    UnknownDone,
}

/// One step.
pub fn op() -> impl Strategy<Value = Op> {
    let who = || 0..ACTORS;
    let any_bool = any::<bool>;
    let steps = |most: u8| 1..=most;
    Union::new_weighted(vec![
        (84, verb().prop_map(Op::Call).boxed()),
        (
            9,
            (vec(verb(), 2..5), any::<u64>())
                .prop_map(|(verbs, noise)| Op::Together { verbs, noise })
                .boxed(),
        ),
        (7, again().boxed()),
        (2, (0u8..6).prop_map(|nth| Op::HangUp { nth }).boxed()),
        (3, who().prop_map(|who| Op::Spool { who }).boxed()),
        (
            4,
            (0..POOLS as u8, 0..SHAPES.len() as u8)
                .prop_map(|(pool, shape)| Op::Pool { pool, shape })
                .boxed(),
        ),
        (1, (0..POOLS as u8).prop_map(|pool| Op::DeletePool { pool }).boxed()),
        (
            2,
            (0..SLOTS as u8, option::of(0u8..6))
                .prop_map(|(slot, from)| Op::Reserve { slot, from })
                .boxed(),
        ),
        (1, Just(Op::Export).boxed()),
        (
            3,
            (any_bool(), prop::bool::weighted(0.3), prop::bool::weighted(0.2))
                .prop_map(|(sent, reboot, back)| Op::Restart { sent, reboot, back })
                .boxed(),
        ),
        (22, time().prop_map(|ms| Op::Pass { ms }).boxed()),
        (
            2,
            prop_oneof![
                Just(-7_200),
                Just(-90),
                Just(30),
                Just(7_200),
                Just(-400_000),
                Just(400_000)
            ]
            .prop_map(|by_s| Op::Wall { by_s })
            .boxed(),
        ),
        (1, (1u16..600).prop_map(|s| Op::Suspend { s }).boxed()),
        (
            14,
            (who(), prop::bool::weighted(0.25))
                .prop_map(|(who, kept)| Op::End { who, kept })
                .boxed(),
        ),
        (2, (0u8..4).prop_map(|nth| Op::LetGo { nth }).boxed()),
        (7, (who(), prop::bool::weighted(0.4)).prop_map(|(who, up)| Op::Link { who, up }).boxed()),
        (2, steps(6).prop_map(|steps| Op::Silent { steps }).boxed()),
        (3, (who(), steps(9)).prop_map(|(who, steps)| Op::Unsure { who, steps }).boxed()),
        (
            6,
            (0u8..26, prop::bool::weighted(0.5))
                .prop_map(|(address, answers)| Op::Foreign { address, answers })
                .boxed(),
        ),
        (1, steps(4).prop_map(|steps| Op::Deaf { steps }).boxed()),
        (2, (0u8..7).prop_map(|number| Op::Verdict { number }).boxed()),
        (5, (held_at(), steps(5)).prop_map(|(at, steps)| Op::Hold { at, steps }).boxed()),
        (3, (fault(), 1u8..4).prop_map(|(fault, nth)| Op::Fault { fault, nth }).boxed()),
        (1, steps(3).prop_map(|steps| Op::ReadsFail { steps }).boxed()),
    ])
}

fn verb() -> impl Strategy<Value = Verb> {
    let who = || 0..ACTORS;
    let any_bool = any::<bool>;
    Union::new_weighted(vec![
        (30, add().prop_map(Verb::Add).boxed()),
        (17, who().prop_map(|who| Verb::Del { who }).boxed()),
        (3, Just(Verb::Drain).boxed()),
        (3, (who(), any_bool()).prop_map(|(who, right)| Verb::Check { who, right }).boxed()),
        (
            3,
            (listed(), prop::bool::weighted(0.3))
                .prop_map(|(listed, allow_empty)| Verb::Gc { listed, allow_empty })
                .boxed(),
        ),
        (15, Just(Verb::Sweep).boxed()),
        (5, Just(Verb::Watch).boxed()),
        (
            3,
            (0u8..26, prop::bool::weighted(0.2), any_bool())
                .prop_map(|(address, stale, even_if_live)| Verb::Release {
                    address,
                    stale,
                    even_if_live,
                })
                .boxed(),
        ),
        (1, Just(Verb::Import).boxed()),
    ])
}

/// Two calls of one attachment at once: the same ADD twice, or an ADD and a DEL.
fn again() -> impl Strategy<Value = Op> {
    (add(), any::<bool>(), any::<bool>(), any::<u64>()).prop_map(|(add, twice, first, noise)| {
        let del = Verb::Del { who: add.who };
        let mut verbs = vec![Verb::Add(add.clone()), if twice { Verb::Add(add) } else { del }];
        if first {
            verbs.reverse();
        }
        Op::Together { verbs, noise }
    })
}

fn add() -> impl Strategy<Value = Add> {
    let usual = |value, weight: u32, other: BoxedStrategy<u8>| {
        Union::new_weighted(vec![(weight, Just(value).boxed()), (1, other)])
    };
    let netns = prop_oneof![
        30 => Just(NetnsAt::Its),
        1 => Just(NetnsAt::OtherFile),
        1 => Just(NetnsAt::Nowhere),
        1 => Just(NetnsAt::Absent),
    ];
    let ranking = prop_oneof![
        12 => Just(Ranking::Usual),
        1 => vec(0u8..6, 0..5).prop_map(Ranking::Rows),
        1 => Just(Ranking::Deny),
    ];
    let parts = (
        0..ACTORS,
        usual(0, 12, (1u8..2).boxed()),
        usual(0, 3, (1u8..7).boxed()),
        wish(),
        ranking,
        netns,
        prop::bool::weighted(0.6),
        prop_oneof![5 => Just(0u8), 1 => 1u8..5],
        prop::bool::weighted(0.6),
    );
    parts.prop_map(|(who, config, pools, wish, ranking, netns, link, wait_s, wire)| Add {
        who,
        config,
        pools,
        wish,
        ranking,
        netns,
        link,
        wait_s,
        wire,
    })
}

fn wish() -> impl Strategy<Value = Wish> {
    let addresses = |most: usize| vec(0u8..26, 0..=most);
    let sticky = (0u8..2, if_held(), prop_oneof![Just(0u32), Just(60), Just(600)], addresses(2));
    prop_oneof![
        10 => Just(Wish::None),
        2 => addresses(2).prop_map(Wish::Fixed),
        4 => sticky.prop_map(|(key, if_held, retain_s, preferred)| Wish::Sticky { key, if_held, retain_s, preferred }),
        1 => (addresses(4), if_held()).prop_map(|(addresses, if_held)| Wish::Policy { addresses, if_held }),
        1 => vec(0u8..5, 0..3).prop_map(Wish::Reuse),
    ]
}

fn if_held() -> impl Strategy<Value = IfHeld> {
    prop_oneof![Just(IfHeld::Wait), Just(IfHeld::Other), Just(IfHeld::Fail)]
}

fn listed() -> impl Strategy<Value = u16> {
    prop_oneof![1 => Just(0u16), 3 => any::<u16>()]
}

fn held_at() -> impl Strategy<Value = HeldAt> {
    prop_oneof![2 => Just(HeldAt::Before), 2 => Just(HeldAt::After), 1 => Just(HeldAt::Reads)]
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::Refused),
        Just(Fault::Overloaded),
        Just(Fault::UnknownLost),
        Just(Fault::UnknownDone)
    ]
}

/// Around the figures that matter: 1 s apart, a grace of 2 s, a floor of 5 s, rests, the age for GC, an hour.
fn time() -> impl Strategy<Value = u32> {
    prop_oneof![
        3 => 1u32..1_000,
        5 => 1_000u32..3_000,
        3 => 3_000u32..8_000,
        3 => 8_000u32..70_000,
        2 => 70_000u32..200_000,
        1 => Just(4_000_000u32),
    ]
}
