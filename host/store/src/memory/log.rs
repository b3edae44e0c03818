//! The history in memory.

use std::collections::VecDeque;

use tenure_core::history::{Entry, Gap, HORIZON, Kept};
use tenure_core::lease::LeaseKey;
use tenure_core::time::WallMs;

use crate::port::History;

/// The newest entries.
#[derive(Debug)]
pub(super) struct Log {
    bound: u64,
    horizon: Option<Gap>,
    entries: VecDeque<Entry>,
}

impl Log {
    pub(super) fn keeping(bound: u64) -> Self {
        Self { bound, horizon: None, entries: VecDeque::new() }
    }

    /// The number of the next entry; none where none is kept.
    pub(super) fn next(&self) -> Option<u64> {
        let last = self.entries.back().map_or(0, Entry::seq);
        (self.bound > 0).then(|| last.saturating_add(1))
    }

    pub(super) fn last_at(&self) -> Option<WallMs> {
        self.entries.back().map(Entry::at)
    }

    pub(super) fn append(&mut self, entry: Entry) {
        match entry {
            _ if self.bound == 0 => return,
            Entry::Gap(horizon) if horizon.seq == HORIZON => self.horizon = Some(horizon),
            entry => self.entries.push_back(entry),
        }
        while self.entries.len() as u64 > self.bound {
            let dropped = self.entries.pop_front();
            self.horizon = dropped.and_then(|entry| entry.leaves()).or(self.horizon.take());
        }
    }

    pub(super) fn replace(&mut self, history: Option<&History>) {
        *self = Self::keeping(self.bound);
        let entries = history.map_or(&[][..], |history| &history.entries);
        entries.iter().for_each(|entry| self.append(entry.clone()));
    }

    /// Those of one address, or all; gaps in any case.
    pub(super) fn entries(&self, of: Option<&LeaseKey>) -> Vec<Entry> {
        let is_wanted = |entry: &&Entry| match entry {
            Entry::Event(event) => of.is_none_or(|key| event.key() == *key),
            Entry::Gap(_) => true,
        };
        let horizon = self.horizon.clone().map(Entry::Gap);
        horizon.into_iter().chain(self.entries.iter().filter(is_wanted).cloned()).collect()
    }

    pub(super) fn kept(&self) -> Kept {
        Kept { bound: self.bound, from: self.entries.front().map(Entry::at) }
    }
}
