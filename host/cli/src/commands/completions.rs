//! `tenure completions`: what a shell needs to complete the command line.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::args::Cli;
use crate::error::CliError;
use crate::output::{OneForm, print};

/// Print the completion script of a shell
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  tenure completions bash > /etc/bash_completion.d/tenure\n  tenure completions fish > ~/.config/fish/completions/tenure.fish"
)]
pub(crate) struct Args {
    /// Which shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
    #[command(flatten)]
    _one_form: OneForm,
}

pub(crate) fn run(args: Args) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tenure", &mut script);
    print(&String::from_utf8_lossy(&script))
}
