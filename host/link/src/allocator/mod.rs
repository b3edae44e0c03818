//! The side of the engine.

mod answers;
mod connection;
mod service;
mod sessions;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tenure_core::lease::{Attachment, NodeRef};
use tokio::net::TcpStream;

pub use service::{Handle, Service};
pub use sessions::{SessionView, Sessions};

use crate::agent::{BoxFuture, Stream};
use crate::messages::{AddCall, Claim, Failure, Hello, StoreMark};

/// Who is let in, and who is told what agents say.
pub trait Reception: Send + Sync + 'static {
    /// Whether the bearer of this token may speak for the node that it names. Answers the node as it goes into leases.
    ///
    /// # Errors
    /// The refusal, for the agent's log.
    fn admit(
        &self,
        token: Option<&str>,
        hello: &Hello,
    ) -> impl Future<Output = Result<NodeRef, Failure>> + Send;

    /// Which of these attachments of an agent have lost an address to somebody else, as it stands in the store now.
    ///
    /// # Errors
    /// It cannot be found out now: the agent comes again.
    fn overtaken(
        &self,
        node: &Arc<NodeRef>,
        claims: Vec<Claim>,
    ) -> impl Future<Output = Result<Vec<Attachment>, Failure>> + Send;

    /// How far the store is now; none if nothing shall be said of it.
    fn mark(&self) -> Option<StoreMark>;

    /// An agent was heard: a session began, or it beat.
    fn heard(&self, node: &Arc<NodeRef>);

    /// A network namespace of a node ended.
    fn ended(&self, node: &Arc<NodeRef>);

    /// What the cluster says of the owner of an ADD, and who the owner really is.
    ///
    /// # Errors
    /// It cannot be found out now.
    fn introduce(
        &self,
        node: &Arc<NodeRef>,
        call: &mut AddCall,
    ) -> impl Future<Output = Result<Option<Arc<tenure_engine::Facts>>, Failure>> + Send;
}

/// Makes a connection of what was accepted: TLS, or nothing.
pub type Accept =
    Arc<dyn Fn(TcpStream) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> + Send + Sync>;

/// Settings of the service.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The identity of this replica.
    pub replica: String,
    /// Connections at a time (I12): one for each agent, and room for those that come back before the old one is given up.
    pub max_connections: usize,
    /// A caller must have said who it is within so long.
    pub hello_within: Duration,
}

impl Options {
    /// The defaults: 4096 connections, 5 s.
    #[must_use]
    pub fn new(listen: SocketAddr, replica: impl Into<String>) -> Self {
        let (max_connections, hello_within) = (4096, Duration::from_secs(5));
        Self { listen, replica: replica.into(), max_connections, hello_within }
    }
}
