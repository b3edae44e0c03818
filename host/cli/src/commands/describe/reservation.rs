//! `describe reservation`: what is never handed out, and who still holds some of it.

use tenure_core::address::Range;
use tenure_core::name::ObjectName;
use tenure_engine::LeaseView;

use crate::client::Client;
use crate::commands::text::{Text, joined, owner};
use crate::error::CliError;
use crate::wire::{Items, Reservation};

/// Held leases looked through; beyond, the list says that it may be short.
const LOOKED_AT: &str = "100000";

pub(super) async fn describe(client: &Client, name: &ObjectName) -> Result<String, CliError> {
    let reservation: Reservation = client.get(&format!("/v1/reservations/{name}"), &[]).await?;
    let query = [("view", "held"), ("limit", LOOKED_AT)];
    let leases: Items<LeaseView> = client.get("/v1/leases", &query).await?;
    let spec = &reservation.spec;
    let ranges: Vec<Range> = spec.addresses.iter().filter_map(|t| Range::parse(t).ok()).collect();
    let reserved = |view: &&LeaseView| {
        view.lease.space == spec.space
            && ranges.iter().any(|range| range.contains(view.lease.address))
    };
    let still = leases.items.iter().filter(reserved);
    let mut text = Text::default();
    text.metadata(&reservation.metadata)
        .line("Addresses", joined(&spec.addresses))
        .line("Space", &spec.space)
        .line("Reason", spec.reason.as_deref().unwrap_or(""))
        .list(
            "Still held",
            still.map(|view| format!("{}  {}", view.lease.address, owner(&view.lease.owner))),
        );
    if leases.total.unwrap_or_default() > leases.items.len() {
        text.line("", "more leases are held than were looked through");
    }
    Ok(text.finish())
}
