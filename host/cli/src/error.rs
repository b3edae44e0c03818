//! Why a command failed, and the exit code that says so to a script.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Deserialize;
use tenure_author::AuthorError;
use tenure_core::error::{Coded as _, Kind};
use tenure_oci::OciError;
use tenure_trust::{Distrust, TrustError};

use crate::cluster::ClusterError;
use crate::kinds::Thing;

/// An error of a command. `Display` names the object and the next step.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error("{why}")]
    Usage { why: String },
    #[error(
        "the daemon does not answer on {socket}: {why}\nIs it running? Start it with `systemctl start tenured` (or `tenured --admin-socket {socket}`), or name another socket with --socket or TENURE_SOCKET.",
        socket = .socket.display()
    )]
    Unreachable { socket: PathBuf, why: String },
    #[error(
        "the daemon on {socket} does not serve this user: {why}\nOnly root and the daemon's own user may call it: try again with `sudo`.",
        socket = .socket.display()
    )]
    NotAllowed { socket: PathBuf, why: String },
    #[error(transparent)]
    Cluster(Box<ClusterError>),
    #[error("{}{}", .place, .refusal.message)]
    Refused {
        /// `pools.yaml, document 2, line 7: `, or empty.
        place: String,
        refusal: Box<Refusal>,
    },
    #[error(
        "the daemon's answer to {request} cannot be read: {why}; are `tenure` and `tenured` of one version? See `tenure version`"
    )]
    BadAnswer { request: String, why: String },
    #[error("no answer to {request} within {seconds} s; see `tenure status`")]
    TimedOut { request: String, seconds: u64 },
    #[error("{place}: {why}")]
    Manifest { place: String, why: String },
    #[error("{act} {path}: {source}")]
    File { act: &'static str, path: String, source: io::Error },
    #[error("writing the output: {source}")]
    Output { source: io::Error },
    #[error("{what} not found; {next}")]
    NotFound { what: String, next: &'static str },
    /// Nobody knows, and that is no "nobody".
    #[error("{what}")]
    NotKnown { what: String },
    #[error("{what}")]
    NotDone { what: String },
    #[error("{what}: refused while {stage}: {why}")]
    PolicyRefused { what: String, stage: String, why: String },
    #[error(transparent)]
    Author(Box<AuthorError>),
    #[error(transparent)]
    Oci(Box<OciError>),
    #[error(transparent)]
    Trust(Box<TrustError>),
    #[error(transparent)]
    Distrust(#[from] Box<Distrust>),
}

/// The error shape of the admin API.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Refusal {
    pub(crate) code: String,
    pub(crate) kind: String,
    pub(crate) message: String,
    /// Kind and name, e.g. `IPPool blue-v4`.
    #[serde(default)]
    pub(crate) object: Option<String>,
    #[serde(default)]
    pub(crate) field: Option<String>,
}

impl CliError {
    pub(crate) fn refused(refusal: Refusal) -> Self {
        Self::Refused { place: String::new(), refusal: Box::new(refusal) }
    }

    /// The daemon knows no such object.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { refusal, .. } if refusal.kind == "notFound")
    }

    /// An object that is not there is one to be listed.
    pub(crate) fn or_see(self, kind: Thing) -> Self {
        self.or_next(match kind {
            Thing::Lease => "no row is kept of it: it is free, or in no pool (`tenure get pools`)",
            _ => kind.list_command(),
        })
    }

    /// What to do about something that is not there.
    pub(crate) fn or_next(mut self, next: &str) -> Self {
        if let Self::Refused { refusal, .. } = &mut self
            && refusal.kind == "notFound"
        {
            refusal.message = format!("{}; {next}", refusal.message);
        }
        self
    }

    /// A store that holds something, if only the policies of its first start, is replaced on request.
    pub(crate) fn or_replace(mut self) -> Self {
        if let Self::Refused { refusal, .. } = &mut self
            && refusal.code == "STORE_NOT_EMPTY"
        {
            refusal.message = format!("{}: `tenure import --replace --yes` does", refusal.message);
        }
        self
    }

    /// The promise of `tenure --help`.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Usage { .. } => 2,
            Self::NotFound { .. } | Self::NotKnown { .. } => 3,
            Self::Refused { refusal, .. } => match refusal.kind.as_str() {
                "notFound" => 3,
                "refused" => 4,
                _ => 1,
            },
            Self::Cluster(error) => error.exit_code(),
            Self::PolicyRefused { .. } => 4,
            Self::Author(error) => match **error {
                AuthorError::Wrong(_) | AuthorError::Exists(_) => 2,
                AuthorError::Refused { .. } => 4,
                _ => 1,
            },
            Self::Oci(error) => match error.kind() {
                Kind::NotFound => 3,
                Kind::Refused => 4,
                _ => 1,
            },
            Self::Distrust(_) => 4,
            Self::Unreachable { .. } | Self::NotAllowed { .. } => 5,
            Self::BadAnswer { .. }
            | Self::TimedOut { .. }
            | Self::Manifest { .. }
            | Self::File { .. }
            | Self::Output { .. }
            | Self::Trust(_)
            | Self::NotDone { .. } => 1,
        })
    }
}

impl From<ClusterError> for CliError {
    fn from(error: ClusterError) -> Self {
        Self::Cluster(Box::new(error))
    }
}

impl From<AuthorError> for CliError {
    fn from(error: AuthorError) -> Self {
        Self::Author(Box::new(error))
    }
}

impl From<OciError> for CliError {
    fn from(error: OciError) -> Self {
        Self::Oci(Box::new(error))
    }
}

impl From<TrustError> for CliError {
    fn from(error: TrustError) -> Self {
        Self::Trust(Box::new(error))
    }
}

impl From<io::Error> for CliError {
    fn from(source: io::Error) -> Self {
        Self::Output { source }
    }
}
