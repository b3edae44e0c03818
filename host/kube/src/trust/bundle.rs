//! What an agent trusts: the CAs of the allocator's bundle, and nothing else.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use parking_lot::Mutex;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::files::read_file;
use super::{ALPN, BUNDLE, OBJECT, SERVER_NAME};
use crate::store::calls::Calls;

const CALL_DEADLINE: Duration = Duration::from_secs(5);

/// The bundle as it was read last.
#[derive(Debug)]
pub struct TrustBundle {
    source: Source,
    name: ServerName<'static>,
    present: Mutex<Present>,
}

#[derive(Debug)]
enum Source {
    Map { api: Box<Api<ConfigMap>>, calls: Calls },
    File(PathBuf),
}

#[derive(Debug)]
struct Present {
    pem: String,
    config: Arc<ClientConfig>,
}

/// Why there is nothing to trust.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// It could not be read.
    #[error("the bundle {place} could not be read: {why}")]
    Read {
        /// Which object or file.
        place: String,
        /// What happened.
        why: String,
    },
    /// No allocator has made it yet, or its namespace is another one.
    #[error("the bundle {place} is not there; an allocator makes it at its start")]
    Absent {
        /// Which object.
        place: String,
    },
    /// It holds no certificate, or something else.
    #[error("the bundle {place} cannot be used: {why}")]
    Unreadable {
        /// Which object or file.
        place: String,
        /// What is wrong.
        why: String,
    },
}

// === impl TrustBundle ===

impl TrustBundle {
    /// The bundle that the allocators keep in a ConfigMap of their namespace.
    ///
    /// # Errors
    /// It is not there, the API server cannot be reached or refuses, or it holds no certificate.
    pub async fn open(client: Client, namespace: &str) -> Result<Self, TrustError> {
        let calls = Calls::new(CALL_DEADLINE, 1);
        Self::of(Source::Map { api: Box::new(Api::namespaced(client, namespace)), calls }).await
    }

    /// A bundle that somebody else keeps in a file, in PEM: where the allocators serve files, too.
    ///
    /// # Errors
    /// It cannot be read or holds no certificate.
    pub async fn from_file(path: impl Into<PathBuf>) -> Result<Self, TrustError> {
        Self::of(Source::File(path.into())).await
    }

    async fn of(source: Source) -> Result<Self, TrustError> {
        let present = source.parse(source.read().await?)?;
        let name = ServerName::try_from(SERVER_NAME).map_err(|error| source.unreadable(error))?;
        Ok(Self { source, name, present: Mutex::new(present) })
    }

    /// For connections to an allocator, as of the last reading: TLS 1.3, HTTP/2. Take it anew for each connection.
    #[must_use]
    pub fn client_config(&self) -> Arc<ClientConfig> {
        self.present.lock().config.clone()
    }

    /// The name to ask an allocator for, whatever address is dialled.
    #[must_use]
    pub fn server_name(&self) -> ServerName<'static> {
        self.name.clone()
    }

    /// Reads the bundle again, and says whether it has changed. To be called more often than
    /// [`overlap`](super::AuthorityOptions::overlap), and when an allocator's certificate is refused.
    ///
    /// # Errors
    /// As of [`Self::open`]. What was read before goes on counting.
    pub async fn refresh(&self) -> Result<bool, TrustError> {
        let pem = self.source.read().await?;
        if self.present.lock().pem == pem {
            return Ok(false);
        }
        let present = self.source.parse(pem)?;
        *self.present.lock() = present;
        Ok(true)
    }
}

// === impl Source ===

impl Source {
    fn place(&self) -> String {
        match self {
            Self::Map { .. } => format!("ConfigMap {OBJECT}"),
            Self::File(path) => path.display().to_string(),
        }
    }

    async fn read(&self) -> Result<String, TrustError> {
        let failed = |why: String| TrustError::Read { place: self.place(), why };
        match self {
            Self::Map { api, calls } => {
                let map = calls.send(api.get_opt(OBJECT)).await;
                let map = map.map_err(|failure| failed(failure.to_string()))?;
                let bundle = map.and_then(|map| map.data?.remove(BUNDLE));
                bundle.ok_or_else(|| TrustError::Absent { place: self.place() })
            }
            Self::File(path) => {
                let bytes = read_file(path).await.map_err(|error| failed(error.to_string()))?;
                String::from_utf8(bytes).map_err(|_| self.unreadable("it is no text"))
            }
        }
    }

    fn parse(&self, pem: String) -> Result<Present, TrustError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let added = certificate.map(|certificate| roots.add(certificate));
            match added {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(self.unreadable(error)),
                Err(error) => return Err(self.unreadable(error)),
            }
        }
        if roots.is_empty() {
            return Err(self.unreadable("it holds no certificate"));
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| self.unreadable(error))?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        // A resumed session would not show its certificate again.
        config.resumption = Resumption::disabled();
        Ok(Present { pem, config: Arc::new(config) })
    }

    fn unreadable(&self, why: impl ToString) -> TrustError {
        TrustError::Unreadable { place: self.place(), why: why.to_string() }
    }
}
