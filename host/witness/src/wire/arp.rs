//! IPv4: ARP probes (RFC 5227). The sender's protocol address is zero, so that no cache learns anything of us.

use std::net::Ipv4Addr;

use super::asked::Asked;
use super::filter::Filter;
use super::listen::{Heard, Speech};
use super::{Mac, at};

const PROTOCOL: u16 = 0x0806;
/// Hardware type Ethernet, protocol type IPv4, and the lengths of both kinds of address.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: u16 = 1;
const REPLY: u16 = 2;
const BROADCAST: Mac = [0xff; 6];

/// Where the sender's and the target's protocol address stand in a frame.
const SENDER_AT: u32 = 28;
const TARGET_AT: u32 = 38;

/// What to say and what to listen for; other families than IPv4 are left out.
pub(super) fn speech(asked: &Asked, own: Mac) -> Speech {
    let all = || asked.all().filter_map(v4);
    let word = |address: Ipv4Addr| address.to_bits();
    // Whoever says that it is one of those asked for, and probes of others for the same address.
    let filter = Filter::for_us()
        .take(SENDER_AT, all().map(word))
        .word(SENDER_AT, 0)
        .take(TARGET_AT, v4(asked.address).map(word));
    Speech {
        protocol: PROTOCOL,
        frames: all().map(|address| probe(own, address).to_vec()).collect(),
        filter: filter.program(),
        groups: Vec::new(),
        read: |frame| read(frame),
    }
}

fn v4(address: std::net::IpAddr) -> Option<Ipv4Addr> {
    match address {
        std::net::IpAddr::V4(address) => Some(address),
        std::net::IpAddr::V6(_) => None,
    }
}

fn probe(own: Mac, address: Ipv4Addr) -> [u8; 42] {
    let mut frame = [0; 42];
    let parts: [&[u8]; 9] = [
        &BROADCAST,
        &own,
        &PROTOCOL.to_be_bytes(),
        &ETHERNET_IPV4,
        &REQUEST.to_be_bytes(),
        &own,
        &Ipv4Addr::UNSPECIFIED.octets(),
        &[0; 6],
        &address.octets(),
    ];
    for (byte, said) in frame.iter_mut().zip(parts.into_iter().flatten()) {
        *byte = *said;
    }
    frame
}

/// Any ARP packet is a claim of the address that it is sent from (RFC 5227, 1.1).
fn read(frame: &[u8]) -> Option<Heard> {
    if at(frame, 12)? != PROTOCOL.to_be_bytes() || at(frame, 14)? != ETHERNET_IPV4 {
        return None;
    }
    let operation = u16::from_be_bytes(at(frame, 20)?);
    let mac: Mac = at(frame, 22)?;
    let sender = Ipv4Addr::from(at::<4>(frame, 28)?);
    let target = Ipv4Addr::from(at::<4>(frame, 38)?);
    match operation {
        REQUEST if sender.is_unspecified() => Some(Heard::Probe { address: target.into(), mac }),
        REQUEST => Some(Heard::Claim { address: sender.into(), mac, answers: None }),
        REPLY => Some(Heard::Claim { address: sender.into(), mac, answers: at(frame, 0) }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Mac = [2, 0, 0, 0, 0, 1];
    const OTHER: Mac = [2, 0, 0, 0, 0, 9];

    fn answer(operation: u16, to: Mac, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
        let mut frame = probe(OTHER, target.into());
        frame[..6].copy_from_slice(&to);
        frame[20..22].copy_from_slice(&operation.to_be_bytes());
        frame[28..32].copy_from_slice(&sender);
        frame.to_vec()
    }

    #[test]
    fn a_probe_is_the_one_of_the_specification() {
        let golden = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6, // Ethernet
            0, 1, 8, 0, 6, 4, 0, 1, // Ethernet, IPv4, request
            2, 0, 0, 0, 0, 1, 0, 0, 0, 0, // from us, who have no address
            0, 0, 0, 0, 0, 0, 10, 6, 1, 7, // for the address
        ];
        assert_eq!(probe(OWN, Ipv4Addr::new(10, 6, 1, 7)), golden);
    }

    #[test]
    fn a_reply_an_announcement_and_a_foreign_probe_are_told_apart() {
        let (address, mac) = (Ipv4Addr::new(10, 6, 1, 7).into(), OTHER);
        let reply = answer(REPLY, OWN, [10, 6, 1, 7], [0; 4]);
        assert_eq!(read(&reply), Some(Heard::Claim { address, mac, answers: Some(OWN) }));
        let announcement = answer(REQUEST, BROADCAST, [10, 6, 1, 7], [10, 6, 1, 7]);
        assert_eq!(read(&announcement), Some(Heard::Claim { address, mac, answers: None }));
        let foreign = answer(REQUEST, BROADCAST, [0; 4], [10, 6, 1, 7]);
        assert_eq!(read(&foreign), Some(Heard::Probe { address, mac }));
    }

    #[test]
    fn what_is_cut_or_of_another_kind_is_not_heard() {
        let reply = answer(REPLY, OWN, [10, 6, 1, 7], [0; 4]);
        for length in 0..reply.len() {
            assert_eq!(read(&reply[..length]), None, "cut to {length}");
        }
        for other in [12, 14, 16, 18, 19, 20] {
            let mut frame = reply.clone();
            frame[other] ^= 0x40;
            assert_eq!(read(&frame), None, "byte {other} is another");
        }
    }
}
