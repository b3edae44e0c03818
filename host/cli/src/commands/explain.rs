//! `tenure explain`: everything about one address on a page.

use tenure_core::decision::{DecisionRecord, DecisionStep, StepOutcome};
use tenure_core::name::SpaceName;
use tenure_engine::Explanation;

use super::describe::lease::{decided_by, holder, meaning, past, state};
use super::describe::policy::by;
use super::text::Text;
use crate::age::age;
use crate::client::Client;
use crate::error::CliError;
use crate::kinds::Thing;
use crate::lease_name::LeaseName;
use crate::output::{Format, print, print_document};
use crate::wire::{Items, Policy};

/// Explain one address: who holds it and why, what the witnesses say, what happens next
///
/// It asks the kernel now, and changes nothing. Addresses that nobody holds are explained, too.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  tenure explain 10.6.1.7\n  tenure explain 10.6.1.7 --space blue\n  tenure explain blue--10.6.1.7 -o yaml"
)]
pub(crate) struct Args {
    /// The address, or SPACE--ADDRESS
    #[arg(value_name = "ADDRESS")]
    lease: LeaseName,
    /// The routing domain, unless the address names it
    #[arg(long, value_name = "SPACE")]
    space: Option<SpaceName>,
}

pub(crate) async fn run(client: &Client, args: Args, format: Format) -> Result<(), CliError> {
    let lease = args.lease.in_space(args.space)?;
    let path = format!("{}/explain", lease.path());
    let told = client.get::<Explanation>(&path, &lease.query()).await;
    let told = told.map_err(|error| error.or_see(Thing::Pool))?;
    if print_document(format, &told)? {
        return Ok(());
    }
    if format == Format::Name {
        return print(&format!("iplease/{}\n", lease.key));
    }
    let policies: Items<Policy> = client.get("/v1/policies", &[]).await?;
    print(&page(&told, &policies.items))
}

fn page(told: &Explanation, policies: &[Policy]) -> String {
    let mut text = Text::default();
    text.line("Address", told.address)
        .line("Space", &told.space)
        .line("Pool", told.pool.as_ref().map_or("none", |pool| pool.as_str()))
        .line("Summary", &told.summary);
    if let Some(view) = &told.lease {
        text.line("View", meaning(view))
            .line("Generation", view.lease.generation.0)
            .line("State", state(view));
        holder(&mut text, &view.lease);
        decided_by(&mut text, &view.lease, policies);
        decisions(&mut text, &told.decisions);
        let says = |one: &tenure_engine::Testimony| format!("{}  {}", one.witness, one.says);
        text.list("Witnesses", told.witnesses.iter().map(says));
        if !told.kept_by.is_empty() {
            text.list("Namespace kept by", told.kept_by.iter().cloned());
        }
    }
    text.list("What happens next", told.next.iter().cloned());
    if let Some(view) = &told.lease {
        text.list("Previous holders", view.lease.previous.iter().map(past));
    }
    text.finish()
}

/// Why this address was chosen.
fn decisions(text: &mut Text, records: &[DecisionRecord]) {
    if records.is_empty() {
        text.line("Decisions", "no longer remembered (the newest are kept, until a restart)");
        return;
    }
    text.list("Decisions", records.iter().flat_map(decision));
}

fn decision(record: &DecisionRecord) -> Vec<String> {
    let (hook, number) = (record.hook.name(), record.id);
    let decider = by(&record.by);
    let mut lines = vec![format!(
        "{hook}  decided by {decider}  {} ago (tenure get decision {number} -o yaml)",
        age(record.at)
    )];
    for step in &record.steps {
        lines.push(format!(
            "  {}  {}  fuel {}  {} us",
            step.policy,
            outcome(step),
            step.fuel,
            step.micros
        ));
        lines.extend(step.log.iter().map(|line| format!("    log: {line}")));
    }
    lines
}

fn outcome(step: &DecisionStep) -> String {
    match &step.outcome {
        StepOutcome::Decided => "decided".to_owned(),
        StepOutcome::Abstained => "abstained".to_owned(),
        StepOutcome::Fault { kind, message } => format!("fault {}: {message}", kind.as_str()),
        StepOutcome::Skipped => "not asked (breaker open)".to_owned(),
    }
}
