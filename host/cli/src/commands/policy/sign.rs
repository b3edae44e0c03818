//! `tenure policy sign`: vouch for a module.

use std::path::PathBuf;

use tenure_core::name::Digest;
use tenure_trust::{SecretKey, Signatures, signature_file};

use super::module::{Module, Place, write_signatures};
use super::remote::Remote;
use crate::error::CliError;
use crate::output::Format;
use crate::progress::with_progress;

/// Sign a module with an ed25519 key: into FILE.sig, or as a referrer in the registry
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  tenure policy sign grace.wasm --key release.key\n  tenure policy sign registry.example.com/policies/grace@sha256:4f1c... --key release.key\n\nSigned is the digest of the component, in a DSSE envelope around an in-toto statement. Other signatures\nstay. There is no certificate, no log and no time in it; cosign's own formats are not read or written."
)]
pub(crate) struct Args {
    /// A file, or a reference in a registry; name a digest to be sure of what is signed
    #[arg(value_name = "FILE|REF", value_parser = Place::parse)]
    what: Place,
    /// The private key, of `tenure policy keygen` or OpenSSL
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn run(args: Args, format: Format) -> Result<(), CliError> {
    let key = SecretKey::read(&args.key)?;
    match args.what {
        Place::File(path) => {
            let mut module = Module::read_file(&path)?;
            if module.artifact.is_some() {
                let what = format!(
                    "{} is a tarball; sign the file before `save`, or load it first",
                    path.display()
                );
                return Err(CliError::NotDone { what });
            }
            module.signatures.sign(&Digest::of(&module.component), &key)?;
            write_signatures(&signature_file(&path), &module.signatures)?;
            module.said("signed", path.display().to_string()).print(format)
        }
        Place::Registry(reference) => {
            let registry = args.remote.registry()?;
            let pulled = Box::pin(registry.pull(&reference));
            let pulled = with_progress(&format!("pulling {reference}"), pulled).await?;
            let mut mine = Signatures::default();
            mine.sign(&pulled.artifact.digest(), &key)?;
            let added = Box::pin(registry.add_signatures(&reference, &pulled.artifact, &mine));
            with_progress(&format!("signing {reference}"), added).await?;
            let module = Module {
                name: None,
                component: pulled.artifact.component.clone(),
                artifact: Some(pulled.artifact),
                signatures: mine,
            };
            module.said("signed", reference.to_string()).print(format)
        }
    }
}
