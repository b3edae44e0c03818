//! Addresses on links of a namespace, asked from outside by the namespace's id.

use std::net::IpAddr;

use netlink_packet_core::DefaultNla;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::netlink::{Route, RouteError, dump};

/// `IFLA_TARGET_NETNSID` of `linux/if_link.h`, which the crate for messages does not know.
const IFLA_TARGET_NETNSID: u16 = 46;

/// An address and the index of its link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OnLink {
    pub(crate) link: u32,
    pub(crate) address: IpAddr,
}

/// Whether `address` stands on any link, up or down, tentative or not: a duplicate that the kernel found may be
/// brought up again.
///
/// `id` names the namespace, none the daemon's own.
pub(crate) fn is_on_link(home: u64, id: Option<i32>, address: IpAddr) -> Result<bool, RouteError> {
    let stands = |answer| on_link(&answer).filter(|found| found.address == address);
    Ok(!dump(home, &question(family_of(address), id), stands)?.is_empty())
}

/// All addresses of the daemon's own namespace of the family of `like`.
pub(crate) fn of_home(home: u64, like: IpAddr) -> Result<Vec<OnLink>, RouteError> {
    dump(home, &question(family_of(like), None), |answer| on_link(&answer))
}

/// All addresses of both families in the namespace with this id, whatever their state.
pub(crate) fn all(home: u64, id: i32) -> Result<Vec<OnLink>, RouteError> {
    let mut found = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        found.extend(dump(home, &question(family, Some(id)), |answer| on_link(&answer))?);
    }
    Ok(found)
}

/// The name of a link in the namespace with this id.
pub(crate) fn link_name(home: u64, id: i32, link: u32) -> Result<Option<String>, RouteError> {
    let mut question = LinkMessage::default();
    question.header.index = link;
    let target = DefaultNla::new(IFLA_TARGET_NETNSID, id.to_ne_bytes().to_vec());
    question.attributes =
        vec![LinkAttribute::Other(target), LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])];
    let answer = Route::open(home)?.get(RouteNetlinkMessage::GetLink(question))?;
    let RouteNetlinkMessage::NewLink(answer) = answer else { return Ok(None) };
    Ok(answer.attributes.into_iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name),
        _ => None,
    }))
}

fn family_of(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn question(family: AddressFamily, id: Option<i32>) -> RouteNetlinkMessage {
    let mut question = AddressMessage::default();
    question.header.family = family;
    question.attributes = id.map(AddressAttribute::TargetNetNsId).into_iter().collect();
    RouteNetlinkMessage::GetAddress(question)
}

/// The local end of a point-to-point address; elsewhere IPv6 states the address only as `IFA_ADDRESS`.
fn on_link(message: &RouteNetlinkMessage) -> Option<OnLink> {
    let RouteNetlinkMessage::NewAddress(message) = message else { return None };
    let link = message.header.index;
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let address = local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })?;
    Some(OnLink { link, address })
}
