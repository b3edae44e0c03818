//! The table of changes.

use tenure_core::history::{Gap, GapCause, HORIZON, HistoryEvent, What};
use tenure_core::lease::{Proof, QuarantineCause};
use tenure_engine::HistoryView;

use crate::kinds::short_id;
use crate::table::dash;

const HEADER: [&str; 7] = ["SEQ", "AT", "WHAT", "WHY", "OWNER", "CONTAINER", "GEN"];
const WIDE_HEADER: [&str; 6] = ["SINCE", "NETWORK", "IFNAME", "NODE", "UID", "CONTAINER-ID"];

/// Events and the gaps between them, newest first.
pub(super) fn table(view: &HistoryView, wide: bool) -> String {
    let header: Vec<&str> = match wide {
        true => HEADER.into_iter().chain(WIDE_HEADER).collect(),
        false => HEADER.to_vec(),
    };
    let is_whole = view.items.len() == view.total;
    let oldest = view.items.last().map_or(0, |event| event.seq);
    let is_shown = |gap: &&Gap| gap.seq != HORIZON && (is_whole || gap.seq > oldest);
    let events = view.items.iter().map(|event| (event.seq, event_row(event)));
    let gaps = view.gaps.iter().filter(is_shown).map(|gap| (gap.seq, gap_row(gap)));
    let mut rows: Vec<_> = events.chain(gaps).collect();
    rows.sort_by_key(|(seq, _)| std::cmp::Reverse(*seq));
    let cut = |(_, mut row): (u64, Vec<String>)| {
        row.resize(HEADER.len() + WIDE_HEADER.len(), "-".to_owned());
        row.truncate(header.len());
        row
    };
    crate::table::table(&header, rows.into_iter().map(cut).collect())
}

fn event_row(event: &HistoryEvent) -> Vec<String> {
    let mut row = vec![
        event.seq.to_string(),
        event.at.to_rfc3339_ms(),
        word(&event.what).to_owned(),
        dash(why(event)),
    ];
    if let Some(holder) = event.holder() {
        let container = &holder.attachment.container;
        row.extend([
            holder.owner.to_string(),
            short_id(container),
            holder.generation.0.to_string(),
            holder.since.to_rfc3339_ms(),
            holder.attachment.network.to_string(),
            holder.attachment.ifname.to_string(),
            dash(&*holder.node),
            dash(&*holder.owner.uid),
            container.to_string(),
        ]);
    }
    row
}

fn gap_row(gap: &Gap) -> Vec<String> {
    let why = format!("{}: nothing is known since {}", cause(gap.cause), gap.from.to_rfc3339_ms());
    vec![gap.seq.to_string(), gap.to.to_rfc3339_ms(), "(gap)".to_owned(), why]
}

fn word(what: &What) -> &'static str {
    match what {
        What::Bound => "bound",
        What::Rebound => "rebound",
        What::TakenOver => "taken-over",
        What::Released => "released",
        What::Reclaimed { .. } => "reclaimed",
        What::Quarantined { .. } => "quarantined",
        What::Returned => "returned",
        What::Forgotten => "forgotten",
    }
}

fn why(event: &HistoryEvent) -> String {
    match &event.what {
        What::Released => "DEL".to_owned(),
        What::Reclaimed { proof } => match proof {
            Proof::None => String::new(),
            Proof::Kernel => "kernel".to_owned(),
            Proof::Reboot => "reboot".to_owned(),
            Proof::Operator => "operator".to_owned(),
        },
        What::Quarantined { cause } => quarantine(cause),
        What::TakenOver => event.before.as_ref().map_or_else(String::new, |before| {
            format!("from {}", short_id(&before.attachment.container))
        }),
        What::Rebound => "new namespace or boot".to_owned(),
        What::Bound | What::Returned | What::Forgotten => String::new(),
    }
}

/// Why an address is or was in quarantine, in a few words.
pub(super) fn quarantine(cause: &QuarantineCause) -> String {
    match cause {
        QuarantineCause::Unfenced => "lost node".to_owned(),
        QuarantineCause::Wire => "foreign answer".to_owned(),
        QuarantineCause::TwoClaims => "two claims".to_owned(),
        QuarantineCause::Found => "found on a link".to_owned(),
        QuarantineCause::Operator(why) => format!("operator: {why}"),
    }
}

/// Why nothing is known of a time.
pub(super) fn cause(cause: GapCause) -> &'static str {
    match cause {
        GapCause::Import => "import",
        GapCause::NewEpoch => "the store went back in time",
        GapCause::Unrecorded => "no history was kept",
    }
}
