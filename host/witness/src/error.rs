//! Why the witness could not start, and how failures of the kernel become the port's error.

use tenure_core::error::{Coded, Kind};
use tenure_core::ports::WitnessError;

/// Why no witness could be made at all. A witness whose self-test fails does start, and is silent.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Linux before 5.14 does not tell namespaces apart (`SO_NETNS_COOKIE`).
    #[error(
        "Linux {found} is too old: Tenure needs 5.14 or newer, because older kernels give network \
         namespaces no cookie to tell them apart by; upgrade the kernel of this node"
    )]
    KernelTooOld {
        /// The release as the kernel states it.
        found: String,
    },
    /// The release is not `MAJOR.MINOR...`.
    #[error("the kernel states its release as {found:?}, which does not begin with MAJOR.MINOR")]
    UnreadableRelease {
        /// The release as the kernel states it.
        found: String,
    },
    /// The daemon's own namespace could not be read.
    #[error("the daemon's own network namespace could not be read (is /proc mounted?)")]
    OwnNamespace {
        /// What failed.
        #[source]
        source: WitnessError,
    },
    /// No netlink socket that hears of ending namespaces.
    #[error("subscribing to the ends of namespace ids failed")]
    Watch {
        /// What failed.
        #[source]
        source: std::io::Error,
    },
}

// === impl StartError ===

impl Coded for StartError {
    fn code(&self) -> &'static str {
        match self {
            Self::KernelTooOld { .. } => "KERNEL_TOO_OLD",
            Self::UnreadableRelease { .. } => "KERNEL_RELEASE_UNREADABLE",
            Self::OwnNamespace { .. } => "OWN_NAMESPACE_UNREADABLE",
            Self::Watch { .. } => "NAMESPACE_WATCH_FAILED",
        }
    }

    fn kind(&self) -> Kind {
        Kind::Operator
    }

    fn detail(&self) -> Option<String> {
        std::error::Error::source(self).map(ToString::to_string)
    }
}

/// A failed system call as the port's error.
pub(crate) fn system(act: &'static str, why: impl std::fmt::Display) -> WitnessError {
    WitnessError::System { act, why: why.to_string() }
}
