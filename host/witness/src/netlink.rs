//! One conversation with rtnetlink, in the daemon's own namespace.
//!
//! A socket on which a question failed is dropped, so that no late answer of it can be taken for that of another.
//! Sockets that answered well are kept for the next ADD: opening one costs a third of giving an id.

use std::os::fd::AsFd;
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_ALIGNTO, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use tenure_core::ports::WitnessError;

use crate::doorway::cookie_of;
use crate::error::system;

/// The kernel fills datagrams of a dump up to 32 KiB; twice that is never cut.
const DATAGRAM_BYTES: usize = 64 * 1024;
/// The kernel answers in the same call, except while it takes many namespaces down and its lock is held.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
/// A dump that changes under us is tried so often before it counts as incomplete.
const DUMP_TRIES: usize = 5;

/// An open rtnetlink socket.
#[derive(Debug)]
pub(crate) struct Route {
    socket: Socket,
    sequence: u32,
    datagram: Vec<u8>,
}

/// Sockets on which every question was answered.
#[derive(Debug, Default)]
pub(crate) struct IdleRoutes(Mutex<Vec<Route>>);

/// As many as ADDs that are identified at once on a large machine.
const MAX_IDLE: usize = 16;

/// Why a question got no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RouteError {
    /// The kernel says no.
    #[error("the kernel refused: {0}")]
    Refused(Errno),
    /// A listing changed while it was read, or a part of it was lost.
    #[error("the listing was incomplete")]
    Incomplete,
    /// A system call failed.
    #[error("{act} failed: {why}")]
    System { act: &'static str, why: String },
}

type Message = NetlinkMessage<RouteNetlinkMessage>;

// === impl IdleRoutes ===

impl IdleRoutes {
    /// One that is idle, or a new one.
    pub(crate) fn take(&self, home: u64) -> Result<Route, RouteError> {
        let idle = self.0.lock().pop();
        idle.map_or_else(|| Route::open(home), Ok)
    }

    /// Only after an answer, never after an error.
    pub(crate) fn give_back(&self, route: Route) {
        let mut idle = self.0.lock();
        if idle.len() < MAX_IDLE {
            idle.push(route);
        }
    }
}

// === impl Route ===

impl Route {
    /// Opens a socket and makes sure that it is in the namespace with the cookie `home`: ids of namespaces mean
    /// nothing elsewhere.
    pub(crate) fn open(home: u64) -> Result<Self, RouteError> {
        let failed = |why: std::io::Error| failure("opening a netlink socket", why);
        let socket = Socket::new(NETLINK_ROUTE).map_err(failed)?;
        // Without strict checking the kernel ignores the target namespace of a dump and lists our own addresses.
        socket.set_netlink_get_strict_chk(true).map_err(failed)?;
        set_socket_timeout(socket.as_fd(), Timeout::Recv, Some(ANSWER_DEADLINE))
            .map_err(|errno| failure("opening a netlink socket", errno))?;
        // A connected socket hears nobody but the kernel.
        socket.connect(&SocketAddr::new(0, 0)).map_err(failed)?;
        match cookie_of(socket.as_fd()) {
            Ok(cookie) if cookie == home => {}
            Ok(_) => {
                return Err(failure(
                    "opening a netlink socket",
                    "the thread left the daemon's namespace",
                ));
            }
            Err(errno) => return Err(failure("reading the cookie of a netlink socket", errno)),
        }
        Ok(Self { socket, sequence: 0, datagram: Vec::with_capacity(DATAGRAM_BYTES) })
    }

    /// Asks for one thing: the answer.
    pub(crate) fn get(
        &mut self,
        question: RouteNetlinkMessage,
    ) -> Result<RouteNetlinkMessage, RouteError> {
        self.send(question, NLM_F_REQUEST)?;
        loop {
            for message in self.receive()? {
                match message.payload {
                    NetlinkPayload::InnerMessage(answer) => return Ok(answer),
                    NetlinkPayload::Error(error) => return Err(refusal(error.raw_code())),
                    _ => {}
                }
            }
        }
    }

    /// Asks for a change and waits until the kernel confirms it.
    pub(crate) fn change(&mut self, question: RouteNetlinkMessage) -> Result<(), RouteError> {
        self.send(question, NLM_F_REQUEST | NLM_F_ACK)?;
        loop {
            for message in self.receive()? {
                match message.payload {
                    NetlinkPayload::Error(error) if error.raw_code() == 0 => return Ok(()),
                    NetlinkPayload::Error(error) => return Err(refusal(error.raw_code())),
                    _ => {}
                }
            }
        }
    }

    /// Asks for a listing, once. After an error the socket may hold the rest of it and must be dropped.
    pub(crate) fn dump<T>(
        &mut self,
        question: RouteNetlinkMessage,
        keep: impl Fn(RouteNetlinkMessage) -> Option<T>,
    ) -> Result<Vec<T>, RouteError> {
        self.send(question, NLM_F_REQUEST | NLM_F_DUMP)?;
        let (mut kept, mut interrupted) = (Vec::new(), false);
        loop {
            for message in self.receive()? {
                interrupted |= message.header.flags & NLM_F_DUMP_INTR != 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(entry) => kept.extend(keep(entry)),
                    NetlinkPayload::Error(error) => return Err(refusal(error.raw_code())),
                    NetlinkPayload::Overrun(_) => return Err(RouteError::Incomplete),
                    NetlinkPayload::Done(done) if done.code < 0 => return Err(refusal(done.code)),
                    NetlinkPayload::Done(_) if interrupted => return Err(RouteError::Incomplete),
                    NetlinkPayload::Done(_) => return Ok(kept),
                    _ => {}
                }
            }
        }
    }

    fn send(&mut self, question: RouteNetlinkMessage, flags: u16) -> Result<(), RouteError> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(question));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        let sent = self.socket.send(&bytes, 0);
        sent.map(|_| ()).map_err(|why| failure("asking rtnetlink", why))
    }

    /// The messages of one datagram that answer the present question.
    fn receive(&mut self) -> Result<Vec<Message>, RouteError> {
        self.datagram.clear();
        let length =
            self.socket.recv(&mut self.datagram, libc::MSG_TRUNC).map_err(|why| {
                match why.raw_os_error() {
                    Some(libc::ENOBUFS) => RouteError::Incomplete,
                    _ => failure("hearing rtnetlink", why),
                }
            })?;
        if length == 0 || length > self.datagram.len() {
            return Err(RouteError::Incomplete);
        }
        let mut messages = messages_of(&self.datagram)?;
        messages.retain(|message| message.header.sequence_number == self.sequence);
        Ok(messages)
    }
}

/// A complete listing in the namespace `home`, tried anew while it changes under us.
pub(crate) fn dump<T>(
    home: u64,
    question: &RouteNetlinkMessage,
    keep: impl Fn(RouteNetlinkMessage) -> Option<T>,
) -> Result<Vec<T>, RouteError> {
    for _ in 1..DUMP_TRIES {
        match Route::open(home)?.dump(question.clone(), &keep) {
            Err(RouteError::Incomplete) => {}
            answer => return answer,
        }
    }
    Route::open(home)?.dump(question.clone(), &keep)
}

/// The messages of one datagram.
pub(crate) fn messages_of(mut datagram: &[u8]) -> Result<Vec<Message>, RouteError> {
    const ALIGN: usize = NLMSG_ALIGNTO as usize;

    let mut messages = Vec::new();
    while !datagram.is_empty() {
        let message = Message::deserialize(datagram)
            .map_err(|why| failure("decoding an answer of rtnetlink", why))?;
        let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
        messages.push(message);
        datagram = datagram.get(length.max(1).next_multiple_of(ALIGN)..).unwrap_or_default();
    }
    Ok(messages)
}

fn refusal(code: i32) -> RouteError {
    RouteError::Refused(Errno::from_raw_os_error(code.saturating_abs()))
}

fn failure(act: &'static str, why: impl std::fmt::Display) -> RouteError {
    RouteError::System { act, why: why.to_string() }
}

// === impl RouteError ===

impl RouteError {
    /// The port's error, for a question whose purpose was `act`.
    pub(crate) fn during(self, act: &'static str) -> WitnessError {
        match self {
            Self::Refused(errno) => system(act, errno),
            Self::Incomplete => WitnessError::Incomplete,
            Self::System { act, why } => WitnessError::System { act, why },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_that_is_cut_inside_a_message_is_an_error_and_never_a_shorter_listing() {
        let mut message = NetlinkMessage::from(RouteNetlinkMessage::GetNsId(Default::default()));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        let twice = [bytes.clone(), bytes.clone()].concat();
        assert_eq!(messages_of(&twice).unwrap().len(), 2);
        for cut in 1..bytes.len() {
            assert!(messages_of(&twice[..bytes.len() + cut]).is_err(), "cut at {cut}");
        }
    }
}
