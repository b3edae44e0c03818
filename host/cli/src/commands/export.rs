//! `tenure export`: the whole store as JSON lines.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use http_body_util::BodyExt as _;
use hyper::Method;

use crate::client::Client;
use crate::error::CliError;
use crate::output::OneForm;

/// The last line of a whole export begins so.
const LAST_LINE: &[u8] = b"{\"kind\":\"TenureExportEnd\"";

/// Write all objects, leases and their history as JSON lines, to keep or to import elsewhere
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  tenure export -f tenure.jsonl\n  tenure export -f tenure.jsonl --without-history\n  tenure export | zstd > tenure.jsonl.zst"
)]
pub(crate) struct Args {
    /// File to write; it appears whole or not at all. Standard output by default
    #[arg(short, long = "filename", value_name = "FILE")]
    filename: Option<PathBuf>,
    /// Leave out who held what when: an older version can import it then
    #[arg(long)]
    without_history: bool,
    #[command(flatten)]
    _one_form: OneForm,
}

pub(crate) async fn run(client: &Client, args: Args) -> Result<(), CliError> {
    let history = if args.without_history { "false" } else { "true" };
    let Some(path) = args.filename.filter(|path| path != Path::new("-")) else {
        return copy(client, history, &mut io::stdout().lock()).await;
    };
    let failed = |act| {
        let path = path.display().to_string();
        move |source| CliError::File { act, path: path.clone(), source }
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let partial = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let mut file = private(&partial).map_err(failed("creating"))?;
    let copied = match copy(client, history, &mut file).await {
        Ok(()) => file.sync_all().and_then(|()| std::fs::rename(&partial, &path)),
        Err(error) => {
            let _ = std::fs::remove_file(&partial);
            return Err(error);
        }
    };
    copied.map_err(failed("writing"))?;
    eprintln!("exported to {}", path.display());
    Ok(())
}

/// An export names every workload of the machine.
fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

async fn copy(client: &Client, history: &str, out: &mut dyn Write) -> Result<(), CliError> {
    let query = [("history", history)];
    let response = client.open(Method::GET, "/v1/export", &query, Vec::new()).await?;
    let mut body = response.into_body();
    let mut last_line = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(&error.to_string()))?;
        let Some(piece) = frame.data_ref() else { continue };
        out.write_all(piece)?;
        keep_last_line(&mut last_line, piece);
    }
    out.flush()?;
    if !last_line.starts_with(LAST_LINE) {
        return Err(broken("its last line is missing"));
    }
    Ok(())
}

/// What follows the last line end but one.
fn keep_last_line(kept: &mut Vec<u8>, piece: &[u8]) {
    kept.extend_from_slice(piece);
    let end = kept.len().saturating_sub(1);
    let before = kept.get(..end).unwrap_or_default();
    if let Some(line_end) = before.iter().rposition(|byte| *byte == b'\n') {
        kept.drain(..=line_end);
    }
}

fn broken(why: &str) -> CliError {
    CliError::NotDone { what: format!("the export broke off ({why}); try again") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_found_however_the_text_is_cut() {
        let text = b"one\ntwo\nthree\n";
        for size in 1..=text.len() {
            let mut kept = Vec::new();
            text.chunks(size).for_each(|piece| keep_last_line(&mut kept, piece));
            assert_eq!(kept, b"three\n", "in pieces of {size}");
        }
    }
}
