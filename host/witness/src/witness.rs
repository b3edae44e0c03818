//! The witness as the daemon holds it.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::io::Errno;
use tenure_core::lease::Netns;
use tenure_core::ports::{Census, Kernel, Question, Sight, WitnessError};

use crate::census;
use crate::doorway::{Doorway, VisitError, cookie_here};
use crate::error::{StartError, system};
use crate::explain::{self, NamespaceHolder};
use crate::look::Look;
use crate::memory::Memory;
use crate::namespace_file::NamespaceFile;
use crate::netlink::{IdleRoutes, RouteError};
use crate::nsid::IdSource;
use crate::release;
use crate::self_test::{self, SelfTest};
use crate::set_down;
use crate::wake::{Bell, Listener};
use crate::watch::EndWatch;

/// A self-test that failed is run again after so long.
const SELF_TESTS_APART: Duration = Duration::from_secs(30);

/// What the daemon knows at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The cookie of the namespace in which earlier processes of the same agent ran in this boot, as the daemon
    /// kept it from [`KernelWitness::home`] together with the boot id; none where it knows of no such process.
    ///
    /// Namespace ids in leases were given in that namespace. Where it is this one, an id that is absent proves the
    /// end of a namespace that an earlier process saw; elsewhere ids of earlier leases are ignored, and their
    /// namespaces are unknown until something visible shows them.
    pub earlier_home: Option<u64>,
}

/// The kernel witness of this node; see the crate for flow and invariants.
///
/// Cheap to share behind an `Arc`; all calls may run at once.
#[derive(Debug)]
pub struct KernelWitness {
    pub(crate) inner: Arc<Inner>,
    /// The last one and when it ended. Written by whoever finds that one that failed is due again.
    pub(crate) self_test: Mutex<(SelfTest, Instant)>,
    listener: Mutex<Option<Listener>>,
}

/// What all looks share.
#[derive(Debug)]
pub(crate) struct Inner {
    /// The namespace of the daemon, alive as long as we are.
    pub(crate) home: Netns,
    /// Whether ids in leases that this process did not write were given in our namespace.
    pub(crate) earlier_ids_count: bool,
    /// Whether an earlier process of this boot gave its ids in another namespace.
    pub(crate) was_moved: bool,
    pub(crate) doorway: Doorway,
    routes: IdleRoutes,
    ids: IdSource,
    pub(crate) memory: Mutex<Memory>,
    pub(crate) bell: Arc<Bell>,
}

// === impl KernelWitness ===

impl KernelWitness {
    /// Checks the kernel, finds out where the daemon is and runs the self-test: tens of milliseconds, 2 s at
    /// most. Must be called in the network namespace that the daemon stays in.
    ///
    /// # Errors
    /// [`StartError`] when the kernel is too old or its basic calls fail. A failed self-test is no error here:
    /// the witness starts and stays silent, see [`KernelWitness::self_test`].
    pub fn start(options: &Options) -> Result<Self, StartError> {
        release::check(&rustix::system::uname().release().to_string_lossy())?;
        let inner = Arc::new(Inner::open(options)?);
        let self_test = Mutex::new((self_test::run(&inner), Instant::now()));
        Ok(Self { inner, self_test, listener: Mutex::new(None) })
    }

    /// How the last test went, for status and metrics.
    #[must_use]
    pub fn self_test(&self) -> SelfTest {
        self.self_test.lock().0.clone()
    }

    /// Calls `wake` whenever the namespace of a holder may have ended, within milliseconds, whatever kept it
    /// alive until then: a process, a mounted path, a descriptor, a socket. A look that is taken in answer sees
    /// the end.
    ///
    /// # Guarantees
    /// No end of a namespace that this process met, or that a daemon gave an id to, goes unheard; where the kernel
    /// lost events, that wakes too. A wake without cause is possible. Ends that come together share one wake, and
    /// there are at most 50 in a second.
    ///
    /// `wake` runs on a thread of the witness and must not block for long. That thread ends with the witness, so `wake`
    /// must not keep the witness alive. A second call replaces the first.
    ///
    /// # Errors
    /// [`WitnessError::System`] when the thread could not be started.
    pub fn on_end(&self, wake: impl Fn() + Send + 'static) -> Result<(), WitnessError> {
        let mut slot = self.listener.lock();
        // The earlier one first: there is one bell.
        *slot = None;
        *slot = Some(Listener::start(&self.inner, wake)?);
        Ok(())
    }

    /// The daemon's own namespace. The daemon keeps its cookie for [`Options::earlier_home`].
    #[must_use]
    pub fn home(&self) -> Netns {
        self.inner.home
    }

    /// One complete look at all namespaces that have an id here.
    ///
    /// # Errors
    /// [`WitnessError`] when it is incomplete or the self-test failed: nothing may be concluded.
    pub fn look(&self) -> Result<Look, WitnessError> {
        self.speaks()?;
        Look::take(&self.inner)
    }

    /// A node that takes thousands of namespaces down at once can fail the test by slowness alone: it is run again.
    fn speaks(&self) -> Result<(), WitnessError> {
        let mut last = self.self_test.lock();
        if matches!(last.0, SelfTest::Failed { .. }) && last.1.elapsed() >= SELF_TESTS_APART {
            *last = (self_test::run(&self.inner), Instant::now());
        }
        match &last.0 {
            SelfTest::Passed { .. } => Ok(()),
            SelfTest::Failed { why } => Err(WitnessError::Off { why: why.clone() }),
        }
    }

    /// Who holds the namespace, at most [`explain::MAX_HOLDERS`], processes first. Takes milliseconds and
    /// more on a full node. For people only: an empty list proves nothing, and calls that are under way here
    /// show up for microseconds.
    #[must_use]
    pub fn holders_of(&self, netns: &Netns) -> Vec<NamespaceHolder> {
        explain::holders_of(&self.inner, netns)
    }
}

impl Kernel for KernelWitness {
    /// Where the daemon may not give ids, the identity has none and its lease is blind. The daemon's own namespace
    /// has none either: it is known by its cookie, and alive.
    fn identify(&self, path: &Path) -> Result<Netns, WitnessError> {
        self.inner.identify(path)
    }

    fn look_at(&self, questions: &[Question]) -> Vec<Sight> {
        match self.look() {
            Ok(look) => {
                let see = |question: &Question| {
                    question.ask(|n| look.namespace(n), |n, address| look.address(n, address))
                };
                questions.iter().map(see).collect()
            }
            Err(error) => {
                tracing::debug!(%error, "the kernel witness is silent");
                vec![Sight::SILENT; questions.len()]
            }
        }
    }

    fn silence(&self) -> Option<String> {
        self.look().err().map(|error| error.to_string())
    }

    /// Sees what processes, threads, mounts and descriptors show where the daemon is (it belongs into the pid and
    /// mount namespaces of the host), and what has an id in the daemon's own network namespace. What has neither
    /// was never met by a daemon in this place.
    fn census(&self) -> Result<Census, WitnessError> {
        self.speaks()?;
        Ok(census::take(&self.inner))
    }

    /// Needs something visible that leads to the namespace: a path, a process, a descriptor.
    fn set_down(&self, netns: &Netns, address: IpAddr) -> Result<usize, WitnessError> {
        set_down::set_down(&self.inner, netns, address)
    }

    fn kept_by(&self, netns: &Netns) -> Vec<String> {
        self.holders_of(netns).iter().map(ToString::to_string).collect()
    }
}

// === impl Inner ===

impl Inner {
    fn open(options: &Options) -> Result<Self, StartError> {
        let own = |source| StartError::OwnNamespace { source };
        let file = NamespaceFile::open(Path::new("/proc/thread-self/ns/net")).map_err(own)?;
        let cookie = cookie_here().map_err(|errno| {
            own(system("reading the cookie of the own network namespace", errno))
        })?;
        let home = Netns { cookie, dev: file.dev, ino: file.ino, nsid: None };
        let watch = EndWatch::open().map_err(|source| StartError::Watch { source })?;
        let bell = Bell::new().map_err(|source| StartError::Watch { source })?;
        let bell = Arc::new(bell);
        Ok(Self {
            home,
            earlier_ids_count: options.earlier_home == Some(cookie),
            was_moved: options.earlier_home.is_some_and(|earlier| earlier != cookie),
            doorway: Doorway::new(file.into()),
            routes: IdleRoutes::default(),
            ids: IdSource::new().map_err(|why| own(system("reading randomness", why)))?,
            memory: Mutex::new(Memory::new(watch, Arc::clone(&bell))),
            bell,
        })
    }

    pub(crate) fn identify(&self, path: &Path) -> Result<Netns, WitnessError> {
        match self.identify_file(NamespaceFile::open(path)?) {
            Ok((_file, netns)) => Ok(netns),
            Err(VisitError::NotNetwork) => {
                Err(WitnessError::NotANamespace { path: path.to_owned() })
            }
            Err(VisitError::Failed(error)) => Err(error),
        }
    }

    /// The identity, and the file back: while it is open, the id cannot change hands.
    pub(crate) fn identify_file(
        &self,
        file: NamespaceFile,
    ) -> Result<(NamespaceFile, Netns), VisitError> {
        let (file, cookie) = self.doorway.cookie(file)?;
        if cookie == self.home.cookie {
            return Ok((file, self.home));
        }
        let nsid = self.id_of_or_given(&file)?;
        let netns = Netns { cookie, dev: file.dev, ino: file.ino, nsid };
        self.memory.lock().learn(netns);
        Ok((file, netns))
    }

    fn id_of_or_given(&self, file: &NamespaceFile) -> Result<Option<i32>, WitnessError> {
        const ACT: &str = "giving the network namespace an id";

        let mut route = self.routes.take(self.home.cookie).map_err(|error| error.during(ACT))?;
        match self.ids.of_or_given(&mut route, file.raw()) {
            Ok(id) => {
                self.routes.give_back(route);
                Ok(Some(id))
            }
            Err(RouteError::Refused(Errno::PERM | Errno::ACCESS)) => {
                tracing::warn!(
                    "CAP_NET_ADMIN is missing: a network namespace got no id, its lease is blind"
                );
                Ok(None)
            }
            Err(error) => Err(error.during(ACT)),
        }
    }
}
