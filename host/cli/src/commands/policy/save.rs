//! `tenure policy save`: a module into one file, for a site that reaches no registry.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tenure_oci::Bundle;

use super::module::{Module, Place, write_whole};
use super::remote::Remote;
use crate::error::CliError;
use crate::output::Format;

/// Save a module and its signatures as a tarball (OCI image layout), for a site without a registry
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  tenure policy save registry.example.com/policies/grace:1.2.0 -f grace.tar\n  tenure policy save grace.wasm -f grace.tar\n\nThere: `tenure policy load grace.tar --to registry.example.com/policies/grace:1.2.0`."
)]
pub(crate) struct Args {
    /// A reference in a registry, or a file
    #[arg(value_name = "REF|FILE", value_parser = Place::parse)]
    from: Place,
    /// File to write
    #[arg(short, long = "filename", value_name = "TAR")]
    filename: PathBuf,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn run(args: Args, format: Format) -> Result<(), CliError> {
    let place = match &args.from {
        Place::File(path) => path.display().to_string(),
        Place::Registry(reference) => reference.to_string(),
    };
    let module = Module::read(args.from, args.remote).await?;
    let to = args.filename.display().to_string();
    let mut said = module.said("saved", to.clone());
    let name = module.name.clone();
    let (artifact, signatures) = module.into_artifact(&place, None, BTreeMap::new())?;
    said.manifest = Some(artifact.manifest_digest());
    let mut bytes = Vec::new();
    Bundle { artifact, signatures, name }.write(&to, &mut bytes)?;
    write_whole(&args.filename, &bytes)?;
    said.print(format)
}
