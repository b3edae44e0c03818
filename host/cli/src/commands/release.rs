//! `tenure release`: an address taken back by hand.

use hyper::Method;
use tenure_core::name::SpaceName;
use tenure_engine::LeaseView;

use crate::client::Client;
use crate::error::CliError;
use crate::lease_name::LeaseName;
use crate::output::{Format, print, print_document};
use crate::wire::ReleaseBody;

/// Take an address back by hand
///
/// The generation is that of `tenure describe lease ADDRESS`: if another holder came since, nothing is
/// released. A holder that is proved gone is released as by a DEL. Of any other one the address goes to quarantine,
/// with your uid and the reason: nobody gets it before that holder is proved gone, or you release it once more. While
/// the kernel sees the holder alive both need --even-if-live.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  tenure release 10.6.1.7 --generation 3 --reason 'node rebuilt'\n  tenure release 10.6.1.7 --generation 3 --even-if-live"
)]
pub(crate) struct Args {
    /// The address, or SPACE--ADDRESS
    #[arg(value_name = "ADDRESS")]
    lease: LeaseName,
    /// The generation that you looked at
    #[arg(long, value_name = "N")]
    generation: u64,
    /// The routing domain, unless the address names it
    #[arg(long, value_name = "SPACE")]
    space: Option<SpaceName>,
    /// Do it although the kernel sees the holder alive
    #[arg(long)]
    even_if_live: bool,
    /// Why, for the record, in at most 512 bytes
    #[arg(long, default_value = "", value_name = "TEXT")]
    reason: String,
}

pub(crate) async fn run(client: &Client, args: Args, format: Format) -> Result<(), CliError> {
    let lease = args.lease.in_space(args.space)?;
    let body = ReleaseBody {
        generation: args.generation,
        even_if_live: args.even_if_live,
        reason: &args.reason,
    };
    let body =
        serde_json::to_vec(&body).map_err(|error| CliError::NotDone { what: error.to_string() })?;
    let path = format!("{}/release", lease.path());
    let view: LeaseView = client.call(Method::POST, &path, &lease.query(), body).await?;
    if print_document(format, &view)? {
        return Ok(());
    }
    if format == Format::Name {
        return print(&format!("iplease/{}\n", view.lease.key()));
    }
    let (key, generation) = (view.lease.key(), view.lease.generation.0);
    let next = match view.view.as_str() {
        "quarantined" => format!(
            "quarantined until its holder is proved gone; `tenure release {key} --generation {generation} --even-if-live` lets it go now"
        ),
        other => other.to_owned(),
    };
    print(&format!("iplease/{key} {next}\n"))
}
