//! The cluster of a test: an API server found empty, and the processes that the test starts.
//!
//! ```text
//! objects     what stands in the API        processes   allocators and agents
//! calls       calls of the plugin           machine     a node for the cases of CNI
//! ```

mod calls;
mod machine;
mod objects;
mod processes;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use kube::api::{DynamicObject, ListParams};
use kube::{Api, Client};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};
use tenure_lab::cluster::{empty, install, resource};
use tenure_lab::{ApiServer, Front, Options, Relay};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

pub use self::calls::Call;
pub use self::machine::Machine;
pub use self::processes::Process;
use crate::lab::{Lab, until};

/// What all tests share. It is never dropped: what it started ends with the process.
struct World {
    runtime: Runtime,
    server: ApiServer,
    /// Kept for its folder and its turn among the laboratories.
    _lab: Lab,
    /// Its network and mount namespaces.
    home: [OwnedFd; 2],
}

static WORLD: Mutex<Option<World>> = Mutex::new(None);

/// A test's turn.
pub struct Cluster {
    world: MutexGuard<'static, Option<World>>,
    folder: tempfile::TempDir,
    pub allocators: Vec<Process>,
    pub agents: BTreeMap<String, Process>,
}

// === impl World ===

impl World {
    fn new() -> Self {
        let lab = Lab::enter();
        // Its threads are born in the new namespaces.
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(ApiServer::start(Options { unsafe_no_fsync: true }));
        let home = ["net", "mnt"]
            .map(|kind| OwnedFd::from(File::open(format!("/proc/thread-self/ns/{kind}")).unwrap()));
        let this = Self { runtime, server, _lab: lab, home };
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
        this.runtime.block_on(async { install(&this.server.client(), &deploy).await });
        this
    }

    /// Brings this test's thread to where the world is.
    #[expect(
        unsafe_code,
        reason = "rustix marks unshare unsafe because of CLONE_FILES, which is not used here"
    )]
    fn enter(&self) {
        // SAFETY: the flag changes nothing about descriptors; a thread with a working folder of its own may change its mounts.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) }.unwrap();
        for (fd, kind) in
            self.home.iter().zip([LinkNameSpaceType::Network, LinkNameSpaceType::Mount])
        {
            use std::os::fd::AsFd as _;
            rustix::thread::move_into_link_name_space(fd.as_fd(), Some(kind)).unwrap();
        }
    }
}

// === impl Cluster ===

impl Cluster {
    /// So many allocators, and an agent on each of these nodes.
    pub fn start(allocators: usize, nodes: &[&str]) -> Self {
        let mut this = Self::empty();
        for number in 0..allocators {
            this.start_allocator(number);
        }
        for node in nodes {
            this.add_node(node);
            this.start_agent(node);
        }
        for node in nodes {
            this.reached(node, allocators);
        }
        this
    }

    /// An allocator behind each front, and an agent on each of these nodes.
    pub fn start_behind(&mut self, fronts: &[&Front], nodes: &[&str]) {
        for (number, front) in fronts.iter().enumerate() {
            self.start_allocator_behind(number, front);
        }
        for node in nodes {
            self.add_node(node);
            self.start_agent(node);
        }
        for node in nodes {
            self.reached(node, fronts.len());
        }
    }

    /// No process yet.
    pub fn empty() -> Self {
        let mut world = WORLD.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match &*world {
            Some(world) => world.enter(),
            None => *world = Some(World::new()),
        }
        let folder = tempfile::tempdir().unwrap();
        let this = Self { world, folder, allocators: Vec::new(), agents: BTreeMap::new() };
        this.wait(empty(&this.client(), this.allocator_client()));
        this
    }

    fn world(&self) -> &World {
        self.world.as_ref().unwrap()
    }

    pub fn server(&mut self) -> &mut ApiServer {
        &mut self.world.as_mut().unwrap().server
    }

    /// Keeps what etcd holds now.
    pub fn back_up(&mut self) {
        let World { runtime, server, .. } = self.world.as_mut().unwrap();
        runtime.block_on(server.back_up());
        self.served();
    }

    /// Puts it back.
    pub fn restore(&mut self) {
        let World { runtime, server, .. } = self.world.as_mut().unwrap();
        runtime.block_on(server.restore());
        self.served();
    }

    /// Starts the API server again after it was killed.
    pub fn start_server(&mut self) {
        let World { runtime, server, .. } = self.world.as_mut().unwrap();
        runtime.block_on(server.start_server());
        self.served();
    }

    fn served(&self) {
        // Custom resources are served some moments later.
        until("leases are served", || {
            self.wait(self.api("IPLease").list(&ListParams::default())).is_ok()
        });
    }

    pub fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.world().runtime.block_on(work)
    }

    /// Runs on the threads of the world.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.world().runtime.spawn(work)
    }

    /// A client that may do everything.
    pub fn client(&self) -> Client {
        let _inside = self.world().runtime.enter();
        self.world().server.client()
    }

    /// A client that may write leases, too: it counts as an allocator.
    pub fn allocator_client(&self) -> Client {
        let _inside = self.world().runtime.enter();
        Client::try_from(self.world().server.allocator_config()).unwrap()
    }

    pub fn api(&self, kind: &str) -> Api<DynamicObject> {
        Api::all_with(self.client(), &resource(kind))
    }

    /// Something that stands before the API server, for allocators that are started behind it.
    pub fn front(&self) -> Front {
        self.wait(Front::before(self.world().server.config()))
    }

    /// A cable to a port of loopback.
    pub fn relay(&self, port: u16) -> Relay {
        self.wait(Relay::to(port))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for process in self.allocators.iter().chain(self.agents.values()) {
                eprintln!("--- {}\n{}", process.folder.display(), process.last());
            }
        }
        self.allocators.clear();
        self.agents.clear();
        for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
            let _ = rustix::mount::unmount(entry.path(), rustix::mount::UnmountFlags::DETACH);
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Waits as long as `until` does, and says how long it took.
pub fn time_until(what: &str, done: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    until(what, done);
    began.elapsed()
}

/// Waits for longer, and says how long it took.
pub fn time_until_within(
    patience: Duration,
    what: &str,
    mut done: impl FnMut() -> bool,
) -> Duration {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < patience, "waited {patience:?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
    began.elapsed()
}
