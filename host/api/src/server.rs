//! The socket server of the admin API.
//!
//! Order of its shutdown: stop accepting and remove the socket file, let running requests finish within
//! [`Options::drain`], drop those that do not.

use std::convert::Infallible;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tower::ServiceExt as _;

use crate::api::{Api, Caller};
use crate::error::ApiError;
use crate::router::router;
use tenure_socket::{SocketError, SocketFile};

/// Connections at a time: operators and one scraper need a few.
const MAX_CONNECTIONS: usize = 64;
/// After a failed accept (no descriptors left) the next try waits.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Settings of the server.
#[derive(Debug, Clone)]
pub struct Options {
    /// Path of the socket.
    pub socket: PathBuf,
    /// Users who may call.
    pub allowed_uids: Vec<u32>,
    /// Connections at a time; the next one waits in the listener's own queue.
    pub max_connections: usize,
    /// A head must have come after so long; an idle connection ends then, too.
    pub head_deadline: Duration,
    /// How long running requests may go on at shutdown.
    pub drain: Duration,
}

/// A bound socket, not serving yet.
pub struct Service {
    listener: UnixListener,
    file: SocketFile,
    options: Options,
    router: Router,
}

/// A running server.
#[derive(Debug)]
pub struct Handle {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

// === impl Options ===

impl Options {
    /// The defaults: root and the daemon's own user, 64 connections, 30 s for a head, 5 s to drain.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
            allowed_uids: vec![0, rustix::process::geteuid().as_raw()],
            max_connections: MAX_CONNECTIONS,
            head_deadline: Duration::from_secs(30),
            drain: Duration::from_secs(5),
        }
    }
}

// === impl Service ===

impl Service {
    /// Makes the socket. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`ApiError::Socket`].
    pub fn bind(options: Options, api: Api) -> Result<Self, ApiError> {
        let (listener, file) = tenure_socket::bind(&options.socket)?;
        let listener = UnixListener::from_std(listener).map_err(|source| SocketError::System {
            path: options.socket.clone(),
            act: "listening",
            source,
        })?;
        Ok(Self { listener, file, options, router: router(api) })
    }

    /// Begins to serve.
    #[must_use]
    pub fn start(self) -> Handle {
        let (stop, stopped) = oneshot::channel();
        Handle { stop, task: tokio::spawn(self.run(stopped)) }
    }

    async fn run(self, mut stopped: oneshot::Receiver<()>) {
        let graceful = GracefulShutdown::new();
        let mut running = JoinSet::new();
        let slots = Arc::new(Semaphore::new(self.options.max_connections));
        loop {
            let accepted = async {
                let slot = slots.clone().acquire_owned().await;
                (slot, self.listener.accept().await)
            };
            tokio::select! {
                _ = &mut stopped => break,
                (slot, accepted) = accepted => match (slot, accepted) {
                    (Ok(slot), Ok((stream, _))) => self.admit(stream, slot, &graceful, &mut running),
                    (_, Err(error)) => {
                        tracing::warn!(%error, "a connection to the admin socket could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                    // The semaphore is never closed.
                    (Err(_), _) => break,
                },
                Some(_) = running.join_next() => {}
            }
        }
        drop(self.listener);
        drop(self.file);
        if tokio::time::timeout(self.options.drain, graceful.shutdown()).await.is_err() {
            tracing::warn!(left = running.len(), "admin requests were dropped at shutdown");
            running.shutdown().await;
        }
    }

    fn admit(
        &self,
        stream: UnixStream,
        slot: OwnedSemaphorePermit,
        graceful: &GracefulShutdown,
        running: &mut JoinSet<()>,
    ) {
        let caller = match rustix::net::sockopt::socket_peercred(stream.as_fd()) {
            Ok(peer) => Caller { uid: peer.uid.as_raw() },
            Err(error) => return tracing::warn!(%error, "a caller of the admin socket has no name"),
        };
        if !self.options.allowed_uids.contains(&caller.uid) {
            return tracing::warn!(
                uid = caller.uid,
                "a user who may not call the admin API was turned away"
            );
        }
        let router = self.router.clone();
        let service =
            hyper::service::service_fn(move |request| answer(router.clone(), caller, request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.options.head_deadline)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        running.spawn(async move {
            let _slot = slot;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the admin socket ended early");
            }
        });
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("options", &self.options).finish_non_exhaustive()
    }
}

async fn answer(
    router: Router,
    caller: Caller,
    mut request: Request<Incoming>,
) -> Result<axum::response::Response, Infallible> {
    request.extensions_mut().insert(caller);
    router.oneshot(request).await
}

// === impl Handle ===

impl Handle {
    /// Stops in the order of the module's text; returns when no new request is taken and the running ones
    /// have ended or been dropped.
    pub async fn shutdown(self) {
        // An error means that the server ended by itself.
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}
