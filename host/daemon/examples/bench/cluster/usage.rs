//! CPU time and memory of the processes, by their role.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Of `/proc/PID/stat`: Linux tells programs of 100 ticks a second, whatever its own clock does.
const TICKS_PER_SECOND: f64 = 100.0;
const SAMPLES_APART: Duration = Duration::from_millis(500);

/// Process ids by what they are.
pub(crate) type Roles = BTreeMap<&'static str, Vec<u32>>;

/// Seconds of CPU by role. `plugins` are the children that ended, `bench` is this process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cpu {
    pub(crate) by_role: BTreeMap<&'static str, f64>,
    /// Of the whole machine, other people's work included.
    pub(crate) machine: f64,
}

/// Resident MiB of each process, sampled.
#[derive(Debug, Default)]
pub(crate) struct Memory(BTreeMap<&'static str, Vec<f64>>);

/// Samples until it is stopped.
pub(crate) struct Sampler {
    stop: Arc<AtomicBool>,
    roles: Arc<Mutex<Roles>>,
    thread: JoinHandle<Memory>,
}

// === impl Cpu ===

impl Cpu {
    pub(crate) fn read(roles: &Roles) -> Self {
        let mut by_role = BTreeMap::new();
        for (role, pids) in roles {
            let used = pids.iter().map(|pid| ticks(&pid.to_string(), 11..13)).sum::<f64>();
            by_role.insert(*role, used / TICKS_PER_SECOND);
        }
        by_role.insert("bench", ticks("self", 11..13) / TICKS_PER_SECOND);
        by_role.insert("plugins", ticks("self", 13..15) / TICKS_PER_SECOND);
        let stat = fs::read_to_string("/proc/stat").unwrap();
        let all: Vec<f64> = stat
            .lines()
            .next()
            .map(|line| line.split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect())
            .unwrap_or_default();
        // user nice system idle iowait irq softirq steal
        let busy: f64 = all.iter().take(8).sum::<f64>() - all[3] - all[4];
        Self { by_role, machine: busy / TICKS_PER_SECOND }
    }

    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let grown = |(role, now): (&&'static str, &f64)| {
            (*role, now - earlier.by_role.get(role).copied().unwrap_or_default())
        };
        Self {
            by_role: self.by_role.iter().map(grown).collect(),
            machine: self.machine - earlier.machine,
        }
    }

    pub(crate) fn of(&self, role: &str) -> f64 {
        self.by_role.get(role).copied().unwrap_or_default()
    }

    /// Of all roles together.
    pub(crate) fn ours(&self) -> f64 {
        self.by_role.values().sum()
    }
}

/// Fields of `/proc/PID/stat` after the name, counted from the state.
fn ticks(pid: &str, fields: std::ops::Range<usize>) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let rest = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let all: Vec<f64> =
        rest.split_whitespace().map(|field| field.parse().unwrap_or_default()).collect();
    all.get(fields).map(|some| some.iter().sum()).unwrap_or_default()
}

// === impl Sampler ===

impl Sampler {
    pub(crate) fn start(roles: Roles) -> Self {
        let (stop, roles) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(roles)));
        let thread = std::thread::spawn({
            let (stop, roles) = (stop.clone(), roles.clone());
            move || {
                let mut memory = Memory::default();
                while !stop.load(Ordering::Relaxed) {
                    memory.sample(&roles.lock().unwrap().clone());
                    std::thread::sleep(SAMPLES_APART);
                }
                memory
            }
        });
        Self { stop, roles, thread }
    }

    /// Other processes have taken the roles.
    pub(crate) fn follow(&self, roles: Roles) {
        *self.roles.lock().unwrap() = roles;
    }

    pub(crate) fn stop(self) -> Memory {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

// === impl Memory ===

impl Memory {
    fn sample(&mut self, roles: &Roles) {
        for (role, pids) in roles {
            for pid in pids {
                let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
                let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
                let kib = kib.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
                self.0.entry(role).or_default().extend(kib.map(|kib| kib / 1024.0));
            }
        }
    }

    /// The mean of one process, and the most that one took.
    pub(crate) fn of(&self, role: &str) -> (f64, f64) {
        let Some(samples) = self.0.get(role).filter(|samples| !samples.is_empty()) else {
            return (0.0, 0.0);
        };
        let mean = samples.iter().sum::<f64>() / samples.len() as f64;
        (mean, samples.iter().copied().fold(0.0, f64::max))
    }
}
