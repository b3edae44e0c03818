//! `describe lease`: who holds the address, by what right, and who held it before.

use tenure_core::lease::{Lease, LeaseState, PastHolder, Proof, QuarantineCause};
use tenure_core::name::Digest;
use tenure_engine::LeaseView;

use crate::age::{age, short_s};
use crate::client::Client;
use crate::commands::text::{Text, owner};
use crate::error::CliError;
use crate::lease_name::LeaseName;
use crate::wire::{Items, Policy};

pub(super) async fn describe(client: &Client, name: &LeaseName) -> Result<String, CliError> {
    let view: LeaseView = client.get(&name.path(), &name.query()).await?;
    let policies: Items<Policy> = client.get("/v1/policies", &[]).await?;
    let lease = &view.lease;
    let mut text = Text::default();
    text.line("Address", lease.address)
        .line("Space", &lease.space)
        .line("Pool", &lease.pool)
        .line("View", meaning(&view))
        .line("Generation", lease.generation.0)
        .line("State", state(&view));
    holder(&mut text, lease);
    decided_by(&mut text, lease, &policies.items);
    text.list("Previous holders", lease.previous.iter().map(past));
    Ok(text.finish())
}

pub(in crate::commands) fn meaning(view: &LeaseView) -> String {
    let what = match view.view.as_str() {
        "held" => "a container holds it",
        "resting" => "released; no reuse before its cool-down ends",
        "lingering" => "released, but the kernel still sees it at its old holder",
        "retained" => "released; kept for its sticky key",
        "free" => "released and rested; can be given",
        "quarantined" => "may still be in use; not given",
        _ => "",
    };
    format!("{} ({what})", view.view)
}

pub(in crate::commands) fn holder(text: &mut Text, lease: &Lease) {
    let netns = match &lease.netns {
        Some(netns) => format!("cookie {}, inode {}", netns.cookie, netns.ino),
        None => "not seen at ADD (blind): only DEL, a reboot or the operator frees it".to_owned(),
    };
    let title = if lease.is_bound() { "Holder" } else { "Last holder" };
    text.line(title, &lease.owner)
        .line("Uid", &lease.owner.uid)
        .line("Container", &lease.attachment.container)
        .line("Network", &lease.attachment.network)
        .line("Interface", &lease.attachment.ifname)
        .line("Node", &lease.node.name)
        .line("Namespace", netns)
        .line(
            "Held since",
            format!("{} ({} ago)", lease.bound_at.to_rfc3339(), age(lease.bound_at)),
        );
}

/// The policies that chose it, and the sticky key that one of them set.
pub(in crate::commands) fn decided_by(text: &mut Text, lease: &Lease, policies: &[Policy]) {
    if let Some(sticky) = &lease.sticky {
        let retain = short_s(u64::from(sticky.retain_s));
        text.line("Sticky key", format!("{} (kept {retain} after release)", sticky.key));
    }
    let decided = lease.decided_by.iter().map(|digest| decider(digest, policies));
    match lease.decided_by.as_slice() {
        [] => text.line("Decided by", "the built-in strategies"),
        _ => text.list("Decided by", decided),
    };
}

pub(in crate::commands) fn state(view: &LeaseView) -> String {
    match &view.lease.state {
        LeaseState::Bound => "Bound".to_owned(),
        LeaseState::Released { at, proof, keep_until, .. } => {
            let proof = match proof {
                // Found after the write: it is kept in memory only.
                Proof::None if view.proved => "the end of its holder was proved since",
                Proof::None => "the end of its holder is not proved yet",
                Proof::Kernel => "the kernel proved the end of its holder",
                Proof::Reboot => "the node rebooted",
                Proof::Operator => "on the word of an operator",
            };
            let kept = keep_until.map(|until| format!(", kept until {}", until.to_rfc3339()));
            format!("Released {} ago ({proof}{})", age(*at), kept.unwrap_or_default())
        }
        LeaseState::Quarantined { at, cause } => {
            let cause = match cause {
                QuarantineCause::Unfenced => "its node is lost and not fenced".to_owned(),
                QuarantineCause::Wire => "a foreign machine answered for it".to_owned(),
                QuarantineCause::TwoClaims => "two holders claim it".to_owned(),
                QuarantineCause::Found => {
                    "it was found on a link of a container of which the store knows nothing"
                        .to_owned()
                }
                QuarantineCause::Operator(why) => format!("by an operator, {why}"),
            };
            format!("Quarantined {} ago ({cause})", age(*at))
        }
    }
}

fn decider(digest: &Digest, policies: &[Policy]) -> String {
    let serves = |policy: &&Policy| policy.serving().is_some_and(|s| s.digest == *digest);
    match policies.iter().find(serves) {
        Some(policy) => format!("{}  {digest}", policy.metadata.name),
        None => format!("{digest}  (serves no more)"),
    }
}

pub(in crate::commands) fn past(holder: &PastHolder) -> String {
    format!(
        "generation {}  {}  container {}  {} to {}  ended by {}",
        holder.generation.0,
        owner(&holder.owner),
        holder.container,
        holder.from.to_rfc3339(),
        holder.to.to_rfc3339(),
        holder.ended_by
    )
}
