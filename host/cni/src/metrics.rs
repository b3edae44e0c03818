//! What the server counts. Plain atomics; the admin API turns them into metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::answer;
use crate::translate::Verb;

/// Counters of one verb, since the daemon started.
#[derive(Debug, Default)]
pub(crate) struct VerbCounters {
    requests: AtomicU64,
    failures: AtomicU64,
    try_later: AtomicU64,
    micros: AtomicU64,
}

/// Counters of the socket server, since the daemon started.
#[derive(Debug, Default)]
pub struct Metrics {
    add: VerbCounters,
    del: VerbCounters,
    check: VerbCounters,
    gc: VerbCounters,
    status: VerbCounters,
    pub(crate) over_limit: AtomicU64,
    pub(crate) callers_refused: AtomicU64,
    pub(crate) bad_frames: AtomicU64,
    pub(crate) hung_up: AtomicU64,
}

/// One reading of the counters of a verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerbReading {
    /// `ADD`, `DEL`, `CHECK`, `GC` or `STATUS`.
    pub verb: &'static str,
    /// Requests that were answered.
    pub requests: u64,
    /// Those of them that failed, for whatever reason.
    pub failures: u64,
    /// Those of them that failed with code 11.
    pub try_later: u64,
    /// Time from frame to answer of all of them, in microseconds.
    pub micros: u64,
}

/// One reading of all counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// One entry per verb.
    pub verbs: Vec<VerbReading>,
    /// Connections answered with code 11 because of the limit.
    pub over_limit: u64,
    /// Connections of users who may not use the socket.
    pub callers_refused: u64,
    /// Connections that sent no whole frame of ours in time.
    pub bad_frames: u64,
    /// ADDs ended early because their caller hung up.
    pub hung_up: u64,
}

impl Metrics {
    /// All counters now.
    #[must_use]
    pub fn read(&self) -> Reading {
        Reading {
            verbs: Verb::ALL.map(|verb| self.of(verb).read(verb)).to_vec(),
            over_limit: self.over_limit.load(Ordering::Relaxed),
            callers_refused: self.callers_refused.load(Ordering::Relaxed),
            bad_frames: self.bad_frames.load(Ordering::Relaxed),
            hung_up: self.hung_up.load(Ordering::Relaxed),
        }
    }

    /// Counts an answered request; `code` is that of its failure.
    pub(crate) fn answered(&self, verb: Verb, code: Option<u32>, took: Duration) {
        let counters = self.of(verb);
        count(&counters.requests);
        if code.is_some() {
            count(&counters.failures);
        }
        if code == Some(answer::TRY_LATER) {
            count(&counters.try_later);
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        counters.micros.fetch_add(micros, Ordering::Relaxed);
    }

    fn of(&self, verb: Verb) -> &VerbCounters {
        match verb {
            Verb::Add => &self.add,
            Verb::Del => &self.del,
            Verb::Check => &self.check,
            Verb::Gc => &self.gc,
            Verb::Status => &self.status,
        }
    }
}

impl VerbCounters {
    fn read(&self, verb: Verb) -> VerbReading {
        VerbReading {
            verb: verb.as_str(),
            requests: self.requests.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            try_later: self.try_later.load(Ordering::Relaxed),
            micros: self.micros.load(Ordering::Relaxed),
        }
    }
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
