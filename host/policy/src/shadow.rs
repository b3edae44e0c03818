//! Policies in shadow mode: asked about a share of the requests that were just answered, on a thread of their own, compared
//! with what was answered, and without any effect.
//!
//! Requests come by a bounded queue. Whoever decides puts them there and goes on; where the queue is full the request is
//! dropped and counted. A shadow that is slow, hangs or faults costs a core at most.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::JoinHandle;

use tenure_core::ports::ShadowStatus;

use crate::chain::{Counters, Installed, Version};
use crate::decide::{Asked, Place, Whole, ask};
use crate::question::Question;
use crate::reclaim;
use crate::ring::{Answer, Ring};

/// Requests that wait: some 10 ms of a busy daemon, and some MiB of memory at most.
const WAITING: usize = 128;

/// The way to the thread. It ends when the value is dropped, after the request at hand.
pub(crate) struct Lane {
    jobs: Option<SyncSender<Job>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A decision that was made.
pub(crate) struct Job {
    pub(crate) shadow: Arc<Installed>,
    pub(crate) question: Question,
    pub(crate) answer: Answer,
    /// Its number in the ring.
    pub(crate) record: u64,
}

// === impl Lane ===

impl Lane {
    /// Starts the thread.
    pub(crate) fn start(place: Place, ring: Arc<Ring>) -> std::io::Result<Self> {
        let (jobs, waiting) = mpsc::sync_channel(WAITING);
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let work = move || work(&place, &ring, &waiting, &flag);
        let thread = std::thread::Builder::new().name("policy-shadow".into()).spawn(work)?;
        Ok(Self { jobs: Some(jobs), stop, thread: Some(thread) })
    }

    /// Has a shadow asked, if it is its turn and there is room. Never waits.
    pub(crate) fn offer(&self, job: Job) {
        let counters = job.shadow.counters.clone();
        if !is_its_turn(percent(&job.shadow.version), job.question.seed()) {
            return;
        }
        let taken = self.jobs.as_ref().is_some_and(|jobs| jobs.try_send(job).is_ok());
        if !taken {
            counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A panic was already reported by the panic hook.
            let _ = thread.join();
        }
    }
}

fn work(place: &Place, ring: &Ring, waiting: &Receiver<Job>, stop: &AtomicBool) {
    while let Ok(job) = waiting.recv() {
        if stop.load(Ordering::Acquire) {
            return;
        }
        let Job { shadow, question, answer, record } = job;
        match (&question, &answer) {
            (Question::Select(request), Answer::Select(given)) => {
                whole(place, ring, (&shadow, record), &**request, given);
            }
            (Question::Affinity(request), Answer::Affinity(given)) => {
                whole(place, ring, (&shadow, record), &**request, given);
            }
            (Question::Reclaim(request), Answer::Reclaim(given)) => {
                let Some((asked, step, ours)) = reclaim::as_shadow(place, &shadow, request, given)
                else {
                    continue;
                };
                note(ring, (&shadow, record), (asked, step), &ours);
            }
            // An answer is always of the kind of its question.
            _ => {}
        }
    }
}

fn whole<R: Whole>(
    place: &Place,
    ring: &Ring,
    (shadow, record): (&Arc<Installed>, u64),
    request: &R,
    given: &R::Answer,
) {
    let keys = shadow.version.keys.clone();
    let (view, rows) = (request.view(&keys), request.rows());
    let (asked, step, _) =
        ask(place, shadow, R::HOOK, rows, view, |session| request.ask(session, &keys));
    note(ring, (shadow, record), (asked, step), given);
}

/// Counts what a shadow would have done, and adds it to the record of the decision.
fn note<A: PartialEq + Debug>(
    ring: &Ring,
    (shadow, record): (&Installed, u64),
    (asked, mut step): (Asked<A>, crate::ring::Step),
    given: &A,
) {
    let Counters { agreed, differed, abstained, .. } = &*shadow.counters;
    match asked {
        Asked::Decided(own) if own == *given => {
            agreed.fetch_add(1, Ordering::Relaxed);
            step.spent.log.push("shadow: agrees".to_owned());
        }
        Asked::Decided(own) => {
            differed.fetch_add(1, Ordering::Relaxed);
            step.spent.log.push(crate::guest::cut(&format!("shadow: would answer {own:?}"), 1024));
        }
        Asked::Abstained => {
            abstained.fetch_add(1, Ordering::Relaxed);
        }
        Asked::Failed => {}
    }
    ring.add_step(record, step);
}

fn percent(version: &Version) -> u8 {
    version.spec.shadow.as_ref().map_or(100, |shadow| shadow.percent)
}

/// By the seed of the request, so that all shadows of one share are asked about the same requests.
fn is_its_turn(percent: u8, seed: u64) -> bool {
    // Seeds may be counted rather than drawn.
    let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    mixed % 100 < u64::from(percent)
}

/// How a shadow fares; none of others.
pub(crate) fn status(installed: &Installed) -> Option<ShadowStatus> {
    let version = &installed.version;
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    version.is_shadow().then(|| ShadowStatus {
        of: version.spec.shadow.as_ref().and_then(|shadow| shadow.of.clone()),
        percent: percent(version),
        agreed: count(&installed.counters.agreed),
        differed: count(&installed.counters.differed),
        abstained: count(&installed.counters.abstained),
        dropped: count(&installed.counters.dropped),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_seeds_is_asked_whether_they_are_drawn_or_counted() {
        for (percent, from, to) in [(100, 10_000, 10_000), (10, 850, 1150), (1, 60, 140)] {
            let counted = (0..10_000).filter(|seed| is_its_turn(percent, *seed)).count();
            assert!((from..=to).contains(&counted), "{percent} %: {counted}");
        }
    }
}
