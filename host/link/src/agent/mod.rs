//! The side of a node.

mod acknowledged;
mod ends;
mod error;
mod links;
mod mark;
mod session;
mod verbs;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tenure_core::lease::NodeRef;
use tenure_core::ports::{Kernel, Wire};
use tenure_core::time::Clock;
use tokio::io::{AsyncRead, AsyncWrite};

pub use acknowledged::{Acknowledged, Held, HeldAddress, MAX_HELD};
pub use error::AgentError;
pub use links::{LinkView, Links};
pub(crate) use session::{PING, PONG_WITHIN};
pub use verbs::{Agent, WeakAgent};

/// A boxed future, so that ports can be used as trait objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A connection, secured or not.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// How an agent gets to the allocators.
pub trait Dial: Send + Sync + 'static {
    /// Where they are, the likeliest first.
    fn replicas(&self) -> BoxFuture<'_, io::Result<Vec<SocketAddr>>>;
    /// A connection to one of them.
    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Stream>>>;
    /// What proves who the agent is; none where nobody asks.
    fn token(&self) -> io::Result<Option<String>>;
}

/// What an agent stands on.
#[derive(Clone)]
pub struct Ports {
    /// The way to the allocators.
    pub dial: Arc<dyn Dial>,
    /// The kernel of this node.
    pub kernel: Arc<dyn Kernel>,
    /// The wires of this node; none where nothing can be asked on them.
    pub wire: Option<Arc<dyn Wire>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Settings of an agent.
#[derive(Debug, Clone)]
pub struct Options {
    /// This node in its present boot.
    pub node: NodeRef,
    /// It says so often that it lives.
    pub beat: Duration,
    /// The replicas are looked up anew after so long.
    pub look_up: Duration,
    /// A connection, with everything until the first word, takes at most so long.
    pub connect_within: Duration,
    /// An ADD waits for the leader so long before any replica will do.
    pub leader_patience: Duration,
    /// A DEL tries so long; then the plugin keeps it on disk.
    pub del_within: Duration,
    /// The longest time of an ADD: what was asked for by an earlier process of the agent has ended after so long.
    pub add_deadline: Duration,
}

impl Options {
    /// The defaults of DESIGN sections 5 and 9.
    #[must_use]
    pub fn new(node: NodeRef) -> Self {
        Self {
            node,
            beat: tenure_core::defaults::HEARTBEAT,
            look_up: Duration::from_secs(10),
            connect_within: Duration::from_secs(3),
            leader_patience: Duration::from_secs(2),
            del_within: Duration::from_secs(3),
            add_deadline: Duration::from_secs(120),
        }
    }
}
