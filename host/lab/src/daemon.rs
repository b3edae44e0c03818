//! A process that cannot outlive the test.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// Starts the daemon, says its process id, and kills it once its own standard input ends. The test holds the other end,
/// so the daemon goes with the test even if that is killed: no clean-up code has to run.
const LEASH: &str = r#"log=$1; shift; "$@" >>"$log" 2>&1 & echo $!; read -r _; kill -9 $!; wait"#;

/// A process on a leash. Dropping it kills it and waits for its end.
#[derive(Debug)]
pub struct Daemon {
    leash: Child,
    pid: Pid,
    log: PathBuf,
}

// === impl Daemon ===

impl Daemon {
    /// Starts a program; what it says is appended to `log`.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start<A: AsRef<OsStr>>(program: &Path, arguments: &[A], log: &Path) -> Self {
        let mut leash = Command::new("sh")
            .args(["-c", LEASH, "leash"])
            .args([log, program])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starting sh");
        let mut line = String::new();
        BufReader::new(leash.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pid = line.trim().parse().ok().and_then(Pid::from_raw).expect("a process id from sh");
        Self { leash, pid, log: log.to_owned() }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().cast_unsigned()
    }

    /// Sends a signal, e.g. to stop it and let it go on.
    ///
    /// # Panics
    /// If the process is gone.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    /// Whether it still runs. One that has ended stays a zombie until it is dropped.
    #[must_use]
    pub fn is_running(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        // The name of the program, in parentheses, may hold anything.
        let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
        state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
    }

    /// The end of its log, for a message.
    #[must_use]
    pub fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.leash.stdin.take());
        let _ = self.leash.wait();
    }
}

/// A temporary folder that is removed when it is dropped, or when the test's process ends: what stands in a static is
/// never dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    broom: Child,
    path: PathBuf,
}

/// Daemons that are killed at the same time may still write: then again.
const BROOM: &str = r#"read -r _; until rm -rf "$1"; do sleep 0.1; done"#;

// === impl Folder ===

impl Folder {
    pub(crate) fn new() -> Self {
        let path = tempfile::Builder::new().prefix("tenure-lab-").tempdir().unwrap().keep();
        let mut broom = Command::new("sh");
        broom.args(["-c", BROOM, "broom"]).arg(&path).stdin(Stdio::piped()).stderr(Stdio::null());
        Self { broom: broom.spawn().expect("starting sh"), path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.broom.stdin.take());
        let _ = self.broom.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_has_ended_is_seen_to() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let daemon = Daemon::start(Path::new("/bin/sh"), &["-c", "echo bye"], &log);
        while daemon.is_running() {
            std::thread::yield_now();
        }
        assert_eq!(daemon.last_words(), "bye");
    }

    #[test]
    fn a_daemon_ends_when_it_is_dropped_and_its_words_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let arguments = ["-c", "echo here I am; exec sleep 1000"];
        let daemon = Daemon::start(Path::new("/bin/sh"), &arguments, &log);
        let pid = daemon.pid();
        while daemon.last_words() != "here I am" {
            std::thread::yield_now();
        }
        assert!(daemon.is_running());
        drop(daemon);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}
