//! The one thread that enters namespaces of holders, to read their cookie.
//!
//! A socket belongs to the namespace in which it was made, and only a socket tells the cookie; so a thread
//! must go inside. It is a thread of its own because a caller that could not come back would take the rest of
//! its work with it. It has left the namespace before it answers; if it cannot leave, it ends, which leaves
//! too, and the next visit starts another one.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tenure_core::ports::WitnessError;

use crate::error::system;
use crate::namespace_file::NamespaceFile;

/// Callers block for their answer, and there is about one for each processor: behind more than these the thread is stuck.
/// Each waiting visit keeps a namespace from ending, so that there must not be many.
const MAX_WAITING: usize = 256;
/// A visit takes microseconds; entering never waits for other namespaces.
const VISIT_DEADLINE: Duration = Duration::from_secs(5);
/// The act, as failures name it.
const ENTERING: &str = "entering the network namespace";

/// Reads cookies of namespaces.
#[derive(Debug)]
pub(crate) struct Doorway {
    home: OwnedFd,
    worker: Mutex<Option<Worker>>,
}

#[derive(Debug)]
struct Worker {
    visits: SyncSender<Visit>,
    thread: JoinHandle<()>,
}

struct Visit {
    file: NamespaceFile,
    answer: SyncSender<Answer>,
}

/// The file comes back, so that whoever asked can go on with the namespace pinned.
struct Answer {
    file: NamespaceFile,
    cookie: Result<u64, VisitError>,
}

/// Why a namespace gave no cookie.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VisitError {
    /// The file stands for a namespace of another type.
    #[error("it is not a network namespace")]
    NotNetwork,
    /// A system call failed.
    #[error(transparent)]
    Failed(#[from] WitnessError),
}

// === impl VisitError ===

impl From<VisitError> for WitnessError {
    fn from(error: VisitError) -> Self {
        match error {
            VisitError::NotNetwork => system(ENTERING, error),
            VisitError::Failed(error) => error,
        }
    }
}

// === impl Doorway ===

impl Doorway {
    /// `home` is the namespace to return to.
    pub(crate) fn new(home: OwnedFd) -> Self {
        Self { home, worker: Mutex::new(None) }
    }

    /// The namespace to return to: the daemon's own.
    pub(crate) fn home(&self) -> RawFd {
        self.home.as_raw_fd()
    }

    /// The cookie of the namespace, and its file back. A failure closes the file.
    pub(crate) fn cookie(&self, file: NamespaceFile) -> Result<(NamespaceFile, u64), VisitError> {
        let (answer, answered) = sync_channel(1);
        self.send(Visit { file, answer })?;
        let Answer { file, cookie } = answered
            .recv_timeout(VISIT_DEADLINE)
            .map_err(|why| system("waiting for the cookie of the network namespace", why))?;
        Ok((file, cookie?))
    }

    fn send(&self, visit: Visit) -> Result<(), WitnessError> {
        // Never the blocking `send`: behind a thread that is stuck it would have no deadline.
        let visit = match self.running()?.try_send(visit) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Full(_)) => {
                let why = "the thread for it is stuck, and others wait for it already";
                return Err(system(ENTERING, why));
            }
            Err(TrySendError::Disconnected(visit)) => visit,
        };
        let ended = |_| system(ENTERING, "the thread for it ended again");
        self.replaced()?.try_send(visit).map_err(ended)
    }

    fn running(&self) -> Result<SyncSender<Visit>, WitnessError> {
        let running = self.worker.lock().as_ref().map(|worker| worker.visits.clone());
        running.map_or_else(|| self.replaced(), Ok)
    }

    /// The queue of a new thread. If two callers replace at once, the first one's serves its queue and ends.
    fn replaced(&self) -> Result<SyncSender<Visit>, WitnessError> {
        let started = Worker::start(self.home.as_fd())?;
        let visits = started.visits.clone();
        *self.worker.lock() = Some(started);
        Ok(visits)
    }
}

impl Drop for Doorway {
    fn drop(&mut self) {
        if let Some(Worker { visits, thread }) = self.worker.get_mut().take() {
            drop(visits);
            // A thread that panicked is as gone as one that returned.
            let _ = thread.join();
        }
    }
}

// === impl Worker ===

impl Worker {
    fn start(home: BorrowedFd<'_>) -> Result<Self, WitnessError> {
        let failed = |why| system("starting the thread that enters network namespaces", why);
        let home = home.try_clone_to_owned().map_err(failed)?;
        let (visits, queue) = sync_channel(MAX_WAITING);
        let thread = std::thread::Builder::new()
            .name("tenure-doorway".to_owned())
            .spawn(move || receive_visits(&home, &queue))
            .map_err(failed)?;
        Ok(Self { visits, thread })
    }
}

fn receive_visits(home: &OwnedFd, queue: &Receiver<Visit>) {
    for Visit { file, answer } in queue {
        let cookie = visit(&file);
        let left = move_into_link_name_space(home.as_fd(), Some(LinkNameSpaceType::Network));
        // Whoever asked may have given up; the file is closed here then.
        let _ = answer.send(Answer { file, cookie });
        if let Err(errno) = left {
            tracing::error!(%errno, "a network namespace could not be left; its thread ends instead");
            return;
        }
    }
}

fn visit(file: &NamespaceFile) -> Result<u64, VisitError> {
    match move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)) {
        Ok(()) => {}
        Err(Errno::INVAL) => return Err(VisitError::NotNetwork),
        Err(errno) => return Err(system(ENTERING, errno).into()),
    }
    cookie_here()
        .map_err(|errno| system("reading the cookie of the network namespace", errno).into())
}

/// The cookie of the namespace that the calling thread is in.
///
/// An unopened local socket is the cheapest: its end releases the namespace at once, that of a netlink or UDP
/// socket only after an RCU grace period.
pub(crate) fn cookie_here() -> Result<u64, Errno> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    cookie_of(socket.as_fd())
}

/// `SO_NETNS_COOKIE` of `asm-generic/socket.h`, which libc does not export. Where an architecture numbers it
/// otherwise the self-test fails.
const SO_NETNS_COOKIE: libc::c_int = 71;

/// The cookie of the namespace that `socket` belongs to.
#[expect(unsafe_code, reason = "no kept crate offers SO_NETNS_COOKIE")]
pub(crate) fn cookie_of(socket: BorrowedFd<'_>) -> Result<u64, Errno> {
    let mut cookie = 0_u64;
    // The kernel insists on exactly eight bytes.
    let mut length: libc::socklen_t = 8;
    // SAFETY: the descriptor is open for the borrow; `cookie` has the eight bytes that `length` states, and both
    // outlive the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 {
        return Ok(cookie);
    }
    Err(std::io::Error::last_os_error().raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn nobody_waits_in_a_queue_that_is_full() {
        let here = || NamespaceFile::open(Path::new("/proc/self/ns/net")).unwrap();
        // Nobody receives: the queue is full from the first visit on.
        let (visits, _queue) = sync_channel(0);
        let stuck = Worker { visits, thread: std::thread::spawn(|| {}) };
        let home = std::fs::File::open("/proc/self/ns/net").unwrap().into();
        let doorway = Doorway { home, worker: Mutex::new(Some(stuck)) };
        let (said, hears) = channel();
        std::thread::spawn(move || said.send(doorway.cookie(here()).map(|_| ())));
        let refused = hears.recv_timeout(VISIT_DEADLINE * 2).unwrap().unwrap_err();
        let VisitError::Failed(WitnessError::System { act, why }) = refused else {
            panic!("{refused:?}")
        };
        assert!(act == ENTERING && why.contains("is stuck"), "{act}: {why}");
    }
}
