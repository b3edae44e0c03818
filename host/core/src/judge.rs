//! The one function that decides whether a holder is dead. Sweep, events, CNI GC, dry run and explain all ask it.
//!
//! ```text
//! Evidence (all witnesses, one look) -> find: the table of DESIGN section 5 -> Finding
//! Finding -> observe: an unbroken series of equal findings -> Suspicion
//! Finding + Suspicion + Verdict -> judge -> Judgement
//! ```
//!
//! *Unknown is never dead*: an error, a timeout, a partial listing or a witness that never saw the holder
//! alive keeps the lease (invariant I7). Proof decides *whether*, the grace decides *when*.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::decision::Verdict;
use crate::lease::Proof;
use crate::objects::UnfencedReclaim;
use crate::time::Moment;

pub use crate::defaults::{LOOKS, LOOKS_APART};

/// What the kernel witness of the holder's node says of its namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KernelSays {
    /// The namespace exists.
    Alive,
    /// It existed and is no more.
    Gone,
    /// The same agent reports another boot: nothing of the old one lives.
    Rebooted,
    /// The lease has no namespace identity: it could not be read at ADD, so its absence proves nothing.
    Blind,
    /// The listing was incomplete or the witness is off.
    Silent,
}

/// What an API that knows the owner says of it, by uid, read live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ApiSays {
    /// No API knows owners of this kind.
    Nothing,
    /// It exists and is not finished.
    Alive,
    /// It is being deleted, and its own termination grace has passed on our clock.
    Overdue,
    /// 404, another uid, or finished.
    Gone,
    /// An error, or only a stale answer.
    Silent,
}

/// What is known of the node of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NodeSays {
    /// This machine, or an agent heard within the lost time.
    Heard,
    /// Its agent is silent while its node lease goes on changing.
    AgentSilent,
    /// Fenced with no agent heard, and this lease was bound before the fence was seen.
    Fenced,
    /// Agent and node lease silent for the lost time.
    Lost,
    /// The same, but a third of all nodes was lost within one lost time: more likely it is us who are cut off.
    LostWithMany,
    /// Another machine, of which nobody reports.
    Unknown,
}

/// All that was seen of one lease in one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// Its node.
    pub node: NodeSays,
    /// Its namespace.
    pub kernel: KernelSays,
    /// Its owner.
    pub api: ApiSays,
}

/// On what ground a holder counts as dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ground {
    /// Its namespace was seen and is no more.
    Kernel,
    /// Its machine was started anew.
    Reboot,
    /// Its machine was fenced.
    Fence,
    /// Nothing is proved: its node is lost and its owner is over. Ends in quarantine, never in a release.
    Unfenced,
}

/// What all witnesses together establish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Finding {
    /// It lives.
    Alive,
    /// Nothing: kept until this witness speaks.
    Unknown(Witness),
    /// It is over.
    Dead(Ground),
}

/// An unbroken series of looks with the same ground.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspicion {
    /// The first of them.
    pub since: Moment,
    /// The last one that counted: at least [`LOOKS_APART`] after the one before.
    pub last: Moment,
    /// How many counted.
    pub looks: u32,
    /// What each of them found.
    pub ground: Ground,
}

/// All that the judge looks at for one lease.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// What is found now.
    pub finding: Finding,
    /// The series of looks up to now, the present one included.
    pub suspicion: Option<Suspicion>,
    /// The figures of policy, clamped to the pool's limits.
    pub verdict: Verdict,
    /// What the pool allows for nodes that cannot be judged.
    pub unfenced: UnfencedReclaim,
}

/// Whose word is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Witness {
    /// The kernel of the holder's node.
    Kernel,
    /// The node itself: its return, a fence, or an operator.
    Node,
    /// The API that knows the owner.
    Api,
}

/// What follows for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Judgement {
    /// Its holder lives, or nothing can be said.
    #[serde(rename_all = "camelCase")]
    Keep {
        /// The witness whose word would be needed; none while the holder is alive.
        waits_for: Option<Witness>,
    },
    /// The holder seems gone; it is not yet time.
    Wait {
        /// How long at least until the next look can decide.
        left: Duration,
    },
    /// Take it back: the proof that goes into the record.
    Free {
        /// What is proved.
        proof: Proof,
    },
    /// Nothing is proved, but the pool and the policy allow a probed reuse.
    Quarantine,
}

/// The table of DESIGN section 5: what frees a lease, by the state of its node. First row that applies.
#[must_use]
pub fn find(evidence: &Evidence) -> Finding {
    use {ApiSays as Api, KernelSays as Kernel, NodeSays as Node};
    match (evidence.node, evidence.kernel, evidence.api) {
        // An up node: only its kernel frees. The API alone never does: a pod that hangs in Terminating may still answer.
        (Node::Heard, Kernel::Gone, _) => Finding::Dead(Ground::Kernel),
        (Node::Heard, Kernel::Rebooted, _) => Finding::Dead(Ground::Reboot),
        (Node::Heard, Kernel::Alive, _) => Finding::Alive,
        (Node::Heard, Kernel::Blind | Kernel::Silent, _) => Finding::Unknown(Witness::Kernel),
        (Node::AgentSilent, _, _) => Finding::Unknown(Witness::Kernel),
        (Node::Fenced, _, _) => Finding::Dead(Ground::Fence),
        (Node::Lost, _, Api::Gone | Api::Overdue) => Finding::Dead(Ground::Unfenced),
        (Node::Lost, _, Api::Silent) => Finding::Unknown(Witness::Api),
        (Node::Lost | Node::LostWithMany | Node::Unknown, _, _) => Finding::Unknown(Witness::Node),
    }
}

/// Continues or breaks the series of looks. Only the same ground continues it; everything else ends it, so
/// that a grace is always continuous.
#[must_use]
pub fn observe(series: Option<Suspicion>, finding: Finding, now: Moment) -> Option<Suspicion> {
    let Finding::Dead(ground) = finding else { return None };
    match series.filter(|series| series.ground == ground) {
        None => Some(Suspicion { since: now, last: now, looks: 1, ground }),
        Some(series) if now.since(series.last) < LOOKS_APART => Some(series),
        Some(series) => {
            Some(Suspicion { last: now, looks: series.looks.saturating_add(1), ..series })
        }
    }
}

/// Judges one lease: *whether* by what is found, *when* by the grace and by two looks that stand apart.
#[must_use]
pub fn judge(case: &Case, now: Moment) -> Judgement {
    let ground = match case.finding {
        Finding::Alive => return Judgement::Keep { waits_for: None },
        Finding::Unknown(witness) => return Judgement::Keep { waits_for: Some(witness) },
        Finding::Dead(ground) => ground,
    };
    let permitted = case.unfenced == UnfencedReclaim::Probe && case.verdict.permits_unfenced;
    if ground == Ground::Unfenced && !permitted {
        return Judgement::Keep { waits_for: Some(Witness::Node) };
    }
    let Some(series) = case.suspicion.filter(|series| series.ground == ground) else {
        return Judgement::Wait { left: case.verdict.grace.max(LOOKS_APART) };
    };
    let grace_left = case.verdict.grace.saturating_sub(now.since(series.since));
    let looks_left = if series.looks >= LOOKS {
        Duration::ZERO
    } else {
        LOOKS_APART.saturating_sub(now.since(series.last)).max(Duration::from_millis(1))
    };
    match (grace_left.max(looks_left), ground) {
        (Duration::ZERO, Ground::Kernel) => Judgement::Free { proof: Proof::Kernel },
        (Duration::ZERO, Ground::Reboot) => Judgement::Free { proof: Proof::Reboot },
        (Duration::ZERO, Ground::Fence) => Judgement::Free { proof: Proof::Operator },
        (Duration::ZERO, Ground::Unfenced) => Judgement::Quarantine,
        (left, _) => Judgement::Wait { left },
    }
}

impl Evidence {
    /// Of a lease of this machine, or of an agent that is heard: standalone mode knows no more.
    #[must_use]
    pub fn of_kernel(kernel: KernelSays) -> Self {
        Self { node: NodeSays::Heard, kernel, api: ApiSays::Nothing }
    }
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kernel => "the kernel of its node",
            Self::Node => "the return of its node, a fence or an operator",
            Self::Api => "the API that knows its owner",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERDICT: Verdict = Verdict {
        grace: Duration::from_secs(2),
        retain: Duration::ZERO,
        cooldown: Duration::from_secs(120),
        permits_unfenced: true,
    };

    fn on_heard_node(kernel: KernelSays) -> Finding {
        find(&Evidence::of_kernel(kernel))
    }

    /// The judgement after these looks.
    fn after(looks: &[(u64, Finding)]) -> Judgement {
        let mut suspicion = None;
        let mut judgement = Judgement::Keep { waits_for: None };
        for (at, finding) in looks {
            suspicion = observe(suspicion, *finding, Moment(*at));
            let case = case(*finding, suspicion, VERDICT);
            judgement = judge(&case, Moment(*at));
        }
        judgement
    }

    fn case(finding: Finding, suspicion: Option<Suspicion>, verdict: Verdict) -> Case {
        Case { finding, suspicion, verdict, unfenced: UnfencedReclaim::Probe }
    }

    #[test]
    fn a_gone_namespace_is_freed_after_two_looks_and_the_grace() {
        let gone = on_heard_node(KernelSays::Gone);
        assert_eq!(after(&[(0, gone)]), Judgement::Wait { left: Duration::from_secs(2) });
        assert_eq!(
            after(&[(0, gone), (1000, gone)]),
            Judgement::Wait { left: Duration::from_secs(1) }
        );
        assert_eq!(after(&[(0, gone), (2000, gone)]), Judgement::Free { proof: Proof::Kernel });
        let rebooted = on_heard_node(KernelSays::Rebooted);
        assert_eq!(
            after(&[(0, rebooted), (2000, rebooted)]),
            Judgement::Free { proof: Proof::Reboot }
        );
    }

    #[test]
    fn two_looks_within_a_second_count_as_one() {
        let gone = on_heard_node(KernelSays::Gone);
        let judged = |now| {
            let mut suspicion = None;
            for at in [0, 10, 20, now] {
                suspicion = observe(suspicion, gone, Moment(at));
            }
            let verdict = Verdict { grace: Duration::ZERO, ..VERDICT };
            judge(&case(gone, suspicion, verdict), Moment(now))
        };
        assert_eq!(judged(30), Judgement::Wait { left: Duration::from_millis(970) });
        assert_eq!(judged(1000), Judgement::Free { proof: Proof::Kernel });
    }

    #[test]
    fn one_look_that_does_not_say_gone_starts_the_grace_again() {
        let gone = on_heard_node(KernelSays::Gone);
        let others = [KernelSays::Alive, KernelSays::Silent, KernelSays::Blind].map(on_heard_node);
        // Another ground is another series: what was suspected without proof counts for nothing once there is one.
        for broken in others.into_iter().chain([Finding::Dead(Ground::Unfenced)]) {
            let judgement = after(&[(0, gone), (1500, broken), (3000, gone)]);
            assert_eq!(judgement, Judgement::Wait { left: Duration::from_secs(2) }, "{broken:?}");
        }
    }

    #[test]
    fn unknown_is_never_dead_whatever_the_clock_says() {
        for kernel in [KernelSays::Blind, KernelSays::Silent] {
            let unknown = on_heard_node(kernel);
            let judgement = after(&[(0, unknown), (86_400_000, unknown)]);
            assert_eq!(judgement, Judgement::Keep { waits_for: Some(Witness::Kernel) });
        }
    }

    /// Every combination: what is written here is the table of the design, read the other way round.
    #[test]
    fn nothing_else_than_the_table_says_makes_a_holder_dead() {
        use {ApiSays as Api, KernelSays as Kernel, NodeSays as Node};
        let nodes = [
            Node::Heard,
            Node::AgentSilent,
            Node::Fenced,
            Node::Lost,
            Node::LostWithMany,
            Node::Unknown,
        ];
        let kernels =
            [Kernel::Alive, Kernel::Gone, Kernel::Rebooted, Kernel::Blind, Kernel::Silent];
        let apis = [Api::Nothing, Api::Alive, Api::Overdue, Api::Gone, Api::Silent];
        let mut dead = 0;
        for node in nodes {
            for kernel in kernels {
                for api in apis {
                    let Finding::Dead(ground) = find(&Evidence { node, kernel, api }) else {
                        continue;
                    };
                    dead += 1;
                    let allowed = match ground {
                        Ground::Kernel => node == Node::Heard && kernel == Kernel::Gone,
                        Ground::Reboot => node == Node::Heard && kernel == Kernel::Rebooted,
                        Ground::Fence => node == Node::Fenced,
                        Ground::Unfenced => {
                            node == Node::Lost && matches!(api, Api::Gone | Api::Overdue)
                        }
                    };
                    assert!(allowed, "{node:?} {kernel:?} {api:?} -> {ground:?}");
                }
            }
        }
        assert_eq!(dead, 5 + 5 + 25 + 10);
    }

    #[test]
    fn the_api_alone_never_frees_a_lease_of_an_up_node() {
        for api in [ApiSays::Gone, ApiSays::Overdue] {
            let evidence = Evidence { node: NodeSays::Heard, kernel: KernelSays::Alive, api };
            assert_eq!(find(&evidence), Finding::Alive);
        }
    }

    #[test]
    fn a_lost_node_ends_in_quarantine_and_only_if_pool_and_policy_permit_it() {
        let lost =
            Evidence { node: NodeSays::Lost, kernel: KernelSays::Silent, api: ApiSays::Gone };
        let finding = find(&lost);
        let ground = Ground::Unfenced;
        let series = Suspicion { since: Moment(0), last: Moment(5000), looks: 2, ground };
        let judged = |unfenced, permits_unfenced| {
            let verdict = Verdict { permits_unfenced, ..VERDICT };
            judge(&Case { finding, suspicion: Some(series), verdict, unfenced }, Moment(6000))
        };
        let kept = Judgement::Keep { waits_for: Some(Witness::Node) };
        assert_eq!(judged(UnfencedReclaim::Probe, true), Judgement::Quarantine);
        assert_eq!(judged(UnfencedReclaim::Probe, false), kept);
        assert_eq!(judged(UnfencedReclaim::Never, true), kept);
    }
}
