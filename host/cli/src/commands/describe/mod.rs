//! `tenure describe`: one object with everything that explains it.

pub(super) mod lease;
pub(super) mod policy;
mod pool;
mod reservation;

use super::get;
use crate::client::Client;
use crate::error::CliError;
use crate::kinds::Thing;
use crate::lease_name::LeaseName;
use crate::output::{Format, print};

/// Explain one pool, lease, policy or reservation
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  tenure describe pool blue-v4\n  tenure describe lease 10.6.1.7\n  tenure describe lease blue--10.6.1.7\n  tenure describe policy grace"
)]
pub(crate) struct Args {
    /// pool, lease, policy or reservation
    #[arg(value_name = "KIND")]
    kind: Thing,
    /// Its name, or the address (SPACE--ADDRESS outside the default space) of a lease
    #[arg(value_name = "NAME")]
    name: String,
}

pub(crate) async fn run(client: &Client, args: Args, format: Format) -> Result<(), CliError> {
    // For programs the object itself is the description.
    if matches!(format, Format::Json | Format::Yaml | Format::Name) {
        return get::one(client, args.kind, args.name, format).await;
    }
    let usage = |why: String| CliError::Usage { why };
    let name = &args.name;
    let text = match args.kind {
        Thing::Lease => {
            let lease: LeaseName = name.parse().map_err(usage)?;
            lease::describe(client, &lease).await
        }
        Thing::Decision => {
            let why = "see `tenure get decision NUMBER -o yaml`".to_owned();
            return Err(CliError::Usage { why });
        }
        Thing::Node => {
            let why = "see `tenure get node NAME -o yaml`".to_owned();
            return Err(CliError::Usage { why });
        }
        kind => {
            let name =
                tenure_core::name::ObjectName::new(name).map_err(|e| usage(e.to_string()))?;
            match kind {
                Thing::Pool => pool::describe(client, &name).await,
                Thing::Reservation => reservation::describe(client, &name).await,
                _ => policy::describe(client, &name).await,
            }
        }
    };
    print(&text.map_err(|error| error.or_see(args.kind))?)
}
