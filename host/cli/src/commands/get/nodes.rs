//! `tenure get nodes`: the machines of a cluster, as leases name them.

use super::rows::Row;
use super::{show, show_one};
use crate::age::short_s;
use crate::client::Client;
use crate::error::CliError;
use crate::kinds::Thing;
use crate::output::Format;
use crate::table::dash;
use crate::wire::Items;
use crate::wire_nodes::{FencedBy, Node, NodeLease};

/// All, or the machines with this name or uid: one that was made anew is another one of the same name.
pub(super) async fn run(
    client: &Client,
    wanted: Option<&str>,
    format: Format,
) -> Result<(), CliError> {
    let mut list: Items<Node> = client.get("/v1/nodes", &[]).await?;
    let Some(wanted) = wanted else { return show(Thing::Node, &list, format) };
    list.items.retain(|node| node.name == wanted || node.uid == wanted);
    if list.items.len() > 1 {
        return show(Thing::Node, &list, format);
    }
    let (what, next) = (format!("node {wanted}"), Thing::Node.list_command());
    let node = list.items.pop().ok_or(CliError::NotFound { what, next })?;
    show_one(Thing::Node, node, format)
}

impl Row for Node {
    const HEADER: &'static [&'static str] =
        &["NAME", "UID", "STATE", "AGENT", "NODE-LEASE", "HELD", "FENCE"];
    const WIDE_HEADER: &'static [&'static str] = &["CONNECTED", "NODE-OBJECT"];

    fn name(&self) -> String {
        self.uid.clone()
    }

    fn cells(&self) -> Vec<String> {
        let agent = match self.agent_heard_s {
            Some(ago) => format!("heard {} ago", short_s(ago)),
            None => "never heard".to_owned(),
        };
        let silent = short_s(self.node_lease_silent_s);
        let lease = match self.node_lease {
            NodeLease::NotRead => "-".to_owned(),
            NodeLease::Absent => format!("absent {silent}"),
            NodeLease::Present => format!("unchanged {silent}"),
        };
        let fence = self.fence.as_ref().map(|fence| {
            let by = match fence.by {
                FencedBy::Taint => "",
                FencedBy::Operator => "operator: ",
            };
            let seen = fence.seen_s.map(|ago| format!(", seen {} ago", short_s(ago)));
            let counts = if fence.counts { "" } else { ", does not count (yet)" };
            format!("{by}{}{}{counts}", fence.reason, seen.unwrap_or_default())
        });
        vec![
            self.name.clone(),
            dash(self.uid.as_str()),
            self.state.word().to_owned(),
            agent,
            lease,
            self.held.to_string(),
            dash(fence.unwrap_or_default()),
        ]
    }

    fn wide_cells(&self) -> Vec<String> {
        let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
        vec![yes(self.connected), yes(self.exists)]
    }
}
