//! One pass over the namespaces that something visible holds: processes and mounts. It settles who wears an
//! id when memory cannot: after a restart of the daemon, and after an id was reused. What it does not find
//! may live all the same.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::doorway::VisitError;
use crate::namespace_file::NamespaceFile;
use crate::netlink::Route;
use crate::nsid;
use crate::proc;
use crate::witness::Inner;

/// Ways to open one namespace that are tried, for processes vanish meanwhile.
const MAX_PATHS: usize = 4;

/// What the pass found.
#[derive(Debug, Default)]
pub(crate) struct Visible {
    by_id: HashMap<i32, u64>,
    cookies: HashSet<u64>,
}

// === impl Visible ===

impl Visible {
    /// Looks at every visible namespace once and tells `inner` what was learnt.
    pub(crate) fn survey(inner: &Inner) -> Self {
        let mut visible = Self::default();
        let mut route = match Route::open(inner.home.cookie) {
            Ok(route) => route,
            Err(error) => {
                tracing::warn!(%error, "visible network namespaces could not be looked at");
                return visible;
            }
        };
        for paths in paths_by_inode().into_values() {
            let found = paths.iter().find_map(|path| sight(inner, &mut route, path));
            visible.by_id.extend(found.and_then(|(id, cookie)| Some((id?, cookie))));
            visible.cookies.extend(found.map(|(_, cookie)| cookie));
        }
        visible
    }

    /// The cookie of the namespace that was seen to wear `id`.
    pub(crate) fn wearer(&self, id: i32) -> Option<u64> {
        self.by_id.get(&id).copied()
    }

    /// Whether the namespace was seen, whatever its id.
    pub(crate) fn shows(&self, cookie: u64) -> bool {
        self.cookies.contains(&cookie)
    }
}

/// Id and cookie of one namespace. What cannot be opened or entered (another user's, just ended) is not seen.
fn sight(inner: &Inner, route: &mut Route, path: &Path) -> Option<(Option<i32>, u64)> {
    let file = NamespaceFile::open(path).ok()?;
    let id = nsid::of(route, file.raw()).ok()?;
    if let Some(known) = id.and_then(|id| believed_now(inner, id)) {
        return Some((id, known));
    }
    let (_pinned, cookie) = match inner.doorway.cookie(file) {
        Ok(seen) => seen,
        Err(VisitError::NotNetwork) => return None,
        Err(VisitError::Failed(error)) => {
            tracing::debug!(%error, path = %path.display(), "a visible namespace was not entered");
            return None;
        }
    };
    if let Some(id) = id {
        inner.memory.lock().learn(id, cookie);
    }
    Some((id, cookie))
}

/// The wearer of an id that was read just now: an earlier wearer's end must be heard first.
fn believed_now(inner: &Inner, id: i32) -> Option<u64> {
    let mut memory = inner.memory.lock();
    memory.catch_up();
    memory.wearer(id)
}

fn paths_by_inode() -> HashMap<u64, Vec<PathBuf>> {
    let mut found: HashMap<u64, Vec<PathBuf>> = HashMap::new();
    let mut add = |ino, path| {
        let paths = found.entry(ino).or_default();
        if paths.len() < MAX_PATHS {
            paths.push(path);
        }
    };
    let pids = proc::processes();
    for pid in proc::first_of_each_mount_namespace(&pids) {
        for mount in proc::network_mounts(pid) {
            let below_root = mount.path.strip_prefix("/").unwrap_or(&mount.path);
            add(mount.ino, proc::path_of(pid, "root").join(below_root));
        }
    }
    for pid in pids {
        let link = proc::path_of(pid, "ns/net");
        if let Some(ino) = proc::network_inode(&link) {
            add(ino, link);
        }
    }
    found
}
