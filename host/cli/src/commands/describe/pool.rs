//! `describe pool`: what it gives, what it withholds and why, and who holds it.

use tenure_core::address::Range;
use tenure_core::name::ObjectName;
use tenure_core::objects::{PoolSpec, Route, Selector};
use tenure_engine::LeaseView;

use crate::age::age;
use crate::client::Client;
use crate::commands::text::{Text, joined, owner};
use crate::error::CliError;
use crate::wire::{Items, Pool, PoolStatus, Reservation};

/// Leases shown; the rest is counted.
const SHOWN: &str = "20";

pub(super) async fn describe(client: &Client, name: &ObjectName) -> Result<String, CliError> {
    let pool: Pool = client.get(&format!("/v1/pools/{name}"), &[]).await?;
    let query = [("pool", name.as_str()), ("limit", SHOWN)];
    let leases: Items<LeaseView> = client.get("/v1/leases", &query).await?;
    let reservations: Items<Reservation> = client.get("/v1/reservations", &[]).await?;
    let status = pool.status.clone().unwrap_or_default();
    let mut text = Text::default();
    text.metadata(&pool.metadata);
    delivery(&mut text, &pool.spec);
    admission(&mut text, &pool.spec);
    counts(&mut text, &status);
    if let Some(why) = &status.not_served {
        text.line("Not served", format!("{}: {}", why.reason, why.message));
    }
    if status.terminating {
        let since = pool.metadata.deletion_timestamp.as_deref().unwrap_or("some time ago");
        text.line(
            "Terminating",
            format!("deleted {since}; gives nothing, goes when its holders leave"),
        );
    }
    text.list("Withheld", withheld(&status))
        .list("Reserved", reserved(&pool.spec, &reservations.items));
    text.list("Leases", leases.items.iter().map(line));
    let total = leases.total.unwrap_or_default();
    if total > leases.items.len() {
        let rest = total.saturating_sub(leases.items.len());
        text.line("", format!("and {rest} more: tenure get leases --pool {name}"));
    }
    Ok(text.finish())
}

fn delivery(text: &mut Text, spec: &PoolSpec) {
    let ranges =
        if spec.ranges.is_empty() { "the whole CIDR".into() } else { joined(&spec.ranges) };
    let gateway = spec.gateway.map(|gateway| gateway.to_string());
    let routes: Vec<String> = spec.routes.iter().map(route).collect();
    let dns = spec.dns.clone().unwrap_or_default();
    text.line("CIDR", spec.cidr)
        .line("Space", &spec.space)
        .line("Ranges", ranges)
        .line("Exclude", joined(&spec.exclude))
        .line("Gateway", gateway.unwrap_or_default())
        .line("Routes", joined(&routes))
        .line("Name servers", joined(&dns.nameservers))
        .line("DNS domain", dns.domain.unwrap_or_default())
        .line("DNS search", joined(&dns.search))
        .line("DNS options", joined(&dns.options));
}

/// In the words of `ip route`.
fn route(route: &Route) -> String {
    let mut text = route.dst.to_string();
    if let Some(gw) = route.gw {
        text.push_str(&format!(" via {gw}"));
    }
    let numbers = [
        ("mtu", route.mtu),
        ("advmss", route.advmss),
        ("priority", route.priority),
        ("table", route.table),
        ("scope", route.scope),
    ];
    for (word, number) in numbers {
        if let Some(number) = number {
            text.push_str(&format!(" {word} {number}"));
        }
    }
    text
}

fn admission(text: &mut Text, spec: &PoolSpec) {
    let networks = if spec.networks.is_empty() { "all".into() } else { joined(&spec.networks) };
    text.line("Networks", networks)
        .line("Namespaces", selector(spec.namespace_selector.as_ref()))
        .line("Pods", selector(spec.pod_selector.as_ref()))
        .line("Nodes", selector(spec.node_selector.as_ref()))
        .line("Priority", spec.priority)
        .line("Disabled", if spec.disabled { "yes" } else { "" })
        .line(
            "Cool-down",
            format!("{} (at least {} under pressure)", spec.cooldown, spec.cooldown_floor),
        );
}

fn selector(selector: Option<&Selector>) -> String {
    let Some(selector) = selector else { return String::new() };
    let labels = selector.match_labels.iter().map(|(key, value)| format!("{key}={value}"));
    let expressions = selector.match_expressions.iter().map(|requirement| {
        format!(
            "{} {:?} ({})",
            requirement.key,
            requirement.operator,
            requirement.values.join(", ")
        )
    });
    joined(&labels.chain(expressions).collect::<Vec<_>>())
}

fn counts(text: &mut Text, status: &PoolStatus) {
    text.line("Usable", status.size)
        .line("Free", status.free)
        .line("Held", status.held)
        .line("Resting", format!("{} ({} lingering)", status.resting, status.lingering))
        .line("Retained", status.retained)
        .line("Quarantined", status.quarantined)
        .line("Out of range", status.out_of_range);
}

fn withheld(status: &PoolStatus) -> Vec<String> {
    let mut withheld = status.withheld.clone();
    withheld.sort();
    withheld.iter().map(|(address, why)| format!("{address}  {why}")).collect()
}

/// What reservations take out of the subnet.
fn reserved(spec: &PoolSpec, reservations: &[Reservation]) -> Vec<String> {
    let subnet = Range::from(spec.cidr);
    let of = |reservation: &Reservation| {
        let reason = reservation.spec.reason.as_ref().map(|why| format!(": {why}"));
        let by = format!("by {}{}", reservation.metadata.name, reason.unwrap_or_default());
        let ranges = reservation.spec.addresses.iter().filter_map(|text| Range::parse(text).ok());
        let here = ranges.filter(|range| range.overlaps(subnet));
        here.map(|range| format!("{range}  {by}")).collect::<Vec<_>>()
    };
    reservations.iter().filter(|r| r.spec.space == spec.space).flat_map(of).collect()
}

fn line(view: &LeaseView) -> String {
    let lease = &view.lease;
    format!(
        "{}  {}  {}  container {}  {}",
        lease.address,
        view.view,
        owner(&lease.owner),
        lease.attachment.container,
        age(lease.bound_at)
    )
}
