//! When a CA is followed by another: a pure rule of what the Secret holds and the time.
//!
//! ```text
//! present ── 2/3 of its life ──> next made ── in the bundle ──> published ── overlap ──> promoted: next is present,
//!                                                                                        present is old
//! old     ── its end ──────────> forgotten
//! present void (ended, or of a time to come) ──> replaced at once, by a published next if there is one
//! ```
//!
//! Certificates live by the wall clock, so this does as well; no address depends on it. An allocator whose clock is wrong may
//! cut an overlap short or replace a CA: agents that read the bundle again after a refusal get over it, and a certificate
//! from the future does not outlive the correction.

use std::time::Duration;

use tenure_core::time::WallMs;

/// Certificates are valid from so long before they are made, for clocks that are behind.
pub(super) const BACKDATE: Duration = Duration::from_secs(3600);

/// When a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) from: WallMs,
    pub(super) ends: WallMs,
}

/// What the Secret holds, as far as the rule looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) present: Life,
    pub(super) next: Option<Next>,
    pub(super) old: Vec<Life>,
}

/// The CA that will follow, and since when it stands in the bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) life: Life,
    pub(super) published: Option<WallMs>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing now.
    Rest,
    /// The present CA serves nobody: make another in its place.
    Replace,
    /// Make the one that will follow.
    MakeNext,
    /// The bundle shows the next one: write since when.
    NotePublished,
    /// Sign with the next one from now on.
    Promote,
    /// Drop the old ones that have ended.
    ForgetOld,
}

// === impl Life ===

impl Life {
    pub(super) fn is_valid(&self, now: WallMs) -> bool {
        self.from <= now && now < self.ends
    }

    /// Two thirds of the time between its making and its end have passed.
    pub(super) fn is_due(&self, now: WallMs) -> bool {
        let made = self.from.0.saturating_add(millis(BACKDATE)).min(self.ends.0);
        let lasts = self.ends.0.saturating_sub(made);
        now.0 >= made.saturating_add(lasts / 3 * 2)
    }
}

/// The first that applies; called again after it was done, until it rests.
pub(super) fn step(held: &Held, now: WallMs, overlap: Duration) -> Step {
    let next = held.next.filter(|next| next.life.is_valid(now));
    if !held.present.is_valid(now) {
        return match next {
            Some(Next { published: Some(_), .. }) => Step::Promote,
            Some(Next { published: None, .. }) => Step::NotePublished,
            None => Step::Replace,
        };
    }
    match next {
        Some(Next { published: None, .. }) => Step::NotePublished,
        Some(Next { published: Some(at), .. }) if now.0 >= at.0.saturating_add(millis(overlap)) => {
            Step::Promote
        }
        None if held.present.is_due(now) => Step::MakeNext,
        Some(_) | None if held.old.iter().any(|life| !life.is_valid(now)) => Step::ForgetOld,
        Some(_) | None => Step::Rest,
    }
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3600 * 1000;
    const OVERLAP: Duration = Duration::from_secs(24 * 3600);

    /// From one day to another, since a day 1000.
    fn life(made: u64, ends: u64) -> Life {
        let from = WallMs((1000 + made) * DAY - millis(BACKDATE));
        Life { from, ends: WallMs((1000 + ends) * DAY) }
    }

    fn held(next: Option<(Life, Option<u64>)>, old: Option<Life>) -> Held {
        let next = next.map(|(life, published)| Next {
            life,
            published: published.map(|day| WallMs((1000 + day) * DAY)),
        });
        Held { present: life(0, 90), next, old: old.into_iter().collect() }
    }

    #[test]
    fn each_state_has_its_steps_by_the_time() {
        use Step::{ForgetOld, MakeNext, NotePublished, Promote, Replace, Rest};
        let following = life(60, 150);
        let alone = held(None, None);
        let made = held(Some((following, None)), None);
        let published = held(Some((following, Some(61))), None);
        let lone_old = held(None, Some(life(0, 30)));
        let busy_old = held(Some((following, Some(61))), Some(life(0, 30)));
        for (name, held, steps) in [
            ("alone", &alone, vec![(0, Rest), (59, Rest), (60, MakeNext), (89, MakeNext)]),
            ("alone, ended", &alone, vec![(90, Replace), (400, Replace)]),
            ("made", &made, vec![(60, NotePublished), (89, NotePublished), (90, NotePublished)]),
            ("published", &published, vec![(61, Rest), (62, Promote), (89, Promote)]),
            ("published, present ended", &published, vec![(90, Promote), (149, Promote)]),
            ("both ended", &published, vec![(150, Replace)]),
            ("with an old one", &lone_old, vec![(29, Rest), (30, ForgetOld), (60, MakeNext)]),
            ("with both", &busy_old, vec![(61, ForgetOld), (62, Promote)]),
        ] {
            for (day, expected) in steps {
                let now = WallMs((1000 + day) * DAY);
                assert_eq!(step(held, now, OVERLAP), expected, "{name} on day {day}");
            }
        }
    }

    #[test]
    fn what_a_clock_ahead_has_made_does_not_stay() {
        let now = WallMs(1000 * DAY);
        let ahead = Held { present: life(5, 95), next: None, old: Vec::new() };
        assert_eq!(step(&ahead, now, OVERLAP), Step::Replace);
        let following = held(Some((life(500, 600), Some(500))), None);
        assert_eq!(step(&following, WallMs(1061 * DAY), OVERLAP), Step::MakeNext);
    }

    #[test]
    fn an_overlap_noted_by_a_clock_ahead_is_waited_for_no_longer_than_the_present_lives() {
        let noted = held(Some((life(60, 150), Some(10_000))), None);
        assert_eq!(step(&noted, WallMs(1089 * DAY), OVERLAP), Step::Rest);
        assert_eq!(step(&noted, WallMs(1090 * DAY), OVERLAP), Step::Promote);
    }

    #[test]
    fn a_step_that_is_done_leads_on_until_it_rests() {
        let mut held = held(None, None);
        for day in 0..1000 {
            let now = WallMs((1000 + day) * DAY);
            for turn in 0.. {
                assert!(turn < 8, "day {day} has no end: {held:?}");
                let made = life(day, day + 90);
                match step(&held, now, OVERLAP) {
                    Step::Rest => break,
                    Step::Replace => panic!("day {day}: nobody trusts the new one yet"),
                    Step::MakeNext => held.next = Some(Next { life: made, published: None }),
                    Step::NotePublished => held.next.as_mut().unwrap().published = Some(now),
                    Step::Promote => {
                        let next = held.next.take().unwrap();
                        held.old.push(std::mem::replace(&mut held.present, next.life));
                    }
                    Step::ForgetOld => held.old.retain(|life| life.is_valid(now)),
                }
            }
            assert!(held.present.is_valid(now) && held.old.len() <= 1, "day {day}");
        }
    }
}
