//! `tenure policy load`: a module out of a tarball.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tenure_core::name::OciRef;

use super::module::Module;
use super::remote::{Remote, reference};
use crate::error::CliError;
use crate::output::Format;
use crate::progress::with_progress;

/// Load a module from a tarball of `save` (or any OCI image layout with one policy) into a file or a registry
#[derive(Debug, clap::Args)]
#[command(
    group(clap::ArgGroup::new("where").required(true)),
    after_help = "EXAMPLES:\n  tenure policy load grace.tar -f grace.wasm\n  tenure policy load grace.tar --to registry.site.example/policies/grace:1.2.0\n\nIts signatures go with it, into FILE.sig or into the registry; manifest and digests stay what they were."
)]
pub(crate) struct Args {
    /// The tarball
    #[arg(value_name = "TAR")]
    from: PathBuf,
    /// File to write
    #[arg(short, long = "filename", value_name = "FILE", group = "where")]
    filename: Option<PathBuf>,
    /// Registry to push to
    #[arg(long, value_name = "REF", value_parser = reference, group = "where")]
    to: Option<OciRef>,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn run(args: Args, format: Format) -> Result<(), CliError> {
    let module = Module::read_file(&args.from)?;
    if let Some(path) = args.filename {
        module.write(&path)?;
        return module.said("loaded", path.display().to_string()).print(format);
    }
    let Some(to) = args.to else {
        return Err(CliError::Usage { why: "give -f FILE or --to REF".to_owned() });
    };
    let mut said = module.said("loaded", to.to_string());
    let place = args.from.display().to_string();
    let (artifact, signatures) = module.into_artifact(&place, None, BTreeMap::new())?;
    let registry = args.remote.registry()?;
    let pushed = Box::pin(registry.push(&to, &artifact, &signatures));
    let pushed = with_progress(&format!("pushing to {to}"), pushed).await;
    said.manifest = Some(pushed?);
    said.print(format)
}
