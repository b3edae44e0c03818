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
use std::sync::Arc;

use kube::Client;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use tenure_core::time::WallMs;
use tokio::time::sleep;

use super::certificates::{Ca, Leaf};
use super::error::AuthorityError;
use super::files::Files;
use super::objects::Objects;
use super::options::AuthorityOptions;
use super::roots::Roots;
use super::rotation::{Step, step};
use super::shown::{Shown, server_config};
use crate::store::calls::jittered;

/// A round that meets others' changes begins again, so often. Each step of a rotation takes one more.
const TURNS: usize = 16;

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

// === impl Authority ===

impl Authority {
    /// Opens the CA of the namespace, or makes it, and signs the first leaf.
    ///
    /// # Errors
    /// The API server cannot be reached or refuses, what is there cannot be read, or the settings are of no use. It is not
    /// tried again here.
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
        self.shown.ask(|leaf| leaf.life.ends).unwrap_or(WallMs(0))
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
            objects.make(&Roots::first(now, life).map_err(AuthorityError::unmade)?).await?;
            return Ok(None);
        };
        if !objects.show(map, &roots.bundle()).await? {
            return Ok(None);
        }
        match step(&roots.held(), now, self.options.overlap) {
            Step::Rest => Ok(Some(roots)),
            step => {
                tracing::info!(?step, "the allocator's CA changes");
                objects
                    .replace(secret, &roots.after(step, now, life).map_err(AuthorityError::unmade)?)
                    .await?;
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
        if self.shown.ask(serves) != Some(true) {
            let leaf = ca
                .sign(now, self.options.leaf_life, &self.provider)
                .map_err(AuthorityError::unmade)?;
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
