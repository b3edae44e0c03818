//! Which namespace each id wears, as far as this process has seen and can still believe it.

use std::collections::HashMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use tenure_core::lease::Netns;

use crate::nsid::FIRST_CHOSEN;
use crate::wake::Bell;
use crate::watch::{EndWatch, Heard};

/// Cookies of ended namespaces are remembered in two halves of this size (some 20 bytes each): a lease
/// is asked about for minutes after its namespace ended, not for a hundred thousand later ones.
const DEPARTED_HALF: usize = 65_536;

/// What was seen. Written by `identify` and by each look, under one lock.
#[derive(Debug)]
pub(crate) struct Memory {
    watch: EndWatch,
    /// Rung when a holder's namespace may have ended.
    bell: Arc<Bell>,
    by_id: HashMap<i32, Worn>,
    by_cookie: HashMap<u64, i32>,
    departed: Departed,
}

#[derive(Debug)]
struct Worn {
    netns: Netns,
    /// No end of the id was heard since, nor could one have been missed.
    sure: bool,
}

/// Cookies that were seen alive and are no more, with the id that they wore.
#[derive(Debug, Default)]
struct Departed {
    newer: HashMap<u64, i32>,
    older: HashMap<u64, i32>,
}

// === impl Memory ===

impl Memory {
    pub(crate) fn new(watch: EndWatch, bell: Arc<Bell>) -> Self {
        let departed = Departed::default();
        Self { watch, bell, by_id: HashMap::new(), by_cookie: HashMap::new(), departed }
    }

    /// Can be read as long as there is something that [`Memory::catch_up`] has not taken in.
    pub(crate) fn events(&self) -> std::io::Result<OwnedFd> {
        self.watch.as_fd().try_clone_to_owned()
    }

    /// The namespace lives and wears its id; without an id there is nothing to learn. The caller holds it open: it
    /// cannot end meanwhile.
    pub(crate) fn learn(&mut self, netns: Netns) {
        // An end of the same id that was heard before is about an earlier wearer and must not count against
        // this one.
        self.catch_up();
        let Some(id) = netns.nsid else { return };
        let earlier = self.by_id.insert(id, Worn { netns, sure: true });
        self.by_cookie.insert(netns.cookie, id);
        if let Some(earlier) = earlier.filter(|earlier| earlier.netns.cookie != netns.cookie) {
            self.depart(earlier.netns.cookie, id);
        }
    }

    /// Takes in what ended until now, and rings if that may be the namespace of a holder.
    pub(crate) fn catch_up(&mut self) {
        let matters = match self.watch.drain() {
            // Of what an earlier process saw memory does not know, but an id of our choice tells.
            Heard::Ended(ids) => {
                let known = ids.iter().filter(|id| self.forget(**id)).count();
                known > 0 || ids.iter().any(|id| *id >= FIRST_CHOSEN)
            }
            Heard::Overrun => {
                tracing::debug!("ends of namespace ids were lost: all are looked at anew");
                self.doubt_all();
                true
            }
        };
        if matters {
            self.bell.ring();
        }
    }

    /// Believes nothing until it is seen again.
    pub(crate) fn doubt_all(&mut self) {
        self.by_id.values_mut().for_each(|worn| worn.sure = false);
    }

    /// Ids that nothing is believed of.
    pub(crate) fn doubted(&self) -> Vec<i32> {
        self.by_id.iter().filter(|(_, worn)| !worn.sure).map(|(id, _)| *id).collect()
    }

    /// The id ended. If another namespace wears it already, memory says nothing of that one, which is safe.
    /// Whether it was known.
    pub(crate) fn forget(&mut self, id: i32) -> bool {
        let worn = self.by_id.remove(&id);
        let known = worn.is_some();
        if let Some(worn) = worn {
            self.depart(worn.netns.cookie, id);
        }
        known
    }

    /// The namespace that wears `id`, if that can be believed.
    pub(crate) fn namespace(&self, id: i32) -> Option<Netns> {
        self.by_id.get(&id).filter(|worn| worn.sure).map(|worn| worn.netns)
    }

    /// Its cookie.
    pub(crate) fn wearer(&self, id: i32) -> Option<u64> {
        self.namespace(id).map(|netns| netns.cookie)
    }

    /// The id that the namespace wears, or wore when it was last seen. None if this process has not seen the
    /// namespace.
    pub(crate) fn id_of(&self, cookie: u64) -> Option<i32> {
        self.by_cookie.get(&cookie).copied().or_else(|| self.departed.get(cookie))
    }

    fn depart(&mut self, cookie: u64, id: i32) {
        self.by_cookie.remove(&cookie);
        self.departed.insert(cookie, id);
    }
}

// === impl Departed ===

impl Departed {
    fn insert(&mut self, cookie: u64, id: i32) {
        if self.newer.len() >= DEPARTED_HALF {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(cookie, id);
    }

    fn get(&self, cookie: u64) -> Option<i32> {
        self.newer.get(&cookie).or_else(|| self.older.get(&cookie)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn departed_cookies_are_bounded_and_the_newest_stay() {
        let mut departed = Departed::default();
        let total = 5 * DEPARTED_HALF as u64;
        (0..total).for_each(|cookie| departed.insert(cookie, 7));
        assert!(departed.newer.len() + departed.older.len() <= 2 * DEPARTED_HALF);
        assert!(
            (total - DEPARTED_HALF as u64..total).all(|cookie| departed.get(cookie) == Some(7))
        );
        assert!(departed.get(0).is_none());
    }

    #[test]
    fn an_id_with_a_new_wearer_is_believed_and_the_old_wearer_counts_as_seen() {
        let mut memory = Memory::new(EndWatch::open().unwrap(), Bell::new().unwrap().into());
        let wears_it = |cookie| Netns { cookie, dev: 4, ino: 7, nsid: Some(i32::MAX) };
        memory.learn(wears_it(1));
        memory.learn(wears_it(2));
        assert_eq!(memory.wearer(i32::MAX), Some(2));
        let wore = [1, 2, 3].map(|cookie| memory.id_of(cookie));
        assert_eq!(wore, [Some(i32::MAX), Some(i32::MAX), None]);
    }
}
