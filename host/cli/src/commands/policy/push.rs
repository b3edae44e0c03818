//! `tenure policy push`: a module into a registry.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tenure_core::name::OciRef;

use super::module::Module;
use super::remote::{Remote, reference};
use crate::error::CliError;
use crate::output::Format;
use crate::progress::with_progress;

/// Push a module to an OCI registry, with the signatures that lie beside it (FILE.sig)
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  tenure policy push grace.wasm registry.example.com/policies/grace:1.2.0\n  tenure policy push grace.wasm 127.0.0.1:5000/grace:dev -o json\n  echo $TOKEN | tenure policy push grace.wasm r.example/grace:1.2.0 --username ci --password-stdin\n\nThe artifact has the CNCF Wasm layout: one config, one layer. SOURCE_DATE_EPOCH makes it repeatable."
)]
pub(crate) struct Args {
    /// The component
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// HOST[:PORT]/REPOSITORY:TAG
    #[arg(value_name = "REF", value_parser = reference)]
    to: OciRef,
    /// Who made it
    #[arg(long, value_name = "NAME")]
    author: Option<String>,
    /// An annotation of the manifest; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = annotation)]
    annotation: Vec<(String, String)>,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn run(args: Args, format: Format) -> Result<(), CliError> {
    let module = Module::read_file(&args.file)?;
    let mut said = module.said("pushed", args.to.to_string());
    let annotations: BTreeMap<String, String> = args.annotation.into_iter().collect();
    let place = args.file.display().to_string();
    let (artifact, signatures) = module.into_artifact(&place, args.author, annotations)?;
    let registry = args.remote.registry()?;
    let pushed = Box::pin(registry.push(&args.to, &artifact, &signatures));
    let manifest = with_progress(&format!("pushing to {}", args.to), pushed).await?;
    said.manifest = Some(manifest);
    said.print(format)
}

fn annotation(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it must be KEY=VALUE")?;
    if key.is_empty() {
        return Err("its key is empty".to_owned());
    }
    Ok((key.to_owned(), value.to_owned()))
}
