//! `tenure`: the operator's command line. It speaks to the admin socket of `tenured` and shows what it hears.
//!
//! What it is not: it decides nothing and keeps nothing. Objects are checked by the daemon; only their text is
//! read here, so that an error can name file, document and line.
//!
//! ```text
//! args.rs, reach.rs -> commands/*.rs -> client.rs (HTTP over the unix socket, or through cluster/) -> wire.rs (shapes) -> output.rs, table.rs
//! ```
//!
//! Exit codes are a promise (`error.rs`): 0 done, 1 failed, 2 usage, 3 not found, 4 refused by a rule, 5 daemon
//! unreachable. What was asked for goes to standard output, everything else to standard error.

mod age;
mod ago;
mod args;
mod client;
mod cluster;
mod commands;
mod documents;
mod error;
mod kinds;
mod lease_name;
mod lines;
mod manifest;
mod output;
mod progress;
mod reach;
mod shown;
mod table;
mod wire;
mod wire_nodes;

use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

use crate::args::Cli;
use crate::error::CliError;

fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match run(cli, &matches) {
        Ok(()) => ExitCode::SUCCESS,
        // `tenure get leases | head`: the reader has seen enough.
        Err(CliError::Output { source }) if source.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            error.exit_code()
        }
    }
}

fn run(cli: Cli, matches: &ArgMatches) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error| CliError::NotDone { what: format!("starting the runtime: {error}") })?;
    runtime.block_on(commands::run(cli, matches))
}
