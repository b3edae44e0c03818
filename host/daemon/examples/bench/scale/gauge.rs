//! What one process uses.

use std::fs;

/// Of `/proc/PID/status`, in MiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) resident: f64,
    /// Of that its own; the rest is the program itself, in pages of its file that the kernel takes back at will.
    pub(crate) private: f64,
    /// The most that was ever resident.
    pub(crate) most: f64,
}

// === impl Memory ===

impl Memory {
    pub(crate) fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let mib = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
            line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
        };
        Self { resident: mib("VmRSS:"), private: mib("RssAnon:"), most: mib("VmHWM:") }
    }
}
