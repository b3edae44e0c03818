//! `tenure import`: a store from an export.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};

use http_body_util::BodyExt as _;
use hyper::Method;

use crate::client::Client;
use crate::error::CliError;
use crate::output::{OneForm, print};
use crate::wire::ImportAnswer;

/// Load an export into the daemon's store, all or nothing
///
/// The store must be empty unless --replace is given. It begins a new epoch: what it holds went back in time. The
/// history becomes that of the export; of the time between export and import nothing is known.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  tenure import -f tenure.jsonl\n  tenure import -f tenure.jsonl --replace --yes"
)]
pub(crate) struct Args {
    /// The export, or `-` for standard input
    #[arg(short, long = "filename", value_name = "FILE")]
    filename: PathBuf,
    /// Throw away what the store holds
    #[arg(long)]
    replace: bool,
    /// Do not ask before replacing
    #[arg(long, requires = "replace")]
    yes: bool,
    #[command(flatten)]
    _one_form: OneForm,
}

pub(crate) async fn run(client: &Client, args: Args) -> Result<(), CliError> {
    let body = read(&args.filename).map_err(|source| CliError::File {
        act: "reading",
        path: args.filename.display().to_string(),
        source,
    })?;
    if args.replace && !args.yes {
        confirm(args.filename == Path::new("-"))?;
    }
    let replace = if args.replace { "true" } else { "false" };
    let query = [("replace", replace)];
    // No patience here: a large import takes its time, and the daemon bounds it.
    let response = client.open(Method::POST, "/v1/import", &query, body).await;
    let response = response.map_err(CliError::or_replace)?;
    let unreadable = |why: String| CliError::BadAnswer { request: "POST /v1/import".into(), why };
    let bytes = response.into_body().collect().await.map_err(|e| unreadable(e.to_string()))?;
    let answer: ImportAnswer =
        serde_json::from_slice(&bytes.to_bytes()).map_err(|e| unreadable(e.to_string()))?;
    print(&format!(
        "imported {} objects, {} leases and {} entries of the history (epoch {})\n",
        answer.objects, answer.leases, answer.events, answer.epoch
    ))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    if path != Path::new("-") {
        return std::fs::read(path);
    }
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn confirm(stdin_is_taken: bool) -> Result<(), CliError> {
    let stdin = io::stdin();
    if stdin_is_taken || !stdin.is_terminal() {
        let why = "--replace throws away what the store holds; say --yes as well".to_owned();
        return Err(CliError::Usage { why });
    }
    eprint!("This throws away all objects and leases of the store. Go on? [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(CliError::NotDone { what: "nothing was imported".to_owned() })
}
