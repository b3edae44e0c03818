//! Why an agent refuses.

use std::io;
use std::time::Duration;

use tenure_core::error::{Coded, Kind};
use tenure_engine::EngineError;

use crate::messages::Failure;

/// An error of an agent. `Display` is for the caller.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// No allocator answered.
    #[error(
        "no allocator answered within {} ms{why}; see the Deployment tenure-allocator and the agent's log",
        .waited.as_millis()
    )]
    Unreachable {
        /// How long it was tried.
        waited: Duration,
        /// The last try, beginning with `: `, or empty.
        why: String,
    },
    /// An allocator refused, in its own words.
    #[error(transparent)]
    Refused(#[from] Failure),
    /// What is the agent's own part: the namespace, the queue of an attachment, a DEL that came meanwhile.
    #[error(transparent)]
    Own(#[from] EngineError),
    /// The answer cannot be kept on disk: without it, it must not be given.
    #[error("the answer cannot be noted on disk: {0}; see the agent's state folder")]
    NotNoted(#[source] io::Error),
}

impl Coded for AgentError {
    fn code(&self) -> &str {
        match self {
            Self::Unreachable { .. } => "NO_ALLOCATOR",
            Self::Refused(failure) => failure.code(),
            Self::Own(error) => error.code(),
            Self::NotNoted(_) => "NOT_NOTED",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Unreachable { .. } => Kind::Retry,
            Self::Refused(failure) => failure.kind(),
            Self::Own(error) => error.kind(),
            Self::NotNoted(_) => Kind::Io,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::Refused(failure) => failure.detail(),
            Self::Own(error) => error.detail(),
            Self::Unreachable { .. } | Self::NotNoted(_) => None,
        }
    }
}
