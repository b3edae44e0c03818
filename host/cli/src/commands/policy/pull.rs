//! `tenure policy pull`: a module out of a registry.

use std::path::PathBuf;

use tenure_core::name::OciRef;

use super::module::Module;
use super::remote::{Remote, reference};
use crate::error::CliError;
use crate::output::Format;

/// Pull a module from an OCI registry into a file, and its signatures into FILE.sig
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  tenure policy pull registry.example.com/policies/grace:1.2.0\n  tenure policy pull registry.example.com/policies/grace@sha256:4f1c... -f grace.wasm\n\nDigests are checked; signatures are written and not verified: `tenure policy verify` does that."
)]
pub(crate) struct Args {
    /// HOST[:PORT]/REPOSITORY with :TAG, @DIGEST of the manifest, or both
    #[arg(value_name = "REF", value_parser = reference)]
    from: OciRef,
    /// File to write; the last part of the repository and `.wasm` by default
    #[arg(short, long = "filename", value_name = "FILE")]
    filename: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn run(args: Args, format: Format) -> Result<(), CliError> {
    let module = Module::pull(&args.from, args.remote).await?;
    let path = args.filename.unwrap_or_else(|| default_file(&args.from));
    module.write(&path)?;
    module.said("pulled", path.display().to_string()).print(format)
}

/// `r.example/policies/grace:1.2.0` becomes `grace.wasm`.
fn default_file(reference: &OciRef) -> PathBuf {
    let text = reference.as_str();
    let named = text.split_once('@').map_or(text, |(named, _)| named);
    let last = named.rsplit('/').next().unwrap_or(named);
    let name = last.split(':').next().unwrap_or(last);
    PathBuf::from(format!("{name}.wasm"))
}
