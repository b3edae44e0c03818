//! What goes wrong, and what to do next.

use std::io;
use std::path::PathBuf;

/// An error of the author's tools.
#[derive(Debug, thiserror::Error)]
pub enum AuthorError {
    /// A file or folder cannot be read or written.
    #[error("{act} {}: {source}", .path.display())]
    File {
        /// `reading`, `writing`, ...
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something is there already.
    #[error("{} exists already; choose another name or remove it", .0.display())]
    Exists(PathBuf),
    /// What was typed cannot be.
    #[error("{0}")]
    Wrong(String),
    /// No compiler for Wasm.
    #[error(
        "no compiler on PATH has the standard library for wasm32-unknown-unknown; add it with:\n  rustup target add wasm32-unknown-unknown"
    )]
    NoTarget,
    /// No cargo.
    #[error("cargo is not on PATH; a policy is a Rust crate: install Rust from https://rustup.rs")]
    NoCargo,
    /// cargo did not do it; it has said why.
    #[error("{what} does not build; cargo says why above")]
    Build {
        /// The crate.
        what: String,
    },
    /// The module is no policy.
    #[error("no component can be made of {what}: {why}")]
    Component {
        /// The module.
        what: String,
        /// In words.
        why: String,
    },
    /// A fixture, a settings file or a ring cannot be read.
    #[error("{}: {why}", .path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// Where and what.
        why: String,
    },
    /// The host refused the policy.
    #[error("{what}: refused while {stage}: {why}")]
    Refused {
        /// The component.
        what: String,
        /// The stage of the load pipeline, as a gerund.
        stage: &'static str,
        /// In words.
        why: String,
    },
    /// The engine could not start.
    #[error("{0}")]
    Engine(String),
}

impl AuthorError {
    pub(crate) fn file(
        act: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { act, path, source }
    }

    pub(crate) fn starting_cargo(source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound => Self::NoCargo,
            _ => Self::File { act: "starting", path: "cargo".into(), source },
        }
    }
}
