//! Many plugin processes, as the kubelets of ten nodes start them: so many at once, and again when one fails.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use super::ledger::Ledger;
use super::plugin::Plugin;
use super::pods::Pod;
use super::rooms;

/// A kubelet comes back to a pod that failed after its `backOffPeriod` of 10 s and up to half of it more
/// (`pod_workers.go`).
const BACK_OFF: Duration = Duration::from_secs(10);
/// A pod that has no address, or keeps it, after so long is a failure.
const GIVE_UP: Duration = Duration::from_secs(240);
/// Each thread starts one process and reads its answer.
const STACK_BYTES: usize = 256 * 1024;
/// How often a full lane looks whether somebody in it waits by now.
const LOOK: Duration = Duration::from_millis(5);

/// How many processes a lane holds at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Width {
    pub(crate) at_once: usize,
    /// A process that takes longer waits for an address and counts no more: kubelets do not hold back the next pod.
    pub(crate) waits_after: Option<Duration>,
}

/// The kubelets of all nodes, with their runtimes.
pub(crate) struct Kubelets {
    pub(crate) plugin: Plugin,
    pub(crate) ledger: Ledger,
    /// Tries that were answered with an error, and the first words of some.
    failed_tries: AtomicUsize,
    failures: AtomicUsize,
    said: Mutex<Vec<String>>,
}

/// How long the processes took that succeeded, in seconds.
#[derive(Debug, Default, Clone)]
pub(crate) struct Times(pub(crate) Vec<f64>);

/// A lane with room for so many.
struct Lane {
    width: Width,
    began: Mutex<Vec<(usize, Instant)>>,
    left: Condvar,
}

// === impl Lane ===

impl Lane {
    fn enter(&self, who: usize) {
        let mut began = self.began.lock().unwrap();
        let counts = |since: &Instant| self.width.waits_after.is_none_or(|w| since.elapsed() < w);
        while began.iter().filter(|(_, since)| counts(since)).count() >= self.width.at_once {
            began = self.left.wait_timeout(began, LOOK).unwrap().0;
        }
        began.push((who, Instant::now()));
    }

    fn leave(&self, who: usize) {
        self.began.lock().unwrap().retain(|(other, _)| *other != who);
        self.left.notify_one();
    }
}

/// Does the work for each, in this order, so many at once. Answers what came of it and how long all of it took.
pub(crate) fn each<J: Sync, T: Send>(
    jobs: &[J],
    width: Width,
    work: impl Fn(&J) -> T + Sync,
) -> (Vec<T>, Duration) {
    let lane = Lane { width, began: Mutex::default(), left: Condvar::new() };
    let (began, work) = (Instant::now(), &work);
    let done = std::thread::scope(|scope| {
        let mut running = Vec::with_capacity(jobs.len());
        for (number, job) in jobs.iter().enumerate() {
            let lane = &lane;
            lane.enter(number);
            let one = move || {
                let done = work(job);
                lane.leave(number);
                done
            };
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
            running.push(thread.spawn_scoped(scope, one).unwrap());
        }
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    (done, began.elapsed())
}

// === impl Kubelets ===

impl Kubelets {
    pub(crate) fn new(plugin: Plugin) -> Self {
        Self {
            plugin,
            ledger: Ledger::default(),
            failed_tries: AtomicUsize::default(),
            failures: AtomicUsize::default(),
            said: Mutex::default(),
        }
    }

    /// Starts a pod: ADD, and after an error what runtime and kubelet do about it. Answers its container and how long it
    /// took; none if it came to nothing.
    pub(crate) fn start(&self, pod: &Pod) -> Option<(Pod, Duration)> {
        let (began, mut container) = (Instant::now(), pod.container.clone());
        for tries in 1.. {
            let answer = self.plugin.call("ADD", pod, &container);
            let Some(error) = answer.error else {
                self.ledger.answered(&container, &answer.addresses);
                return Some((Pod { container, ..pod.clone() }, began.elapsed()));
            };
            self.note("ADD", pod, answer.took, &error);
            // The runtime takes the sandbox down again.
            let down = self.plugin.call("DEL", pod, &container);
            if let Some(error) = down.error {
                self.note("DEL", pod, down.took, &error);
            }
            rooms::end(&container);
            if began.elapsed() > GIVE_UP {
                break;
            }
            back_off();
            container = pod.next_container(tries);
            rooms::make([container.as_str()]);
        }
        self.failures.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// Stops a pod: DEL until it succeeds, then the end of its namespace.
    pub(crate) fn stop(&self, pod: &Pod) -> Option<Duration> {
        let began = Instant::now();
        self.ledger.leaves(&pod.container);
        loop {
            let answer = self.plugin.call("DEL", pod, &pod.container);
            let Some(error) = answer.error else {
                let took = began.elapsed();
                rooms::end(&pod.container);
                return Some(took);
            };
            self.note("DEL", pod, answer.took, &error);
            if began.elapsed() > GIVE_UP {
                self.failures.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            back_off();
        }
    }

    fn note(&self, verb: &str, pod: &Pod, took: Duration, error: &str) {
        self.failed_tries.fetch_add(1, Ordering::Relaxed);
        let mut said = self.said.lock().unwrap();
        if said.len() < 5 {
            let words: String = error.split_whitespace().collect::<Vec<_>>().join(" ");
            said.push(format!("{verb} of {} after {:.1} s: {words}", pod.name, took.as_secs_f64()));
        }
    }

    /// Tries that were answered with an error, pods that came to nothing, and what was said, since the last time.
    pub(crate) fn take_failures(&self) -> (usize, usize, Vec<String>) {
        let tries = self.failed_tries.swap(0, Ordering::Relaxed);
        let failures = self.failures.swap(0, Ordering::Relaxed);
        (tries, failures, std::mem::take(&mut *self.said.lock().unwrap()))
    }
}

fn back_off() {
    let share = f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX);
    std::thread::sleep(BACK_OFF.mul_f64(1.0 + share / 2.0));
}

// === impl Times ===

impl Times {
    /// The value below which this share of them lies, in milliseconds.
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let at = ((sorted.len() as f64 - 1.0) * share).round().max(0.0);
        sorted.get(at as usize).copied().unwrap_or_default() * 1e3
    }
}

impl FromIterator<Duration> for Times {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        Self(times.into_iter().map(|time| time.as_secs_f64()).collect())
    }
}
