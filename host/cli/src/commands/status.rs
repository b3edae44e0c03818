//! `tenure status`: one screen.

use tenure_core::ledger::Counts;
use tenure_core::name::PoolName;
use tenure_core::ports::PolicyStatus;
use tenure_engine::Overview;

use crate::client::Client;
use crate::error::CliError;
use crate::output::{Format, print, print_document};
use crate::table::table;

pub(crate) async fn run(client: &Client, format: Format) -> Result<(), CliError> {
    let daemon: Overview = client.get("/v1/status", &[]).await?;
    if print_document(format, &daemon)? {
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
    text.push_str("\nPOOLS\n");
    text.push_str(&pools(&daemon.pools));
    text.push_str("\nPOLICIES\n");
    text.push_str(&policies(&daemon.policies));
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
        ];
        let mut row = vec![name.to_string()];
        row.extend(numbers.map(|number| number.to_string()));
        row
    };
    let header =
        ["NAME", "SIZE", "FREE", "HELD", "RESTING", "LINGERING", "RETAINED", "QUARANTINED"];
    table(&header, pools.iter().map(row).collect())
}

fn policies(policies: &[PolicyStatus]) -> String {
    if policies.is_empty() {
        return "none; the built-in strategies decide\n".to_owned();
    }
    let row = |policy: &PolicyStatus| {
        let faults: u64 = policy.faults.iter().map(|(_, count)| count).sum();
        vec![
            policy.name.to_string(),
            policy.version.clone(),
            policy.mode.clone(),
            policy.decisions.to_string(),
            faults.to_string(),
            if policy.breaker_open { "open" } else { "closed" }.to_owned(),
        ]
    };
    let header = ["NAME", "VERSION", "MODE", "DECISIONS", "FAULTS", "BREAKER"];
    table(&header, policies.iter().map(row).collect())
}
