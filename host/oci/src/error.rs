//! What can go wrong between a registry, a tarball and this machine.

use std::path::PathBuf;
use std::time::Duration;

use tenure_core::error::{Coded, Kind};
use tenure_core::name::Digest;

/// An act that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OciError {
    /// The text names nothing in a registry.
    #[error("{reference:?}: {why}")]
    Reference {
        /// The text.
        reference: String,
        /// What is wrong with it.
        why: String,
    },
    /// The registry does not answer, or not as one.
    #[error("{act} {reference}: {why}")]
    Registry {
        /// As a gerund.
        act: &'static str,
        /// What was asked for.
        reference: String,
        /// What happened.
        why: String,
    },
    /// It took too long.
    #[error("{reference}: not done within {within:?}; is the registry reachable from here?")]
    TooLong {
        /// What was asked for.
        reference: String,
        /// The deadline.
        within: Duration,
    },
    /// The registry wants to know who calls, or refuses who does.
    #[error("{reference}: the registry refuses: {why}; {hint}")]
    Denied {
        /// What was asked for.
        reference: String,
        /// What it said.
        why: String,
        /// What to do next.
        hint: String,
    },
    /// It has no such thing.
    #[error("{reference} is not in its registry; are repository, tag and digest right?")]
    NotFound {
        /// What was asked for.
        reference: String,
    },
    /// The registry gave other bytes than were asked for.
    #[error("{reference}: {what} is {found}, and {wanted} was asked for; nothing of it is used")]
    Digest {
        /// What was asked for.
        reference: String,
        /// `the manifest` or `the component`.
        what: &'static str,
        /// What came.
        found: Digest,
        /// What should have come.
        wanted: Digest,
    },
    /// More than is taken.
    #[error("{place}: {what} has {size} bytes; at most {limit} are taken")]
    TooLarge {
        /// The reference or file.
        place: String,
        /// What is large.
        what: String,
        /// Its size, or the least that it has.
        size: u64,
        /// The bound.
        limit: u64,
    },
    /// It is an artifact of another kind.
    #[error("{place} is no policy module in the CNCF Wasm layout: {why}")]
    Layout {
        /// The reference or file.
        place: String,
        /// What differs.
        why: String,
    },
    /// The credentials cannot be read.
    #[error("the credentials of {}: {why}", .file.display())]
    Credentials {
        /// Docker's configuration file.
        file: PathBuf,
        /// What is wrong, without showing any of it.
        why: String,
    },
    /// A file cannot be read or written.
    #[error("{act} {}: {cause}", .path.display())]
    File {
        /// As a gerund.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// Something of its own making was refused: a defect.
    #[error("{0}")]
    Bug(String),
}

// === impl OciError ===

impl OciError {
    /// Whether the same may succeed later, without anybody changing anything but the network or the registry.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Registry { .. } | Self::TooLong { .. })
    }

    pub(crate) fn layout(place: &str, why: impl Into<String>) -> Self {
        Self::Layout { place: place.to_owned(), why: why.into() }
    }
}

impl Coded for OciError {
    fn code(&self) -> &'static str {
        match self {
            Self::Reference { .. } => "OCI_REFERENCE",
            Self::Registry { .. } | Self::TooLong { .. } => "OCI_REGISTRY",
            Self::Denied { .. } => "OCI_DENIED",
            Self::NotFound { .. } => "OCI_NOT_FOUND",
            Self::Digest { .. } => "OCI_DIGEST",
            Self::TooLarge { .. } => "OCI_TOO_LARGE",
            Self::Layout { .. } => "OCI_LAYOUT",
            Self::Credentials { .. } => "OCI_CREDENTIALS",
            Self::File { .. } => "OCI_FILE",
            Self::Bug(_) => "OCI_BUG",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Reference { .. } | Self::Layout { .. } | Self::TooLarge { .. } => Kind::Invalid,
            Self::Registry { .. } | Self::TooLong { .. } => Kind::Retry,
            Self::Denied { .. } | Self::Digest { .. } => Kind::Refused,
            Self::NotFound { .. } => Kind::NotFound,
            Self::Credentials { .. } => Kind::Operator,
            Self::File { .. } => Kind::Io,
            Self::Bug(_) => Kind::Bug,
        }
    }
}
