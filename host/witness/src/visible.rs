//! One pass over the namespaces that something visible holds: processes and mounts. It settles who wears an
//! id when memory cannot: after a restart of the daemon, and after an id was reused. What it does not find
//! may live all the same.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use tenure_core::lease::Netns;

use crate::doorway::VisitError;
use crate::handles::{self, Reach};
use crate::namespace_file::NamespaceFile;
use crate::netlink::Route;
use crate::nsid;
use crate::witness::Inner;

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
        let mut seen = HashSet::new();
        handles::walk(Reach::Common, |ino, path| {
            if seen.contains(&ino) {
                return;
            }
            if let Some((id, cookie)) = sight(inner, &mut route, path) {
                seen.insert(ino);
                visible.by_id.extend(id.map(|id| (id, cookie)));
                visible.cookies.insert(cookie);
            }
        });
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
    let (pinned, cookie) = match inner.doorway.cookie(file) {
        Ok(seen) => seen,
        Err(VisitError::NotNetwork) => return None,
        Err(VisitError::Failed(error)) => {
            tracing::debug!(%error, path = %path.display(), "a visible namespace was not entered");
            return None;
        }
    };
    inner.memory.lock().learn(Netns { cookie, dev: pinned.dev, ino: pinned.ino, nsid: id });
    Some((id, cookie))
}

/// The wearer of an id that was read just now: an earlier wearer's end must be heard first.
fn believed_now(inner: &Inner, id: i32) -> Option<u64> {
    let mut memory = inner.memory.lock();
    memory.catch_up();
    memory.wearer(id)
}
