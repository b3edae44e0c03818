//! Where questions are asked from: a temporary macvlan on a parent, shared by all questions of the moment.
//!
//! A station has the same hardware address in each of its lives, so that many probes are one entry in the tables of
//! switches and neighbours, and ports that allow few addresses stay open.

use std::sync::Arc;
use std::time::Duration;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoMacVlan, LinkAttribute,
    LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
};
use parking_lot::{Mutex, MutexGuard};
use rustix::io::Errno;
use tenure_core::name::IfName;

use super::Mac;
use super::blind::{Blind, Failed};
use super::interface::Interface;
use super::listen::Speech;
use super::packet_socket::PacketSocket;
use super::room::Room;
use crate::netlink::{Route, RouteError};

/// Making and removing a link takes some 30 ms; the kernel is given more when it is at work elsewhere.
const SHARED_DEADLINE: Duration = Duration::from_secs(5);

/// All stations of the daemon.
#[derive(Debug)]
pub(super) struct Stations {
    home: u64,
    seed: Mac,
    shared: Mutex<Shared>,
}

/// Behind one lock, which is held while links are made and removed: of two questions for one parent the second
/// finds the station of the first, whole or not at all.
#[derive(Debug, Default)]
struct Shared {
    /// Made by the first question. After any failure it is left, and ends with the last station in it.
    room: Option<Arc<Room>>,
    standing: Vec<Standing>,
}

#[derive(Debug)]
struct Standing {
    station: Arc<Station>,
    /// Questions that are being asked here.
    users: usize,
}

/// One temporary macvlan.
#[derive(Debug)]
struct Station {
    parent: u32,
    room: Arc<Room>,
    index: u32,
    mac: Mac,
}

/// A station in use; the last user removes it.
#[derive(Debug)]
pub(super) struct Stand<'a> {
    stations: &'a Stations,
    station: Arc<Station>,
}

// === impl Stations ===

impl Stations {
    /// `seed` is random.
    pub(super) fn new(home: u64, seed: Mac) -> Self {
        Self { home, seed, shared: Mutex::default() }
    }

    /// The station on `parent`, made now if there is none.
    pub(super) fn on(&self, parent: &Interface) -> Result<Stand<'_>, Blind> {
        let mut shared = self.shared.try_lock_for(SHARED_DEADLINE).ok_or_else(|| {
            let stuck =
                Failed { act: "waiting for the kernel to make links", errno: Errno::TIMEDOUT };
            stuck.blinds(&parent.name)
        })?;
        let found = shared.standing.iter_mut().find(|other| other.station.parent == parent.index);
        if let Some(standing) = found {
            standing.users += 1;
            return Ok(Stand { stations: self, station: Arc::clone(&standing.station) });
        }
        let made = self.make(&mut shared, parent);
        let station = Arc::new(made.inspect_err(|_| shared.room = None)?);
        shared.standing.push(Standing { station: Arc::clone(&station), users: 1 });
        Ok(Stand { stations: self, station })
    }

    fn make(&self, shared: &mut Shared, parent: &Interface) -> Result<Station, Blind> {
        let room = match &shared.room {
            Some(room) => Arc::clone(room),
            None => {
                let made = Room::make().map_err(|failed| failed.blinds(&parent.name))?;
                Arc::clone(shared.room.insert(Arc::new(made)))
            }
        };
        let mac = mac_on(parent.index, self.seed);
        let name = format!("tnr-{}", parent.index);
        Route::open(self.home)
            .and_then(|mut route| route.create(new_macvlan(&name, parent.index, mac, &room)))
            .map_err(|error| Blind::no_macvlan(&parent.name, "making it", error))?;
        let index = room
            .inside(|| bring_up(room.cookie, &name))
            .map_err(|failed| failed.blinds(&parent.name))?
            .map_err(|error| Blind::no_macvlan(&parent.name, "bringing it up", error))?;
        Ok(Station { parent: parent.index, room, index, mac })
    }
}

/// Locally administered, for one machine, and another on each parent: two may lead to the same network.
fn mac_on(parent: u32, seed: Mac) -> Mac {
    let [first, second, rest @ ..] = seed;
    let mixed = u32::from_be_bytes(rest) ^ parent;
    let [c, d, e, f] = mixed.to_be_bytes();
    [(first & 0xfc) | 2, second, c, d, e, f]
}

/// Siblings of mode `bridge` hear one another without the switch.
fn new_macvlan(name: &str, parent: u32, mac: Mac, room: &Room) -> RouteNetlinkMessage {
    let mode = InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Bridge)]);
    let mut link = LinkMessage::default();
    link.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Link(parent),
        LinkAttribute::NetNsFd(room.raw()),
        LinkAttribute::Address(mac.to_vec()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::MacVlan), LinkInfo::Data(mode)]),
    ];
    RouteNetlinkMessage::NewLink(link)
}

/// Its index. It gets no address, not even one of IPv6 for itself, which would be announced.
fn bring_up(room: u64, name: &str) -> Result<u32, RouteError> {
    let mut route = Route::open(room)?;
    let mut question = LinkMessage::default();
    question.attributes = vec![LinkAttribute::IfName(name.to_owned())];
    let RouteNetlinkMessage::NewLink(made) = route.get(RouteNetlinkMessage::GetLink(question))?
    else {
        return Err(RouteError::Refused(Errno::NODEV));
    };
    let index = made.header.index;
    let silent = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)]);
    let mut quiet = about(index);
    quiet.attributes = vec![LinkAttribute::AfSpecUnspec(vec![silent])];
    match route.change(RouteNetlinkMessage::SetLink(quiet)) {
        // A kernel without IPv6 gives none by itself.
        Ok(()) | Err(RouteError::Refused(Errno::AFNOSUPPORT)) => {}
        Err(error) => return Err(error),
    }
    let mut up = about(index);
    up.header.flags = LinkFlags::Up;
    up.header.change_mask = LinkFlags::Up;
    route.change(RouteNetlinkMessage::SetLink(up))?;
    Ok(index)
}

fn about(index: u32) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link
}

// === impl Stand ===

impl Stand<'_> {
    /// Whom answers go to.
    pub(super) fn mac(&self) -> Mac {
        self.station.mac
    }

    /// A socket that speaks here.
    pub(super) fn socket(&self, parent: &IfName, speech: &Speech) -> Result<PacketSocket, Blind> {
        self.station
            .room
            .inside(|| PacketSocket::open(self.station.index, speech))
            .flatten()
            .map_err(|failed| failed.blinds(parent))
    }
}

impl Drop for Stand<'_> {
    fn drop(&mut self) {
        let mut shared: MutexGuard<'_, Shared> = self.stations.shared.lock();
        let mine = |other: &Standing| Arc::ptr_eq(&other.station, &self.station);
        let Some(place) = shared.standing.iter().position(mine) else { return };
        let Some(standing) = shared.standing.get_mut(place) else { return };
        standing.users -= 1;
        if standing.users == 0 {
            shared.standing.swap_remove(place);
            if let Err(why) = self.station.remove() {
                tracing::warn!(
                    why,
                    "a temporary macvlan was not removed; its namespace is left instead"
                );
                shared.room = None;
            }
        }
    }
}

// === impl Station ===

impl Station {
    /// Also where the parent went away and took it along.
    fn remove(&self) -> Result<(), String> {
        let removed = self.room.inside(|| {
            Route::open(self.room.cookie)?.change(RouteNetlinkMessage::DelLink(about(self.index)))
        });
        match removed.map_err(|error| error.to_string())? {
            Ok(()) | Err(RouteError::Refused(Errno::NODEV)) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}
