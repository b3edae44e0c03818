//! How an agent finds the allocators and makes sure that it speaks with them.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use parking_lot::Mutex;
use tenure_kube::{Replicas, TrustBundle};
use tenure_link::agent::{BoxFuture, Dial, Stream};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::config::{AgentSettings, Config};

/// The Service whose endpoints the allocators are.
const SERVICE: &str = "tenure-allocator";
/// The bundle of CAs is read again after so long, and when a certificate is refused.
const TRUST_FOR: Duration = Duration::from_secs(600);
/// A refused certificate does not make it be read more often than this.
const READS_APART: Duration = Duration::from_secs(5);

/// The way to the allocators.
pub(crate) struct Dialler {
    settings: AgentSettings,
    namespace: String,
    /// None where neither the addresses nor the CA are asked of the API server.
    client: Option<Client>,
    bundle: OnceCell<TrustBundle>,
    read: Mutex<Option<Instant>>,
}

impl Dialler {
    /// Prepares the way; nothing is asked yet, for an agent starts with the API server away, too.
    pub(crate) async fn new(config: &Config) -> anyhow::Result<Self> {
        let settings = config.agent.clone();
        let client = match settings.allocators.is_empty() || settings.ca.is_none() {
            true => Some(Client::try_from(super::api_config(config).await?)?),
            false => None,
        };
        let namespace = config.cluster.namespace.clone();
        Ok(Self { settings, namespace, client, bundle: OnceCell::new(), read: Mutex::default() })
    }

    async fn bundle(&self) -> io::Result<&TrustBundle> {
        let open = || async {
            match (&self.settings.ca, &self.client) {
                (Some(file), _) => TrustBundle::from_file(file).await,
                (None, Some(client)) => TrustBundle::open(client.clone(), &self.namespace).await,
                (None, None) => TrustBundle::from_file(PathBuf::new()).await,
            }
        };
        self.bundle.get_or_try_init(open).await.map_err(io::Error::other)
    }

    /// Reads the bundle again unless that was done a moment ago.
    async fn refresh(&self, after: Duration) {
        let is_due = {
            let mut read = self.read.lock();
            let is_due = read.is_none_or(|read| read.elapsed() >= after);
            if is_due {
                *read = Some(Instant::now());
            }
            is_due
        };
        if !is_due {
            return;
        }
        if let Some(bundle) = self.bundle.get()
            && let Err(error) = bundle.refresh().await
        {
            tracing::warn!(%error, "the CAs of the allocators cannot be read again; those before go on counting");
        }
    }

    async fn connected(&self, to: SocketAddr) -> io::Result<Box<dyn Stream>> {
        self.refresh(TRUST_FOR).await;
        let bundle = self.bundle().await?;
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(bundle.client_config());
        match connector.connect(bundle.server_name(), stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => {
                // The allocators may have another CA by now.
                self.refresh(READS_APART).await;
                Err(error)
            }
        }
    }
}

impl Dial for Dialler {
    fn replicas(&self) -> BoxFuture<'_, io::Result<Vec<SocketAddr>>> {
        Box::pin(async {
            let Some(client) = self.client.clone().filter(|_| self.settings.allocators.is_empty())
            else {
                return Ok(self.settings.allocators.clone());
            };
            Replicas::list(client, &self.namespace, SERVICE).await.map_err(io::Error::other)
        })
    }

    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(self.connected(to))
    }

    /// Kubernetes writes a new token into the file before the old one ends.
    fn token(&self) -> io::Result<Option<String>> {
        let token = std::fs::read_to_string(&self.settings.token).map_err(|error| {
            let file = self.settings.token.display();
            io::Error::new(error.kind(), format!("reading agent.token {file}: {error}"))
        })?;
        Ok(Some(token.trim().to_owned()))
    }
}

/// For the link.
pub(crate) async fn dial(config: &Config) -> anyhow::Result<Arc<dyn Dial>> {
    Ok(Arc::new(Dialler::new(config).await?))
}
