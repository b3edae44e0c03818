//! Who held an address.

use serde::Serialize;
use utoipa::ToSchema;

use super::lease::{Attachment, Owner, Proof, QuarantineCause};

/// The history of an address. Times are milliseconds since the Unix epoch.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::openapi) struct HistoryView {
    address: String,
    space: String,
    /// Only where `at` was asked for.
    #[schema(required = false)]
    moment: MomentView,
    /// Newest first.
    items: Vec<HistoryEvent>,
    /// How many there are.
    total: usize,
    gaps: Vec<Gap>,
    kept: Kept,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::openapi) struct MomentView {
    at: u64,
    answer: HeldAt,
    /// The wall clock was set back around it: the events in their order tell more.
    clock_set_back: bool,
}

/// Who held an address at a moment.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "was")]
pub(in crate::openapi) enum HeldAt {
    Held {
        holder: Holder,
        /// Known until then; null: to this day.
        until: Option<u64>,
    },
    Quarantined {
        cause: QuarantineCause,
        holder: Option<Holder>,
        since: u64,
        until: Option<u64>,
    },
    Nobody {
        /// Null: from before all that is known.
        since: Option<u64>,
        until: Option<u64>,
        last: Option<Holder>,
    },
    Unknown {
        why: Ignorance,
        /// With `older`: from here on it is known.
        #[schema(required = false)]
        known_from: u64,
        /// With `gap`.
        #[schema(required = false)]
        from: u64,
        #[schema(required = false)]
        to: u64,
        #[schema(required = false)]
        cause: GapCause,
    },
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::openapi) enum Ignorance {
    Older,
    Gap,
    NothingKept,
}

/// A change of holder.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::openapi) struct HistoryEvent {
    seq: u64,
    at: u64,
    address: String,
    space: String,
    what: What,
    /// With `reclaimed`.
    #[schema(required = false)]
    proof: Proof,
    /// With `quarantined`.
    #[schema(required = false)]
    cause: QuarantineCause,
    /// Who held it until then.
    before: Option<Holder>,
    /// Who holds it from then on.
    after: Option<Holder>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::openapi) enum What {
    Bound,
    Rebound,
    TakenOver,
    Released,
    Reclaimed,
    Quarantined,
    Returned,
    Forgotten,
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::openapi) struct Holder {
    owner: Owner,
    attachment: Attachment,
    node: String,
    generation: u64,
    since: u64,
}

/// A time of which nothing is known.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::openapi) struct Gap {
    /// Its place among the events; 0: before all of them.
    seq: u64,
    from: u64,
    to: u64,
    cause: GapCause,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::openapi) enum GapCause {
    Import,
    NewEpoch,
    Unrecorded,
}

/// How far back the store can tell.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::openapi) struct Kept {
    /// Entries kept at most, of all addresses; 0: none.
    bound: u64,
    /// From when on every change is there, gaps aside.
    from: Option<u64>,
}
