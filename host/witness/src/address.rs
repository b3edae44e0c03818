//! Whether an address stands on a link of a namespace, asked from outside by the namespace's id.

use std::net::IpAddr;

use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::netlink::{RouteError, dump};

/// Whether `address` stands on any link, up or down, tentative or not: a duplicate that the kernel found may be
/// brought up again.
///
/// `id` names the namespace, none the daemon's own.
pub(crate) fn is_on_link(home: u64, id: Option<i32>, address: IpAddr) -> Result<bool, RouteError> {
    let mut question = AddressMessage::default();
    question.header.family = match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    question.attributes = id.map(AddressAttribute::TargetNetNsId).into_iter().collect();
    let question = RouteNetlinkMessage::GetAddress(question);
    let stands = |answer| (own_address(&answer) == Some(address)).then_some(());
    Ok(!dump(home, &question, stands)?.is_empty())
}

/// The local end of a point-to-point address; elsewhere IPv6 states the address only as `IFA_ADDRESS`.
fn own_address(message: &RouteNetlinkMessage) -> Option<IpAddr> {
    let RouteNetlinkMessage::NewAddress(message) = message else { return None };
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}
