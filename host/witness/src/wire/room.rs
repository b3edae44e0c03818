//! A network namespace of our own with nothing in it, where temporary macvlans stand.
//!
//! In the daemon's namespace such a link would do harm. Linux answers ARP requests for any address of the
//! node on any of its links: one without an address, too, would announce the addresses of the node under a hardware
//! address that is gone a moment later (tried: it does). Udev, NetworkManager or a DHCP client would find
//! a new interface and set it up. And after a crash it would stay behind. A namespace that only our
//! descriptor keeps alive ends with the process, and takes its links with it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::thread::{Builder, scope};

use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::blind::Failed;
use crate::doorway::cookie_here;
use crate::self_test::move_into_new_namespace;

/// The namespace lives as long as this.
#[derive(Debug)]
pub(super) struct Room {
    file: OwnedFd,
    pub(super) cookie: u64,
}

// === impl Room ===

impl Room {
    pub(super) fn make() -> Result<Self, Failed> {
        let failed = |errno| Failed { act: "making a network namespace of our own", errno };
        on_a_thread(|| {
            move_into_new_namespace().map_err(failed)?;
            let file = File::open("/proc/thread-self/ns/net").map_err(|why| failed(cause(&why)))?;
            Ok(Self { file: file.into(), cookie: cookie_here().map_err(failed)? })
        })?
    }

    /// Its descriptor, for the kernel to place a link in it.
    pub(super) fn raw(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Runs `act` on a thread inside. Sockets made there stay there.
    pub(super) fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> Result<T, Failed> {
        on_a_thread(|| {
            move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
                .map(|()| act())
                .map_err(|errno| Failed { act: "entering a network namespace of our own", errno })
        })?
    }
}

/// A thread of its own, so that none has to find its way back.
fn on_a_thread<T: Send>(act: impl FnOnce() -> T + Send) -> Result<T, Failed> {
    let failed =
        |errno| Failed { act: "running a thread in a network namespace of our own", errno };
    scope(|scope| {
        let thread = Builder::new().name("tenure-wire".to_owned()).spawn_scoped(scope, act);
        let thread = thread.map_err(|why| failed(cause(&why)))?;
        // It panicked, which nothing in it does.
        thread.join().map_err(|_| failed(Errno::NOTRECOVERABLE))
    })
}

fn cause(why: &io::Error) -> Errno {
    Errno::from_io_error(why).unwrap_or(Errno::IO)
}
