//! Who of the allocators is asked first: a coordination.k8s.io/v1 Lease.
//!
//! This is a *preference*, never a safety device. One replica is preferred so that waiting is fair; any replica may serve, and
//! two that both believe to lead harm nothing, because the lock is the store's conditional write. Nothing may be built on
//! [`Leader::is_me`] that must not happen twice.
//!
//! # Flow
//! Every replica reads the lease twice as often as its holder renews it. It takes a lease that names nobody at once, one that
//! names another after it has not *seen it change* for its duration, and makes one that is not there. A holder renews it.
//!
//! # Guarantees
//! - No time that another machine wrote is ever compared with a clock of ours (invariant I8): what counts is how long ago,
//!   by our monotonic clock, we first saw what stands there. The times in the lease are for people.
//! - Writes replace the version that was read, so of those who want it one gets it.
//! - Who cannot renew says that it leads no more an eighth of the duration before the first instant at which another may take it, also while
//!   a request hangs. A clock that stands still (suspend) delays that.
//! - A lease that somebody edits is taken as it stands: whom it names leads until its duration has passed without a change.
//!
//! # Assumptions
//! Identities differ between processes: two of the same identity would both renew.

mod candidate;
mod seen;
mod voice;

use std::time::Duration;

use kube::Client;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use self::candidate::Candidate;
use self::voice::Voice;

/// This part of the duration lies between "I lead no more" and the first instant at which another may take it: for
/// monotonic clocks that run at different rates, and threads that are scheduled late.
const MARGIN: u32 = 8;

/// Settings of the leadership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderOptions {
    /// The namespace of the allocator.
    pub namespace: String,
    /// The name of the lease.
    pub name: String,
    /// By what this process is known; no other process may have it, not even after it.
    pub identity: String,
    /// Unchanged for so long, a lease may be taken.
    pub duration: Duration,
    /// The holder renews it so often.
    pub renew_every: Duration,
    /// How long one request may take.
    pub call_deadline: Duration,
}

/// Who leads, as far as is known here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leader {
    /// The identity of the one that leads; none if nobody does, or if it cannot be known.
    pub holder: Option<String>,
    /// Whether it is this process.
    pub is_me: bool,
}

/// Takes part in the choice of a leader. Dropped, it leads no more and lets the lease run out.
#[derive(Debug)]
pub struct Leadership {
    leader: watch::Receiver<Leader>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

// === impl LeaderOptions ===

impl LeaderOptions {
    /// The defaults, for this identity. Another leads at the latest 5 s after the leader has died: half a renewal until its
    /// last change is seen, then the duration.
    #[must_use]
    pub fn new(namespace: impl Into<String>, identity: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: "tenure-allocator".to_owned(),
            identity: identity.into(),
            duration: Duration::from_secs(4),
            renew_every: Duration::from_secs(1),
            call_deadline: Duration::from_secs(1),
        }
    }

    /// How long who has written the lease may say that it leads, from before the write on.
    fn hold(&self) -> Duration {
        self.duration.saturating_sub(self.duration / MARGIN)
    }

    fn look_every(&self) -> Duration {
        self.renew_every / 2
    }
}

// === impl Leadership ===

impl Leadership {
    /// Takes part from now on, in a task of its own.
    #[must_use]
    pub fn start(client: Client, options: LeaderOptions) -> Self {
        let (says, leader) = watch::channel(Leader::default());
        let (stop, stopped) = oneshot::channel();
        let candidate = Candidate::new(client, options);
        let task = tokio::spawn(candidate.run(Voice(says), stopped));
        Self { leader, stop: Some(stop), task }
    }

    /// Who leads, now and with each change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Leader> {
        self.leader.clone()
    }

    /// Leads no more, gives the lease back so that another takes it at once, and takes part no more. It ends after a few
    /// requests even if the API server is away; the lease then runs out.
    pub async fn resign(mut self) {
        // The task is gone already if either fails.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = (&mut self.task).await;
    }
}

impl Drop for Leadership {
    fn drop(&mut self) {
        self.task.abort();
    }
}
