//! Who holds a namespace, for people. Nothing is concluded from it: a namespace that only a socket keeps
//! alive has no holder here.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

use tenure_core::lease::Netns;

use crate::namespace_file::NamespaceFile;
use crate::proc;
use crate::witness::Inner;

/// At most so many holders are listed: enough to see what keeps a namespace, whatever runs in it.
pub const MAX_HOLDERS: usize = 64;

/// A process that keeps a namespace alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceHolder {
    /// Its process id in the daemon's pid namespace.
    pub pid: u32,
    /// The name that it gives itself, empty if it vanished meanwhile.
    pub comm: String,
    /// By what it holds.
    pub how: Hold,
}

/// By what a namespace is kept alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// The process, or one of its threads, runs in it.
    Process,
    /// The process has it open.
    Descriptor {
        /// The number of the descriptor in that process.
        fd: u32,
    },
    /// It is mounted where the process sees it.
    Mount {
        /// Where, as that process sees it.
        path: PathBuf,
    },
}

impl fmt::Display for NamespaceHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)?;
        if !self.comm.is_empty() {
            write!(f, " ({})", self.comm)?;
        }
        match &self.how {
            Hold::Process => f.write_str(" runs in it"),
            Hold::Descriptor { fd } => write!(f, " has it open as descriptor {fd}"),
            Hold::Mount { path } => write!(f, " sees it mounted at {}", path.display()),
        }
    }
}

/// One pass over `/proc`.
struct Search<'a> {
    inner: &'a Inner,
    netns: Netns,
    /// The first handle with the inode was opened and its cookie compared: inodes are reused.
    proved: Option<bool>,
    found: Vec<NamespaceHolder>,
}

/// The holders, processes first.
pub(crate) fn holders_of(inner: &Inner, netns: &Netns) -> Vec<NamespaceHolder> {
    let mut search = Search { inner, netns: *netns, proved: None, found: Vec::new() };
    let pids = proc::processes();
    for pid in &pids {
        search.process(*pid);
    }
    for pid in &pids {
        search.descriptors(*pid);
    }
    for pid in proc::first_of_each_mount_namespace(&pids) {
        search.mounts(pid);
    }
    search.found
}

// === impl Search ===

impl Search<'_> {
    fn process(&mut self, pid: u32) {
        let tasks = proc::numbers_in(&proc::path_of(pid, "task")).unwrap_or_default();
        // Threads of a process mostly share one namespace.
        let mut seen = HashSet::new();
        for task in tasks {
            let link = proc::path_of(pid, &format!("task/{task}/ns/net"));
            let ino = proc::network_inode(&link).ok().flatten();
            let new = ino.is_some_and(|ino| seen.insert(ino));
            if new && self.is_it(&link) {
                self.add(pid, Hold::Process);
                return;
            }
        }
    }

    fn descriptors(&mut self, pid: u32) {
        for fd in proc::numbers_in(&proc::path_of(pid, "fd")).unwrap_or_default() {
            let link = proc::path_of(pid, &format!("fd/{fd}"));
            if self.is_it(&link) {
                self.add(pid, Hold::Descriptor { fd });
            }
        }
    }

    fn mounts(&mut self, pid: u32) {
        for mount in proc::network_mounts(pid).unwrap_or_default() {
            let below_root = mount.path.strip_prefix("/").unwrap_or(&mount.path);
            let seen_from_here = proc::path_of(pid, "root").join(below_root);
            if mount.ino == self.netns.ino && self.proves(&seen_from_here) {
                self.add(pid, Hold::Mount { path: mount.path });
            }
        }
    }

    fn is_it(&mut self, link: &Path) -> bool {
        proc::network_inode(link).is_ok_and(|ino| ino == Some(self.netns.ino)) && self.proves(link)
    }

    /// Whether the inode is worn by the namespace that is meant.
    fn proves(&mut self, handle: &Path) -> bool {
        if let Some(proved) = self.proved {
            return proved;
        }
        let Ok(file) = NamespaceFile::open(handle) else { return false };
        let Ok((_pinned, cookie)) = self.inner.doorway.cookie(file) else { return false };
        *self.proved.insert(cookie == self.netns.cookie)
    }

    fn add(&mut self, pid: u32, how: Hold) {
        if self.found.len() < MAX_HOLDERS {
            let comm = proc::comm(pid).unwrap_or_default();
            self.found.push(NamespaceHolder { pid, comm, how });
        }
    }
}
