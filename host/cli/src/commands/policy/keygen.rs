//! `tenure policy keygen`: a pair of keys.

use std::path::PathBuf;

use serde::Serialize;
use tenure_trust::SecretKey;

use super::module::write_whole;
use crate::error::CliError;
use crate::output::{Format, print, print_document};

/// Make an ed25519 key pair: NAME.key signs (mode 0600), NAME.pub is what daemons trust
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  tenure policy keygen release\n\nBoth are PEM (PKCS #8, SPKI), as `openssl genpkey -algorithm ed25519` makes them. The private key has no\npassphrase: keep it where only the signer can read it."
)]
pub(crate) struct Args {
    /// Name of the files, without extension; neither may exist
    #[arg(value_name = "NAME")]
    name: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    id: String,
    private_key: PathBuf,
    public_key: PathBuf,
}

pub(crate) fn run(args: &Args, format: Format) -> Result<(), CliError> {
    let private_key = PathBuf::from(format!("{}.key", args.name));
    let public_key = PathBuf::from(format!("{}.pub", args.name));
    if public_key.exists() {
        let what = format!("{} exists already; take another name", public_key.display());
        return Err(CliError::NotDone { what });
    }
    let key = SecretKey::generate()?;
    key.write(&private_key)?;
    write_whole(&public_key, key.public().to_pem()?.as_bytes())?;
    let made = Made { id: key.public().id().to_string(), private_key, public_key };
    if format == Format::Name {
        return print(&format!("{}\n", made.id));
    }
    if print_document(format, &made)? {
        return Ok(());
    }
    print(&format!(
        "made {} (private) and {} (public)\n  key id  {}\n",
        made.private_key.display(),
        made.public_key.display(),
        made.id
    ))
}
