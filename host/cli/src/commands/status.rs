//! `tenure status`: one screen.

use serde::Serialize;
use tenure_core::ledger::Counts;
use tenure_core::name::{ObjectName, PoolName};
use tenure_core::ports::PolicyStatus;
use tenure_engine::Overview;

use crate::client::Client;
use crate::error::CliError;
use crate::kinds::policy_word;
use crate::output::{Format, print, print_document};
use crate::table::table;
use crate::wire::{Items, Policy};

/// The overview, and what it lacks.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    #[serde(flatten)]
    daemon: &'a Overview,
    policies_not_served: &'a [ObjectName],
}

pub(crate) async fn run(client: &Client, format: Format) -> Result<(), CliError> {
    let daemon: Overview = client.get("/v1/status", &[]).await?;
    // The daemon's overview has only the policies that serve.
    let wanted: Items<Policy> = client.get("/v1/policies", &[]).await?;
    let unserved: Vec<Policy> =
        wanted.items.into_iter().filter(|policy| policy.serving().is_none()).collect();
    let names: Vec<ObjectName> =
        unserved.iter().map(|policy| policy.metadata.name.clone()).collect();
    if print_document(format, &Shown { daemon: &daemon, policies_not_served: &names })? {
        return Ok(());
    }
    if format == Format::Name {
        return print(&format!("daemon/{}\n", daemon.node));
    }
    let well = |error: &Option<String>| match error {
        None => "well".to_owned(),
        Some(why) => format!("FAILING: {why}"),
    };
    let mut text = format!(
        "Daemon:    tenured {} on {}\nStore:     {} (id {}, epoch {}, {} addresses recorded)\nWitness:   {}\n",
        daemon.version,
        daemon.node,
        well(&daemon.store_error),
        daemon.store,
        daemon.epoch,
        daemon.rows,
        well(&daemon.witness_error),
    );
    if daemon.waiting > 0 {
        text.push_str(&format!("Waiting:   {} ADDs for an address\n", daemon.waiting));
    }
    text.push_str("\nPOOLS\n");
    text.push_str(&pools(&daemon.pools));
    text.push_str("\nPOLICIES\n");
    text.push_str(&policies(&daemon.policies, &unserved));
    print(&text)
}

fn pools(pools: &[(PoolName, Counts)]) -> String {
    if pools.is_empty() {
        return "none; see `tenure apply --help`\n".to_owned();
    }
    let row = |(name, counts): &(PoolName, Counts)| {
        let numbers = [
            counts.size,
            counts.free,
            counts.held,
            counts.resting,
            counts.lingering,
            counts.retained,
            counts.quarantined,
            counts.out_of_range,
        ];
        let mut row = vec![name.to_string()];
        row.extend(numbers.map(|number| number.to_string()));
        row
    };
    let header = [
        "NAME",
        "SIZE",
        "FREE",
        "HELD",
        "RESTING",
        "LINGERING",
        "RETAINED",
        "QUARANTINED",
        "OUT-OF-RANGE",
    ];
    table(&header, pools.iter().map(row).collect())
}

fn policies(serving: &[PolicyStatus], unserved: &[Policy]) -> String {
    if serving.is_empty() && unserved.is_empty() {
        return "none; the built-in strategies decide\n".to_owned();
    }
    let row = |policy: &PolicyStatus| {
        let faults: u64 = policy.faults.iter().map(|(_, count)| count).sum();
        let why = policy.last_refusal.as_ref().map(|why| format!(": {why}"));
        vec![
            policy.name.to_string(),
            policy.version.clone(),
            policy.mode.clone(),
            policy.decisions.to_string(),
            faults.to_string(),
            format!("{}{}", policy_word(Some(policy)), why.unwrap_or_default()),
        ]
    };
    let idle = |policy: &Policy| {
        let mut row = vec![policy.metadata.name.to_string()];
        row.extend(["-"; 4].map(str::to_owned));
        let why = policy.refused().map_or("see the daemon's log", |(_, why)| why);
        row.push(format!("{}: {why}", policy_word(None)));
        row
    };
    let header = ["NAME", "VERSION", "MODE", "DECISIONS", "FAULTS", "STATUS"];
    table(&header, serving.iter().map(row).chain(unserved.iter().map(idle)).collect())
}
