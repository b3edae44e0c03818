//! How long one node was silent while it could have been heard.
//!
//! ```text
//! two successful reads of its node lease, close together  -> the time between them counts for its agent
//! ... and the lease is the same in both                    -> ... and for its lease
//! the lease differs                                        -> its lease was not silent: begin anew
//! its agent is heard                                       -> its agent was not silent: begin anew
//! a read fails                                             -> nothing: it adds nothing and breaks nothing
//! ```
//!
//! So time in which this process was cut off, stopped or suspended counts for nobody, and a restart begins anew: that can
//! only lengthen a silence (I8). A lease that is absent is the same as an absent one: a node whose objects were deleted is
//! silent.

use std::time::Duration;

use tenure_core::time::Moment;

/// By which figures silence is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Who was silent for so long is lost.
    pub(crate) lost: Duration,
    /// Two reads are close if not more than this lies between the beginning of one and the end of the next.
    pub(crate) close: Duration,
}

/// What a live read shows of a node lease. It is compared for being equal, never with a clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LeaseSeen {
    /// There is none.
    Absent,
    /// There is one.
    Is {
        /// Its uid.
        uid: String,
        /// When its node renewed it, as the node says.
        renewed: String,
        /// Its version.
        version: String,
    },
}

/// When a read was under way: what it shows stood at some moment between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) began: Moment,
    pub(crate) ended: Moment,
}

/// The silence of one node.
#[derive(Debug, Default)]
pub(crate) struct Silence {
    /// When its agent was last heard.
    heard: Option<Moment>,
    /// The last read that succeeded.
    last: Option<(LeaseSeen, Span)>,
    agent: Duration,
    lease: Duration,
}

/// What is to be thought of a node, fences aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quiet {
    /// Its agent was heard within the lost time.
    Heard,
    /// Not established, or not any more.
    Unclear,
    /// Its agent was silent for the lost time, its lease was not.
    Agent,
    /// Both were silent for the lost time.
    Both,
}

// === impl Silence ===

impl Silence {
    /// Its agent speaks.
    pub(crate) fn heard(&mut self, now: Moment) {
        self.heard = self.heard.max(Some(now));
        self.agent = Duration::ZERO;
    }

    /// When its agent was last heard.
    pub(crate) fn last_heard(&self) -> Option<Moment> {
        self.heard
    }

    /// What the last read that succeeded showed.
    pub(crate) fn last_lease(&self) -> Option<&LeaseSeen> {
        self.last.as_ref().map(|(seen, _)| seen)
    }

    /// For how long its lease was read and did not change.
    pub(crate) fn lease_silent(&self) -> Duration {
        self.lease
    }

    /// A read succeeded.
    pub(crate) fn read(&mut self, seen: LeaseSeen, span: Span, rules: Rules) {
        let Some((before, last)) = self.last.take() else {
            self.last = Some((seen, span));
            return;
        };
        let is_same = before == seen;
        if !is_same {
            self.lease = Duration::ZERO;
        }
        // Two reads that overlap, or that are told out of turn: nothing lies between them.
        if span.began < last.ended {
            self.last = Some((before, last));
            return;
        }
        if span.ended.since(last.began) <= rules.close {
            let since = self.heard.map_or(last.ended, |heard| heard.max(last.ended));
            self.agent = self.agent.saturating_add(span.began.since(since));
            if is_same {
                self.lease = self.lease.saturating_add(span.began.since(last.ended));
            }
        }
        self.last = Some((seen, span));
    }

    /// What is to be thought now. What rests on reads is good for as long as the next read would be close.
    pub(crate) fn state(&self, now: Moment, rules: Rules) -> Quiet {
        let is_recent = |last: &(LeaseSeen, Span)| now.since(last.1.began) <= rules.close;
        if self.is_heard(now, rules.lost) {
            Quiet::Heard
        } else if !self.last.as_ref().is_some_and(is_recent) || self.agent < rules.lost {
            Quiet::Unclear
        } else if self.lease < rules.lost {
            Quiet::Agent
        } else {
            Quiet::Both
        }
    }

    /// Whether its agent was heard within so long.
    pub(crate) fn is_heard(&self, now: Moment, within: Duration) -> bool {
        self.heard.is_some_and(|heard| now.since(heard) < within)
    }

    /// Whether both were silent for so long, by what was read so far.
    pub(crate) fn both_for(&self, long: Duration) -> bool {
        self.agent >= long && self.lease >= long
    }
}

#[cfg(test)]
mod tests;
