//! Which addresses stand on links of this machine, asked without knowing any holder.
//!
//! Three steps, in this order: the ids that exist; everything visible, each namespace with its identity; and
//! then those of the ids that nothing visible wore. Such a namespace is kept alive by a socket, often one that its
//! container closed with data unsent when it ended. A namespace that goes out of sight meanwhile is met by
//! its id, and one that is made meanwhile can wear no address from before.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::path::Path;

use tenure_core::lease::Netns;
use tenure_core::ports::{Census, Place, Sighting, WitnessError};

use crate::address::{self, OnLink};
use crate::error::system;
use crate::handles::{self, Reach};
use crate::namespace_file::NamespaceFile;
use crate::netlink::{Route, RouteError};
use crate::nsid;
use crate::witness::Inner;

/// What could not be looked at may just have ended: so many passes before it counts as there.
const PASSES: usize = 3;
/// What a question about addresses is for, as failures name it.
const LISTING: &str = "listing the addresses of a network namespace";

/// A census under way.
struct Count<'a> {
    inner: &'a Inner,
    /// Ids that existed at the beginning and that no namespace was seen to wear so far.
    ids: BTreeSet<i32>,
    census: Census,
}

/// Looks at everything there is.
pub(crate) fn take(inner: &Inner) -> Census {
    let mut count = Count { inner, ids: BTreeSet::new(), census: Census::default() };
    if inner.was_moved {
        count.lacks(
            "this daemon ran in another network namespace earlier in this boot: \
             what only an id given there shows cannot be seen from here"
                .to_owned(),
        );
    }
    match ids_of_others(inner) {
        Ok(ids) => count.ids = ids,
        Err(error) => count.lacks(format!("namespace ids could not be listed: {error}")),
    }
    count.visible();
    count.hidden();
    count.census
}

/// All ids but the one that the daemon's own namespace may have in itself.
fn ids_of_others(inner: &Inner) -> Result<BTreeSet<i32>, RouteError> {
    let mut ids: BTreeSet<i32> = nsid::all(inner.home.cookie)?.into_iter().collect();
    let mut route = Route::open(inner.home.cookie)?;
    if let Some(own) = nsid::of(&mut route, inner.doorway.home())? {
        ids.remove(&own);
    }
    Ok(ids)
}

// === impl Count ===

impl Count<'_> {
    /// Keeps the first reason.
    fn lacks(&mut self, why: String) {
        tracing::debug!(why, "the census is incomplete");
        self.census.incomplete.get_or_insert(why);
    }

    fn visible(&mut self) {
        // Our own namespace lives as long as we do, so nothing else has its inode.
        let mut visited = HashSet::from([self.inner.home.ino]);
        let mut missed = None;
        for _ in 0..PASSES {
            let mut failed: HashMap<u64, String> = HashMap::new();
            let unread = handles::walk(Reach::All, |ino, path| {
                if visited.contains(&ino) {
                    return;
                }
                match self.visit(ino, path) {
                    Ok(()) => {
                        visited.insert(ino);
                        failed.remove(&ino);
                    }
                    Err(why) => _ = failed.insert(ino, format!("{}: {why}", path.display())),
                }
            });
            missed = failed.into_values().next().or(unread);
            if missed.is_none() {
                return;
            }
        }
        if let Some(missed) = missed {
            self.lacks(missed);
        }
    }

    /// Counts the addresses of a namespace. It is held open meanwhile, so that its id cannot change hands.
    fn visit(&mut self, ino: u64, path: &Path) -> Result<(), WitnessError> {
        let file = NamespaceFile::open(path)?;
        if file.ino != ino {
            return Err(system("finding the network namespace", "its path leads elsewhere"));
        }
        let (_held, netns) = self.inner.identify_file(file).map_err(WitnessError::from)?;
        let id = netns.nsid.ok_or_else(|| system(LISTING, "it could not be given an id"))?;
        let found = address::all(self.inner.home.cookie, id).map_err(|e| e.during(LISTING))?;
        self.ids.remove(&id);
        self.count(Place::Netns(netns), id, &found);
        Ok(())
    }

    fn hidden(&mut self) {
        for id in std::mem::take(&mut self.ids) {
            let before = self.believed(id);
            match address::all(self.inner.home.cookie, id) {
                Ok(found) => {
                    // What memory knows counts if no other namespace came to wear the id meanwhile.
                    let known = before.filter(|netns| self.believed(id) == Some(*netns));
                    let place = known.map_or(Place::Hidden { nsid: id }, Place::Netns);
                    self.count(place, id, &found);
                }
                Err(error) if self.lives(id) => {
                    self.lacks(format!("the addresses of namespace id {id} are unknown: {error}"));
                }
                Err(_) => {}
            }
        }
    }

    fn believed(&self, id: i32) -> Option<Netns> {
        let mut memory = self.inner.memory.lock();
        memory.catch_up();
        memory.namespace(id)
    }

    /// Whether the id exists, as far as anyone can say.
    fn lives(&self, id: i32) -> bool {
        let asked = Route::open(self.inner.home.cookie);
        asked.and_then(|mut route| nsid::exists(&mut route, id)).unwrap_or(true)
    }

    fn count(&mut self, place: Place, id: i32, found: &[OnLink]) {
        let mut names = HashMap::new();
        for OnLink { link, address } in found.iter().filter(|found| counts(found.address)) {
            let name = || address::link_name(self.inner.home.cookie, id, *link);
            let ifname: &String =
                names.entry(*link).or_insert_with(|| name().ok().flatten().unwrap_or_default());
            let (ifname, address) = (ifname.clone(), *address);
            self.census.sightings.push(Sighting { node: None, place, ifname, address });
        }
    }
}

/// Whether a pool could hold the address.
fn counts(address: IpAddr) -> bool {
    let local = match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !local && !address.is_loopback() && !address.is_multicast() && !address.is_unspecified()
}
