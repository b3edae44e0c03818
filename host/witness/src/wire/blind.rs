//! Why nothing may be concluded: the reason, the interface, the next step.

use std::net::IpAddr;

use rustix::io::Errno;
use tenure_core::name::IfName;

use super::Mac;
use crate::netlink::RouteError;

/// Its text is what operators read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Blind {
    #[error("interface {0} does not exist on this node: the network configuration names it")]
    NoInterface(IfName),
    #[error("interface {0} is down: bring it up (ip link set {0} up)")]
    Down(IfName),
    #[error("interface {0} has no carrier: nothing is connected to it, or no port of it is up")]
    NoCarrier(IfName),
    #[error("interface {0} is no Linux bridge: addresses behind it cannot be asked for")]
    NotABridge(IfName),
    #[error("interface {0} is not Ethernet: addresses behind it cannot be asked for")]
    NotEthernet(IfName),
    #[error("{address} is no address of one machine, so nobody on {interface} can be asked for it")]
    NotAsked { interface: IfName, address: IpAddr },
    #[error("no macvlan could be made on {interface} ({act}): {why}{}", step(*.errno))]
    NoMacvlan { interface: IfName, act: &'static str, why: String, errno: Option<Errno> },
    #[error("{act} for {interface} failed: {why}{}", step(*.errno))]
    System { interface: IfName, act: &'static str, why: String, errno: Option<Errno> },
    #[error(
        "{interface}: {probes} addresses are being asked for already, and no turn came within {seconds} s; try again"
    )]
    Crowd { interface: IfName, probes: usize, seconds: u64 },
    #[error(
        "frames heard on {0} were lost, so that silence means nothing; look for a storm on that network"
    )]
    Lost(IfName),
    #[error(
        "nothing on {0} could be a control: name a gateway that is not this node, or hold another address of the pool there"
    )]
    NoControl(IfName),
    #[error(
        "no control answered on {interface} (asked: {}): is it the right network, and is its uplink well?",
        list(.controls)
    )]
    NoAnswer { interface: IfName, controls: Vec<IpAddr> },
    #[error("somebody else ({}) is asking on {interface} whether {address} is free; try again", shown(.mac))]
    Rival { interface: IfName, address: IpAddr, mac: Mac },
    #[error(
        "a machine on {interface} answers for others (proxy ARP or ND): {} for {}; switch that off, or answers mean nothing",
        shown(.mac), list(.addresses)
    )]
    Proxy { interface: IfName, mac: Mac, addresses: Vec<IpAddr> },
}

/// A system call that failed, and what it was for.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("{act} failed: {errno}")]
pub(super) struct Failed {
    pub(super) act: &'static str,
    pub(super) errno: Errno,
}

// === impl Blind ===

impl Blind {
    /// A part of a question at `interface` that rtnetlink did not answer.
    pub(super) fn netlink(interface: &IfName, act: &'static str, error: RouteError) -> Self {
        let (why, errno) = told(error);
        Self::System { interface: interface.clone(), act, why, errno }
    }

    /// A macvlan on `interface` that rtnetlink did not make.
    pub(super) fn no_macvlan(interface: &IfName, act: &'static str, error: RouteError) -> Self {
        let (why, errno) = told(error);
        Self::NoMacvlan { interface: interface.clone(), act, why, errno }
    }
}

fn told(error: RouteError) -> (String, Option<Errno>) {
    match error {
        RouteError::Refused(errno) => (errno.to_string(), Some(errno)),
        RouteError::System { why, .. } => (why, None),
        RouteError::Incomplete => (error.to_string(), None),
    }
}

// === impl Failed ===

impl Failed {
    /// The blindness of a question at `interface`.
    pub(super) fn blinds(self, interface: &IfName) -> Blind {
        let Self { act, errno } = self;
        let why = errno.to_string();
        Blind::System { interface: interface.clone(), act, why, errno: Some(errno) }
    }
}

/// What to do about an error of the kernel, where that is known.
fn step(errno: Option<Errno>) -> &'static str {
    match errno {
        Some(Errno::PERM | Errno::ACCESS) => {
            "; the daemon needs CAP_NET_ADMIN, CAP_NET_RAW and CAP_SYS_ADMIN"
        }
        Some(Errno::BUSY) => "; is it a port of a bridge or bond, or is a passthru macvlan on it?",
        Some(Errno::NODEV | Errno::NXIO) => "; it was removed meanwhile",
        Some(Errno::NETDOWN) => "; it went down meanwhile",
        Some(Errno::OPNOTSUPP) => "; this kernel lacks the macvlan module",
        _ => "",
    }
}

fn shown(mac: &Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
