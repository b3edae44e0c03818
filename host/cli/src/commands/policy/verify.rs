//! `tenure policy verify`: who vouches for a module, and whether that suffices.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tenure_core::name::Digest;
use tenure_trust::{AnyOf, Trust, TrustSettings};

use super::module::{Module, Place};
use super::remote::Remote;
use crate::error::CliError;
use crate::output::{Format, print, print_document};

/// Verify the signatures of a module against public keys, or against the rules of a daemon
#[derive(Debug, clap::Args)]
#[command(
    group(clap::ArgGroup::new("by").required(true).multiple(true)),
    after_help = "EXAMPLES:\n  tenure policy verify grace.wasm --key release.pub\n  tenure policy verify registry.example.com/policies/grace:1.2.0 --key a.pub --key b.pub --minimum 1\n  tenure policy verify grace.tar --trust /etc/tenure/tenured.toml\n\nExit code 4 when too few of the keys have signed it; the message names those that are missing."
)]
pub(crate) struct Args {
    /// A file, a tarball, or a reference in a registry
    #[arg(value_name = "FILE|REF", value_parser = Place::parse)]
    what: Place,
    /// A public key; given several times, all must have signed
    #[arg(long = "key", value_name = "FILE", group = "by")]
    keys: Vec<PathBuf>,
    /// So many of the keys suffice
    #[arg(long, value_name = "NUMBER", requires = "keys")]
    minimum: Option<usize>,
    /// The rules of `[policy.trust]` in this configuration of tenured
    #[arg(long, value_name = "FILE", group = "by", conflicts_with = "keys")]
    trust: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

/// All of tenured's configuration but what is asked for is left alone.
#[derive(Debug, Deserialize)]
struct Configuration {
    policy: Option<PolicyTable>,
}

#[derive(Debug, Deserialize)]
struct PolicyTable {
    trust: Option<TrustSettings>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Verified {
    digest: Digest,
    signed_by: Vec<String>,
}

pub(crate) async fn run(args: Args, format: Format) -> Result<(), CliError> {
    let settings = match &args.trust {
        Some(file) => configured(file)?,
        None => given(&args.keys, args.minimum),
    };
    let trust = Trust::new(&settings)?;
    let module = Module::read(args.what, args.remote).await?;
    let digest = Digest::of(&module.component);
    let signers = trust.judge(&digest, &module.signatures);
    let signed_by: Vec<String> =
        signers.map_err(Box::new)?.into_iter().map(str::to_owned).collect();
    let verified = Verified { digest, signed_by };
    if format == Format::Name {
        return print(&format!("{}\n", verified.digest));
    }
    if print_document(format, &verified)? {
        return Ok(());
    }
    print(&format!("{} is signed by {}\n", verified.digest, verified.signed_by.join(", ")))
}

/// The files are the names of their keys.
fn given(keys: &[PathBuf], minimum: Option<usize>) -> TrustSettings {
    let names: Vec<String> = keys.iter().map(|path| path.display().to_string()).collect();
    let (all_of, any_of) = match minimum {
        None => (names.clone(), None),
        Some(minimum) => (Vec::new(), Some(AnyOf { minimum, keys: names.clone() })),
    };
    let keys: BTreeMap<String, String> =
        names.into_iter().map(|name| (name.clone(), name)).collect();
    TrustSettings { keys, all_of, any_of, exempt_bundled: false }
}

fn configured(file: &Path) -> Result<TrustSettings, CliError> {
    let shown = || file.display().to_string();
    let text = fs::read_to_string(file).map_err(|source| CliError::File {
        act: "reading",
        path: shown(),
        source,
    })?;
    let read: Configuration = toml::from_str(&text)
        .map_err(|error| CliError::Manifest { place: shown(), why: error.to_string() })?;
    read.policy.and_then(|policy| policy.trust).ok_or_else(|| CliError::NotDone {
        what: format!("{} has no [policy.trust]: its daemon admits every module", shown()),
    })
}
