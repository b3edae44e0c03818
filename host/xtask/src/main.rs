//! Tasks of the repository: `cargo xtask TASK`. One module per task.

mod policies;

use clap::{Parser, Subcommand};

/// Tasks of the repository.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Builds the shipped policies and the test guests as Wasm components into `target/policies`.
    Policies,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().task {
        Task::Policies => policies::run(),
    }
}
