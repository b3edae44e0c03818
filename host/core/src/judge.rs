//! The one function that decides whether a holder is dead. Sweep, events, dry run and explain all ask it.
//!
//! *Unknown is never dead*: an error, a timeout, a partial listing or a witness that never saw the holder
//! alive keeps the lease (invariant I7). Proof decides *whether*, the grace decides *when*.

use std::time::Duration;

use crate::decision::Verdict;
use crate::lease::Proof;
use crate::time::Moment;

/// Proof by kernel or boot takes two looks at least so far apart.
pub const LOOKS_APART: Duration = Duration::from_secs(1);
/// How many looks a proof takes.
pub const LOOKS: u32 = 2;

/// What the kernel witness of the holder's node says of its namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

/// An unbroken series of looks that all said gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspicion {
    /// The first of them.
    pub since: Moment,
    /// The last one that counted: at least [`LOOKS_APART`] after the one before.
    pub last: Moment,
    /// How many counted.
    pub looks: u32,
}

/// All that the judge looks at for one lease on a node that is heard.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// What the witness says now.
    pub kernel: KernelSays,
    /// The series of looks up to now, the present one included.
    pub suspicion: Option<Suspicion>,
    /// The figures of policy, clamped to the pool's limits.
    pub verdict: Verdict,
}

/// Whose word is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Witness {
    /// The kernel of the holder's node.
    Kernel,
}

/// What follows for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Its holder lives, or nothing can be said.
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
}

/// Continues or breaks the series of looks. Only *gone* continues it; everything else ends it, so
/// that a grace is always continuous.
#[must_use]
pub fn observe(series: Option<Suspicion>, kernel: KernelSays, now: Moment) -> Option<Suspicion> {
    match (kernel, series) {
        (KernelSays::Alive | KernelSays::Blind | KernelSays::Silent, _) => None,
        (KernelSays::Gone | KernelSays::Rebooted, None) => {
            Some(Suspicion { since: now, last: now, looks: 1 })
        }
        (KernelSays::Gone | KernelSays::Rebooted, Some(series)) => {
            if now.since(series.last) < LOOKS_APART {
                return Some(series);
            }
            Some(Suspicion { last: now, looks: series.looks.saturating_add(1), ..series })
        }
    }
}

/// Judges one lease of a node that is heard (DESIGN section 5, first row of the table): only the kernel
/// frees, `api` alone never does.
#[must_use]
pub fn judge(case: &Case, now: Moment) -> Judgement {
    let proof = match case.kernel {
        KernelSays::Alive => return Judgement::Keep { waits_for: None },
        KernelSays::Blind | KernelSays::Silent => {
            return Judgement::Keep { waits_for: Some(Witness::Kernel) };
        }
        KernelSays::Gone => Proof::Kernel,
        KernelSays::Rebooted => Proof::Reboot,
    };
    let Some(series) = case.suspicion else {
        return Judgement::Wait { left: case.verdict.grace.max(LOOKS_APART) };
    };
    let grace_left = case.verdict.grace.saturating_sub(now.since(series.since));
    let looks_left = if series.looks >= LOOKS {
        Duration::ZERO
    } else {
        LOOKS_APART.saturating_sub(now.since(series.last)).max(Duration::from_millis(1))
    };
    match grace_left.max(looks_left) {
        Duration::ZERO => Judgement::Free { proof },
        left => Judgement::Wait { left },
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

    fn after(looks: &[(u64, KernelSays)]) -> Judgement {
        let mut suspicion = None;
        let mut judgement = Judgement::Keep { waits_for: None };
        for (at, kernel) in looks {
            suspicion = observe(suspicion, *kernel, Moment(*at));
            let case = Case { kernel: *kernel, suspicion, verdict: VERDICT };
            judgement = judge(&case, Moment(*at));
        }
        judgement
    }

    #[test]
    fn a_gone_namespace_is_freed_after_two_looks_and_the_grace() {
        use KernelSays::Gone;
        assert_eq!(after(&[(0, Gone)]), Judgement::Wait { left: Duration::from_secs(2) });
        assert_eq!(
            after(&[(0, Gone), (1000, Gone)]),
            Judgement::Wait { left: Duration::from_secs(1) }
        );
        assert_eq!(after(&[(0, Gone), (2000, Gone)]), Judgement::Free { proof: Proof::Kernel });
        assert_eq!(
            after(&[(0, KernelSays::Rebooted), (2000, KernelSays::Rebooted)]),
            Judgement::Free { proof: Proof::Reboot }
        );
    }

    #[test]
    fn two_looks_within_a_second_count_as_one() {
        use KernelSays::Gone;
        let case = |now| {
            let mut suspicion = None;
            for at in [0, 10, 20, now] {
                suspicion = observe(suspicion, Gone, Moment(at));
            }
            let verdict = Verdict { grace: Duration::ZERO, ..VERDICT };
            judge(&Case { kernel: Gone, suspicion, verdict }, Moment(now))
        };
        assert_eq!(case(30), Judgement::Wait { left: Duration::from_millis(970) });
        assert_eq!(case(1000), Judgement::Free { proof: Proof::Kernel });
    }

    #[test]
    fn one_look_that_does_not_say_gone_starts_the_grace_again() {
        use KernelSays::{Alive, Blind, Gone, Silent};
        for broken in [Alive, Silent, Blind] {
            let judgement = after(&[(0, Gone), (1500, broken), (3000, Gone)]);
            assert_eq!(judgement, Judgement::Wait { left: Duration::from_secs(2) }, "{broken:?}");
        }
    }

    #[test]
    fn unknown_is_never_dead_whatever_the_clock_says() {
        for kernel in [KernelSays::Blind, KernelSays::Silent] {
            let judgement = after(&[(0, kernel), (86_400_000, kernel)]);
            assert_eq!(judgement, Judgement::Keep { waits_for: Some(Witness::Kernel) });
        }
    }
}
