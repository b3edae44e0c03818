//! `tenured`: the daemon. It reads its configuration, wires the parts and runs until it is told to stop.
//!
//! What it is not: it decides nothing. Order of start: store (a second daemon ends here, I13), witness, policies,
//! engine, sockets; order of stop: the reverse (`run.rs`).

mod args;
mod cgroup;
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
    let args = args::Args::parse();
    // Before anything is opened or started: it gives up all that it has.
    if let Some(args::Role::CompilePolicy { order }) = &args.role {
        return tenure_policy_host::compile_for_parent(order);
    }
    match run::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tenured: {error:#}");
            ExitCode::FAILURE
        }
    }
}
