//! What can go wrong at the border, with the CNI code that says it.

use std::io;
use std::path::PathBuf;

use tenure_core::error::{Coded, Kind};
use tenure_socket::SocketError;

use crate::answer::{self, Failure};
use crate::version::CniVersion;

/// Every error of this crate. Messages name the field or the object and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `CNI_COMMAND` is no verb.
    #[error("CNI_COMMAND {command:?} is not one of ADD, DEL, CHECK, GC, STATUS, VERSION")]
    UnknownCommand {
        /// The text.
        command: String,
    },
    /// An environment variable is missing or ill-formed.
    #[error("{variable}: {why}")]
    Environment {
        /// Its name.
        variable: &'static str,
        /// The rule that it breaks.
        why: String,
    },
    /// `cniVersion` is none that we speak.
    #[error(
        "cniVersion {version:?} is not supported; supported are 0.1.0 to 0.4.0, 1.0.0 and 1.1.0"
    )]
    Version {
        /// The text.
        version: String,
    },
    /// The verb came into CNI later than the configuration's version.
    #[error("{verb} needs cniVersion {since} or newer, and the configuration says {version}")]
    VerbTooNew {
        /// The verb.
        verb: &'static str,
        /// The first version that has it.
        since: CniVersion,
        /// The configuration's.
        version: CniVersion,
    },
    /// Part of the configuration is not of the type that it must be.
    #[error("{field}: {why}")]
    Decode {
        /// Path of the field.
        field: String,
        /// What is wrong with it.
        why: String,
    },
    /// The configuration asks for something that we do not have.
    #[error("{field} = {value} is not supported: {why}")]
    Unsupported {
        /// Path of the field.
        field: String,
        /// Its value as JSON, cut.
        value: String,
        /// What to do.
        why: String,
    },
    /// A value of the configuration breaks a rule.
    #[error("{field}: {why}")]
    Config {
        /// Path of the field.
        field: String,
        /// The rule.
        why: String,
    },
    /// The namespace to configure is the plugin's own.
    #[error(
        "CNI_NETNS {path} is the plugin's own network namespace; set CNI_NETNS_OVERRIDE=1 if that is meant"
    )]
    OwnNetns {
        /// The path.
        path: String,
    },
    /// The verb did not finish while the caller waited.
    #[error("{verb} was not done after {waited_ms} ms; it can be repeated")]
    OutOfTime {
        /// The verb.
        verb: &'static str,
        /// How long it ran.
        waited_ms: u64,
    },
    /// The connection limit is reached.
    #[error("{limit} CNI requests are being served already; try again")]
    Overloaded {
        /// The limit.
        limit: usize,
    },
    /// The caller's user may not use the socket.
    #[error("user {uid} may not use the CNI socket; only root and the daemon's own user may")]
    Caller {
        /// Its uid.
        uid: u32,
    },
    /// The request is no frame of ours.
    #[error("{0}")]
    Frame(crate::frame::FrameError),
    /// The answer does not fit the configuration's CNI version.
    #[error("the answer cannot be told in cniVersion {version}: {why}")]
    Answer {
        /// The configuration's version.
        version: CniVersion,
        /// What does not fit.
        why: &'static str,
    },
    /// The socket cannot be made.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The spool cannot be read.
    #[error("the spool folder {path} cannot be drained: {act} failed")]
    Spool {
        /// The folder or file.
        path: PathBuf,
        /// What was tried.
        act: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// The CNI error code (specification, section "Error").
    #[must_use]
    pub fn cni_code(&self) -> u32 {
        match self {
            Self::UnknownCommand { .. } | Self::Environment { .. } => answer::BAD_ENVIRONMENT,
            Self::Version { .. } | Self::VerbTooNew { .. } => answer::INCOMPATIBLE_VERSION,
            Self::Decode { .. } | Self::Frame(_) => answer::BAD_DECODE,
            Self::Unsupported { .. } => answer::UNSUPPORTED_FIELD,
            Self::OwnNetns { .. } => answer::BAD_NETNS,
            _ => self.kind().cni_code(),
        }
    }

    pub(crate) fn environment(variable: &'static str, why: impl ToString) -> Self {
        Self::Environment { variable, why: why.to_string() }
    }

    pub(crate) fn decode(field: impl Into<String>, why: impl ToString) -> Self {
        Self::Decode { field: field.into(), why: why.to_string() }
    }

    pub(crate) fn config(field: impl Into<String>, why: impl ToString) -> Self {
        Self::Config { field: field.into(), why: why.to_string() }
    }

    /// Names key *and* value, as the specification asks of code 2.
    pub(crate) fn unsupported(
        field: impl Into<String>,
        value: &serde_json::Value,
        why: impl Into<String>,
    ) -> Self {
        const SHOWN: usize = 100;
        let value = value.to_string().chars().take(SHOWN).collect();
        Self::Unsupported { field: field.into(), value, why: why.into() }
    }
}

impl Coded for Error {
    fn code(&self) -> &str {
        match self {
            Self::UnknownCommand { .. } => "UNKNOWN_COMMAND",
            Self::Environment { .. } => "BAD_ENV",
            Self::Version { .. } => "UNKNOWN_VERSION",
            Self::VerbTooNew { .. } => "VERB_TOO_NEW",
            Self::Decode { .. } => "BAD_JSON",
            Self::Unsupported { .. } => "UNSUPPORTED_FIELD",
            Self::Config { .. } => "BAD_CONFIG",
            Self::OwnNetns { .. } => "OWN_NETNS",
            Self::OutOfTime { .. } => "OUT_OF_TIME",
            Self::Overloaded { .. } => "OVERLOADED",
            Self::Caller { .. } => "CALLER_REFUSED",
            Self::Frame(_) => "BAD_FRAME",
            Self::Answer { .. } => "ANSWER_UNFIT",
            Self::Socket(error) => error.code(),
            Self::Spool { .. } => "SPOOL_FAILED",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::OutOfTime { .. } | Self::Overloaded { .. } => Kind::Retry,
            Self::Caller { .. } => Kind::Refused,
            Self::Answer { .. } => Kind::Bug,
            Self::Socket(error) => error.kind(),
            Self::Spool { .. } => Kind::Io,
            _ => Kind::Invalid,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(error.cni_code(), error.code(), error.to_string())
    }
}

impl Failure {
    /// The failure that says what a verb's error says; its code comes from the error's kind, but for the one matter of the
    /// verbs that CNI itself gave a code.
    pub fn of(error: &impl Coded) -> Self {
        let code = match error.code() {
            ENGINE_BAD_NETNS => answer::BAD_NETNS,
            _ => error.kind().cni_code(),
        };
        Self::new(code, error.code(), error.to_string())
    }
}

/// The stable code of the engine for a `CNI_NETNS` at which there is no namespace.
const ENGINE_BAD_NETNS: &str = "BAD_NETNS";

#[cfg(test)]
mod tests {
    use tenure_engine::EngineError;

    use super::*;

    #[test]
    fn a_namespace_that_is_none_has_the_code_of_cni_and_all_else_that_of_its_kind() {
        let why = "there is no namespace at /run/netns/x".to_owned();
        let failure = Failure::of(&EngineError::BadNetns { why: why.clone() });
        assert_eq!((failure.code, &*failure.details, failure.msg), (8, "BAD_NETNS", why));
        let failure = Failure::of(&EngineError::GcRefused { why: "x".to_owned() });
        assert_eq!((failure.code, &*failure.details), (7, "GC_REFUSED"));
    }
}
