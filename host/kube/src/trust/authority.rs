//! The CA of the allocators, and the certificate that a replica serves.
//!
//! # Flow
//! One round ([`Authority::look`]) reads the ConfigMap, then the Secret, makes what is not there, shows the bundle, takes the
//! steps of [`rotation`](super::rotation) that are due, and signs a new leaf where the present one is due or signed by a
//! former CA. [`Authority::keep`] does so for ever.
//!
//! # Guarantees
//! - Replicas agree: the Secret is made by create-if-absent and changed by compare-and-replace.
//! - The bundle never goes back: the ConfigMap is read *before* the Secret and replaced in that version, so whoever has seen
//!   an older Secret cannot write over the bundle of a newer one.
//! - No leaf is signed by a CA that has not stood in the bundle for the overlap, except where the present one has ended.
//! - What cannot be read is not written over. While the API server is away, leaves are signed by the CA that was read last.
//!
//! To throw a CA away (its key is known to others): delete the Secret. The next round makes another, and agents are refused
//! until they read the bundle again.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tenure_core::time::{Clock, WallMs};
use tokio::time::sleep;

pub use super::files::ServingFiles;

use super::ALPN;
use super::certificates::{Ca, Leaf, Unusable};
use super::files::Files;
use super::objects::Objects;
use super::roots::Roots;
use super::rotation::{Step, step};
use crate::store::calls::jittered;

/// A round that meets others' changes begins again, so often. Each step of a rotation takes one more.
const TURNS: usize = 16;

/// Settings of the authority.
#[derive(Clone)]
pub struct AuthorityOptions {
    /// The namespace of the allocator.
    pub namespace: String,
    /// How long a CA lives; after two thirds the next one is made.
    pub ca_life: Duration,
    /// How long a certificate of a replica lives; it is made anew after two thirds.
    pub leaf_life: Duration,
    /// How long the next CA stands in the bundle before it signs: agents must read the bundle more often. Less than a third of
    /// `ca_life`.
    pub overlap: Duration,
    /// How often [`Authority::keep`] looks, more or less.
    pub look_every: Duration,
    /// How long one request may take.
    pub call_deadline: Duration,
    /// Serve these files, and make no CA.
    pub serving_files: Option<ServingFiles>,
    /// The wall clock, by which certificates live.
    pub clock: Arc<dyn Clock>,
}

/// Why there is no certificate to serve, or why it cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The settings contradict one another.
    #[error("the settings of the allocator's CA are of no use: {0}")]
    Options(&'static str),
    /// The API server could not be asked, or refused.
    #[error("{act}: {why}")]
    Call {
        /// What was tried.
        act: &'static str,
        /// What happened.
        why: String,
    },
    /// What stands there is no certificate with its key. Nothing is written over it.
    #[error("{place} cannot be used: {why}; correct it, or delete it to have another made")]
    Unreadable {
        /// Which object or file.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// No key or certificate could be made.
    #[error("a certificate could not be made: {0}")]
    Make(String),
    /// A file could not be read.
    #[error("{path} could not be read")]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Others changed the objects all the time.
    #[error("the allocator's CA was changed by others each time it was read")]
    Contended,
}

/// Keeps the certificate that this replica serves.
pub struct Authority {
    source: Source,
    options: AuthorityOptions,
    provider: Arc<CryptoProvider>,
    shown: Arc<Shown>,
    config: Arc<ServerConfig>,
}

enum Source {
    Own {
        objects: Box<Objects>,
        /// The CA that was read last, to sign with while the API server is away.
        present: Mutex<Option<Ca>>,
    },
    Files(Files),
}

/// The leaf; each handshake takes the one that is there. There is one once the authority is open.
#[derive(Debug, Default)]
struct Shown(Mutex<Option<Leaf>>);

// === impl AuthorityOptions ===

impl AuthorityOptions {
    /// The defaults.
    #[must_use]
    pub fn new(namespace: impl Into<String>, clock: Arc<dyn Clock>) -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        Self {
            namespace: namespace.into(),
            ca_life: DAY * 365,
            leaf_life: DAY * 30,
            overlap: DAY,
            look_every: Duration::from_secs(60),
            call_deadline: Duration::from_secs(5),
            serving_files: None,
            clock,
        }
    }

    fn check(&self) -> Result<(), AuthorityError> {
        // The promoted CA must sign for a while before the former one ends.
        if self.overlap >= self.ca_life / 3 {
            return Err(AuthorityError::Options("overlap must be less than a third of ca_life"));
        }
        if self.leaf_life < self.look_every * 4 {
            return Err(AuthorityError::Options(
                "leaf_life must be at least four times look_every",
            ));
        }
        Ok(())
    }
}

// === impl Authority ===

impl Authority {
    /// Opens the CA of the namespace, or makes it, and signs the first leaf.
    ///
    /// # Errors
    /// The API server cannot be reached or refuses, what is there cannot be read, or the settings are of no use.
    pub async fn open(
        client: Client,
        options: AuthorityOptions,
    ) -> Result<Arc<Self>, AuthorityError> {
        options.check()?;
        let source = match options.serving_files.clone() {
            Some(files) => Source::Files(Files::new(files)),
            None => Source::Own {
                objects: Box::new(Objects::new(client, &options.namespace, options.call_deadline)),
                present: Mutex::new(None),
            },
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let shown = Arc::new(Shown::default());
        let config = Arc::new(server_config(provider.clone(), shown.clone())?);
        let this = Arc::new(Self { source, options, provider, shown, config });
        this.look().await?;
        Ok(this)
    }

    /// For the server: TLS 1.3, HTTP/2, always the present leaf.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// When the certificate that is served ends: for metrics and alarms. It lies ahead unless a round has failed for long.
    #[must_use]
    pub fn serves_until(&self) -> WallMs {
        self.shown.0.lock().as_ref().map_or(WallMs(0), |leaf| leaf.life.ends)
    }

    /// Looks again and again; it ends only with the task that it runs in.
    pub async fn keep(&self) -> Infallible {
        loop {
            sleep(jittered(self.options.look_every)).await;
            if let Err(error) = self.look().await {
                let until = self.serves_until().to_rfc3339();
                tracing::warn!(%error, serves_until = until, "the allocator's CA was not kept");
            }
        }
    }

    /// One round: everything that is due now.
    ///
    /// # Errors
    /// As of [`Self::open`]. What is served then goes on being served; a leaf that is due was signed all the same if it could be.
    pub async fn look(&self) -> Result<(), AuthorityError> {
        match &self.source {
            Source::Files(files) => {
                if let Some(leaf) = files.read(&self.provider).await? {
                    self.shown.set(leaf);
                }
                Ok(())
            }
            Source::Own { objects, present } => {
                let read = self.settled(objects).await;
                let failed = match read {
                    Ok(roots) => {
                        *present.lock() = Some(roots.present);
                        None
                    }
                    Err(error) => Some(error),
                };
                let ca = present.lock().clone();
                if let Some(ca) = ca {
                    self.sign(&ca)?;
                }
                failed.map_or(Ok(()), Err)
            }
        }
    }

    /// The roots once no step is due.
    async fn settled(&self, objects: &Objects) -> Result<Roots, AuthorityError> {
        for _ in 0..TURNS {
            if let Some(roots) = self.turn(objects).await? {
                return Ok(roots);
            }
        }
        Err(AuthorityError::Contended)
    }

    /// Does the next thing that is due; none if it is to be looked at again.
    async fn turn(&self, objects: &Objects) -> Result<Option<Roots>, AuthorityError> {
        let (now, life) = (self.options.clock.wall(), self.options.ca_life);
        // The order matters: see the guarantees above.
        let map = objects.map().await?;
        let Some((secret, roots)) = objects.secret().await? else {
            objects.make(&Roots::first(now, life).map_err(unmade)?).await?;
            return Ok(None);
        };
        if !objects.show(map, &roots.bundle()).await? {
            return Ok(None);
        }
        match step(&roots.held(), now, self.options.overlap) {
            Step::Rest => Ok(Some(roots)),
            step => {
                tracing::info!(?step, "the allocator's CA changes");
                objects.replace(secret, &roots.after(step, now, life).map_err(unmade)?).await?;
                Ok(None)
            }
        }
    }

    fn sign(&self, ca: &Ca) -> Result<(), AuthorityError> {
        let now = self.options.clock.wall();
        let serves = |leaf: &Leaf| {
            let is_fresh = leaf.life.is_valid(now) && !leaf.life.is_due(now);
            is_fresh && leaf.signed_by == ca.root.pem
        };
        if !self.shown.0.lock().as_ref().is_some_and(serves) {
            let leaf = ca.sign(now, self.options.leaf_life, &self.provider).map_err(unmade)?;
            self.shown.set(leaf);
        }
        Ok(())
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("serves_until", &self.serves_until()).finish()
    }
}

// === impl Shown ===

impl Shown {
    fn set(&self, leaf: Leaf) {
        *self.0.lock() = Some(leaf);
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.lock().as_ref().map(|leaf| leaf.served.clone())
    }
}

fn server_config(
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

fn unmade(why: Unusable) -> AuthorityError {
    AuthorityError::Make(why.to_string())
}
