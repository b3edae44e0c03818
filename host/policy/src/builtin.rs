//! The strategies built into the host. They end every chain, and they answer for a policy that
//! failed. Their figures are the defaults of the design's section 5.

use std::cmp::Reverse;
use std::time::Duration;

use tenure_core::decision::{
    Affinity, AffinityAnswer, Candidate, RETAIN_AS_AT_ADD, SelectRequest, Selection, Suspect,
    Verdict,
};

pub use tenure_core::defaults::{COOLDOWN, GRACE as SHORT_GRACE, GRACE_COMING_BACK as LONG_GRACE};

/// All candidates: the named ones in the listed order, then by priority, in-zone before others, the
/// emptiest first. All of them, because a pool that is left out is never waited for.
pub(crate) fn select(request: &SelectRequest) -> Selection {
    let mut rows: Vec<(usize, &Candidate)> = request
        .candidates
        .iter()
        .enumerate()
        .filter(|(_, candidate)| request.families.has(candidate.family))
        .collect();
    rows.sort_by_key(|(row, c)| {
        let listed = if c.named { c.order.unwrap_or(u32::MAX) } else { u32::MAX };
        (!c.named, listed, Reverse(c.priority), !c.in_zone, Reverse(c.free), *row)
    });
    Selection::Ranked(rows.iter().filter_map(|(row, _)| u32::try_from(*row).ok()).collect())
}

/// Nothing special.
pub(crate) fn affinity() -> AffinityAnswer {
    AffinityAnswer { choice: Affinity::None, tag: 0 }
}

/// One suspect lease. A lost node is judged by what the API says of the pod: a Terminating pod has
/// its own grace, one that still runs there the long one.
pub(crate) fn verdict(lease: &Suspect) -> Verdict {
    let comes_back = lease.api_alive && !lease.terminating && !lease.finished;
    let own = Duration::from_secs(u64::from(lease.termination_grace_s));
    let grace = if comes_back {
        LONG_GRACE
    } else if lease.node_lost && lease.terminating {
        own.max(SHORT_GRACE)
    } else {
        SHORT_GRACE
    };
    Verdict { grace, retain: RETAIN_AS_AT_ADD, cooldown: COOLDOWN, permits_unfenced: true }
}

/// What a lease gets when the policy that should judge it failed: a broken policy may keep an
/// address longer, never free one early.
pub(crate) fn cautious_verdict() -> Verdict {
    Verdict {
        grace: LONG_GRACE,
        retain: RETAIN_AS_AT_ADD,
        cooldown: COOLDOWN,
        permits_unfenced: false,
    }
}
