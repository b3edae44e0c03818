//! The circuit breaker of one version of a policy: a policy that fails again and again is not asked
//! for a while, so that it costs nothing and its log stays readable.
//!
//! ```text
//! Closed --5 faults within 60 s--> Open --30 s--> HalfOpen (one call) --success--> Closed
//!                                    ^-----------------fault-----------'
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use tenure_core::time::Moment;

/// So many faults ...
const FAULTS: usize = 5;
/// ... within this time open the breaker.
const WINDOW: Duration = Duration::from_secs(60);
/// How long an open breaker lets nothing through.
const REST: Duration = Duration::from_secs(30);

/// Written by every decision of its version, under a lock held for nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct Breaker(Mutex<State>);

#[derive(Debug)]
enum State {
    Closed {
        faults: VecDeque<Moment>,
    },
    Open {
        since: Moment,
    },
    /// One call is on its way.
    HalfOpen {
        since: Moment,
    },
}

impl Default for State {
    fn default() -> Self {
        Self::Closed { faults: VecDeque::new() }
    }
}

// === impl Breaker ===

impl Breaker {
    /// Whether the policy may be asked now. Each admitted call must report how it ended.
    pub(crate) fn admits(&self, now: Moment) -> bool {
        let mut state = self.0.lock();
        match *state {
            State::Closed { .. } => true,
            // A probe that never reported (its thread died) must not close the door for ever.
            State::Open { since } | State::HalfOpen { since } if now.since(since) >= REST => {
                *state = State::HalfOpen { since: now };
                true
            }
            State::Open { .. } | State::HalfOpen { .. } => false,
        }
    }

    /// The call ended well. A success does not forgive earlier faults of a closed breaker: they
    /// leave by age, or a policy that fails every second call would never be stopped.
    pub(crate) fn succeeded(&self) {
        let mut state = self.0.lock();
        if matches!(*state, State::HalfOpen { .. }) {
            *state = State::default();
        }
    }

    /// The call was a fault. True if this one opened the breaker.
    pub(crate) fn failed(&self, now: Moment) -> bool {
        let mut state = self.0.lock();
        match &mut *state {
            State::Closed { faults } => {
                faults.push_back(now);
                faults.retain(|at| now.since(*at) < WINDOW);
                if faults.len() < FAULTS {
                    return false;
                }
                *state = State::Open { since: now };
                true
            }
            State::HalfOpen { .. } => {
                *state = State::Open { since: now };
                true
            }
            // A call that was on its way when the breaker opened.
            State::Open { .. } => false,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        !matches!(*self.0.lock(), State::Closed { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(seconds * 1000)
    }

    #[test]
    fn five_faults_within_a_minute_open_it_and_half_a_minute_later_one_call_may_try() {
        let breaker = Breaker::default();
        let opened: Vec<bool> = (0..5).map(|s| breaker.failed(at(s))).collect();
        assert_eq!(opened, [false, false, false, false, true]);
        assert!(!breaker.admits(at(33)), "29 s after the fifth fault");
        assert!(breaker.admits(at(34)), "30 s after it: the probe");
        assert!(!breaker.admits(at(34)), "only one probe");
        assert!(breaker.failed(at(34)), "the probe failed: open again");
        assert!(!breaker.admits(at(63)));
        assert!(breaker.admits(at(64)));
        breaker.succeeded();
        assert!(!breaker.is_open());
    }

    #[test]
    fn faults_that_are_far_apart_never_open_it() {
        let breaker = Breaker::default();
        assert!((0..50).all(|n| !breaker.failed(at(n * 15))), "four in each minute");
    }

    #[test]
    fn every_second_call_failing_opens_it_all_the_same() {
        let breaker = Breaker::default();
        let opened = (0..5).any(|s| {
            breaker.succeeded();
            breaker.failed(at(s))
        });
        assert!(opened);
    }
}
