//! The words of an explanation: what an address is, what each witness says, how a quarantine ends.

use serde::{Deserialize, Serialize};
use tenure_core::judge::{ApiSays, Evidence, KernelSays, NodeSays};
use tenure_core::lease::{Lease, LeaseState, QuarantineCause};

use crate::views::LeaseView;

/// What one witness says of the holder of an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Testimony {
    /// `kernel`, `node` or `api`.
    pub witness: String,
    /// In words.
    pub says: String,
}

/// Of whom the witnesses speak.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject {
    /// Of the holder; else of the last one.
    pub(crate) has_holder: bool,
    /// The address was last seen on a link of its last holder.
    pub(crate) lingers: bool,
}

/// What the address is, in one sentence.
pub(crate) fn summary(view: &LeaseView) -> String {
    let lease = &view.lease;
    match &lease.state {
        LeaseState::Bound => format!("held by {} for {}", lease.attachment, lease.owner),
        LeaseState::Quarantined { cause, .. } => format!(
            "quarantined, {}; recorded for {} of {}",
            cause_text(cause),
            lease.attachment,
            lease.owner
        ),
        LeaseState::Released { .. } => {
            format!("{}; last held by {} for {}", view.view, lease.attachment, lease.owner)
        }
    }
}

/// Why an address is in quarantine.
fn cause_text(cause: &QuarantineCause) -> String {
    match cause {
        QuarantineCause::Unfenced => "its node is lost and not fenced".to_owned(),
        QuarantineCause::Wire => "a foreign machine answered for it on the wire".to_owned(),
        QuarantineCause::Operator(why) => format!("by an operator ({why})"),
        QuarantineCause::TwoClaims => "two holders claim it".to_owned(),
        QuarantineCause::Found => {
            "it was found on a link of a container of which the store knows nothing".to_owned()
        }
    }
}

/// How a quarantine ends.
pub(crate) fn quarantine_exits(cause: &QuarantineCause, lease: &Lease) -> String {
    let (key, generation) = (lease.key(), lease.generation.0);
    let by_hand = format!(
        "an operator ends it with `tenure release {key} --generation {generation}` (and --even-if-live while its holder is seen)"
    );
    match cause {
        QuarantineCause::Unfenced => format!(
            "it returns to its holder when that is seen alive; it is released when that is proved gone; \
             it is given after a silent probe; {by_hand}"
        ),
        QuarantineCause::Wire => format!("it is given after a silent probe; {by_hand}"),
        QuarantineCause::Operator(_) | QuarantineCause::TwoClaims | QuarantineCause::Found => {
            format!(
                "it is released by the DEL of its holder, or when that is proved gone; {by_hand}"
            )
        }
    }
}

/// What each witness says; those that no one asks are left out.
pub(crate) fn testimonies(evidence: &Evidence, subject: Subject) -> Vec<Testimony> {
    let one = |witness: &str, says: String| Testimony { witness: witness.into(), says };
    let mut all = vec![one("kernel", kernel_text(evidence.kernel, subject))];
    if evidence.node != NodeSays::Heard {
        all.push(one("node", node_text(evidence.node).to_owned()));
    }
    if evidence.api != ApiSays::Nothing {
        all.push(one("api", api_text(evidence.api).to_owned()));
    }
    all
}

fn kernel_text(kernel: KernelSays, subject: Subject) -> String {
    let whose = if subject.has_holder { "its holder" } else { "its last holder" };
    match kernel {
        KernelSays::Alive if subject.lingers => {
            format!(
                "the network namespace of {whose} exists, and the address was last seen on a link of it"
            )
        }
        KernelSays::Alive => format!("the network namespace of {whose} exists"),
        KernelSays::Gone => format!("the network namespace of {whose} was seen and is no more"),
        KernelSays::Rebooted => {
            format!("the machine was started anew since; nothing of {whose} lives")
        }
        KernelSays::Blind => format!("nothing: it never saw the network namespace of {whose}"),
        KernelSays::Silent => "nothing at this moment".to_owned(),
    }
}

fn node_text(node: NodeSays) -> &'static str {
    match node {
        NodeSays::Heard => "it is heard",
        NodeSays::AgentSilent => "its agent is silent, the node itself reports",
        NodeSays::Fenced => "it is fenced",
        NodeSays::Lost => "it is lost",
        NodeSays::LostWithMany => "it is lost together with many others",
        NodeSays::Unknown => "the lease is of another machine, of which nobody reports",
    }
}

fn api_text(api: ApiSays) -> &'static str {
    match api {
        ApiSays::Nothing | ApiSays::Silent => "nothing at this moment",
        ApiSays::Alive => "the owner exists",
        ApiSays::Overdue => "the owner is being deleted and its termination grace is over",
        ApiSays::Gone => "the owner is gone or finished",
    }
}
