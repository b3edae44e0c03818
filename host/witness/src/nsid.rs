//! Ids that other namespaces have in the daemon's own (`ip-netns(8)`, `RTM_GETNSID`).
//!
//! An id is given once and stays with the namespace until it ends; it pins nothing. Ids that the kernel
//! chooses are the lowest free ones, so a freed one is reused by the next namespace that any tool touches.
//! Ours lie far above, where the kernel's own choice never comes, and are given in turn, so that a freed one
//! is not met again for two thousand million namespaces.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU32, Ordering};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use rustix::io::Errno;

use crate::netlink::{Route, RouteError};

/// Ids that we choose start here: more namespaces than that do not fit into a machine.
const FIRST_CHOSEN: u32 = 1 << 20;
/// Ids are positive.
const LAST_CHOSEN: u32 = i32::MAX.unsigned_abs();
/// Tries to give an id: another daemon may be giving ids in the same place.
const GIVE_TRIES: usize = 16;

/// Ids to give, in turn from a random start: the ids of an earlier process lie elsewhere. Neighbours, because the
/// kernel looks through all ids for each question and walks neighbours ten times faster than scattered ones.
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
            match give(route, fd, self.next()) {
                // Taken by another namespace, or someone gave this one an id meanwhile: the next round tells.
                Ok(()) | Err(RouteError::Refused(Errno::EXIST)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(RouteError::Refused(Errno::EXIST))
    }

    fn next(&self) -> i32 {
        const CHOICES: u32 = LAST_CHOSEN - FIRST_CHOSEN + 1;

        let turn = self.0.fetch_add(1, Ordering::Relaxed);
        (FIRST_CHOSEN + turn % CHOICES).cast_signed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_ids_stay_in_their_range_when_the_turn_wraps() {
        for start in [0, LAST_CHOSEN - FIRST_CHOSEN, u32::MAX] {
            let source = IdSource(AtomicU32::new(start));
            for _ in 0..3 {
                assert!(source.next() >= 1 << 20, "the kernel's own choice comes there");
            }
        }
    }
}
