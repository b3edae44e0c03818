//! The socket server of the daemon.
//!
//! Order of its shutdown: stop accepting and remove the socket file, let running requests finish within
//! [`Options::drain`], drop those that do not.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use crate::connection::{self, Shared};
use crate::error::Error;
use crate::metrics::{Metrics, count};
use tenure_engine::Verbs;
use tenure_socket::{SocketError, SocketFile};

/// So many callers are served at a time: 256 at work, as many as a node starts at once, and 1024 ADDs that wait for an
/// address, for each of these keeps its connection.
pub const MAX_CONNECTIONS: usize = 1280;
/// After a failed accept (no descriptors left) the next try waits.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Settings of the server.
#[derive(Debug, Clone)]
pub struct Options {
    /// Path of the socket.
    pub socket: PathBuf,
    /// Users who may call.
    pub allowed_uids: Vec<u32>,
    /// Connections beyond are answered with code 11 at once.
    pub max_connections: usize,
    /// A caller must have sent its frame after so long.
    pub read_deadline: Duration,
    /// How long an ADD waits for an address where its configuration does not say.
    pub add_wait: Duration,
    /// How long running requests may go on at shutdown.
    pub drain: Duration,
}

/// A bound socket, not serving yet.
pub struct Service<V> {
    listener: UnixListener,
    file: SocketFile,
    max_connections: usize,
    drain: Duration,
    shared: Arc<Shared<V>>,
}

/// A running server.
pub struct Handle {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    metrics: Arc<Metrics>,
}

// === impl Options ===

impl Options {
    /// The defaults: root and the daemon's own user, [`MAX_CONNECTIONS`], 5 s for a frame, 30 s for an ADD, 10 s to drain.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
            allowed_uids: vec![0, rustix::process::geteuid().as_raw()],
            max_connections: MAX_CONNECTIONS,
            read_deadline: Duration::from_secs(5),
            add_wait: tenure_core::defaults::ADD_WAIT,
            drain: Duration::from_secs(10),
        }
    }
}

// === impl Service ===

impl<V: Verbs> Service<V> {
    /// Makes the socket, so that a second daemon fails before it touches anything else. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Socket`].
    pub fn bind(options: Options, verbs: Arc<V>) -> Result<Self, Error> {
        let (listener, file) = tenure_socket::bind(&options.socket)?;
        let listener = UnixListener::from_std(listener).map_err(|source| SocketError::System {
            path: options.socket,
            act: "listening",
            source,
        })?;
        let shared = Arc::new(Shared {
            verbs,
            metrics: Arc::default(),
            allowed_uids: options.allowed_uids,
            read_deadline: options.read_deadline,
            add_wait: options.add_wait,
        });
        let (max_connections, drain) = (options.max_connections, options.drain);
        Ok(Self { listener, file, max_connections, drain, shared })
    }

    /// Begins to serve.
    #[must_use]
    pub fn start(self) -> Handle {
        let metrics = Arc::clone(&self.shared.metrics);
        let (stop, stopped) = oneshot::channel();
        Handle { stop, task: tokio::spawn(self.run(stopped)), metrics }
    }

    async fn run(self, mut stopped: oneshot::Receiver<()>) {
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                _ = &mut stopped => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => self.admit(stream, &mut running),
                    Err(error) => {
                        tracing::warn!(%error, "a connection to the CNI socket could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = running.join_next() => {}
            }
        }
        drop(self.listener);
        drop(self.file);
        let finished = async { while running.join_next().await.is_some() {} };
        if tokio::time::timeout(self.drain, finished).await.is_err() {
            tracing::warn!(left = running.len(), "requests were dropped at shutdown");
            running.shutdown().await;
        }
    }

    fn admit(&self, stream: UnixStream, running: &mut JoinSet<()>) {
        while running.try_join_next().is_some() {}
        if running.len() >= self.max_connections {
            count(&self.shared.metrics.over_limit);
            return connection::turn_away(&stream, self.max_connections);
        }
        running.spawn(connection::serve(Arc::clone(&self.shared), stream));
    }
}

// === impl Handle ===

impl Handle {
    /// The counters; they outlive the server.
    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Stops in the order of the module's text; returns when nothing runs any more.
    pub async fn shutdown(self) {
        // An error means that the server ended by itself.
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}
