//! The interface to speak from, and which addresses stand on this node itself.

use std::net::{IpAddr, Ipv6Addr};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
};
use rustix::io::Errno;
use tenure_core::name::IfName;
use tenure_core::ports::WireLink;

use super::Mac;
use super::blind::Blind;
use crate::address;
use crate::netlink::{Route, RouteError};

/// A link of the daemon's own namespace that is up.
#[derive(Debug)]
pub(super) struct Interface {
    pub(super) name: IfName,
    pub(super) index: u32,
    pub(super) mac: Mac,
}

/// The addresses that stand on this node, with the index of their links.
#[derive(Debug)]
pub(super) struct OwnAddresses(Vec<(u32, IpAddr)>);

// === impl Interface ===

impl Interface {
    /// The parent or bridge that `link` names.
    pub(super) fn of(home: u64, link: &WireLink) -> Result<Self, Blind> {
        let (WireLink::Macvlan { parent: name } | WireLink::Bridge { name }) = link;
        let found = find(home, name)?;
        let flags = found.header.flags;
        if !flags.contains(LinkFlags::Up) {
            return Err(Blind::Down(name.clone()));
        }
        if matches!(link, WireLink::Bridge { .. }) && !is_bridge(&found) {
            return Err(Blind::NotABridge(name.clone()));
        }
        if !flags.contains(LinkFlags::LowerUp) {
            return Err(Blind::NoCarrier(name.clone()));
        }
        let mac = mac_of(&found).ok_or_else(|| Blind::NotEthernet(name.clone()))?;
        Ok(Self { name: name.clone(), index: found.header.index, mac })
    }
}

/// The link with this name.
fn find(home: u64, name: &IfName) -> Result<LinkMessage, Blind> {
    let ask = || -> Result<RouteNetlinkMessage, RouteError> {
        let mut question = LinkMessage::default();
        question.attributes = vec![LinkAttribute::IfName(name.as_str().to_owned())];
        Route::open(home)?.get(RouteNetlinkMessage::GetLink(question))
    };
    match ask() {
        Ok(RouteNetlinkMessage::NewLink(link)) => Ok(link),
        Ok(_) | Err(RouteError::Refused(Errno::NODEV)) => Err(Blind::NoInterface(name.clone())),
        Err(error) => Err(Blind::netlink(name, "reading the interface", error)),
    }
}

fn is_bridge(link: &LinkMessage) -> bool {
    link.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.contains(&LinkInfo::Kind(InfoKind::Bridge)),
        _ => false,
    })
}

fn mac_of(link: &LinkMessage) -> Option<Mac> {
    if link.header.link_layer_type != LinkLayerType::Ether {
        return None;
    }
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(bytes) => Mac::try_from(bytes.as_slice()).ok(),
        _ => None,
    })
}

// === impl OwnAddresses ===

impl OwnAddresses {
    /// All of the family of `like`.
    pub(super) fn read(home: u64, name: &IfName, like: IpAddr) -> Result<Self, Blind> {
        let listed = address::of_home(home, like)
            .map_err(|error| Blind::netlink(name, "reading the addresses of this node", error))?;
        Ok(Self(listed.into_iter().map(|on| (on.link, on.address)).collect()))
    }

    /// Whether the address stands on the link.
    pub(super) fn stand_on(&self, index: u32, address: IpAddr) -> bool {
        self.0.contains(&(index, address))
    }

    /// Whether the address as it is meant on the link stands on this node: on any link, as this node answers for each on
    /// all of them, but for link-local ones, which are others on each link.
    pub(super) fn contain(&self, index: u32, address: IpAddr) -> bool {
        match address {
            IpAddr::V6(local) if local.is_unicast_link_local() => self.stand_on(index, address),
            _ => self.0.iter().any(|(_, own)| *own == address),
        }
    }

    /// The link-local address of a link.
    pub(super) fn link_local(&self, index: u32) -> Option<Ipv6Addr> {
        self.0.iter().find_map(|(on, own)| match own {
            IpAddr::V6(own) if *on == index && own.is_unicast_link_local() => Some(*own),
            _ => None,
        })
    }
}
