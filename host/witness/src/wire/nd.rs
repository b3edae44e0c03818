//! IPv6: neighbour solicitations (RFC 4861, RFC 4862).
//!
//! A solicitation from `::` is the one of duplicate address detection. It is put for the address asked for alone:
//! whoever is at that moment detecting duplicates of the same address gives it up (seen on Linux: the
//! address stays `dadfailed`), and a control is a living container or the gateway. Controls are asked by a
//! solicitation from a link-local address, as by any neighbour, which a holder that is still detecting ignores. So
//! that silence means the same for all, the address is asked for in this way too.

use std::net::Ipv6Addr;

use super::asked::Asked;
use super::filter::Filter;
use super::listen::{Heard, Speech};
use super::{Mac, at};

const PROTOCOL: u16 = 0x86dd;
const ICMPV6: u8 = 58;
/// Whoever is farther than this link cannot send it.
const HOP_LIMIT: u8 = 255;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOURCE_LINK_ADDRESS: u8 = 1;
const TARGET_LINK_ADDRESS: u8 = 2;
/// The flag of an advertisement that answers a solicitation.
const SOLICITED: u8 = 0x40;

const NEXT_HEADER_AT: u32 = 20;
const HOP_LIMIT_AT: u32 = 21;
/// The last word of the target.
const TARGET_END_AT: u32 = 74;
const BODY_AT: usize = 54;

const ALL_NODES: Mac = [0x33, 0x33, 0, 0, 0, 1];

/// What to say, from a link-local address of ours, and what to listen for; other families are left out.
pub(super) fn speech(asked: &Asked, own: Mac, source: Ipv6Addr) -> Speech {
    let all = || asked.all().filter_map(v6);
    let address = v6(asked.address);
    let detection = address.map(|address| solicitation(own, Ipv6Addr::UNSPECIFIED, address));
    let end = |address: Ipv6Addr| (address.to_bits() & u128::from(u32::MAX)) as u32;
    let filter = Filter::for_us()
        .byte(NEXT_HEADER_AT, ICMPV6)
        .byte(HOP_LIMIT_AT, HOP_LIMIT)
        .take(TARGET_END_AT, all().map(end));
    Speech {
        protocol: PROTOCOL,
        frames: detection
            .into_iter()
            .chain(all().map(|target| solicitation(own, source, target)))
            .collect(),
        filter: filter.program(),
        // Answers to a detection go to all nodes, detections of others to the group of the address.
        groups: std::iter::once(ALL_NODES).chain(address.map(group_mac)).collect(),
        read: |frame| read(frame),
    }
}

fn v6(address: std::net::IpAddr) -> Option<Ipv6Addr> {
    match address {
        std::net::IpAddr::V6(address) => Some(address),
        std::net::IpAddr::V4(_) => None,
    }
}

/// The link-local address that belongs to a hardware address (RFC 4291, appendix A).
pub(super) fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// The solicited-node group (RFC 4291, 2.7.1).
fn group(target: Ipv6Addr) -> Ipv6Addr {
    const GROUPS: u128 = 0xff02_0000_0000_0000_0000_0001_ff00_0000;
    Ipv6Addr::from_bits(GROUPS | (target.to_bits() & 0x00ff_ffff))
}

fn group_mac(target: Ipv6Addr) -> Mac {
    let [.., a, b, c] = target.octets();
    [0x33, 0x33, 0xff, a, b, c]
}

pub(super) fn solicitation(own: Mac, source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let mut body = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    body.extend(target.octets());
    if !source.is_unspecified() {
        body.extend([SOURCE_LINK_ADDRESS, 1]);
        body.extend(own);
    }
    framed((group_mac(target), own), (source, group(target)), body)
}

/// A message of ICMPv6 whose checksum is still zero, in its frame. Pairs are (to, from) and (from, to), as in the frame.
fn framed(link: (Mac, Mac), net: (Ipv6Addr, Ipv6Addr), mut body: Vec<u8>) -> Vec<u8> {
    let sum = checksum(net.0, net.1, &body).to_be_bytes();
    for (byte, sum) in body.iter_mut().skip(2).zip(sum) {
        *byte = sum;
    }
    // Some dozen bytes.
    let length = u16::try_from(body.len()).unwrap_or_default();
    let mut frame = Vec::with_capacity(BODY_AT + body.len());
    frame.extend(link.0);
    frame.extend(link.1);
    frame.extend(PROTOCOL.to_be_bytes());
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(length.to_be_bytes());
    frame.extend([ICMPV6, HOP_LIMIT]);
    frame.extend(net.0.octets());
    frame.extend(net.1.octets());
    frame.extend(body);
    frame
}

fn read(frame: &[u8]) -> Option<Heard> {
    let [version, _, _, _, high, low, ICMPV6, HOP_LIMIT] = at(frame, 14)? else { return None };
    if at(frame, 12)? != PROTOCOL.to_be_bytes() || version >> 4 != 6 {
        return None;
    }
    let source = Ipv6Addr::from(at::<16>(frame, 22)?);
    let to = Ipv6Addr::from(at::<16>(frame, 38)?);
    let length = usize::from(u16::from_be_bytes([high, low]));
    let body = frame.get(BODY_AT..BODY_AT + length)?;
    if checksum(source, to, body) != 0 {
        return None;
    }
    let target = Ipv6Addr::from(at::<16>(body, 8)?).into();
    let sender: Mac = at(frame, 6)?;
    match at(body, 0)? {
        [SOLICITATION, 0] if source.is_unspecified() => {
            Some(Heard::Probe { address: target, mac: sender })
        }
        [ADVERTISEMENT, 0] => {
            let solicited = at::<1>(body, 4)?.map(|flags| flags & SOLICITED) != [0];
            let mac = link_address(body.get(24..)?).unwrap_or(sender);
            let answers = if solicited { at(frame, 0) } else { None };
            Some(Heard::Claim { address: target, mac, answers })
        }
        _ => None,
    }
}

/// The hardware address that the options of an advertisement state.
fn link_address(mut options: &[u8]) -> Option<Mac> {
    loop {
        // Lengths are in units of eight bytes; zero is invalid.
        let [kind, units] = at(options, 0)?;
        if kind == TARGET_LINK_ADDRESS && units == 1 {
            return at(options, 2);
        }
        options = options.get(usize::from(units).checked_sub(1).map(|more| 8 + more * 8)?..)?;
    }
}

/// RFC 8200, 8.1. Over a body with a right checksum inside it is zero.
fn checksum(source: Ipv6Addr, to: Ipv6Addr, body: &[u8]) -> u16 {
    let length = u32::try_from(body.len()).unwrap_or_default();
    let parts: [&[u8]; 5] =
        [&source.octets(), &to.octets(), &length.to_be_bytes(), &[0, 0, 0, ICMPV6], body];
    // Only the body may be odd, and it is last.
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let sum: u64 = words
        .map(|word| match *word {
            [high, low] => u64::from(u16::from_be_bytes([high, low])),
            [high] => u64::from(u16::from_be_bytes([high, 0])),
            _ => 0,
        })
        .sum();
    let once = (sum & 0xffff) + (sum >> 16);
    let twice = (once & 0xffff) + (once >> 16);
    !(twice as u16)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const OWN: Mac = [2, 0, 0, 0, 0, 1];
    const OTHER: Mac = [2, 0, 0, 0, 0, 9];

    fn address() -> Ipv6Addr {
        "fd00:6::1:7".parse().unwrap()
    }

    /// An unasked advertisement to all nodes.
    pub(in crate::wire) fn announcement(mac: Mac, target: Ipv6Addr) -> Vec<u8> {
        let body = [&[ADVERTISEMENT, 0, 0, 0, 0x20, 0, 0, 0], &target.octets()[..], &[2, 1], &mac]
            .concat();
        framed((ALL_NODES, mac), (target, "ff02::1".parse().unwrap()), body)
    }

    /// What Linux answers to a solicitation from a link-local address.
    #[rustfmt::skip]
    const ANSWER: [u8; 86] = [
        2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x86, 0xdd, // Ethernet, to us
        0x60, 0, 0, 0, 0, 32, 58, 255, // IPv6
        0xfd, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 7, // from the address
        0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 1, // to our link-local one
        136, 0, 0x1b, 0xfb, 0x60, 0, 0, 0, // solicited, override
        0xfd, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 7, // for the address
        2, 1, 2, 0, 0, 0, 0, 9, // at this hardware address
    ];

    #[test]
    #[rustfmt::skip]
    fn a_solicitation_of_duplicate_detection_is_the_one_of_the_specification() {
        let golden = [
            0x33, 0x33, 0xff, 1, 0, 7, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, // Ethernet, to the group
            0x60, 0, 0, 0, 0, 24, 58, 255, // IPv6
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // from nobody
            0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 1, 0, 7, // to the group
            135, 0, 0x7d, 0x91, 0, 0, 0, 0, // solicitation
            0xfd, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 7, // for the address
        ];
        assert_eq!(solicitation(OWN, Ipv6Addr::UNSPECIFIED, address()), golden);
    }

    #[test]
    #[rustfmt::skip]
    fn a_solicitation_of_a_neighbour_tells_where_to_answer() {
        let golden = [
            0x33, 0x33, 0xff, 1, 0, 7, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, // Ethernet, to the group
            0x60, 0, 0, 0, 0, 32, 58, 255, // IPv6
            0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 1, // from us
            0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 1, 0, 7, // to the group
            135, 0, 0x7d, 5, 0, 0, 0, 0, // solicitation
            0xfd, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 7, // for the address
            1, 1, 2, 0, 0, 0, 0, 1, // at our hardware address
        ];
        assert_eq!(link_local(OWN).to_string(), "fe80::ff:fe00:1");
        assert_eq!(solicitation(OWN, link_local(OWN), address()), golden);
    }

    #[test]
    fn an_answer_an_announcement_and_a_foreign_detection_are_told_apart() {
        let (address, mac) = (address().into(), OTHER);
        assert_eq!(read(&ANSWER), Some(Heard::Claim { address, mac, answers: Some(OWN) }));
        let announced = announcement(OTHER, self::address());
        assert_eq!(read(&announced), Some(Heard::Claim { address, mac, answers: None }));
        let foreign = solicitation(OTHER, Ipv6Addr::UNSPECIFIED, self::address());
        assert_eq!(read(&foreign), Some(Heard::Probe { address, mac }));
        // Whoever looks for the address neither has it nor wants it.
        assert_eq!(read(&solicitation(OTHER, link_local(OTHER), self::address())), None);
    }

    #[test]
    fn without_the_option_the_sender_of_the_frame_is_the_machine() {
        let mut body = ANSWER[BODY_AT..BODY_AT + 24].to_vec();
        body[2..4].fill(0);
        let (from, to) = (address(), link_local(OWN));
        let heard = Some(Heard::Claim { address: from.into(), mac: OTHER, answers: Some(OWN) });
        assert_eq!(read(&framed((OWN, OTHER), (from, to), body.clone())), heard);
        // An option of another kind before, an invalid one, and one that is cut.
        for options in [&[14, 1, 0, 0, 0, 0, 0, 0][..], &[2, 0, 0, 0, 0, 0, 0, 0], &[2, 1, 2]] {
            let body = [&body, options].concat();
            assert_eq!(read(&framed((OWN, OTHER), (from, to), body)), heard, "{options:?}");
        }
    }

    #[test]
    fn what_is_cut_or_changed_in_any_byte_behind_the_addresses_is_not_heard() {
        for length in 0..ANSWER.len() {
            assert_eq!(read(&ANSWER[..length]), None, "cut to {length}");
        }
        for changed in (12..15).chain(18..ANSWER.len()) {
            let mut frame = ANSWER;
            frame[changed] ^= 0x40;
            assert_eq!(read(&frame), None, "byte {changed} is another");
        }
    }
}
