//! Who held an address at a moment, in words.

use tenure_core::history::{HeldAt, Holder, Ignorance};
use tenure_core::time::WallMs;
use tenure_engine::MomentView;

use super::rows::{cause, quarantine};
use crate::commands::text::Text;
use crate::error::CliError;
use crate::lease_name::LeaseName;

/// The answer for readers.
///
/// # Errors
/// Nobody knows.
pub(super) fn shown(lease: &LeaseName, moment: &MomentView) -> Result<String, CliError> {
    known(lease, moment)?;
    let mut text = Text::default();
    text.line("Address", lease.key.address)
        .line("Space", &lease.key.space)
        .line("At", moment.at.to_rfc3339_ms());
    match &moment.answer {
        HeldAt::Held { holder, until } => {
            text.line("Held by", &holder.owner);
            whole(&mut text, holder);
            text.line("Held since", holder.since.to_rfc3339_ms()).line("Held until", end(*until));
        }
        HeldAt::Quarantined { cause, holder, since, until } => {
            text.line("Held by", format!("nobody: in quarantine ({})", quarantine(cause)))
                .line("Since", since.to_rfc3339_ms())
                .line("Until", end(*until));
            if let Some(holder) = holder {
                text.line("May have used it", &holder.owner);
                whole(&mut text, holder);
            }
        }
        HeldAt::Nobody { since, until, last } => {
            text.line("Held by", "nobody")
                .line("Since", since.map_or(String::new(), WallMs::to_rfc3339_ms))
                .line("Until", end(*until));
            if let Some(last) = last {
                text.line("Last holder", &last.owner);
                whole(&mut text, last);
            }
        }
        HeldAt::Unknown(_) => {}
    }
    if moment.clock_set_back {
        let note = "it was set back around then; the changes in their order tell more";
        text.line("Clock", note);
    }
    Ok(text.finish())
}

/// An error where nobody knows: a script must not take it for nobody.
pub(super) fn known(lease: &LeaseName, moment: &MomentView) -> Result<(), CliError> {
    let HeldAt::Unknown(why) = &moment.answer else { return Ok(()) };
    let key = &lease.key;
    let why = match why {
        Ignorance::Older { known_from } => {
            format!("it is older than what is kept (from {} on)", known_from.to_rfc3339_ms())
        }
        Ignorance::Gap { from, to, cause: why } => format!(
            "nothing is known of {} to {} ({})",
            from.to_rfc3339_ms(),
            to.to_rfc3339_ms(),
            cause(*why)
        ),
        Ignorance::NothingKept => {
            "no change is kept (none has happened, or store.historyEvents is 0)".to_owned()
        }
    };
    let what = format!(
        "who held {key} at {} is not known: {why}; `tenure describe lease {key}` shows its last holders",
        moment.at.to_rfc3339_ms()
    );
    Err(CliError::NotKnown { what })
}

fn whole(text: &mut Text, holder: &Holder) {
    text.line("Uid", &holder.owner.uid)
        .line("Container", &holder.attachment.container)
        .line("Network", &holder.attachment.network)
        .line("Interface", &holder.attachment.ifname)
        .line("Node", &holder.node)
        .line("Generation", holder.generation.0);
}

fn end(until: Option<WallMs>) -> String {
    until.map_or("to this day".to_owned(), WallMs::to_rfc3339_ms)
}
