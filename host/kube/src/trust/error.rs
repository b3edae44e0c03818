//! What goes wrong with a CA and its certificates.

use std::path::PathBuf;

use super::certificates::Unusable;

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

// === impl AuthorityError ===

impl AuthorityError {
    pub(super) fn unmade(why: Unusable) -> Self {
        Self::Make(why.to_string())
    }
}
