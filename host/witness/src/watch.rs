//! Hears which namespace ids ended, so that what an id wore can be believed between two looks.

use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};

use crate::message::messages_of;
use crate::nsid::id_in;

/// `RTNLGRP_NSID` of `linux/rtnetlink.h`.
const RTNLGRP_NSID: u32 = 28;
/// An event takes about 1 KiB of the socket's budget: some 4,000 ends between two looks. More is an overrun,
/// which costs one pass over the visible handles.
const EVENT_BUDGET_BYTES: usize = 4 * 1024 * 1024;
/// Events are a few dozen bytes each.
const DATAGRAM_BYTES: usize = 8 * 1024;

/// A subscription to the ends of ids in the daemon's own namespace.
#[derive(Debug)]
pub(crate) struct EndWatch {
    socket: Socket,
    datagram: Vec<u8>,
}

/// What was heard since the last time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// These ids ended, possibly given anew since.
    Ended(Vec<i32>),
    /// Events were lost: any id may have ended.
    Overrun,
}

// === impl EndWatch ===

impl EndWatch {
    /// Subscribes in the namespace of the calling thread.
    pub(crate) fn open() -> std::io::Result<Self> {
        Self::with_budget(EVENT_BUDGET_BYTES)
    }

    pub(crate) fn with_budget(bytes: usize) -> std::io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.set_non_blocking(true)?;
        // Beyond the system's limit only root of the first user namespace may go; any size is correct.
        if set_socket_recv_buffer_size_force(socket.as_fd(), bytes).is_err() {
            let _ = set_socket_recv_buffer_size(socket.as_fd(), bytes);
        }
        socket.bind(&SocketAddr::new(0, 0))?;
        socket.add_membership(RTNLGRP_NSID)?;
        Ok(Self { socket, datagram: Vec::with_capacity(DATAGRAM_BYTES) })
    }

    /// Everything heard until now. Never blocks.
    pub(crate) fn drain(&mut self) -> Heard {
        let (mut ended, mut overrun) = (Vec::new(), false);
        loop {
            self.datagram.clear();
            match self.socket.recv(&mut self.datagram, libc::MSG_DONTWAIT | libc::MSG_TRUNC) {
                Ok(length) => match messages_of(&self.datagram) {
                    Ok(messages) if length <= self.datagram.len() => {
                        ended.extend(messages.iter().filter_map(|m| ended_id(&m.payload)));
                    }
                    _ => overrun = true,
                },
                Err(why) if why.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(why) if why.kind() == std::io::ErrorKind::Interrupted => {}
                Err(why) if why.raw_os_error() == Some(libc::ENOBUFS) => overrun = true,
                // Nothing more will be heard from this socket: whatever it was, ids may have ended unheard.
                Err(why) => {
                    tracing::warn!(%why, "the watch for ending namespace ids is broken");
                    overrun = true;
                    break;
                }
            }
        }
        if overrun { Heard::Overrun } else { Heard::Ended(ended) }
    }
}

impl AsFd for EndWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn ended_id(payload: &netlink_packet_core::NetlinkPayload<RouteNetlinkMessage>) -> Option<i32> {
    match payload {
        netlink_packet_core::NetlinkPayload::InnerMessage(
            message @ RouteNetlinkMessage::DelNsId(_),
        ) => id_in(message),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tenure_core::ports::Kernel as _;

    use super::*;
    use crate::tests::world::Room;
    use crate::tests::{first_witness, kernel_test, wait_until_gone};

    /// Ends `count` namespaces that have ids, and waits until all watches have been told.
    fn end_namespaces(count: usize) -> Vec<i32> {
        let witness = first_witness();
        let rooms: Vec<_> = (0..count).map(|_| Room::new()).collect();
        let identify = |room: &Room| witness.identify(room.path()).unwrap();
        let netns: Vec<_> = rooms.iter().map(identify).collect();
        drop(rooms);
        netns.iter().for_each(|netns| wait_until_gone(&witness, netns));
        netns.iter().filter_map(|netns| netns.nsid).collect()
    }

    kernel_test! {
        fn the_ends_of_ids_are_heard() {
            let mut watch = EndWatch::open().unwrap();
            let ids = end_namespaces(3);
            let Heard::Ended(heard) = watch.drain() else { panic!("an overrun") };
            assert!(ids.iter().all(|id| heard.contains(id)), "{ids:?} {heard:?}");
        }
    }

    kernel_test! {
        fn lost_events_are_noticed_and_the_watch_goes_on() {
            let mut watch = EndWatch::with_budget(1).unwrap();
            end_namespaces(40);
            assert_eq!(watch.drain(), Heard::Overrun);
            let ids = end_namespaces(1);
            // Other tests end namespaces too, so this may be one overrun more, but never silence.
            assert!(match watch.drain() {
                Heard::Ended(heard) => heard.contains(&ids[0]),
                Heard::Overrun => true,
            });
        }
    }
}
