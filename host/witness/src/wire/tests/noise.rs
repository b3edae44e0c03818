//! Who else speaks on the network: floods, rivals, other VLANs.

use std::net::Ipv6Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use tenure_core::ports::{Wire as _, WireLook, WireQuestion};

use super::world::{Machine, Switch, inside, run};
use super::{assert_blind, ip, on_macvlan, question, wire_test};
use crate::tests::world::wait_for;
use crate::wire::asked::Asked;
use crate::wire::interface::Interface;
use crate::wire::listen::{Speech, ask};
use crate::wire::packet_socket::PacketSocket;
use crate::wire::{WireWitness, at, nd};

/// Long enough for any answer that has a bound.
const PATIENCE: Duration = Duration::from_secs(60);

/// A machine that no interface has.
const FOREIGN: [u8; 6] = [2, 9, 9, 9, 9, 9];

/// A frame of ARP, sent by nobody in particular.
fn arp(operation: u8, mac: [u8; 6], sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let head = [&[0xff; 6][..], &mac, &[8, 6, 0, 1, 8, 0, 6, 4, 0, operation]].concat();
    [&head[..], &mac, &sender, &[0; 6], &target].concat()
}

/// Puts the question while a machine sends these frames without end; the look must come all the same.
fn look_amid(machine: &Machine, frames: &[Vec<u8>], question: &WireQuestion) -> WireLook {
    let (witness, stop) = (WireWitness::start().unwrap(), AtomicBool::new(false));
    let (said, seen) = channel();
    std::thread::scope(|scope| {
        // A thread that is made here is on the node.
        let (began, begun) = channel();
        let (path, stop) = (machine.0.path(), &stop);
        scope.spawn(move || inside(&path, || speak(frames, stop, || began.send(()).unwrap())));
        begun.recv().unwrap();
        scope.spawn(move || said.send(witness.probe(question)));
        let look = seen.recv_timeout(PATIENCE);
        stop.store(true, Ordering::Relaxed);
        look.expect("the look has no bound")
    })
}

fn speak(frames: &[Vec<u8>], stop: &AtomicBool, began: impl FnOnce()) {
    let (groups, filter) = (Vec::new(), crate::wire::filter::Filter::for_us().program());
    let deaf = Speech { protocol: 0, frames: Vec::new(), filter, groups, read: |_| None };
    let index = run("ip -o link show eth0").split(':').next().unwrap().parse().unwrap();
    let socket = PacketSocket::open(index, &deaf).unwrap();
    let mut began = Some(began);
    while !stop.load(Ordering::Relaxed) {
        for frame in frames {
            // A full queue is none of the flood's sorrows.
            let _ = socket.send(frame);
        }
        if let Some(began) = began.take() {
            began();
        }
    }
}

wire_test! {
    fn a_flood_of_other_frames_changes_nothing() {
        let switch = Switch::new();
        let (_gateway, holder) = (switch.machine(&[ip(4, 1), ip(6, 1)]), switch.machine(&[ip(4, 8), ip(6, 8)]));
        let noise = switch.machine(&[]);
        let frames: Vec<_> = (0..64).map(|n| arp(1, [2, 9, 9, 9, 9, n], [10, 6, 2, n], [10, 6, 3, n])).collect();
        for family in [4, 6] {
            let mut asked = question(on_macvlan(), family, &[]);
            assert_eq!(look_amid(&noise, &frames, &asked), WireLook::Silent, "IPv{family}");
            asked.address = ip(family, 8);
            let answered = WireLook::Answered { mac: holder.mac() };
            assert_eq!(look_amid(&noise, &frames, &asked), answered, "IPv{family}");
        }
    }
}

wire_test! {
    fn a_flood_of_false_answers_never_makes_silence_of_an_answer() {
        let switch = Switch::new();
        let (_gateway, _holder) = (switch.machine(&[ip(4, 1)]), switch.machine(&[ip(4, 7)]));
        let noise = switch.machine(&[]);
        // A thousand machines claim the control.
        let frames: Vec<_> = (0..=255).map(|n| arp(2, [2, 9, 9, 9, 9, n], [10, 6, 1, 2], [10, 6, 1, 2])).collect();
        let seen = look_amid(&noise, &frames, &question(on_macvlan(), 4, &[2]));
        assert_ne!(seen, WireLook::Silent);
    }
}

/// Said over and over by a machine: what only those hear who are in the right groups.
fn look_amid_v6(frame: impl Fn(Ipv6Addr) -> Vec<u8>) -> WireLook {
    let switch = Switch::new();
    let (_gateway, other) = (switch.machine(&[ip(6, 1)]), switch.machine(&[]));
    let std::net::IpAddr::V6(address) = ip(6, 7) else { unreachable!() };
    look_amid(&other, &[frame(address)], &question(on_macvlan(), 6, &[]))
}

wire_test! {
    fn answers_that_were_lost_are_noticed() {
        let switch = Switch::new();
        let (_gateway, noise) = (switch.machine(&[ip(4, 1)]), switch.machine(&[]));
        let v0 = Interface::of(crate::doorway::cookie_here().unwrap(), &on_macvlan()).unwrap();
        let asked = Asked { address: ip(4, 7), gateway: Some(ip(4, 1)), others: vec![] };
        let speech = crate::wire::arp::speech(&asked, v0.mac);
        let open = || PacketSocket::open(v0.index, &speech).unwrap();
        assert!(!ask(&mut open(), &speech, v0.mac, &asked).unwrap().lost);
        // Both have the same room and hear the same.
        let (mut full, canary, stop) = (open(), open(), AtomicBool::new(false));
        let (path, frames) = (noise.0.path(), [arp(2, FOREIGN, [10, 6, 1, 7], [0; 4])]);
        std::thread::scope(|scope| {
            scope.spawn(|| inside(&path, || speak(&frames, &stop, || ())));
            for _ in 0..2 {
                wait_for("a socket to be full", || canary.has_lost().unwrap());
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert!(ask(&mut full, &speech, v0.mac, &asked).unwrap().lost);
    }
}

wire_test! {
    fn somebody_else_who_asks_for_the_same_address_makes_blind() {
        let switch = Switch::new();
        let (_gateway, rival) = (switch.machine(&[ip(4, 1)]), switch.machine(&[]));
        let frames = [arp(1, FOREIGN, [0; 4], [10, 6, 1, 7])];
        let seen = look_amid(&rival, &frames, &question(on_macvlan(), 4, &[]));
        assert_blind(&seen, &["02:09:09:09:09:09", "v0", "10.6.1.7", "try again"]);
    }
}

wire_test! {
    fn somebody_else_who_detects_duplicates_of_the_same_address_makes_blind() {
        let seen = look_amid_v6(|address| nd::solicitation(FOREIGN, Ipv6Addr::UNSPECIFIED, address));
        assert_blind(&seen, &["02:09:09:09:09:09", "v0", "fd00:6::7", "try again"]);
    }
}

wire_test! {
    fn an_advertisement_to_all_nodes_is_heard() {
        let seen = look_amid_v6(|address| nd::tests::announcement(FOREIGN, address));
        assert_eq!(seen, WireLook::Answered { mac: FOREIGN });
    }
}

wire_test! {
    fn an_answer_in_another_vlan_is_none() {
        let switch = Switch::new();
        let (_gateway, tagged) = (switch.machine(&[ip(4, 1)]), switch.machine(&[]));
        let mut frame = arp(2, FOREIGN, [10, 6, 1, 7], [10, 6, 1, 7]);
        assert_eq!(at(&frame, 12), Some([8, 6]));
        let untagged = look_amid(&tagged, &[frame.clone()], &question(on_macvlan(), 4, &[]));
        assert_eq!(untagged, WireLook::Answered { mac: FOREIGN });
        frame.splice(12..12, [0x81, 0, 0, 5]);
        let seen = look_amid(&tagged, &[frame], &question(on_macvlan(), 4, &[]));
        assert_eq!(seen, WireLook::Silent);
    }
}
