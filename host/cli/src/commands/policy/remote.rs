//! How the commands reach a registry.

use std::io::{Read as _, stdin};
use std::path::PathBuf;

use tenure_core::name::OciRef;
use tenure_oci::{Credentials, Registry, RegistryOptions};
use tenure_policy_host::COMPONENT_BYTES;

use crate::error::CliError;

/// Longer than any token that serves as a password.
const PASSWORD_BYTES: u64 = 64 << 10;

/// Names and passwords come from `auths` of Docker's configuration ($DOCKER_CONFIG, ~/.docker) unless they are given.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Registry")]
pub(super) struct Remote {
    /// Speak plain HTTP; without it only with registries on loopback
    #[arg(long)]
    plain_http: bool,
    /// Trust only the CAs of this PEM file, on loopback, too
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Call as this user instead of the one in Docker's configuration
    #[arg(long, value_name = "NAME", requires = "password_stdin")]
    username: Option<String>,
    /// Read the password from standard input
    #[arg(long, requires = "username")]
    password_stdin: bool,
}

// === impl Remote ===

impl Remote {
    pub(super) fn registry(self) -> Result<Registry, CliError> {
        let credentials = match self.username {
            Some(user) => Credentials::given(user, password()?),
            None => Credentials::of_docker()?,
        };
        Ok(Registry::new(RegistryOptions {
            credentials,
            all_plain_http: self.plain_http,
            ca: self.ca,
            ..RegistryOptions::new(COMPONENT_BYTES)
        }))
    }
}

/// A reference, as an argument.
pub(super) fn reference(text: &str) -> Result<OciRef, String> {
    OciRef::new(text).map_err(|error| error.to_string())
}

fn password() -> Result<String, CliError> {
    let mut text = String::new();
    let failed = |source| CliError::File {
        act: "reading",
        path: "the password from standard input".to_owned(),
        source,
    };
    stdin().lock().take(PASSWORD_BYTES).read_to_string(&mut text).map_err(failed)?;
    // `echo` ends it with a line break, which is none of it.
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}
