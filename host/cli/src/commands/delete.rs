//! `tenure delete`: objects by name or by file. A pool in use goes when its holders have left.

use std::path::PathBuf;
use std::time::Duration;

use hyper::Method;
use serde::Serialize;
use tenure_core::name::ObjectName;
use tenure_core::objects::{ObjectKind, Span};
use tenure_engine::Deleted;
use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::error::CliError;
use crate::kinds::Thing;
use crate::manifest;
use crate::output::{Format, print, print_document};
use crate::wire::{Items, Pool};

/// How often a waiting pool is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Delete pools, reservations and policies
///
/// A pool whose addresses are still held gives nothing any more at once, and goes when the last of them leaves.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "tenure delete [OPTIONS] <KIND> <NAME>\n       tenure delete [OPTIONS] --filename <FILE>",
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

/// What became of one object.
#[derive(Debug, Serialize)]
struct Outcome {
    kind: ObjectKind,
    name: ObjectName,
    /// `done` or `waiting`, and how many addresses are still held.
    #[serde(flatten)]
    deleted: Deleted,
}

pub(crate) async fn run(client: &Client, args: Args, format: Format) -> Result<(), CliError> {
    let named = named(args.kind, args.name, &args.filenames)?;
    let until = args.wait.then(|| Instant::now().checked_add(args.timeout.0));
    let mut outcomes = Vec::new();
    let done = delete_all(client, named, until, format, &mut outcomes).await;
    // Also what was done before something failed is told.
    print_document(format, &Items { items: outcomes, total: None })?;
    done
}

/// Deletes all, and waits for pools in use if there is a moment `until` which (none: however long it takes).
async fn delete_all(
    client: &Client,
    named: Vec<(ObjectKind, ObjectName)>,
    until: Option<Option<Instant>>,
    format: Format,
    outcomes: &mut Vec<Outcome>,
) -> Result<(), CliError> {
    let mut missing = None;
    for (kind, name) in named {
        match delete(client, kind, &name).await {
            Ok(deleted) => {
                let outcome = Outcome { kind, name, deleted };
                print(&outcome.line(format))?;
                outcomes.push(outcome);
            }
            // What is not there is deleted; the others still have to go.
            Err(error) if error.is_not_found() => missing = missing.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    if let Some(until) = until {
        for outcome in outcomes.iter_mut().filter(|outcome| outcome.waits()) {
            gone(client, &outcome.name, until).await?;
            outcome.deleted = Deleted::Done;
            if format != Format::Name {
                print(&outcome.line(format))?;
            }
        }
    }
    missing.map_or(Ok(()), Err)
}

fn named(
    kind: Option<Thing>,
    name: Option<ObjectName>,
    files: &[PathBuf],
) -> Result<Vec<(ObjectKind, ObjectName)>, CliError> {
    let (Some(kind), Some(name)) = (kind, name) else {
        let manifests = manifest::read_all(files)?.into_iter();
        return Ok(manifests.map(|m| (m.object.kind(), m.object.name().clone())).collect());
    };
    let kind = kind.object_kind().ok_or_else(|| CliError::Usage {
        why: "leases, decisions and nodes are not deleted; see `tenure release --help`".to_owned(),
    })?;
    Ok(vec![(kind, name)])
}

async fn delete(client: &Client, kind: ObjectKind, name: &ObjectName) -> Result<Deleted, CliError> {
    let kind = Thing::of(kind);
    let path = format!("/v1/{}/{name}", kind.folder());
    let deleted = client.call(Method::DELETE, &path, &[], Vec::new()).await;
    deleted.map_err(|error| error.or_see(kind))
}

impl Outcome {
    fn waits(&self) -> bool {
        matches!(self.deleted, Deleted::Waiting { .. })
    }

    /// The line for readers; nothing where a document follows at the end.
    fn line(&self, format: Format) -> String {
        let object = format!("{}/{}", Thing::of(self.kind).singular(), self.name);
        match (format, &self.deleted) {
            (Format::Json | Format::Yaml, _) => String::new(),
            (Format::Name, _) => format!("{object}\n"),
            (_, Deleted::Done) => format!("{object} deleted\n"),
            (_, Deleted::Waiting { held }) => format!(
                "{object} waits: {} still held; it gives nothing any more and goes when they leave (see `tenure get leases --pool {}`)\n",
                addresses(*held),
                self.name
            ),
        }
    }
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
