//! The server: it accepts, and gives each connection its task.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tenure_engine::Verbs;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Duration, sleep};

use super::{Accept, Options, Reception, Sessions, connection};

/// After a failed accept (no descriptors left) the next try waits.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Who leads, as this replica knows: its identity, none where nobody does.
pub(super) type Leader = watch::Receiver<Option<String>>;

/// What every connection needs.
pub(super) struct Desk<V, R> {
    pub(super) verbs: Arc<V>,
    pub(super) reception: Arc<R>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) leader: Leader,
    pub(super) options: Options,
}

/// A bound server, not serving yet.
pub struct Service<V, R> {
    listener: TcpListener,
    accept: Accept,
    desk: Arc<Desk<V, R>>,
}

/// A running server.
#[derive(Debug)]
pub struct Handle {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

// === impl Service ===

impl<V: Verbs, R: Reception> Service<V, R> {
    /// Listens. `leader` says who is preferred for ADDs.
    ///
    /// # Errors
    /// The address is taken or is none of this machine.
    pub async fn bind(
        options: Options,
        (verbs, reception): (Arc<V>, Arc<R>),
        sessions: Arc<Sessions>,
        (accept, leader): (Accept, watch::Receiver<Option<String>>),
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(options.listen).await?;
        let desk = Arc::new(Desk { verbs, reception, sessions, leader, options });
        Ok(Self { listener, accept, desk })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Begins to serve.
    #[must_use]
    pub fn start(self) -> Handle {
        let (stop, stopped) = oneshot::channel();
        Handle { stop, task: tokio::spawn(self.run(stopped)) }
    }

    async fn run(self, mut stopped: oneshot::Receiver<()>) {
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                _ = &mut stopped => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => self.admit((stream, peer), &mut running),
                    Err(error) => {
                        tracing::warn!(%error, "a connection of an agent could not be accepted");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = running.join_next() => {}
            }
        }
        drop(self.listener);
        // Writes that have begun are settled by the engine in tasks of its own; agents ask another replica.
        running.shutdown().await;
    }

    fn admit(&self, (stream, peer): (TcpStream, SocketAddr), running: &mut JoinSet<()>) {
        if running.len() >= self.desk.options.max_connections {
            tracing::warn!(%peer, bound = self.desk.options.max_connections, "too many connections: an agent is turned away");
            return;
        }
        let _ = stream.set_nodelay(true);
        let secured = (self.accept)(stream);
        running.spawn(connection::serve(self.desk.clone(), secured, peer));
    }
}

// === impl Handle ===

impl Handle {
    /// Accepts nobody any more and closes all connections.
    pub async fn shutdown(self) {
        // An error means that it ended by itself.
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}
