//! `tenure policy shadow`: how a candidate compares with what decides, and what becomes of it.

use clap::ArgGroup;
use hyper::Method;
use serde_json::{Value, json};
use tenure_core::name::ObjectName;
use tenure_core::objects::{API_VERSION, PolicyMode, PolicySource, PolicySpec};
use tenure_core::ports::ShadowStatus;
use tenure_engine::Deleted;

use crate::client::Client;
use crate::commands::describe::policy::{compared, fuel, latency};
use crate::commands::text::{Text, joined};
use crate::error::CliError;
use crate::kinds::Thing;
use crate::output::{Format, print, print_document};
use crate::wire::{ApplyAnswer, Policy};

/// Show how a policy in shadow mode compares, and promote or drop it
///
/// A shadow is asked about a share of the requests (spec.shadow.percent) after they were answered; it changes nothing. With
/// spec.shadow.of it takes the place of that policy when it is promoted, else it becomes active itself.
#[derive(Debug, clap::Args)]
#[command(
    group = ArgGroup::new("end").multiple(false),
    after_help = "EXAMPLES:\n  tenure policy shadow spread-next\n  tenure policy shadow spread-next -o json\n  tenure policy shadow spread-next --promote\n  tenure policy shadow spread-next --drop"
)]
pub(crate) struct Args {
    /// The policy in shadow mode
    #[arg(value_name = "NAME")]
    name: ObjectName,
    /// Let it decide: in the place of the policy that it shadows, if its object names one
    #[arg(long, group = "end")]
    promote: bool,
    /// Delete it
    #[arg(long = "drop", group = "end")]
    is_dropped: bool,
}

pub(crate) async fn run(client: &Client, args: Args, format: Format) -> Result<(), CliError> {
    let policy: Policy = client
        .get(&format!("/v1/policies/{}", args.name), &[])
        .await
        .map_err(|error| error.or_see(Thing::Policy))?;
    if policy.spec.mode != PolicyMode::Shadow {
        let why =
            format!("policy {} is active; only one in shadow mode has a comparison", args.name);
        return Err(CliError::NotDone { what: why });
    }
    if args.promote {
        return promote(client, policy, format).await;
    }
    if args.is_dropped {
        delete(client, &args.name).await?;
        return done(format, &args.name, "dropped");
    }
    show(&policy, format)
}

fn show(policy: &Policy, format: Format) -> Result<(), CliError> {
    if print_document(format, policy)? {
        return Ok(());
    }
    let name = &policy.metadata.name;
    if format == Format::Name {
        return print(&format!("{}/{name}\n", Thing::Policy.singular()));
    }
    let spec = policy.spec.shadow.clone().unwrap_or_default();
    let mut text = Text::default();
    text.metadata(&policy.metadata)
        .line("Shadows", spec.of.as_ref().map_or("whatever decides", |of| of.as_str()))
        .line("Share", format!("{}% of the requests", spec.percent));
    if let Some((stage, why)) = policy.refused() {
        text.line("Stage", stage).line("Refused", why);
    }
    if let Some(status) = policy.serving() {
        let faults = status.faults.iter().map(|(kind, count)| format!("{count} {}", kind.as_str()));
        let faults: Vec<String> = faults.collect();
        text.line("Digest", &status.digest)
            .line("Asked", status.decisions)
            .line("Agreement", status.shadow.as_ref().map(compared).unwrap_or_default())
            .line("Faults", if faults.is_empty() { "none".to_owned() } else { joined(&faults) })
            .line("Fuel", fuel(status))
            .line("Latency", latency(status))
            .line("Next", next(status.shadow.as_ref(), name));
    }
    print(&text.finish())
}

fn next(shadow: Option<&ShadowStatus>, name: &ObjectName) -> String {
    match shadow {
        Some(shadow) if shadow.differed > 0 => format!(
            "`tenure get decisions -o wide` and `tenure get decision NUMBER -o yaml` show where it would have answered otherwise; `tenure policy shadow {name} --promote` or `--drop`"
        ),
        _ => format!("`tenure policy shadow {name} --promote` or `--drop`"),
    }
}

/// The object as it was watched takes over: its component by the digest that was seen, its scope, its settings.
async fn promote(client: &Client, policy: Policy, format: Format) -> Result<(), CliError> {
    let name = policy.metadata.name.clone();
    let Some(status) = policy.serving() else {
        let what = format!("policy {name} does not even load; see `tenure describe policy {name}`");
        return Err(CliError::NotDone { what });
    };
    if let Some((_, why)) = policy.refused() {
        let what = format!("the newest version of policy {name} was never asked: {why}");
        return Err(CliError::NotDone { what });
    }
    let of = policy.spec.shadow.as_ref().and_then(|shadow| shadow.of.clone());
    // What was watched; a shipped one goes on following the installed version.
    let digest = match policy.spec.source {
        PolicySource::Bundled(_) => policy.spec.digest.clone(),
        _ => Some(status.digest.clone()),
    };
    let target = of.filter(|of| *of != name).unwrap_or_else(|| name.clone());
    let spec = PolicySpec { mode: PolicyMode::Active, shadow: None, digest, ..policy.spec.clone() };
    let object: Value = json!({
        "apiVersion": API_VERSION,
        "kind": "IPAMPolicy",
        "metadata": {"name": target},
        "spec": spec,
    });
    let body = object.to_string().into_bytes();
    let _: ApplyAnswer = client.call(Method::POST, "/v1/apply", &[], body).await?;
    if target == name {
        return done(format, &name, "promoted");
    }
    // Only now: a promotion that was refused has changed nothing.
    delete(client, &name).await?;
    done(format, &target, &format!("replaced by {name}, which is gone"))
}

async fn delete(client: &Client, name: &ObjectName) -> Result<(), CliError> {
    let path = format!("/v1/policies/{name}");
    let _: Deleted = client.call(Method::DELETE, &path, &[], Vec::new()).await?;
    Ok(())
}

fn done(format: Format, name: &ObjectName, what: &str) -> Result<(), CliError> {
    if print_document(format, &json!({"name": name, "outcome": what}))? {
        return Ok(());
    }
    if format == Format::Name {
        return print(&format!("{}/{name}\n", Thing::Policy.singular()));
    }
    print(&format!("{}/{name} {what}\n", Thing::Policy.singular()))
}
