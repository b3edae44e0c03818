//! Wakes who wants to know that the namespace of a holder ended, as soon as the kernel says so.
//!
//! Events are taken in by whoever comes first: a look, an identification, or the thread here, which waits for
//! them. Each of them rings the bell if an end matters, and the thread answers the bell; so nobody takes an
//! event away unheard.
//!
//! No folder is watched for paths that vanish. A path that goes while its namespace lives on is no end, and if it was
//! the last thing that held the namespace, the id ends and that is heard here, like the end of the last
//! process, descriptor or socket.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use tenure_core::ports::WitnessError;

use crate::error::system;
use crate::witness::Inner;

/// Between two wakes: the ends of a node's worth of pods come as a few, and none is late by more than this.
const PAUSE: Duration = Duration::from_millis(20);
/// The act, as failures name it.
const STARTING: &str = "starting the thread that waits for the ends of network namespaces";

/// Rung by many, answered by one. A ring that nobody waits for is kept.
#[derive(Debug)]
pub(crate) struct Bell(OwnedFd);

/// The thread that answers the bell. It ends with this.
#[derive(Debug)]
pub(crate) struct Listener {
    stop: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
}

// === impl Bell ===

impl Bell {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    pub(crate) fn ring(&self) {
        // It fails only where the count would overflow: then the bell is ringing.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Whether it was rung since the last time.
    pub(crate) fn was_rung(&self) -> bool {
        rustix::io::read(&self.0, &mut [0; 8]).is_ok()
    }
}

// === impl Listener ===

impl Listener {
    pub(crate) fn start(
        inner: &Arc<Inner>,
        wake: impl Fn() + Send + 'static,
    ) -> Result<Self, WitnessError> {
        let failed = |why| system(STARTING, why);
        let stop = Arc::new(Bell::new().map_err(failed)?);
        let events = inner.memory.lock().events().map_err(failed)?;
        let (inner, stopped) = (Arc::clone(inner), Arc::clone(&stop));
        let thread = std::thread::Builder::new()
            .name("tenure-ends".to_owned())
            .spawn(move || listen(&inner, &events, &stopped, &wake))
            .map_err(failed)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.ring();
        let thread = self.thread.take();
        // Who is woken may let go of the witness, and its thread cannot wait for itself.
        if let Some(thread) = thread.filter(|t| t.thread().id() != std::thread::current().id()) {
            // A thread that panicked is as gone as one that returned.
            let _ = thread.join();
        }
    }
}

fn listen(inner: &Inner, events: &OwnedFd, stop: &Bell, wake: &impl Fn()) {
    loop {
        wait(&[events.as_fd(), inner.bell.0.as_fd(), stop.0.as_fd()], None);
        if stop.was_rung() {
            return;
        }
        inner.memory.lock().catch_up();
        if inner.bell.was_rung() {
            wake();
            wait(&[stop.0.as_fd()], Some(PAUSE));
        }
    }
}

/// Waits until one of them can be read, or lost something.
fn wait(descriptors: &[BorrowedFd<'_>], at_most: Option<Duration>) {
    let mut descriptors: Vec<_> =
        descriptors.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    let at_most = at_most.and_then(|limit| Timespec::try_from(limit).ok());
    match poll(&mut descriptors, at_most.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => {
            tracing::warn!(%errno, "waiting for the ends of network namespaces failed; they are asked for instead");
            std::thread::sleep(PAUSE);
        }
    }
}
