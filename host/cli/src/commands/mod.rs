//! One file per command.

pub(crate) mod apply;
pub(crate) mod completions;
pub(crate) mod delete;
pub(crate) mod describe;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod get;
pub(crate) mod history;
pub(crate) mod import;
pub(crate) mod reclaim;
pub(crate) mod release;
mod status;
mod text;
pub(crate) mod version;

use crate::args::{Cli, Command};
use crate::client::Client;
use crate::error::CliError;
use crate::output::refuse_format;

pub(crate) async fn run(cli: Cli) -> Result<(), CliError> {
    let client = Client::new(cli.socket);
    let format = cli.output;
    match cli.command {
        Command::Get(args) => get::run(&client, args, format).await,
        Command::Describe(args) => describe::run(&client, args, format).await,
        Command::Apply(args) => apply::run(&client, args, format).await,
        Command::Delete(args) => delete::run(&client, args, format).await,
        Command::History(args) => history::run(&client, args, format).await,
        Command::Release(args) => release::run(&client, args, format).await,
        Command::Reclaim(args) => reclaim::run(&client, args, format).await,
        Command::Explain(args) => explain::run(&client, args, format).await,
        Command::Status => status::run(&client, format).await,
        Command::Export(args) => {
            refuse_format("export", format)?;
            export::run(&client, args).await
        }
        Command::Import(args) => {
            refuse_format("import", format)?;
            import::run(&client, args).await
        }
        Command::Completions(args) => {
            refuse_format("completions", format)?;
            completions::run(args)
        }
        Command::Version(args) => version::run(&client, args, format).await,
    }
}
