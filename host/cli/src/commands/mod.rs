//! One file per command.

pub(crate) mod apply;
pub(crate) mod completions;
pub(crate) mod delete;
pub(crate) mod describe;
pub(crate) mod dial_stdio;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod get;
pub(crate) mod history;
pub(crate) mod import;
pub(crate) mod node;
pub(crate) mod policy;
pub(crate) mod reclaim;
pub(crate) mod release;
mod status;
mod text;
pub(crate) mod version;

use clap::ArgMatches;

use crate::args::{Cli, Command};
use crate::client::Client;
use crate::error::CliError;
use crate::output::{Format, refuse_format};
use crate::reach::Place;

pub(crate) async fn run(cli: Cli, matches: &ArgMatches) -> Result<(), CliError> {
    let format = cli.output;
    match cli.command {
        Command::Completions(args) => {
            refuse_format("completions", format)?;
            completions::run(args)
        }
        Command::DialStdio(_) => match cli.reach.place(matches)? {
            Place::Socket(socket) => dial_stdio::run(&socket),
            Place::Cluster(_) => {
                let why = "`dial-stdio` is the other end of --cluster: it speaks to a socket only";
                Err(CliError::Usage { why: why.to_owned() })
            }
        },
        Command::Policy(args) if args.is_local() => policy::run(args, format).await,
        command => {
            let client = Client::of(cli.reach.place(matches)?).await?;
            let done = ask(&client, command, format).await;
            client.close().await;
            done
        }
    }
}

/// The commands that ask the daemon.
async fn ask(client: &Client, command: Command, format: Format) -> Result<(), CliError> {
    match command {
        Command::Get(args) => get::run(client, args, format).await,
        Command::Describe(args) => describe::run(client, args, format).await,
        Command::Apply(args) => apply::run(client, args, format).await,
        Command::Delete(args) => delete::run(client, args, format).await,
        Command::History(args) => history::run(client, args, format).await,
        Command::Release(args) => release::run(client, args, format).await,
        Command::Reclaim(args) => reclaim::run(client, args, format).await,
        Command::Explain(args) => explain::run(client, args, format).await,
        Command::Status => status::run(client, format).await,
        Command::Export(args) => {
            refuse_format("export", format)?;
            export::run(client, args).await
        }
        Command::Import(args) => {
            refuse_format("import", format)?;
            import::run(client, args).await
        }
        Command::Node(args) => node::run(client, args, format).await,
        Command::Policy(args) => policy::ask(client, args, format).await,
        Command::Version(args) => version::run(client, args, format).await,
        // They ask nobody.
        Command::Completions(_) | Command::DialStdio(_) => Ok(()),
    }
}
