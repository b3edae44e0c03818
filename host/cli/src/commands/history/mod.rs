//! `tenure history`: who held an address, and who at a moment.

mod moment;
mod rows;

use tenure_core::history::Kept;
use tenure_core::name::SpaceName;
use tenure_engine::HistoryView;

use crate::ago::Ago;
use crate::client::Client;
use crate::error::CliError;
use crate::lease_name::LeaseName;
use crate::output::{Format, print, print_document};

/// Show who held an address, newest first, or who held it at a moment
///
/// Each change of holder is one line. The daemon keeps the newest changes of all addresses together
/// (store.historyEvents). Where nothing is kept of the moment the answer is that nobody knows, with exit code 3:
/// it is never taken for nobody.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  tenure history 10.6.1.7\n  tenure history 10.6.1.7 --at 2h\n  tenure history 10.6.1.7 --at 2026-05-28T20:26:40Z -o json\n  tenure history fd00:6::1000 --space blue --limit 20 -o wide"
)]
pub(crate) struct Args {
    /// The address, or SPACE--ADDRESS
    #[arg(value_name = "ADDRESS")]
    lease: LeaseName,
    /// Who held it then: a time, e.g. 2026-05-28T20:26:40Z, or how long ago, e.g. 90s, 2h or 3d
    #[arg(long, value_name = "TIME")]
    at: Option<Ago>,
    /// The routing domain, unless the address names it
    #[arg(long, value_name = "SPACE")]
    space: Option<SpaceName>,
    /// At most so many changes, the newest
    #[arg(long, value_name = "N", conflicts_with = "at")]
    limit: Option<usize>,
}

pub(crate) async fn run(client: &Client, args: Args, format: Format) -> Result<(), CliError> {
    if format == Format::Name {
        let why = "changes have no names; use -o json or -o yaml".to_owned();
        return Err(CliError::Usage { why });
    }
    let lease = args.lease.in_space(args.space)?;
    let at = args.at.map(|Ago(at)| at.0.to_string());
    // Who asks for a moment wants no list.
    let limit = args.limit.or(at.as_ref().map(|_| 0)).map(|limit| limit.to_string());
    let mut query = lease.query().to_vec();
    query.extend(at.as_deref().map(|at| ("at", at)));
    query.extend(limit.as_deref().map(|limit| ("limit", limit)));
    let path = format!("{}/history", lease.path());
    let view = client.get::<HistoryView>(&path, &query).await.map_err(|error| {
        error.or_next("it is in no pool, and nothing is kept of it: `tenure get pools`")
    })?;
    let is_document = print_document(format, &view)?;
    match &view.moment {
        Some(moment) if is_document => moment::known(&lease, moment),
        Some(moment) => print(&moment::shown(&lease, moment)?),
        None if is_document => Ok(()),
        None => list(&lease, &view, format),
    }
}

fn list(lease: &LeaseName, view: &HistoryView, format: Format) -> Result<(), CliError> {
    if view.items.is_empty() {
        eprintln!("no change of {} {}", lease.key, reach(view.kept));
        return Ok(());
    }
    print(&rows::table(view, format == Format::Wide))?;
    let (shown, total) = (view.items.len(), view.total);
    if shown < total {
        eprintln!("{shown} of {total} changes shown; use --limit for more");
    }
    Ok(())
}

/// What it means that there is no change.
fn reach(kept: Kept) -> String {
    match kept {
        Kept { bound: 0, .. } => {
            "is kept: store.historyEvents of the daemon is 0, or it serves a cluster, which keeps none"
                .to_owned()
        },
        Kept { from: None, .. } => "is known: none of any address has happened yet".to_owned(),
        Kept { from: Some(from), .. } => {
            format!("since {}, and nothing older is kept", from.to_rfc3339_ms())
        }
    }
}
