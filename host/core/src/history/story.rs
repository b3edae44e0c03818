//! What the history of one address, its gaps and its record tell of a moment.
//!
//! Three sources, the first that knows answers:
//!
//! ```text
//! the events around the moment   where every change was kept: the last one before it, or the first one after it
//! a later event                  the hold that it ended had begun before the moment
//! the record                     what stands now stood at the moment already
//! ```
//!
//! The earlier holders in a record are not asked: a quarantine overwrites when the hold before it had ended.
//!
//! In a gap that hides records none of them may speak. *Unknown is never "nobody"*: nobody is the answer only where a
//! source says so.

use serde::{Deserialize, Serialize};

use super::{Entry, Gap, HORIZON, HistoryEvent, Holder, Kept};
use crate::lease::{Lease, LeaseState, QuarantineCause};
use crate::time::WallMs;

/// All that is known of one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    /// Its events and all gaps of the store, oldest first.
    pub entries: Vec<Entry>,
    /// How far back the store can tell.
    pub kept: Kept,
    /// Its record, read before the entries were.
    pub record: Option<Lease>,
}

/// Who held an address at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "was")]
pub enum HeldAt {
    /// This one.
    Held {
        /// Who, and since when.
        holder: Holder,
        /// Until when it is known to have held it; none: to this day.
        until: Option<WallMs>,
    },
    /// It was in quarantine: given to nobody, and perhaps used.
    Quarantined {
        /// Why.
        cause: QuarantineCause,
        /// Who may still have used it.
        holder: Option<Holder>,
        /// When the quarantine began.
        since: WallMs,
        /// Until when it is known to have lasted; none: to this day.
        until: Option<WallMs>,
    },
    /// Nobody.
    Nobody {
        /// Since when; none: from before all that is known.
        since: Option<WallMs>,
        /// Until when that is known; none: to this day.
        until: Option<WallMs>,
        /// Who had it last, where that is known.
        last: Option<Holder>,
    },
    /// Nothing that is kept tells it. It may have been anybody.
    Unknown(Ignorance),
}

/// Why it is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "why")]
pub enum Ignorance {
    /// The moment is older than what is kept.
    Older {
        /// From here on it is known.
        known_from: WallMs,
    },
    /// Nothing is known of a time that the moment lies in, or that follows it.
    Gap {
        /// Its begin.
        from: WallMs,
        /// Its end.
        to: WallMs,
        /// Its cause.
        cause: super::GapCause,
    },
    /// No entry is kept at all.
    NothingKept,
}

/// Where a moment lies.
enum Place<'a> {
    /// In a time of which every change was kept.
    Recorded(Stretch<'a>),
    InGap(&'a Gap),
    /// Before all that is kept.
    Before,
}

/// A time of which every change was kept, from the begin of the history or a gap to the next gap or now.
struct Stretch<'a> {
    /// Events and nothing else.
    entries: &'a [Entry],
    /// The gap that ends it; none: it lasts to this day.
    end: Option<&'a Gap>,
}

// === impl Story ===

impl Story {
    /// Who held the address at this moment.
    #[must_use]
    pub fn held_at(&self, at: WallMs) -> HeldAt {
        let known = match self.place(at) {
            Place::InGap(gap) if gap.hides_records() => return gap.unknown(),
            Place::InGap(gap) => self.told_later(at).ok_or_else(|| gap.unknown()),
            Place::Recorded(stretch) => stretch
                .held_at(at, self.record.as_ref())
                .or_else(|| self.told_later(at))
                .ok_or_else(|| stretch.end.map_or_else(|| self.older(), Gap::unknown)),
            Place::Before => self.told_later(at).ok_or_else(|| self.older()),
        };
        let hidden = self.gaps().find(|gap| gap.hides_records() && gap.from > at);
        known.map_or_else(|unknown| unknown, |known| known.known_until(hidden.map(|gap| gap.from)))
    }

    /// The wall clock was set back around this moment, so that it came twice: the events in their order tell more.
    #[must_use]
    pub fn came_twice(&self, at: WallMs) -> bool {
        let events: Vec<_> = self.events().collect();
        let back = |pair: &[&HistoryEvent]| match pair {
            [earlier, later] => later.at <= at && at <= earlier.at && later.at < earlier.at,
            _ => false,
        };
        events.windows(2).any(back)
    }

    /// Its events, oldest first.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &HistoryEvent> {
        events(&self.entries)
    }

    /// The gaps of the store, oldest first.
    pub fn gaps(&self) -> impl DoubleEndedIterator<Item = &Gap> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Gap(gap) => Some(gap),
            Entry::Event(_) => None,
        })
    }

    fn place(&self, at: WallMs) -> Place<'_> {
        let mut rest = self.entries.as_slice();
        let mut end = None;
        while let Some((index, gap)) = last_gap(rest) {
            let (before, from_gap) = rest.split_at(index);
            if at >= gap.to && gap.seq == HORIZON {
                rest = from_gap.split_first().map_or(&[][..], |(_, entries)| entries);
                break;
            }
            if at >= gap.to {
                let entries = from_gap.split_first().map_or(&[][..], |(_, entries)| entries);
                return Place::Recorded(Stretch { entries, end });
            }
            if at >= gap.from {
                return Place::InGap(gap);
            }
            (rest, end) = (before, Some(gap));
        }
        // A clock that was set back lets the first entry be later than what followed it.
        let is_kept = self.kept.from.is_some_and(|from| from <= at)
            || events(rest).any(|event| event.at <= at);
        if is_kept { Place::Recorded(Stretch { entries: rest, end }) } else { Place::Before }
    }

    /// What was written after the moment and still tells of it: holds that had begun before.
    fn told_later(&self, at: WallMs) -> Option<HeldAt> {
        let next_end = self.events().find(|event| event.at > at && event.before.is_some());
        let began_before = next_end.and_then(|event| state_before(event, at));
        began_before.or_else(|| self.record.as_ref().and_then(|record| state_now(Some(record), at)))
    }

    fn older(&self) -> HeldAt {
        HeldAt::Unknown(match self.kept.from {
            Some(known_from) => Ignorance::Older { known_from },
            None => Ignorance::NothingKept,
        })
    }
}

// === impl Stretch ===

impl Stretch<'_> {
    fn held_at(&self, at: WallMs, record: Option<&Lease>) -> Option<HeldAt> {
        let events: Vec<_> = events(self.entries).collect();
        let Some(last) = events.iter().rposition(|event| event.at <= at) else {
            return match events.first() {
                Some(next) => state_before(next, at),
                // No change to this day: what stands now stood then.
                None if self.end.is_none() => state_now(record, at),
                None => None,
            };
        };
        let mut rest = events.into_iter().skip(last);
        let event = rest.next()?;
        let until = rest.next().map(|next| next.at).or(self.end.map(|gap| gap.from));
        Some(state_after(event, until))
    }
}

fn state_after(event: &HistoryEvent, until: Option<WallMs>) -> HeldAt {
    let (since, holder) = (event.at, event.after.clone());
    match (&event.what, holder) {
        (super::What::Quarantined { cause }, holder) => {
            HeldAt::Quarantined { cause: cause.clone(), holder, since, until }
        }
        (_, Some(holder)) => HeldAt::Held { holder, until },
        (_, None) => HeldAt::Nobody { since: Some(since), until, last: event.before.clone() },
    }
}

/// What stood until the event, if it stood at the moment already.
fn state_before(event: &HistoryEvent, at: WallMs) -> Option<HeldAt> {
    let until = Some(event.at);
    match event.before.clone() {
        Some(holder) => (holder.since <= at).then_some(HeldAt::Held { holder, until }),
        None => Some(HeldAt::Nobody { since: None, until, last: None }),
    }
}

/// What stands now, if it stood at the moment already.
fn state_now(record: Option<&Lease>, at: WallMs) -> Option<HeldAt> {
    let Some(lease) = record else {
        return Some(HeldAt::Nobody { since: None, until: None, last: None });
    };
    let holder = Holder::of(lease);
    let (since, now) = match &lease.state {
        LeaseState::Bound => (lease.bound_at, HeldAt::Held { holder, until: None }),
        LeaseState::Released { at, .. } => {
            (*at, HeldAt::Nobody { since: Some(*at), until: None, last: Some(holder) })
        }
        LeaseState::Quarantined { at, cause } => {
            let (cause, holder) = (cause.clone(), lease.has_holder().then_some(holder));
            (*at, HeldAt::Quarantined { cause, holder, since: *at, until: None })
        }
    };
    (since <= at).then_some(now)
}

// === impl HeldAt ===

impl HeldAt {
    /// What is known to last to this day is not if nothing is known of a time in between.
    fn known_until(mut self, hidden: Option<WallMs>) -> Self {
        if let Self::Held { until, .. }
        | Self::Quarantined { until, .. }
        | Self::Nobody { until, .. } = &mut self
            && let Some(hidden) = hidden
        {
            *until = Some(until.map_or(hidden, |until| until.min(hidden)));
        }
        self
    }
}

// === impl Gap ===

impl Gap {
    fn unknown(&self) -> HeldAt {
        let Self { from, to, cause, .. } = *self;
        HeldAt::Unknown(Ignorance::Gap { from, to, cause })
    }
}

fn events(entries: &[Entry]) -> impl DoubleEndedIterator<Item = &HistoryEvent> {
    entries.iter().filter_map(|entry| match entry {
        Entry::Event(event) => Some(event),
        Entry::Gap(_) => None,
    })
}

fn last_gap(entries: &[Entry]) -> Option<(usize, &Gap)> {
    entries.iter().enumerate().rev().find_map(|(index, entry)| match entry {
        Entry::Gap(gap) => Some((index, gap)),
        Entry::Event(_) => None,
    })
}
