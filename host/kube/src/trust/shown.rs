//! The leaf that a server shows, whichever it is at the moment.

use std::sync::Arc;

use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::ALPN;
use super::certificates::Leaf;
use super::error::AuthorityError;

/// The leaf; each handshake takes the one that is there. There is one once the authority is open.
#[derive(Debug, Default)]
pub(super) struct Shown(Mutex<Option<Leaf>>);

// === impl Shown ===

impl Shown {
    /// What is asked of the leaf; none before there is one.
    pub(super) fn ask<T>(&self, question: impl FnOnce(&Leaf) -> T) -> Option<T> {
        self.0.lock().as_ref().map(question)
    }

    pub(super) fn set(&self, leaf: Leaf) {
        *self.0.lock() = Some(leaf);
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.lock().as_ref().map(|leaf| leaf.served.clone())
    }
}

/// TLS 1.3 and HTTP/2.
pub(super) fn server_config(
    provider: Arc<CryptoProvider>,
    shown: Arc<Shown>,
) -> Result<ServerConfig, AuthorityError> {
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| AuthorityError::Make(e.to_string()))?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(shown);
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Connections are few and long: each proves the certificate anew.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}
