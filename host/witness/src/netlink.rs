//! One conversation with rtnetlink, in the daemon's own namespace.
//!
//! A socket on which a question failed is dropped, so that no late answer of it can be taken for that of another.
//! Sockets that answered well are kept for the next ADD: opening one costs a third of giving an id.

use std::os::fd::AsFd;
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_EXCL, NLM_F_REQUEST, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use tenure_core::ports::WitnessError;

use crate::doorway::cookie_of;
use crate::error::system;
use crate::message::{Message, encoded, messages_of};

/// The kernel fills datagrams of a dump up to 32 KiB; twice that is never cut.
const DATAGRAM_BYTES: usize = 64 * 1024;
/// The kernel answers in the same call, except while it takes many namespaces down and its lock is held.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
/// A dump that changes under us is tried so often before it counts as incomplete.
const DUMP_TRIES: usize = 5;
/// Questions that are asked at once: their answers, about 1 KiB each with what the kernel adds, must fit into
/// the socket's queue, which holds 208 KiB unless someone made it smaller.
pub(crate) const MAX_BATCH: usize = 64;

/// An open rtnetlink socket.
#[derive(Debug)]
pub(crate) struct Route {
    socket: Socket,
    /// Number of the question that was asked last.
    sequence: u32,
    /// Number of the first question whose answer is still of interest.
    first: u32,
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
        Ok(Self { socket, sequence: 0, first: 0, datagram: Vec::with_capacity(DATAGRAM_BYTES) })
    }

    /// Asks for one thing: the answer.
    pub(crate) fn get(
        &mut self,
        question: RouteNetlinkMessage,
    ) -> Result<RouteNetlinkMessage, RouteError> {
        let mut answers = self.get_each(vec![question])?;
        answers.pop().unwrap_or(Err(Errno::IO)).map_err(RouteError::Refused)
    }

    /// Asks for several things at once, at most [`MAX_BATCH`]: the answer to each, in the order of the questions.
    pub(crate) fn get_each(
        &mut self,
        questions: Vec<RouteNetlinkMessage>,
    ) -> Result<Vec<Result<RouteNetlinkMessage, Errno>>, RouteError> {
        let count = questions.len();
        self.send(questions, NLM_F_REQUEST)?;
        let mut answers = Vec::with_capacity(count);
        let mut next = self.first;
        while answers.len() < count {
            for message in self.receive()? {
                if message.header.sequence_number != next {
                    return Err(RouteError::Incomplete);
                }
                answers.push(match message.payload {
                    NetlinkPayload::InnerMessage(answer) => Ok(answer),
                    NetlinkPayload::Error(error) => Err(errno(error.raw_code())),
                    _ => return Err(RouteError::Incomplete),
                });
                next = next.wrapping_add(1);
            }
        }
        Ok(answers)
    }

    /// Asks for a change and waits until the kernel confirms it.
    pub(crate) fn change(&mut self, question: RouteNetlinkMessage) -> Result<(), RouteError> {
        self.confirmed(question, NLM_F_REQUEST | NLM_F_ACK)
    }

    /// Asks for something new and waits until the kernel confirms it. What exists already is refused.
    pub(crate) fn create(&mut self, question: RouteNetlinkMessage) -> Result<(), RouteError> {
        self.confirmed(question, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL)
    }

    fn confirmed(&mut self, question: RouteNetlinkMessage, flags: u16) -> Result<(), RouteError> {
        self.send(vec![question], flags)?;
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
        self.send(vec![question], NLM_F_REQUEST | NLM_F_DUMP)?;
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

    fn send(&mut self, questions: Vec<RouteNetlinkMessage>, flags: u16) -> Result<(), RouteError> {
        self.first = self.sequence.wrapping_add(1);
        let mut datagram = Vec::new();
        for question in questions {
            self.sequence = self.sequence.wrapping_add(1);
            datagram.extend(encoded(question, flags, self.sequence));
        }
        let sent = uninterrupted(|| self.socket.send(&datagram, 0));
        sent.map(|_| ()).map_err(|why| failure("asking rtnetlink", why))
    }

    /// The messages of one datagram that answer what was asked last.
    fn receive(&mut self) -> Result<Vec<Message>, RouteError> {
        self.datagram.clear();
        let heard = uninterrupted(|| self.socket.recv(&mut self.datagram, libc::MSG_TRUNC));
        let length = heard.map_err(|why| match why.raw_os_error() {
            Some(libc::ENOBUFS) => RouteError::Incomplete,
            _ => failure("hearing rtnetlink", why),
        })?;
        if length == 0 || length > self.datagram.len() {
            return Err(RouteError::Incomplete);
        }
        let mut messages = messages_of(&self.datagram)?;
        let asked = self.sequence.wrapping_sub(self.first);
        messages.retain(|m| m.header.sequence_number.wrapping_sub(self.first) <= asked);
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

/// A signal to this process is no answer of the kernel: a socket with a timeout is interrupted by each.
fn uninterrupted<T>(mut call: impl FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
    loop {
        match call() {
            Err(why) if why.kind() == std::io::ErrorKind::Interrupted => {}
            answer => return answer,
        }
    }
}

fn refusal(code: i32) -> RouteError {
    RouteError::Refused(errno(code))
}

fn errno(code: i32) -> Errno {
    Errno::from_raw_os_error(code.saturating_abs())
}

pub(crate) fn failure(act: &'static str, why: impl std::fmt::Display) -> RouteError {
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
