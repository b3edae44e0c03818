//! `tenure policy`: what authors of policies do, and those who ship them. One file a command; what they do is in
//! `tenure-author`, `tenure-oci` and `tenure-trust`.

mod bench;
mod build;
mod check;
mod component;
mod diff;
mod explain;
mod inspect;
mod keygen;
mod load;
mod module;
mod new;
mod page;
mod pull;
mod push;
mod record;
mod remote;
mod replay;
mod save;
mod shadow;
mod sign;
mod test;
mod verify;

use clap::Subcommand;

use crate::client::Client;
use crate::error::CliError;
use crate::output::Format;

/// Write, test, measure, sign and ship policies, and look into them
///
/// All but `record` and `shadow` work without a daemon, and without a network but what cargo needs to build and a registry that is named.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  tenure policy new spread --hooks select\n  cd spread && tenure policy build && tenure policy test\n  tenure policy check target/spread.wasm\n  tenure policy bench target/spread.wasm\n  tenure policy record ring.json && tenure policy replay ring.json --module pool-order=target/spread.wasm\n  tenure policy shadow spread-next\n  tenure policy sign target/spread.wasm --key release.key\n  tenure policy push target/spread.wasm registry.example.com/policies/spread:1.0.0\n\nThe guide is sdk/README.md in the sources."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    New(new::Args),
    Build(build::Args),
    Check(check::Args),
    Inspect(inspect::Args),
    Test(test::Args),
    Bench(bench::Args),
    Explain(explain::Args),
    Diff(diff::Args),
    Record(record::Args),
    Replay(replay::Args),
    Shadow(shadow::Args),
    Keygen(keygen::Args),
    Sign(sign::Args),
    Verify(verify::Args),
    Push(push::Args),
    Pull(pull::Args),
    Save(save::Args),
    Load(load::Args),
}

// === impl Args ===

impl Args {
    /// Whether it asks no daemon.
    pub(crate) fn is_local(&self) -> bool {
        !matches!(self.act, Act::Record(_) | Act::Shadow(_))
    }
}

/// Those that ask nobody.
pub(crate) async fn run(args: Args, format: Format) -> Result<(), CliError> {
    match args.act {
        Act::New(args) => new::run(args, format),
        Act::Build(args) => build::run(args, format),
        Act::Check(args) => check::run(args, format),
        Act::Inspect(args) => inspect::run(args, format),
        Act::Test(args) => test::run(args, format),
        Act::Bench(args) => bench::run(args, format),
        Act::Explain(args) => explain::run(args, format),
        Act::Diff(args) => diff::run(args, format),
        Act::Replay(args) => replay::run(args, format),
        Act::Keygen(args) => keygen::run(&args, format),
        Act::Sign(args) => sign::run(args, format).await,
        Act::Verify(args) => verify::run(args, format).await,
        Act::Push(args) => push::run(args, format).await,
        Act::Pull(args) => pull::run(args, format).await,
        Act::Save(args) => save::run(args, format).await,
        Act::Load(args) => load::run(args, format).await,
        Act::Record(_) | Act::Shadow(_) => Ok(()),
    }
}

/// Those that ask a daemon.
pub(crate) async fn ask(client: &Client, args: Args, format: Format) -> Result<(), CliError> {
    match args.act {
        Act::Record(args) => record::run(client, args, format).await,
        Act::Shadow(args) => shadow::run(client, args, format).await,
        _ => Ok(()),
    }
}
