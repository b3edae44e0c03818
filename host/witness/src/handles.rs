//! Ways to open the network namespaces that something visible holds.

use std::collections::HashMap;
use std::io::{ErrorKind, Result};
use std::path::Path;

use crate::proc;

/// How far a walk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Mounts and processes: milliseconds on a full node.
    Common,
    /// Single threads and descriptors too, at the cost of reading a link for each.
    All,
}

/// Walks over everything that shows a network namespace and tells `found` its inode and a path, as soon as it is
/// seen: what a path leads to changes at any time. Most namespaces come up more than once.
///
/// The answer names something that was there and could not be read, with the reason. Where a security module hides
/// a process, its threads are no gap as long as a process that is not hidden runs in the same namespace; its
/// descriptors are passed over.
pub(crate) fn walk(reach: Reach, found: impl FnMut(u64, &Path)) -> Option<String> {
    let mut walk = Walk { found, unread: None, hidden: HashMap::new() };
    let pids = proc::processes();
    walk.mounts(&pids);
    match reach {
        Reach::Common => pids.iter().for_each(|pid| walk.runs_in(&proc::path_of(*pid, ""))),
        Reach::All => {
            pids.iter().for_each(|pid| walk.threads(*pid));
            pids.iter().for_each(|pid| walk.descriptors(*pid));
            walk.place_hidden(&pids);
        }
    }
    walk.unread.or(walk.hidden.into_values().next())
}

struct Walk<F> {
    found: F,
    /// The first gap.
    unread: Option<String>,
    /// Gaps by the mark of the namespace, which tells namespaces apart and is no way to open one.
    hidden: HashMap<u64, String>,
}

// === impl Walk ===

impl<F: FnMut(u64, &Path)> Walk<F> {
    fn mounts(&mut self, pids: &[u32]) {
        for pid in proc::first_of_each_mount_namespace(pids) {
            let root = proc::path_of(pid, "root");
            let mounts = proc::network_mounts(pid);
            for mount in self.read(&proc::path_of(pid, "mountinfo"), mounts) {
                let below_root = mount.path.strip_prefix("/").unwrap_or(&mount.path);
                (self.found)(mount.ino, &root.join(below_root));
            }
        }
    }

    fn threads(&mut self, pid: u32) {
        let folder = proc::path_of(pid, "task");
        for task in self.read(&folder, proc::numbers_in(&folder)) {
            self.runs_in(&folder.join(task.to_string()));
        }
    }

    /// What the process or thread with this folder runs in.
    fn runs_in(&mut self, folder: &Path) {
        let link = folder.join("ns/net");
        match proc::network_inode(&link) {
            Ok(Some(ino)) => (self.found)(ino, &link),
            Ok(None) => {}
            Err(why) => match proc::network_mark(folder) {
                Ok(Some(mark)) => _ = self.hidden.entry(mark).or_insert_with(|| gap(&link, &why)),
                Ok(None) => {}
                Err(why) => self.read(&link, Err(why)),
            },
        }
    }

    fn descriptors(&mut self, pid: u32) {
        let folder = proc::path_of(pid, "fd");
        for number in self.read_if_allowed(&folder, proc::numbers_in(&folder)) {
            let link = folder.join(number.to_string());
            if let Some(ino) = self.read_if_allowed(&link, proc::network_inode(&link)) {
                (self.found)(ino, &link);
            }
        }
    }

    /// Takes out what processes that are not hidden run in.
    fn place_hidden(&mut self, pids: &[u32]) {
        let mut folders = pids.iter().map(|pid| proc::path_of(*pid, ""));
        while !self.hidden.is_empty() {
            let Some(folder) = folders.next() else { return };
            if let Ok(Some(_)) = proc::network_inode(&folder.join("ns/net"))
                && let Ok(Some(mark)) = proc::network_mark(&folder)
            {
                self.hidden.remove(&mark);
            }
        }
    }

    fn read<T: Default>(&mut self, what: &Path, content: Result<T>) -> T {
        content.unwrap_or_else(|why| {
            self.unread.get_or_insert_with(|| gap(what, &why));
            T::default()
        })
    }

    fn read_if_allowed<T: Default>(&mut self, what: &Path, content: Result<T>) -> T {
        match content {
            Err(why) if why.kind() == ErrorKind::PermissionDenied => T::default(),
            content => self.read(what, content),
        }
    }
}

fn gap(what: &Path, why: &std::io::Error) -> String {
    format!("{} could not be read: {why}", what.display())
}
