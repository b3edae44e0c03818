//! Ids that other namespaces have in the daemon's own (`ip-netns(8)`, `RTM_GETNSID`).
//!
//! An id is given once and stays with the namespace until it ends; it pins nothing. Ids that the kernel
//! chooses are the lowest free ones, so a freed one is reused by the next namespace that any tool touches.
//! Ours lie above, where the kernel's own choice hardly comes, and are given in turn, so that a freed one is not
//! met again for tens of thousands of namespaces.
//!
//! All ids lie in a range that can be asked through one by one, because the kernel's own listing cannot be
//! believed once it fills a page (see the crate): [`all`] is how ids are found that nobody remembers.

use std::collections::BTreeSet;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU32, Ordering};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use rustix::io::Errno;

use crate::netlink::{MAX_BATCH, Route, RouteError, dump};

/// Ids that we choose start here: a machine with more namespaces than that at once is not known.
pub(crate) const FIRST_CHOSEN: i32 = 1 << 16;
/// A question takes 1.5 us, so that all ids up to here are asked through in 0.2 s.
const LAST_CHOSEN: i32 = (1 << 17) - 1;
/// Tries to give an id: others may be giving ids in the same place.
const GIVE_TRIES: usize = 16;
/// A listing with fewer entries is complete: it came in one page, whose smallest size anywhere holds 118.
const SHORT_OF_A_PAGE: usize = 100;

/// Ids to give, in turn from a random start, so that those of an earlier process mostly lie elsewhere. Neighbours,
/// because the kernel looks through all ids for each question and walks neighbours ten times faster than scattered
/// ones.
#[derive(Debug)]
pub(crate) struct IdSource(AtomicU32);

/// The id of the namespace behind `fd`, if it has one.
pub(crate) fn of(route: &mut Route, fd: RawFd) -> Result<Option<i32>, RouteError> {
    let answer = route.get(RouteNetlinkMessage::GetNsId(about(vec![file(fd)])))?;
    Ok(id_in(&answer))
}

/// Whether a namespace with this id exists right now.
pub(crate) fn exists(route: &mut Route, id: i32) -> Result<bool, RouteError> {
    match route.get(RouteNetlinkMessage::GetNsId(about(vec![NsidAttribute::Id(id)]))) {
        Ok(_) => Ok(true),
        Err(RouteError::Refused(Errno::NOENT)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// All ids that exist: of the kernel's choice and of ours, whoever gave them. An id that another tool chose
/// beyond our range is found only while there are few.
pub(crate) fn all(home: u64) -> Result<Vec<i32>, RouteError> {
    let question = RouteNetlinkMessage::GetNsId(NsidMessage::default());
    let listed = dump(home, &question, |entry| id_in(&entry))?;
    if listed.len() < SHORT_OF_A_PAGE {
        return Ok(listed);
    }
    let mut found: BTreeSet<i32> = listed.into_iter().collect();
    let mut route = Route::open(home)?;
    let candidates: Vec<i32> = (0..=LAST_CHOSEN).collect();
    for some in candidates.chunks(MAX_BATCH) {
        let about_each = some.iter().map(|id| about(vec![NsidAttribute::Id(*id)]));
        let answers = route.get_each(about_each.map(RouteNetlinkMessage::GetNsId).collect())?;
        for (id, answer) in some.iter().zip(answers) {
            match answer {
                Ok(_) => _ = found.insert(*id),
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(RouteError::Refused(errno)),
            }
        }
    }
    Ok(found.into_iter().collect())
}

/// Gives the namespace behind `fd` the id `id`.
pub(crate) fn give(route: &mut Route, fd: RawFd, id: i32) -> Result<(), RouteError> {
    route.change(RouteNetlinkMessage::NewNsId(about(vec![NsidAttribute::Id(id), file(fd)])))
}

/// The id that a message is about; none for "not assigned" (-1).
pub(crate) fn id_in(message: &RouteNetlinkMessage) -> Option<i32> {
    let (RouteNetlinkMessage::NewNsId(message) | RouteNetlinkMessage::DelNsId(message)) = message
    else {
        return None;
    };
    message.attributes.iter().find_map(|attribute| match attribute {
        NsidAttribute::Id(id) if *id >= 0 => Some(*id),
        _ => None,
    })
}

fn about(attributes: Vec<NsidAttribute>) -> NsidMessage {
    let mut message = NsidMessage::default();
    message.attributes = attributes;
    message
}

fn file(fd: RawFd) -> NsidAttribute {
    NsidAttribute::Fd(fd.unsigned_abs())
}

// === impl IdSource ===

impl IdSource {
    pub(crate) fn new() -> Result<Self, getrandom::Error> {
        Ok(Self(AtomicU32::new(getrandom::u32()?)))
    }

    /// The id of the namespace behind `fd`, given now if it has none.
    pub(crate) fn of_or_given(&self, route: &mut Route, fd: RawFd) -> Result<i32, RouteError> {
        for _ in 0..GIVE_TRIES {
            if let Some(id) = of(route, fd)? {
                return Ok(id);
            }
            let id = self.next();
            match give(route, fd, id) {
                Ok(()) => {}
                // Someone gave this namespace an id meanwhile, which the next round tells, or another one wears
                // ours: then its neighbours are worn too.
                Err(RouteError::Refused(Errno::EXIST)) if exists(route, id)? => self.jump(),
                Err(RouteError::Refused(Errno::EXIST)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(RouteError::Refused(Errno::EXIST))
    }

    fn next(&self) -> i32 {
        const CHOICES: u32 = LAST_CHOSEN.abs_diff(FIRST_CHOSEN) + 1;

        let turn = self.0.fetch_add(1, Ordering::Relaxed);
        FIRST_CHOSEN + (turn % CHOICES).cast_signed()
    }

    /// Goes on elsewhere.
    fn jump(&self) {
        if let Ok(elsewhere) = getrandom::u32() {
            self.0.store(elsewhere, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_ids_stay_in_their_range_when_the_turn_wraps() {
        for start in [0, LAST_CHOSEN.abs_diff(FIRST_CHOSEN), u32::MAX] {
            let source = IdSource(AtomicU32::new(start));
            for _ in 0..3 {
                assert!((FIRST_CHOSEN..=LAST_CHOSEN).contains(&source.next()));
            }
        }
    }
}
