//! A question as it is put on the wire.

use std::net::IpAddr;

use tenure_core::ports::WireQuestion;

use super::blind::Blind;
use super::interface::{Interface, OwnAddresses};

/// More controls make silence no truer.
const MAX_CONTROLS: usize = 4;

/// All of one family. No control stands on this node: this node does not answer itself, and where it does, by another
/// link on the same network, that says nothing of the others there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) address: IpAddr,
    pub(super) gateway: Option<IpAddr>,
    /// Without the gateway.
    pub(super) others: Vec<IpAddr>,
}

// === impl Asked ===

impl Asked {
    pub(super) fn new(
        question: &WireQuestion,
        interface: &Interface,
        own: &OwnAddresses,
    ) -> Result<Self, Blind> {
        let address = question.address;
        if !is_of_one_machine(address) {
            return Err(Blind::NotAsked { interface: interface.name.clone(), address });
        }
        let can_answer = |other: &IpAddr| {
            *other != address
                && other.is_ipv4() == address.is_ipv4()
                && is_of_one_machine(*other)
                && !own.contain(interface.index, *other)
        };
        let gateway = question.gateway.filter(can_answer);
        let mut others = Vec::new();
        for other in question.controls.iter().copied().filter(can_answer) {
            if others.len() < MAX_CONTROLS && Some(other) != gateway && !others.contains(&other) {
                others.push(other);
            }
        }
        Ok(Self { address, gateway, others })
    }

    /// Who has to answer before silence counts.
    pub(super) fn controls(&self) -> impl Iterator<Item = IpAddr> {
        self.gateway.into_iter().chain(self.others.iter().copied())
    }

    /// Everybody who is asked.
    pub(super) fn all(&self) -> impl Iterator<Item = IpAddr> {
        std::iter::once(self.address).chain(self.controls())
    }
}

fn is_of_one_machine(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !(address.is_multicast() || address.is_unspecified() || address.is_loopback() || broadcast)
}
