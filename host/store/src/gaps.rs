//! The gaps that engines leave in their history, and the time that they give them.

use std::time::{SystemTime, UNIX_EPOCH};

use tenure_core::history::{Gap, GapCause};
use tenure_core::time::WallMs;

use crate::port::History;

/// The wall clock, for what no record tells the time of.
pub(crate) fn wall_now() -> WallMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// What an import leaves: what happened since the export is not in it. An export that tells no history says nothing
/// about any time before.
pub(crate) fn after_import(history: Option<&History>, seq: u64) -> Gap {
    let told = history.filter(|history| !history.entries.is_empty());
    gap(seq, told.map(|history| history.until).unwrap_or_default(), GapCause::Import)
}

/// What a new life of the store leaves: nobody knows how far back it went beyond the last entry.
pub(crate) fn after_going_back(last_entry: Option<WallMs>, seq: u64) -> Gap {
    gap(seq, last_entry.unwrap_or_default(), GapCause::NewEpoch)
}

/// What writes without a history leave. If they began a new life too, no record of before is to be believed.
pub(crate) fn after_silence(last_entry: Option<WallMs>, same_life: bool, seq: u64) -> Gap {
    match same_life {
        true => gap(seq, last_entry.unwrap_or_default(), GapCause::Unrecorded),
        false => gap(seq, WallMs::default(), GapCause::NewEpoch),
    }
}

fn gap(seq: u64, from: WallMs, cause: GapCause) -> Gap {
    let to = wall_now();
    Gap { seq, from: from.min(to), to, cause }
}
