//! The test that decides at start whether the witness speaks: a namespace is made, seen and gone.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tenure_core::lease::Netns;
use tenure_core::ports::NetnsLook;

use crate::look::Look;
use crate::witness::Inner;

/// Ids vanish within 60 ms of the end on an idle machine; a node that takes hundreds of pods down needs longer.
const GONE_DEADLINE: Duration = Duration::from_secs(2);
/// Between two looks for the end.
const GONE_POLL: Duration = Duration::from_millis(5);

/// How the test at start went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SelfTest {
    /// The witness speaks.
    Passed {
        /// How long after the end of its only thread the namespace was still seen.
        gone_after: Duration,
    },
    /// The witness is silent: every look is an error.
    Failed {
        /// What the test saw, and what to do where it is known.
        why: String,
    },
}

/// A namespace that a thread of ours keeps alive.
struct Sample {
    path: PathBuf,
    /// Dropped to let the thread end.
    hold: Sender<()>,
    thread: JoinHandle<()>,
}

/// Runs the test.
pub(crate) fn run(inner: &Arc<Inner>) -> SelfTest {
    match passes(inner) {
        Ok(gone_after) => SelfTest::Passed { gone_after },
        Err(why) => {
            tracing::warn!(why, "the kernel witness is off");
            SelfTest::Failed { why }
        }
    }
}

fn passes(inner: &Arc<Inner>) -> Result<Duration, String> {
    let sample = Sample::make()?;
    let netns = inner.identify(&sample.path).map_err(|error| {
        format!("the namespace made for the self-test was not identified: {error}")
    })?;
    if netns.cookie == inner.home.cookie {
        return Err("a new namespace has the cookie of the daemon's own".to_owned());
    }
    if netns.nsid.is_none() {
        return Err("a namespace could not be given an id: CAP_NET_ADMIN is missing".to_owned());
    }
    match look(inner, &netns)? {
        NetnsLook::Alive => {}
        other => return Err(format!("a living namespace was seen as {other:?}")),
    }
    sample.end();
    wait_until_gone(inner, &netns)
}

fn wait_until_gone(inner: &Arc<Inner>, netns: &Netns) -> Result<Duration, String> {
    let begun = Instant::now();
    while begun.elapsed() < GONE_DEADLINE {
        if look(inner, netns)? == NetnsLook::Gone {
            return Ok(begun.elapsed());
        }
        std::thread::sleep(GONE_POLL);
    }
    Err(format!("a namespace that ended was still seen {} s later", GONE_DEADLINE.as_secs()))
}

fn look(inner: &Arc<Inner>, netns: &Netns) -> Result<NetnsLook, String> {
    let look = Look::take(inner).map_err(|error| error.to_string())?;
    Ok(look.namespace(netns))
}

// === impl Sample ===

impl Sample {
    fn make() -> Result<Self, String> {
        let (hold, held) = channel();
        let (made, told) = channel();
        let thread = std::thread::Builder::new()
            .name("tenure-selftest".to_owned())
            .spawn(move || live_in_a_new_namespace(&made, &held))
            .map_err(|error| format!("no thread could be started: {error}"))?;
        match told.recv() {
            Ok(Ok(path)) => Ok(Self { path, hold, thread }),
            Ok(Err(errno)) => Err(format!(
                "no network namespace could be made (CAP_SYS_ADMIN, user.max_net_namespaces): {errno}"
            )),
            Err(_) => Err("the thread of the self-test ended early".to_owned()),
        }
    }

    fn end(self) {
        drop(self.hold);
        // A thread that panicked is as gone as one that returned.
        let _ = self.thread.join();
    }
}

fn live_in_a_new_namespace(made: &Sender<Result<PathBuf, rustix::io::Errno>>, held: &Receiver<()>) {
    let path = move_into_new_namespace()
        .map(|()| PathBuf::from(format!("/proc/self/task/{}/ns/net", rustix::thread::gettid())));
    if made.send(path).is_ok() {
        // Ends when the other side drops its end.
        let _ = held.recv();
    }
}

/// Moves the calling thread, and no other, into a new network namespace.
#[expect(unsafe_code, reason = "rustix marks every unshare as unsafe")]
pub(crate) fn move_into_new_namespace() -> rustix::io::Result<()> {
    // SAFETY: only unsharing descriptors (CLONE_FILES) endangers memory or I/O safety; a network namespace is
    // looked up anew by each later socket call of this thread.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }
}
