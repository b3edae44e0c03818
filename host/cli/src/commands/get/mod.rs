//! `tenure get`: lists, and single objects by name.

mod nodes;
mod rows;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tenure_core::decision::DecisionRecord;
use tenure_engine::LeaseView;

use crate::client::Client;
use crate::error::CliError;
use crate::kinds::Thing;
use crate::lease_name::LeaseName;
use crate::output::{Format, print, print_document};
use crate::table::table;
use crate::wire::{Items, Policy, Pool, Reservation};

use self::rows::Row;

/// Every view that a lease can have.
const VIEWS: [&str; 6] = ["held", "resting", "lingering", "retained", "free", "quarantined"];

/// Show pools, leases, reservations, policies, decisions or the nodes of a cluster
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  tenure get pools\n  tenure get leases --pool blue-v4 --view held\n  tenure get leases -n shop -o wide\n  tenure get pool blue-v4 -o yaml\n  tenure get decisions --limit 20\n  tenure get nodes --context lab"
)]
pub(crate) struct Args {
    /// pools, leases, reservations, policies, decisions or nodes
    #[arg(value_name = "KIND")]
    kind: Thing,
    /// Only this one: a name, an address (or SPACE--ADDRESS), the number of a decision, or the uid of a node
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Leases of this pool
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
    /// Leases of this owner's namespace
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Leases of the container with this id, or one that begins so
    #[arg(long, value_name = "ID")]
    container: Option<String>,
    /// Leases that are so at this moment
    #[arg(short = 'l', long, value_name = "VIEW", value_parser = VIEWS)]
    view: Option<String>,
    /// At most so many leases or decisions
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

pub(crate) async fn run(client: &Client, args: Args, format: Format) -> Result<(), CliError> {
    refuse_idle_filters(&args)?;
    match args.kind {
        Thing::Pool => objects::<Pool>(client, &args, format).await,
        Thing::Reservation => objects::<Reservation>(client, &args, format).await,
        Thing::Policy => objects::<Policy>(client, &args, format).await,
        Thing::Lease => leases(client, &args, format).await,
        Thing::Decision => decisions(client, &args, format).await,
        Thing::Node => nodes::run(client, args.name.as_deref(), format).await,
    }
}

/// One thing, as `get KIND NAME` shows it.
pub(crate) async fn one(
    client: &Client,
    kind: Thing,
    name: String,
    format: Format,
) -> Result<(), CliError> {
    let name = Some(name);
    let args =
        Args { kind, name, pool: None, namespace: None, container: None, view: None, limit: None };
    run(client, args, format).await
}

/// A filter that does nothing would look as if it had.
fn refuse_idle_filters(args: &Args) -> Result<(), CliError> {
    let is_list_of_leases = args.kind == Thing::Lease && args.name.is_none();
    let filters = [
        ("--pool", args.pool.is_some()),
        ("--namespace", args.namespace.is_some()),
        ("--container", args.container.is_some()),
        ("--view", args.view.is_some()),
    ];
    let idle = filters.iter().find(|(_, given)| *given && !is_list_of_leases);
    if let Some((option, _)) = idle {
        return Err(CliError::Usage { why: format!("{option} only filters lists of leases") });
    }
    let is_cut = is_list_of_leases || args.kind == Thing::Decision && args.name.is_none();
    if args.limit.is_some() && !is_cut {
        let why = "--limit only cuts lists of leases and decisions".to_owned();
        return Err(CliError::Usage { why });
    }
    Ok(())
}

async fn objects<T: Row + Serialize + DeserializeOwned>(
    client: &Client,
    args: &Args,
    format: Format,
) -> Result<(), CliError> {
    let folder = args.kind.folder();
    if let Some(name) = &args.name {
        let name = tenure_core::name::ObjectName::new(name)
            .map_err(|error| CliError::Usage { why: error.to_string() })?;
        let object = client.get::<T>(&format!("/v1/{folder}/{name}"), &[]).await;
        let object = object.map_err(|error| error.or_see(args.kind))?;
        return show_one(args.kind, object, format);
    }
    let list: Items<T> = client.get(&format!("/v1/{folder}"), &[]).await?;
    show(args.kind, &list, format)
}

async fn leases(client: &Client, args: &Args, format: Format) -> Result<(), CliError> {
    if let Some(name) = &args.name {
        let lease: LeaseName = name.parse().map_err(|why| CliError::Usage { why })?;
        let view = client.get::<LeaseView>(&lease.path(), &lease.query()).await;
        let view = view.map_err(|error| error.or_see(args.kind))?;
        return show_one(args.kind, view, format);
    }
    let limit = args.limit.map(|limit| limit.to_string());
    let filters = [
        ("pool", &args.pool),
        ("namespace", &args.namespace),
        ("container", &args.container),
        ("view", &args.view),
        ("limit", &limit),
    ];
    let query: Vec<(&str, &str)> =
        filters.iter().filter_map(|(key, value)| Some((*key, value.as_deref()?))).collect();
    let list = client.get::<Items<LeaseView>>("/v1/leases", &query).await;
    let list = list.map_err(|error| error.or_see(Thing::Pool))?;
    show(args.kind, &list, format)?;
    let (shown, total) = (list.items.len(), list.total.unwrap_or_default());
    if shown < total {
        eprintln!("{shown} of {total} leases shown; use --limit or `tenure export` for more");
    }
    Ok(())
}

async fn decisions(client: &Client, args: &Args, format: Format) -> Result<(), CliError> {
    let wanted = args.name.as_deref().map(str::parse::<u64>).transpose();
    let wanted = wanted.map_err(|_| CliError::Usage {
        why: "a decision is named by its number; see `tenure get decisions`".to_owned(),
    })?;
    // One among the newest is looked for in all that the ring still holds.
    let limit = if wanted.is_some() { Some(usize::MAX) } else { args.limit };
    let limit = limit.map(|limit| limit.to_string());
    let query: Vec<(&str, &str)> = limit.iter().map(|limit| ("limit", limit.as_str())).collect();
    let list: Items<DecisionRecord> = client.get("/v1/decisions", &query).await?;
    let Some(id) = wanted else { return show(args.kind, &list, format) };
    let found = list.items.into_iter().find(|record| record.id == id);
    let missing = || CliError::NotFound {
        what: format!("decision {id}"),
        next: "only the newest are kept; see `tenure get decisions`",
    };
    show_one(args.kind, found.ok_or_else(missing)?, format)
}

fn show_one<T: Row + Serialize>(kind: Thing, item: T, format: Format) -> Result<(), CliError> {
    if print_document(format, &item)? {
        return Ok(());
    }
    show(kind, &Items { items: vec![item], total: None }, format)
}

fn show<T: Row + Serialize>(kind: Thing, list: &Items<T>, format: Format) -> Result<(), CliError> {
    if print_document(format, list)? {
        return Ok(());
    }
    if format == Format::Name {
        let line = |item: &T| format!("{}/{}\n", kind.singular(), item.name());
        return print(&list.items.iter().map(line).collect::<String>());
    }
    if list.items.is_empty() {
        eprintln!("no {} found", kind.folder());
        return Ok(());
    }
    let wide = format == Format::Wide;
    let mut header = T::HEADER.to_vec();
    if wide {
        header.extend(T::WIDE_HEADER);
    }
    let row = |item: &T| {
        let mut row = item.cells();
        if wide {
            row.extend(item.wide_cells());
        }
        row
    };
    print(&table(&header, list.items.iter().map(row).collect()))
}
