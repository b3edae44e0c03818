//! Tests on real links: a node, a switch, machines on it. Each test is a node of its own.

mod bridge;
mod faults;
mod macvlan;
mod noise;
mod proxy;
mod traces;
mod world;

use tenure_core::name::IfName;
use tenure_core::ports::{Wire as _, WireLink, WireLook, WireQuestion};

use super::WireWitness;

/// A test whose thread is the node.
macro_rules! wire_test {
    (fn $name:ident() $body:block) => {
        crate::tests::kernel_test! {
            fn $name() { crate::wire::tests::world::on_a_node(|| $body) }
        }
    };
}
use wire_test;

/// The plan of addresses: the same last number in both families.
fn ip(family: u8, last: u16) -> std::net::IpAddr {
    let text = if family == 4 { format!("10.6.1.{last}") } else { format!("fd00:6::{last}") };
    text.parse().unwrap()
}

fn on_macvlan() -> WireLink {
    WireLink::Macvlan { parent: IfName::new("v0").unwrap() }
}

fn on_bridge() -> WireLink {
    WireLink::Bridge { name: IfName::new("br0").unwrap() }
}

/// Asks for number 7, with number 1 as the gateway.
fn question(link: WireLink, family: u8, controls: &[u16]) -> WireQuestion {
    WireQuestion {
        node: Default::default(),
        link,
        address: ip(family, 7),
        gateway: Some(ip(family, 1)),
        controls: controls.iter().map(|last| ip(family, *last)).collect(),
    }
}

/// What a witness that starts now sees.
fn look(question: &WireQuestion) -> WireLook {
    WireWitness::start().unwrap().probe(question)
}

#[track_caller]
fn assert_blind(look: &WireLook, parts: &[&str]) {
    let WireLook::Blind { why } = look else { panic!("not blind: {look:?}") };
    for part in parts {
        assert!(why.contains(part), "no {part:?} in: {why}");
    }
}
