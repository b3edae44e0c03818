//! The wire witness: whether somebody on a link answers for an address that is about to be given away.
//!
//! # Flow
//!
//! ```text
//! probe     turns (a bounded crowd) -> interface (is it there, is it up, what stands on this node)
//!           -> asked (who can be a control) -> station (where to speak from) -> packet_socket
//!           -> listen (three rounds, 100 ms each) -> verdict
//! station   macvlan: a temporary one on the parent, in the room; bridge: the bridge itself
//! frames    arp, nd: what is sent, how an answer reads, which frames the socket lets through (filter)
//! ```
//!
//! # Invariants
//!
//! - *Silence needs a witness.* [`Silent`] is said only if the gateway or another held address answered, to us, the
//!   same question from the same interface, and no frame was lost.
//! - *An answer counts unless it proves nothing.* One that is ours, or one of a machine that answers for
//!   everybody ([`verdict`]), is none.
//! - *Asking changes nothing.* The temporary macvlan stands on the parent, but in a namespace of ours with nothing
//!   else in it ([`room`]): neither the addresses of this node nor any tool of it meets it, and it ends with
//!   the process, however that ends. In IPv6 a control is never asked in the way that would end its own
//!   duplicate detection ([`nd`]); ARP has no other way for one without an address, so that in IPv4 the asker names
//!   controls that are past theirs.
//! - *Bounded.* Probes at once, addresses in one, frames read, waiting: each has its constant.
//! - *Never fatal.* Whatever fails is [`Blind`] with the interface and the next step.
//!
//! # What a bridge says
//!
//! A frame sent on a bridge goes to its ports and never up into this node: addresses of the node (the gateway, with
//! `isGateway`) do not answer there, and are neither asked nor controls. There a held address of another
//! container is the only control, and for the first container of a bridge the look is blind.
//!
//! [`Silent`]: tenure_core::ports::WireLook::Silent
//! [`Blind`]: tenure_core::ports::WireLook::Blind

mod arp;
mod asked;
mod blind;
mod filter;
mod interface;
mod listen;
mod nd;
mod packet_socket;
mod room;
mod station;
mod turns;
mod verdict;
mod witness;

#[cfg(test)]
mod tests;

pub use witness::WireWitness;

/// A hardware address.
type Mac = [u8; 6];

/// `N` bytes of a frame.
fn at<const N: usize>(frame: &[u8], offset: usize) -> Option<[u8; N]> {
    frame.get(offset..)?.first_chunk().copied()
}
