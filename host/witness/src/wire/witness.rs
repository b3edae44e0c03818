//! The witness as the daemon holds it.

use tenure_core::name::IfName;
use tenure_core::ports::{Wire, WireLink, WireLook, WireQuestion};

use super::Mac;
use super::asked::Asked;
use super::blind::{Blind, Failed};
use super::interface::{Interface, OwnAddresses};
use super::listen::{Speech, ask};
use super::packet_socket::PacketSocket;
use super::station::Stations;
use super::turns::{MAX_AT_ONCE, TURN_DEADLINE, Turns};
use super::verdict::conclude;
use super::{arp, nd};
use crate::doorway::cookie_here;
use crate::error::{StartError, system};

/// The wire witness of this node; see the module for flow and invariants.
///
/// Cheap to share behind an `Arc`. Calls may run at once; each blocks its thread, which must be in the namespace in which
/// the witness was started.
#[derive(Debug)]
pub struct WireWitness {
    home: u64,
    stations: Stations,
    turns: Turns,
}

// === impl WireWitness ===

impl WireWitness {
    /// Must be called in the network namespace that the daemon stays in. It touches no link: what is missing for asking
    /// shows when it is asked.
    ///
    /// # Errors
    /// [`StartError`] when the kernel tells neither the own namespace nor a random number.
    pub fn start() -> Result<Self, StartError> {
        let failed = |source| StartError::OwnNamespace { source };
        let home = cookie_here().map_err(|errno| {
            failed(system("reading the cookie of the own network namespace", errno))
        })?;
        let mut seed = Mac::default();
        getrandom::fill(&mut seed).map_err(|why| failed(system("reading randomness", why)))?;
        Ok(Self { home, stations: Stations::new(home, seed), turns: Turns::new(MAX_AT_ONCE) })
    }

    fn look(&self, question: &WireQuestion) -> Result<WireLook, Blind> {
        let (WireLink::Macvlan { parent: name } | WireLink::Bridge { name }) = &question.link;
        let _turn = self.turns.take(TURN_DEADLINE).ok_or_else(|| Blind::Crowd {
            interface: name.clone(),
            probes: MAX_AT_ONCE,
            seconds: TURN_DEADLINE.as_secs(),
        })?;
        let interface = Interface::of(self.home, &question.link)?;
        let own = OwnAddresses::read(self.home, name, question.address)?;
        let asked = Asked::new(question, &interface, &own)?;
        if own.stand_on(interface.index, asked.address) {
            // This node has it, and would hear no answer of its own.
            return Ok(WireLook::Answered { mac: interface.mac });
        }
        match question.link {
            WireLink::Macvlan { .. } => self.ask_from_station(&interface, &asked),
            WireLink::Bridge { .. } => self.ask_from_bridge(&interface, &own, &asked),
        }
    }

    fn ask_from_station(&self, parent: &Interface, asked: &Asked) -> Result<WireLook, Blind> {
        let stand = self.stations.on(parent)?;
        let speech = speech(asked, stand.mac(), || nd::link_local(stand.mac()));
        let mut socket = stand.socket(&parent.name, &speech)?;
        finish(&parent.name, &mut socket, &speech, stand.mac(), asked)
    }

    /// Answers come to the bridge's own hardware address; if it has a link-local address, that is the one they are for.
    fn ask_from_bridge(
        &self,
        bridge: &Interface,
        own: &OwnAddresses,
        asked: &Asked,
    ) -> Result<WireLook, Blind> {
        let source = || own.link_local(bridge.index).unwrap_or_else(|| nd::link_local(bridge.mac));
        let speech = speech(asked, bridge.mac, source);
        let blinds = |failed: Failed| failed.blinds(&bridge.name);
        let mut socket = PacketSocket::open(bridge.index, &speech).map_err(blinds)?;
        if socket.cookie().map_err(blinds)? != self.home {
            let strayed = Failed { act: "opening a packet socket", errno: rustix::io::Errno::XDEV };
            return Err(strayed.blinds(&bridge.name));
        }
        finish(&bridge.name, &mut socket, &speech, bridge.mac, asked)
    }
}

impl Wire for WireWitness {
    fn probe(&self, question: &WireQuestion) -> WireLook {
        self.look(question).unwrap_or_else(|blind| WireLook::Blind { why: blind.to_string() })
    }
}

fn speech(asked: &Asked, own: Mac, source: impl FnOnce() -> std::net::Ipv6Addr) -> Speech {
    if asked.address.is_ipv4() { arp::speech(asked, own) } else { nd::speech(asked, own, source()) }
}

fn finish(
    interface: &IfName,
    socket: &mut PacketSocket,
    speech: &Speech,
    own: Mac,
    asked: &Asked,
) -> Result<WireLook, Blind> {
    let answers = ask(socket, speech, own, asked).map_err(|failed| failed.blinds(interface))?;
    conclude(interface, asked, &answers)
}
