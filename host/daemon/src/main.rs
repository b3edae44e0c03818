//! `tenured`: the daemon. It reads its configuration, wires the parts and runs until it is told to stop.
//!
//! What it is not: it decides nothing. Order of start: store (a second daemon ends here, I13), witness, policies,
//! engine, sockets; order of stop: the reverse (`run.rs`).

mod args;
mod clock;
mod cluster;
mod config;
mod high_water;
mod identity;
mod install;
mod log;
mod manifests;
mod metrics;
mod policies;
mod run;
mod spool;
mod wiring;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match run::run(args::Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tenured: {error:#}");
            ExitCode::FAILURE
        }
    }
}
