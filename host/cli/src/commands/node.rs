//! `tenure node`: the operator's word that a machine is dead.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use clap::Subcommand;
use hyper::Method;

use crate::client::Client;
use crate::error::CliError;
use crate::kinds::Thing;
use crate::output::{Format, print, print_document};
use crate::shown::{LINE, shown};
use crate::wire::Items;
use crate::wire_nodes::{DeathWord, Node, Unconfirmed};

/// Say that the machine of a node is dead, or take that back
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  tenure get nodes\n  tenure node confirm-dead 0b4c-UID --reason 'mainboard burnt, case 4711'\n  tenure node unconfirm-dead 0b4c-UID"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

/// What to say.
#[derive(Debug, Subcommand)]
enum Verb {
    ConfirmDead(ConfirmDead),
    UnconfirmDead(UnconfirmDead),
}

/// Say that a machine is off: what is bound on it is given to others
///
/// You vouch that nothing on the machine runs, or will again before its agent has spoken. Every lease that was bound there
/// before now is given to others. If the machine runs after all, two holders answer for one address. It is refused while its
/// agent or its kubelet is heard, counts once both were silent for the lost time, and ends when the agent is heard again.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  tenure node confirm-dead 0b4c-UID --reason 'mainboard burnt, case 4711'\n  tenure node confirm-dead 0b4c-UID --reason 'power cut in row 3' --yes"
)]
struct ConfirmDead {
    /// The uid of its Node, as `tenure get nodes` shows it: a node that is made anew has the same name and another uid
    #[arg(value_name = "NODE-UID")]
    uid: String,
    /// Why, for the record, in at most 512 bytes
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Take back that a machine is dead
///
/// What was given to others meanwhile stays theirs. There may be nothing to take back.
#[derive(Debug, clap::Args)]
#[command(after_help = "EXAMPLES:\n  tenure node unconfirm-dead 0b4c-UID")]
struct UnconfirmDead {
    /// The uid of its Node
    #[arg(value_name = "NODE-UID")]
    uid: String,
}

pub(crate) async fn run(client: &Client, args: Args, format: Format) -> Result<(), CliError> {
    match args.verb {
        Verb::ConfirmDead(args) => confirm_dead(client, args, format).await,
        Verb::UnconfirmDead(args) => unconfirm_dead(client, args, format).await,
    }
}

async fn confirm_dead(client: &Client, args: ConfirmDead, format: Format) -> Result<(), CliError> {
    let ConfirmDead { uid, reason, yes } = args;
    let node = find(client, &uid).await?;
    if !yes {
        ask(&node)?;
    }
    let by = client.user().await.unwrap_or_default();
    let body = serde_json::to_vec(&DeathWord { reason: &reason, by: &by });
    let body = body.map_err(|error| CliError::NotDone { what: error.to_string() })?;
    let path = format!("/v1/nodes/{uid}/confirm-dead");
    let node: Node = client.call(Method::POST, &path, &[], body).await?;
    if print_document(format, &node)? {
        return Ok(());
    }
    if format == Format::Name {
        return print(&format!("node/{uid}\n"));
    }
    let name = shown(&node.name, LINE);
    print(&format!(
        "node/{name} ({uid}) confirmed dead; the {} addresses held there are given to others\n",
        node.held
    ))
}

async fn unconfirm_dead(
    client: &Client,
    args: UnconfirmDead,
    format: Format,
) -> Result<(), CliError> {
    let uid = must_be_a_uid(args.uid)?;
    let path = format!("/v1/nodes/{uid}/unconfirm-dead");
    let answer: Unconfirmed = client.call(Method::POST, &path, &[], Vec::new()).await?;
    if print_document(format, &answer)? {
        return Ok(());
    }
    if format == Format::Name {
        return print(&format!("node/{uid}\n"));
    }
    let what = match answer.was_confirmed {
        true => "is no longer confirmed dead",
        false => "was not confirmed dead",
    };
    print(&format!("node/{uid} {what}\n"))
}

/// The machine with this uid. A name is answered with the uids to choose from.
async fn find(client: &Client, wanted: &str) -> Result<Node, CliError> {
    let wanted = must_be_a_uid(wanted.to_owned())?;
    let list: Items<Node> = client.get("/v1/nodes", &[]).await?;
    let (mut exact, others): (Vec<Node>, Vec<Node>) =
        list.items.into_iter().partition(|node| node.uid == wanted);
    if let Some(node) = exact.pop() {
        return Ok(node);
    }
    let named: Vec<String> = others
        .into_iter()
        .filter(|node| node.name == wanted && !node.uid.is_empty())
        .map(|node| format!("  {} ({}, {} addresses held)", node.uid, node.state.word(), node.held))
        .collect();
    if named.is_empty() {
        let (what, next) = (format!("node {wanted}"), Thing::Node.list_command());
        return Err(CliError::NotFound { what, next });
    }
    let why = format!(
        "{wanted} is a name, and a node that is made anew has it, too; say which machine by its uid:\n{}",
        named.join("\n")
    );
    Err(CliError::Usage { why })
}

/// It becomes a part of a path.
fn must_be_a_uid(text: String) -> Result<String, CliError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if !text.is_empty() && text.bytes().all(is_plain) {
        return Ok(text);
    }
    let why = format!("{text:?} is no uid of a node; `tenure get nodes` lists them");
    Err(CliError::Usage { why })
}

fn ask(node: &Node) -> Result<(), CliError> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        let why = format!(
            "the {} addresses held on {} would be given to others; say --yes as well if the machine is off",
            node.held, node.name
        );
        return Err(CliError::Usage { why });
    }
    eprint!(
        "Node {} ({}) is {}; {} addresses are held there. All of them are given to others.\nIf anything on that machine still runs, two holders answer for one address.\nDo you know that it is off? [y/N] ",
        shown(&node.name, LINE),
        shown(&node.uid, LINE),
        node.state.word(),
        node.held
    );
    io::stderr().flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(CliError::NotDone { what: "nothing was changed".to_owned() })
}
