//! Settings of the authority.

use std::sync::Arc;
use std::time::Duration;

use tenure_core::time::Clock;

use super::error::AuthorityError;
use super::files::ServingFiles;

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
    /// How often [`Authority::keep`](super::Authority::keep) looks, more or less.
    pub look_every: Duration,
    /// How long one request may take.
    pub call_deadline: Duration,
    /// Serve these files, and make no CA.
    pub serving_files: Option<ServingFiles>,
    /// The wall clock, by which certificates live.
    pub clock: Arc<dyn Clock>,
}

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

    pub(super) fn check(&self) -> Result<(), AuthorityError> {
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
