//! `tenure delete`: objects by name or by file. A pool in use goes when its holders have left.

use std::path::PathBuf;
use std::time::Duration;

use hyper::Method;
use tenure_core::name::ObjectName;
use tenure_core::objects::Span;
use tenure_engine::Deleted;
use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::error::CliError;
use crate::kinds::Thing;
use crate::manifest;
use crate::output::print;
use crate::wire::Pool;

/// How often a waiting pool is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Delete pools, reservations and policies
///
/// A pool whose addresses are still held gives nothing any more at once, and goes when the last of them leaves.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  tenure delete pool blue-v4\n  tenure delete pool blue-v4 --wait --timeout 10m\n  tenure delete -f pools.yaml"
)]
pub(crate) struct Args {
    /// pool, reservation or policy
    #[arg(
        required_unless_present = "filenames",
        conflicts_with = "filenames",
        value_name = "KIND"
    )]
    kind: Option<Thing>,
    /// Its name
    #[arg(required_unless_present = "filenames", value_name = "NAME")]
    name: Option<ObjectName>,
    /// Delete what the file, folder or `-` names
    #[arg(short, long = "filename", value_name = "FILE")]
    filenames: Vec<PathBuf>,
    /// Wait until pools in use are gone
    #[arg(long)]
    wait: bool,
    /// How long to wait at most, e.g. 90s or 10m
    #[arg(long, default_value = "5m", requires = "wait", value_name = "TIME")]
    timeout: Span,
}

pub(crate) async fn run(client: &Client, args: Args) -> Result<(), CliError> {
    let named = match (args.kind, args.name) {
        (Some(kind), Some(name)) => vec![(kind, name)],
        _ => {
            let of = |manifest: manifest::Manifest| {
                (Thing::of(manifest.object.kind()), manifest.object.name().clone())
            };
            manifest::read_all(&args.filenames)?.into_iter().map(of).collect()
        }
    };
    if named.iter().any(|(kind, _)| matches!(kind, Thing::Lease | Thing::Decision)) {
        let why = "leases and decisions are not deleted; see `tenure release --help`".to_owned();
        return Err(CliError::Usage { why });
    }
    let mut waiting = Vec::new();
    let mut missing = None;
    for (kind, name) in named {
        match delete(client, kind, &name).await {
            Ok(Deleted::Done) => print(&format!("{}/{name} deleted\n", kind.singular()))?,
            Ok(Deleted::Waiting { held }) => {
                print(&waits(&name, held))?;
                waiting.push(name);
            }
            // What is not there is deleted; the others still have to go.
            Err(error) if error.is_not_found() => missing = missing.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    if args.wait {
        let until = Instant::now().checked_add(args.timeout.0);
        for name in waiting {
            gone(client, &name, until).await?;
            print(&format!("ippool/{name} deleted\n"))?;
        }
    }
    missing.map_or(Ok(()), Err)
}

async fn delete(client: &Client, kind: Thing, name: &ObjectName) -> Result<Deleted, CliError> {
    let path = format!("/v1/{}/{name}", kind.folder());
    let deleted = client.call(Method::DELETE, &path, &[], Vec::new()).await;
    deleted.map_err(|error| error.or_see(kind))
}

fn waits(name: &ObjectName, held: u64) -> String {
    format!(
        "ippool/{name} waits: {} still held; it gives nothing any more and goes when they leave (see `tenure get leases --pool {name}`)\n",
        addresses(held)
    )
}

fn addresses(count: impl Into<u128>) -> String {
    match count.into() {
        1 => "1 address is".to_owned(),
        count => format!("{count} addresses are"),
    }
}

/// Returns when the pool is gone. `until` is none where the time limit lies beyond the clock.
async fn gone(client: &Client, name: &ObjectName, until: Option<Instant>) -> Result<(), CliError> {
    loop {
        let pool = match client.get::<Pool>(&format!("/v1/pools/{name}"), &[]).await {
            Err(error) if error.is_not_found() => return Ok(()),
            answer => answer?,
        };
        if until.is_some_and(|until| Instant::now() >= until) {
            let status = pool.status.unwrap_or_default();
            let held = status.held.saturating_add(status.quarantined);
            let held = addresses(held.saturating_add(status.out_of_range));
            let what =
                format!("ippool/{name} still waits: {held} still held; it goes when they leave");
            return Err(CliError::NotDone { what });
        }
        sleep(LOOK_EVERY).await;
    }
}
