//! `describe policy`: what serves, how it fares, and what it decided last.

use tenure_core::decision::{DecidedBy, DecisionRecord};
use tenure_core::name::ObjectName;
use tenure_core::objects::{PolicyMode, PolicySource};
use tenure_core::ports::{FuelUse, Latency, PolicyStatus, SERVING, ShadowStatus};

use crate::age::age;
use crate::client::Client;
use crate::commands::text::{Text, joined};
use crate::error::CliError;
use crate::kinds::{agreement, micros};
use crate::wire::{Items, Policy};

/// Decisions shown, and among how many of the newest they are looked for.
const SHOWN: usize = 10;
const LOOKED_AT: &str = "500";

pub(super) async fn describe(client: &Client, name: &ObjectName) -> Result<String, CliError> {
    let policy: Policy = client.get(&format!("/v1/policies/{name}"), &[]).await?;
    let decisions: Items<DecisionRecord> =
        client.get("/v1/decisions", &[("limit", LOOKED_AT)]).await?;
    let mut text = Text::default();
    text.metadata(&policy.metadata);
    wanted(&mut text, &policy);
    fares(&mut text, &policy);
    let asked = |record: &&DecisionRecord| record.steps.iter().any(|step| step.policy == *name);
    let line = |record: &DecisionRecord| {
        let hook = record.hook.name();
        format!("{}  {hook}  decided by {}  {} ago", record.id, by(&record.by), age(record.at))
    };
    text.list("Last decisions", decisions.items.iter().filter(asked).take(SHOWN).map(line));
    Ok(text.finish())
}

fn wanted(text: &mut Text, policy: &Policy) {
    let spec = &policy.spec;
    let source = match &spec.source {
        PolicySource::Bundled(name) => format!("bundled {name}"),
        PolicySource::File(path) => format!("file {}", path.display()),
        PolicySource::Oci(reference) => format!("oci {reference}"),
    };
    let mode = match spec.mode {
        PolicyMode::Active => "active",
        PolicyMode::Shadow => "shadow",
    };
    let all = |what: String| if what.is_empty() { "all".to_owned() } else { what };
    text.line("Source", source)
        .line("Mode", mode)
        .line("Priority", spec.priority)
        .line("Namespaces", all(joined(&spec.scope.namespaces)))
        .line("Pools", all(joined(&spec.scope.pools)))
        .line("Settings", &spec.settings);
}

fn fares(text: &mut Text, policy: &Policy) {
    let refused = policy.refused();
    let otherwise = policy.serving().map_or("", |_| SERVING);
    text.line("Stage", refused.map_or(otherwise, |(stage, _)| stage));
    let Some(status) = policy.serving() else {
        let why = refused.map_or("see the daemon's log", |(_, why)| why);
        text.line("Status", format!("not served; the built-in strategy answers for it: {why}"));
        return;
    };
    let hooks: Vec<&str> = status.hooks.iter().map(|hook| hook.name()).collect();
    let breaker =
        if status.breaker_open { "open: it is not asked for the time being" } else { "closed" };
    let faults = status.faults.iter().map(|(kind, count)| format!("{count} {}", kind.as_str()));
    let faults: Vec<String> = faults.collect();
    text.line("Component", format!("{} {}", status.component, status.version))
        .line("Digest", &status.digest)
        .line("Hooks", joined(&hooks))
        .line("Decisions", status.decisions)
        .line("Faults", if faults.is_empty() { "none".to_owned() } else { joined(&faults) })
        .line("Breaker", breaker)
        .line("Fuel", fuel(status))
        .line("Latency", latency(status));
    if let Some(shadow) = &status.shadow {
        text.line("Agreement", compared(shadow));
    }
    text.line("Refused", refused.map_or("", |(_, why)| why));
}

/// What its calls used, against its budget.
pub(in crate::commands) fn fuel(status: &PolicyStatus) -> String {
    let of = |fuel: FuelUse| {
        let FuelUse { mean, max, max_percent } = fuel;
        format!("{mean} on average, {max} at most: {max_percent}% of the budget")
    };
    status.fuel.map_or_else(|| "not asked yet".to_owned(), of)
}

/// How long its calls took.
pub(in crate::commands) fn latency(status: &PolicyStatus) -> String {
    let of = |time: Latency| {
        let [p50, p99, max] = [time.p50_us, time.p99_us, time.max_us].map(micros);
        format!("p50 {p50}, p99 {p99}, at most {max}")
    };
    status.latency.map_or_else(|| "not asked yet".to_owned(), of)
}

/// How a shadow compares.
pub(in crate::commands) fn compared(shadow: &ShadowStatus) -> String {
    let ShadowStatus { differed, abstained, dropped, .. } = shadow;
    format!(
        "{}; {differed} other answers, {abstained} without opinion, {dropped} not asked for lack of time",
        agreement(shadow)
    )
}

/// The words for who decided.
pub(in crate::commands) fn by(decided: &DecidedBy) -> String {
    match decided {
        DecidedBy::BuiltIn => "the built-in strategy".to_owned(),
        DecidedBy::Policy { name, .. } => name.to_string(),
    }
}
