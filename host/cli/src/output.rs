//! The formats of `-o`.

use std::io::Write as _;

use clap::ValueEnum;
use serde::Serialize;

use crate::error::CliError;

/// How answers are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Wide,
    Json,
    Yaml,
    Name,
}

/// Takes `-o` out of the help of a command whose output has one form; who types it nevertheless is refused by
/// [`refuse_format`].
#[derive(Debug, clap::Args)]
pub(crate) struct OneForm {
    #[arg(id = "output", short, long, value_enum, hide = true)]
    _output: Option<Format>,
}

/// Writes to standard output as it is.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// For commands that speak only one way.
pub(crate) fn refuse_format(command: &str, format: Format) -> Result<(), CliError> {
    if format == Format::Table {
        return Ok(());
    }
    Err(CliError::Usage { why: format!("`{command}` takes no -o; see `tenure {command} --help`") })
}

/// JSON or YAML where the format asks for it; false where it asks for something else.
pub(crate) fn print_document(format: Format, value: &impl Serialize) -> Result<bool, CliError> {
    match format {
        Format::Json => {
            let text = serde_json::to_string_pretty(value).map_err(|e| unwritable(&e))?;
            print(&format!("{text}\n"))?;
        }
        Format::Yaml => {
            let text = serde_saphyr::to_string(value).map_err(|e| unwritable(&e))?;
            print(&format!("{}\n", text.trim_end()))?;
        }
        Format::Table | Format::Wide | Format::Name => return Ok(false),
    }
    Ok(true)
}

fn unwritable(error: &dyn std::fmt::Display) -> CliError {
    CliError::NotDone { what: format!("the answer cannot be written in this format: {error}") }
}
