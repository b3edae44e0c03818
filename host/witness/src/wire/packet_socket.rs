//! A packet socket on one interface that hears only what its filter lets through (`packet(7)`).

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};

use super::Mac;
use super::blind::Failed;
use super::listen::Speech;

/// The kernel rounds shorter waits down to none, which means "for ever".
const SHORTEST_WAIT: std::time::Duration = std::time::Duration::from_millis(1);
/// No frame that we understand is longer; of others the rest is cut off.
const FRAME_BYTES: usize = 2048;

/// An open socket.
#[derive(Debug)]
pub(super) struct PacketSocket {
    fd: OwnedFd,
    frame: Vec<u8>,
}

// === impl PacketSocket ===

impl PacketSocket {
    /// A socket in the namespace of the calling thread. It hears nothing before filter and interface are set.
    pub(super) fn open(index: u32, speech: &Speech) -> Result<Self, Failed> {
        let failed = |errno| Failed { act: "opening a packet socket", errno };
        let (family, flags) = (AddressFamily::PACKET, SocketFlags::CLOEXEC);
        let fd = rustix::net::socket_with(family, SocketType::RAW, flags, None).map_err(failed)?;
        // The kernel counts interfaces from 1 within an `int`.
        let index = i32::try_from(index).map_err(|_| failed(Errno::NODEV))?;
        attach_filter(fd.as_fd(), &speech.filter).map_err(failed)?;
        for group in &speech.groups {
            join(fd.as_fd(), index, *group).map_err(failed)?;
        }
        bind(fd.as_fd(), index, speech.protocol).map_err(failed)?;
        Ok(Self { fd, frame: vec![0; FRAME_BYTES] })
    }

    /// The cookie of the namespace that it speaks in.
    pub(super) fn cookie(&self) -> Result<u64, Failed> {
        crate::doorway::cookie_of(self.fd.as_fd())
            .map_err(|errno| Failed { act: "reading the cookie of a packet socket", errno })
    }

    pub(super) fn send(&self, frame: &[u8]) -> Result<(), Failed> {
        // With `DONTWAIT` a full queue of the interface is an error and no wait without a bound.
        retry_on_intr(|| rustix::net::send(&self.fd, frame, SendFlags::DONTWAIT))
            .map(|_| ())
            .map_err(|errno| Failed { act: "sending", errno })
    }

    /// Hands each frame to `hear` until the deadline, also in a flood of them.
    pub(super) fn hear_until(
        &mut self,
        deadline: Instant,
        mut hear: impl FnMut(&[u8]),
    ) -> Result<(), Failed> {
        let failed = |errno| Failed { act: "listening", errno };
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            set_socket_timeout(&self.fd, Timeout::Recv, Some(left.max(SHORTEST_WAIT)))
                .map_err(failed)?;
            match rustix::io::read(&self.fd, &mut self.frame) {
                Ok(length) => hear(self.frame.get(..length).unwrap_or_default()),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
    }

    /// Whether the filter took a frame for which the buffer had no room.
    pub(super) fn has_lost(&self) -> Result<bool, Failed> {
        lost(self.fd.as_fd()).map_err(|errno| Failed { act: "counting lost frames", errno })
    }
}

/// The kernel copies the program.
fn attach_filter(fd: BorrowedFd<'_>, program: &[libc::sock_filter]) -> Result<(), Errno> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    set(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// Lets frames for a group in, until the socket is closed.
fn join(fd: BorrowedFd<'_>, index: i32, group: Mac) -> Result<(), Errno> {
    let [a, b, c, d, e, f] = group;
    let request = libc::packet_mreq {
        mr_ifindex: index,
        // Each is a small constant of the kernel's interface.
        mr_type: libc::PACKET_MR_MULTICAST as u16,
        mr_alen: 6,
        mr_address: [a, b, c, d, e, f, 0, 0],
    };
    set(fd, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)
}

#[expect(unsafe_code, reason = "no kept crate sets options of packet sockets")]
fn set<T>(fd: BorrowedFd<'_>, level: i32, option: i32, value: &T) -> Result<(), Errno> {
    // Structures of a few bytes.
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the descriptor is open for the borrow; the kernel reads `length` bytes of `value`, which has them, and
    // the program behind a `sock_fprog`, which its caller borrows. It writes to neither.
    let result = unsafe {
        libc::setsockopt(fd.as_raw_fd(), level, option, (&raw const *value).cast(), length)
    };
    succeeded(result)
}

#[expect(unsafe_code, reason = "no kept crate has the addresses of packet sockets")]
fn bind(fd: BorrowedFd<'_>, index: i32, protocol: u16) -> Result<(), Errno> {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol.to_be(),
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the descriptor is open for the borrow, and `address` has the bytes that `length` states.
    let result = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length) };
    succeeded(result)
}

#[expect(unsafe_code, reason = "no kept crate reads the statistics of packet sockets")]
fn lost(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    let mut counts = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut length = size_of::<libc::tpacket_stats>() as libc::socklen_t;
    // SAFETY: the descriptor is open for the borrow; `counts` has the bytes that `length` states, any of which may be
    // written, and both outlive the call.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            (&raw mut counts).cast(),
            &raw mut length,
        )
    };
    succeeded(result).map(|()| counts.tp_drops > 0)
}

fn succeeded(result: i32) -> Result<(), Errno> {
    if result == 0 {
        return Ok(());
    }
    let errno = std::io::Error::last_os_error().raw_os_error();
    Err(errno.map_or(Errno::IO, Errno::from_raw_os_error))
}
