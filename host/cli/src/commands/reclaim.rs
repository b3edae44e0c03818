//! `tenure reclaim`: zombies taken back now, and a list of what is left and why.

use hyper::Method;
use tenure_core::decision::DecidedBy;
use tenure_core::judge::{ApiSays, Evidence, KernelSays, NodeSays};
use tenure_core::lease::{Attachment, LeaseKey};
use tenure_engine::{RECLAIM_PATIENCE, ReclaimAnswer, Reclaimed, SuspectView};

use crate::age::short_s;
use crate::client::{Client, PATIENCE};
use crate::error::CliError;
use crate::kinds::short_id;
use crate::output::{Format, print, print_document};
use crate::progress::with_progress;
use crate::shown::{CELL, shown};
use crate::table::{dash, table};

/// Before the verdict, which is a sentence and stands last.
const HEADER: [&str; 9] =
    ["ADDRESS", "POOL", "HOLDER", "OWNER", "EVIDENCE", "SUSPECT", "GRACE", "LEFT", "POLICY"];
const WIDE_HEADER: [&str; 2] = ["GEN", "CONTAINER-ID"];

/// Take back now what is held by nobody alive, and list what is left and why
///
/// Only proof takes an address back: a holder whose network namespace was seen and is no more, by two looks and
/// after the grace that the policies set. Suspects that become due within 10 s are waited for. What is left is kept
/// for the reason in its line; that is no failure (exit code 0). An address of which you know better is released by
/// `tenure release`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  tenure reclaim --dry-run\n  tenure reclaim\n  tenure reclaim --dry-run -o wide\n  tenure reclaim -o json"
)]
pub(crate) struct Args {
    /// Only list the suspects, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(client: &Client, args: Args, format: Format) -> Result<(), CliError> {
    let dry_run = if args.dry_run { "true" } else { "false" };
    let query = [("dryRun", dry_run)];
    let patience = PATIENCE.saturating_add(RECLAIM_PATIENCE);
    let asked = client.call_within(patience, Method::POST, "/v1/reclaim", &query, Vec::new());
    let answer: ReclaimAnswer =
        with_progress("waiting for suspects that become due", asked).await?;
    if print_document(format, &answer)? {
        return Ok(());
    }
    print(&match format {
        Format::Name => names(&answer),
        _ => page(&answer, format == Format::Wide),
    })?;
    if format != Format::Name {
        tell_the_rest(&answer);
    }
    Ok(())
}

/// Of what was taken back; of the suspects where nothing was to be.
fn names(answer: &ReclaimAnswer) -> String {
    let line = |space, address| format!("iplease/{}\n", LeaseKey { space, address });
    match answer.dry_run {
        true => answer.suspects.iter().map(|one| line(one.space.clone(), one.address)).collect(),
        false => answer.reclaimed.iter().map(|one| line(one.space.clone(), one.address)).collect(),
    }
}

/// What was taken back, then what is left.
fn page(answer: &ReclaimAnswer, wide: bool) -> String {
    let mut text: String = answer.reclaimed.iter().map(taken).collect();
    if answer.suspects.is_empty() {
        return text;
    }
    if !text.is_empty() {
        text.push('\n');
    }
    let mut header = HEADER.to_vec();
    if wide {
        header.extend(WIDE_HEADER);
    }
    header.push("VERDICT");
    let row = |suspect: &SuspectView| {
        let mut row = cells(suspect);
        if wide {
            row.push(suspect.generation.to_string());
            row.push(suspect.attachment.container.to_string());
        }
        row.push(suspect.text.clone());
        row
    };
    text.push_str(&table(&header, answer.suspects.iter().map(row).collect()));
    text
}

fn taken(one: &Reclaimed) -> String {
    let key = LeaseKey { space: one.space.clone(), address: one.address };
    let verb = if one.quarantined { "quarantined, was held by" } else { "reclaimed from" };
    let owner = shown(&one.owner.to_string(), CELL);
    format!("iplease/{key} {verb} {owner} (container {})\n", one.attachment.container)
}

fn cells(suspect: &SuspectView) -> Vec<String> {
    let key = LeaseKey { space: suspect.space.clone(), address: suspect.address };
    let seconds = |seconds: Option<u64>| dash(seconds.map(short_s).unwrap_or_default());
    vec![
        key.to_string(),
        suspect.pool.to_string(),
        holder(&suspect.attachment),
        suspect.owner.to_string(),
        evidence(&suspect.evidence),
        seconds(suspect.suspect_s),
        seconds(suspect.grace_s),
        seconds(suspect.left_s),
        dash(suspect.grace_by.as_ref().map_or("", DecidedBy::name)),
    ]
}

fn holder(attachment: &Attachment) -> String {
    format!("{}/{}/{}", attachment.network, short_id(&attachment.container), attachment.ifname)
}

/// What each witness says; those that nobody asks are left out.
fn evidence(evidence: &Evidence) -> String {
    let kernel = match evidence.kernel {
        KernelSays::Alive => "kernel alive",
        KernelSays::Gone => "kernel gone",
        KernelSays::Rebooted => "kernel rebooted",
        KernelSays::Blind => "kernel blind",
        KernelSays::Silent => "kernel silent",
    };
    let node = match evidence.node {
        NodeSays::Heard => None,
        NodeSays::AgentSilent => Some("agent silent"),
        NodeSays::Fenced => Some("node fenced"),
        NodeSays::Lost => Some("node lost"),
        NodeSays::LostWithMany => Some("many nodes lost"),
        NodeSays::Unknown => Some("node unknown"),
    };
    let api = match evidence.api {
        ApiSays::Nothing => None,
        ApiSays::Alive => Some("api alive"),
        ApiSays::Overdue => Some("api overdue"),
        ApiSays::Gone => Some("api gone"),
        ApiSays::Silent => Some("api silent"),
    };
    let all: Vec<&str> = [Some(kernel), node, api].into_iter().flatten().collect();
    all.join(", ")
}

/// What is no line of a list goes to standard error.
fn tell_the_rest(answer: &ReclaimAnswer) {
    match (answer.dry_run, answer.reclaimed.is_empty(), answer.suspects.is_empty()) {
        (true, _, true) => eprintln!("no suspects: every holder is seen alive"),
        (false, true, true) => eprintln!("nothing to reclaim: every holder is seen alive"),
        (false, true, false) => eprintln!("nothing was reclaimed"),
        _ => {}
    }
    if answer.unlisted > 0 {
        eprintln!("{} more suspects are not listed", answer.unlisted);
    }
}
