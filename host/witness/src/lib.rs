//! The witnesses that a node has by itself: [`KernelWitness`], what its kernel says about the network namespaces of
//! holders, and [`WireWitness`], whether somebody on a link answers for an address.
//!
//! What they are not: they judge nothing (grace, fences and the table of required evidence live in
//! `tenure_core`), keep nothing on disk, and know neither leases nor pods. They need no async runtime:
//! every call blocks, for microseconds at the kernel and for 350 ms on the wire, and belongs on a thread where that is
//! allowed.
//!
//! # Flow
//!
//! ```text
//! kernel
//! start     kernel release -> own namespace -> watch for ending ids -> self-test (made, seen, gone)
//! identify  path -> namespace_file -> doorway (cookie) -> nsid (id, given if there is none) -> memory
//! look      watch -> memory (which ids ended until now) -> Look
//! namespace Look: memory: who wears the id? else the kernel: does it exist? else visible: one pass over handles
//! address   Look: namespace alive -> RTM_GETADDR in the namespace by its id -> still the same wearer?
//! on_end    RTM_DELNSID -> memory (an id that we know or chose?) -> wake
//! census    nsid: all ids -> handles: everything visible, identified -> the ids that are left, by RTM_GETADDR
//! wire
//! probe     wire/: interface -> who can be a control -> a temporary macvlan, or the bridge -> three rounds -> verdict
//! ```
//!
//! # Invariants
//!
//! - *Unknown is never dead.* [`NetnsLook::Gone`] is said only of a namespace that was seen alive: by this
//!   process, or by an earlier process that gave the id from this same namespace
//!   ([`Options::earlier_home`]). Namespace ids mean nothing outside the namespace that gave them, and a
//!   daemon that was moved would otherwise find every holder dead.
//! - *No listing of ids is believed.* The kernel's `RTM_GETNSID` dump ends after one page, 134 ids, and says
//!   that it is complete (seen on 6.18); on kernels where it goes on, an entry that ends between two pages
//!   makes it skip a living one unflagged; only a listing that is shorter than any page counts. So the end of an id is heard as an event (`RTM_DELNSID`; lost
//!   events are flagged, and then all is asked anew), and gone is said only after the kernel denies the
//!   single id; and when ids must be found that nobody remembers, a range that holds all of them is asked through.
//! - *The cookie decides.* Inode numbers and low namespace ids are reused at once; what an id wore is
//!   believed only while no end of that id was announced since.
//! - *Nothing is held.* A namespace is entered by one thread of ours that has left it again before the answer, and
//!   descriptors of it are closed by then. Ids pin nothing. The one namespace that stays open is the wire witness's
//!   own, which is empty between two probes.
//! - *Silence on the wire is no proof.* It counts at all only beside a control that answered, and an answer only if it
//!   is not that of a machine which answers for everybody; the folder `wire` has its own list.
//! - *Silent when broken.* If the self-test fails, every look and every census is an error.
//! - *A census is whole or says that it is not.* Every namespace that a daemon in this place has met in this boot
//!   has an id here, so none of them is missed, whoever or whatever keeps it alive. Beyond those it finds what
//!   processes, threads, mounts and descriptors show; what neither an id nor any of these shows (a socket in a
//!   namespace that no daemon here ever met) no call of the kernel tells before Linux has one that lists
//!   namespaces.
//!
//! The threads that call in here must be in the namespace that the process started in.
//!
//! An id vanishes when the last user of a namespace is gone, a moment before its links are taken down: a look
//! that says [`NetnsLook::Gone`] can precede the last ARP answer by milliseconds (the last link left 31 ms
//! after the last id when 400 namespaces ended at once). The two looks at least a second apart that the judge
//! asks for cover that.
//!
//! [`NetnsLook::Gone`]: tenure_core::ports::NetnsLook::Gone

mod address;
mod census;
mod doorway;
mod error;
mod explain;
mod handles;
mod look;
mod memory;
mod message;
mod namespace_file;
mod netlink;
mod nsid;
mod proc;
mod release;
mod self_test;
mod set_down;
mod visible;
mod wake;
mod watch;
mod wire;
mod witness;

#[cfg(test)]
mod tests;

pub use error::StartError;
pub use explain::{Hold, MAX_HOLDERS, NamespaceHolder};
pub use look::Look;
pub use self_test::SelfTest;
pub use wire::WireWitness;
pub use witness::{KernelWitness, Options};
