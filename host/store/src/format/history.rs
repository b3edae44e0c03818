//! The stored form of an entry of the history, version 1. Field order and enum order are the format: never change them.

use serde::{Deserialize, Serialize};
use tenure_core::history::{Entry, Gap, GapCause, HistoryEvent, Holder, What};
use tenure_core::lease::{Attachment, Generation, LeaseKey};
use tenure_core::name::{ContainerId, IfName, NetworkName};
use tenure_core::time::WallMs;

use super::parts::{CauseV1, OwnerV1, ProofV1};
use super::text::Text;
use super::{BadValue, VALUE_V1, body, damaged, lease_key, read_lease_key};

/// Second byte of a value.
const EVENT: u8 = 0;
const GAP: u8 = 1;

/// An event of one holder takes no more.
const USUAL_SIZE: usize = 192;

#[derive(Serialize, Deserialize)]
struct EventV1<'a> {
    at: u64,
    #[serde(borrow)]
    what: WhatV1<'a>,
    before: Option<HolderV1<'a>>,
    after: AfterV1<'a>,
}

#[derive(Serialize, Deserialize)]
enum WhatV1<'a> {
    Bound,
    Rebound,
    TakenOver,
    Released,
    Reclaimed(ProofV1),
    Quarantined(#[serde(borrow)] CauseV1<'a>),
    Returned,
    Forgotten,
}

#[derive(Serialize, Deserialize)]
struct HolderV1<'a> {
    #[serde(borrow)]
    owner: OwnerV1<'a>,
    network: &'a str,
    container: Text<'a>,
    ifname: &'a str,
    node: &'a str,
    generation: u64,
    since: u64,
}

#[derive(Serialize, Deserialize)]
enum AfterV1<'a> {
    Nobody,
    /// As before: it is stored once.
    Same,
    Another(#[serde(borrow)] HolderV1<'a>),
}

#[derive(Serialize, Deserialize)]
struct GapV1 {
    from: u64,
    to: u64,
    cause: GapCauseV1,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum GapCauseV1 {
    Import,
    NewEpoch,
    Unrecorded,
}

/// Tells the entries that concern an address without reading them.
pub(crate) struct Wanted(Option<Vec<u8>>);

/// The value of an entry.
pub(crate) fn entry_value(entry: &Entry) -> Result<Vec<u8>, BadValue> {
    match entry {
        Entry::Event(event) => {
            let mut bytes = event_start(&event.key())?;
            bytes.reserve(USUAL_SIZE);
            postcard::to_io(&EventV1::of(event), bytes).map_err(damaged)
        }
        Entry::Gap(gap) => postcard::to_io(&GapV1::of(gap), vec![VALUE_V1, GAP]).map_err(damaged),
    }
}

/// The reverse of [`entry_value`].
pub(crate) fn read_entry(seq: u64, value: &[u8]) -> Result<Entry, BadValue> {
    let cut = || BadValue::Damaged("it is cut off".to_owned());
    match body(value)?.split_first().ok_or_else(cut)? {
        (&EVENT, rest) => {
            let (&length, rest) = rest.split_first().ok_or_else(cut)?;
            let (key, event) = rest.split_at_checked(usize::from(length)).ok_or_else(cut)?;
            let event: EventV1<'_> = whole(event)?;
            event.into_event(seq, read_lease_key(key)?).map(Entry::Event)
        }
        (&GAP, gap) => whole::<GapV1>(gap).map(|gap| Entry::Gap(gap.into_gap(seq))),
        (other, _) => Err(damaged(format!("{other} is no kind of entry"))),
    }
}

/// What must be kept in place of an entry that is dropped. Nearly all are events, and none of those is read.
pub(crate) fn left_by(seq: u64, value: &[u8]) -> Option<Gap> {
    let is_gap = value.starts_with(&[VALUE_V1, GAP]);
    is_gap.then(|| read_entry(seq, value).ok()?.leaves()).flatten()
}

fn event_start(key: &LeaseKey) -> Result<Vec<u8>, BadValue> {
    let key = lease_key(key);
    let length = u8::try_from(key.len()).map_err(damaged)?;
    Ok([&[VALUE_V1, EVENT, length], key.as_slice()].concat())
}

/// Reads to the last byte.
fn whole<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, BadValue> {
    match postcard::take_from_bytes(bytes).map_err(damaged)? {
        (value, []) => Ok(value),
        (_, rest) => Err(damaged(format!("{} bytes too many", rest.len()))),
    }
}

// === impl Wanted ===

impl Wanted {
    /// Those of one address, or all. Gaps concern every address.
    pub(crate) fn of(key: Option<&LeaseKey>) -> Result<Self, BadValue> {
        key.map(event_start).transpose().map(Self)
    }

    pub(crate) fn is(&self, value: &[u8]) -> bool {
        let Self(Some(start)) = self else { return true };
        value.starts_with(start) || !value.starts_with(&[VALUE_V1, EVENT])
    }
}

// === impl EventV1 ===

impl<'a> EventV1<'a> {
    fn of(event: &'a HistoryEvent) -> Self {
        Self {
            at: event.at.0,
            what: WhatV1::of(&event.what),
            before: event.before.as_ref().map(HolderV1::of),
            after: match &event.after {
                None => AfterV1::Nobody,
                same if *same == event.before => AfterV1::Same,
                Some(another) => AfterV1::Another(HolderV1::of(another)),
            },
        }
    }

    fn into_event(self, seq: u64, key: LeaseKey) -> Result<HistoryEvent, BadValue> {
        let before = self.before.map(HolderV1::into_holder).transpose()?;
        Ok(HistoryEvent {
            seq,
            at: WallMs(self.at),
            address: key.address,
            space: key.space,
            what: self.what.into_what(),
            after: match self.after {
                AfterV1::Nobody => None,
                AfterV1::Same => before.clone(),
                AfterV1::Another(holder) => Some(holder.into_holder()?),
            },
            before,
        })
    }
}

impl<'a> WhatV1<'a> {
    fn of(what: &'a What) -> Self {
        match what {
            What::Bound => Self::Bound,
            What::Rebound => Self::Rebound,
            What::TakenOver => Self::TakenOver,
            What::Released => Self::Released,
            What::Reclaimed { proof } => Self::Reclaimed(ProofV1::of(*proof)),
            What::Quarantined { cause } => Self::Quarantined(CauseV1::of(cause)),
            What::Returned => Self::Returned,
            What::Forgotten => Self::Forgotten,
        }
    }

    fn into_what(self) -> What {
        match self {
            Self::Bound => What::Bound,
            Self::Rebound => What::Rebound,
            Self::TakenOver => What::TakenOver,
            Self::Released => What::Released,
            Self::Reclaimed(proof) => What::Reclaimed { proof: proof.into_proof() },
            Self::Quarantined(cause) => What::Quarantined { cause: cause.into_cause() },
            Self::Returned => What::Returned,
            Self::Forgotten => What::Forgotten,
        }
    }
}

impl<'a> HolderV1<'a> {
    fn of(holder: &'a Holder) -> Self {
        Self {
            owner: OwnerV1::of(&holder.owner),
            network: holder.attachment.network.as_str(),
            container: Text::pack(holder.attachment.container.as_str()),
            ifname: holder.attachment.ifname.as_str(),
            node: &holder.node,
            generation: holder.generation.0,
            since: holder.since.0,
        }
    }

    fn into_holder(self) -> Result<Holder, BadValue> {
        Ok(Holder {
            owner: self.owner.into_owner(),
            attachment: Attachment {
                network: NetworkName::new(self.network).map_err(damaged)?,
                container: ContainerId::new(self.container.unpack()).map_err(damaged)?,
                ifname: IfName::new(self.ifname).map_err(damaged)?,
            },
            node: self.node.into(),
            generation: Generation(self.generation),
            since: WallMs(self.since),
        })
    }
}

// === impl GapV1 ===

impl GapV1 {
    fn of(gap: &Gap) -> Self {
        let cause = match gap.cause {
            GapCause::Import => GapCauseV1::Import,
            GapCause::NewEpoch => GapCauseV1::NewEpoch,
            GapCause::Unrecorded => GapCauseV1::Unrecorded,
        };
        Self { from: gap.from.0, to: gap.to.0, cause }
    }

    fn into_gap(self, seq: u64) -> Gap {
        let cause = match self.cause {
            GapCauseV1::Import => GapCause::Import,
            GapCauseV1::NewEpoch => GapCause::NewEpoch,
            GapCauseV1::Unrecorded => GapCause::Unrecorded,
        };
        Gap { seq, from: WallMs(self.from), to: WallMs(self.to), cause }
    }
}
