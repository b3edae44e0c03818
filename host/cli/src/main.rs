//! `tenure`: the operator's command line. It speaks to the admin socket of `tenured` and shows what it hears.
//!
//! What it is not: it decides nothing and keeps nothing. Objects are checked by the daemon; only their text is
//! read here, so that an error can name file, document and line.
//!
//! ```text
//! args.rs -> commands/*.rs -> client.rs (HTTP over the unix socket) -> wire.rs (shapes) -> output.rs, table.rs
//! ```
//!
//! Exit codes are a promise (`error.rs`): 0 done, 1 failed, 2 usage, 3 not found, 4 refused by a rule, 5 daemon
//! unreachable. What was asked for goes to standard output, everything else to standard error.

mod age;
mod ago;
mod args;
mod client;
mod commands;
mod documents;
mod error;
mod kinds;
mod lease_name;
mod lines;
mod manifest;
mod output;
mod progress;
mod shown;
mod table;
mod wire;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::Cli;
use crate::error::CliError;

fn main() -> ExitCode {
    match run(Cli::parse()) {
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

fn run(cli: Cli) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error| CliError::NotDone { what: format!("starting the runtime: {error}") })?;
    runtime.block_on(commands::run(cli))
}
