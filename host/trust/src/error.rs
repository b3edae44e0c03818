//! What can go wrong with keys, signatures and rules, before anything is judged.

use std::path::PathBuf;

/// An act that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// A file of a key cannot be read or written.
    #[error("{act} {}: {cause}", .path.display())]
    File {
        /// As a gerund.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The text is no key of ours.
    #[error("{place} is no ed25519 {what} in PEM ({expected}): {why}")]
    Key {
        /// The file, or the name of the setting.
        place: String,
        /// `public key` or `private key`.
        what: &'static str,
        /// The first line that is looked for.
        expected: &'static str,
        /// What the reader said.
        why: String,
    },
    /// Others than its owner can read a private key.
    #[error(
        "{} can be read by others (mode {mode:04o}); a private key that was exposed signs nothing: `chmod 600` it if it was not, else make another",
        .path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The system has no random numbers.
    #[error("no random numbers for a key: {0}")]
    Random(String),
    /// What should be signatures is something else.
    #[error("the signatures cannot be read: {0}")]
    Signatures(String),
    /// The rules contradict themselves.
    #[error("policy.trust: {0}")]
    Rules(String),
}
