//! What is heard of rows: from others, by ourselves a second time, late, or while an ADD of ours has the address.
//!
//! The revisions of a row only rise, and its deletion has one as well. So news counts only if it is of a higher revision
//! than what is known: nothing that is late, old or heard twice lowers knowledge or begins a rest anew.
//!
//! News of an address that an ADD in flight has reserved waits until that ADD has ended: its conditional write decides, and
//! says what stands there. Then the news is taken over, if it is still newer.

use super::slot::Spot;
use super::{Ledger, Now, Slot, Status};
use crate::lease::{Lease, LeaseKey};

/// What was heard of an address.
#[derive(Debug, Clone, Copy)]
pub(super) struct News {
    revision: u64,
    /// The row; none if it is gone.
    slot: Option<Slot>,
    /// When it was heard.
    at: Now,
}

impl Ledger {
    /// Takes over a row that was written, heard of or read, if it is newer than what is known. Says whether it was news.
    ///
    /// A released row rests from now on, by our own clock, however long ago its record says that it was released: that is
    /// a timestamp of another machine (invariant I8), and so long a rest is only ever too long. A replica hears of a
    /// release within milliseconds, and what it hears again does not begin anew: neither the same row, nor one that was
    /// written since of the same release (somebody sets a label, a key's retention goes).
    pub fn hear(&mut self, lease: &Lease, revision: u64, now: Now) -> bool {
        let key = lease.key();
        if !self.is_news(&key, revision) {
            return false;
        }
        if self.is_reserved(&key) {
            let slot = self.slot_of(lease, revision, now);
            return self.put_by(&key, News { revision, slot: Some(slot), at: now });
        }
        self.apply(lease, revision, now);
        true
    }

    /// The row of this revision, and any before it, is gone from the store. Says whether it was news.
    pub fn hear_gone(&mut self, key: &LeaseKey, revision: u64, now: Now) -> bool {
        // A row of this very revision is what is gone.
        if self.slot(key).is_none_or(|slot| slot.revision > revision) {
            return false;
        }
        if self.is_reserved(key) {
            return self.put_by(key, News { revision, slot: None, at: now });
        }
        self.forget(key);
        true
    }

    /// Takes over what a write of ours has left there, and ends the reservation for it. What is newer by now stays.
    pub fn wrote(&mut self, lease: &Lease, revision: u64, now: Now) {
        if self.is_news(&lease.key(), revision) {
            self.apply(lease, revision, now);
        }
    }

    /// A write of ours has deleted the row of this revision. What is newer by now stays.
    pub fn deleted(&mut self, key: &LeaseKey, revision: u64) {
        if self.slot(key).is_some_and(|slot| slot.revision <= revision) {
            self.forget(key);
        }
    }

    fn is_news(&self, key: &LeaseKey, revision: u64) -> bool {
        self.slot(key).is_none_or(|slot| slot.revision < revision)
    }

    fn is_reserved(&self, key: &LeaseKey) -> bool {
        self.slot(key).is_some_and(|slot| matches!(slot.status, Status::Reserved { .. }))
    }

    /// Keeps the newest that is heard of a reserved address.
    fn put_by(&mut self, key: &LeaseKey, news: News) -> bool {
        let spot = self.spot(key);
        let is_newer = self.news.get(&spot).is_none_or(|known| known.revision < news.revision);
        if is_newer {
            self.news.insert(spot, news);
        }
        is_newer
    }

    /// What was heard while the address was reserved, now that it is not.
    pub(super) fn take_news(&mut self, spot: Spot) {
        let Some(News { revision, slot, at }) = self.news.remove(&spot) else { return };
        let known = self.rows.get(&spot).map(|entry| entry.slot);
        match slot {
            Some(mut slot) if known.is_none_or(|known| known.revision < revision) => {
                // Its agent may have spoken since.
                slot.rehome(self.home_of(&self.node(&slot)), at.moment);
                self.replace_row(spot, slot, at);
            }
            None if known.is_some_and(|known| known.revision <= revision) => {
                self.drop_row(spot);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{at, four, lease};
    use super::super::{For, Hold, Want};
    use super::*;
    use crate::lease::Proof;

    fn reserved(ledger: &mut Ledger) -> Hold {
        ledger.reserve(0, Want::Pressed, at(0)).unwrap()
    }

    #[test]
    fn what_is_old_or_heard_twice_neither_lowers_knowledge_nor_begins_a_rest_anew() {
        let mut ledger = four();
        let bound = lease(&reserved(&mut ledger).key, "c1", 1);
        let released = bound.clone().released(at(0).wall, Proof::None, 60);
        ledger.apply(&released, 5, at(0));
        let before = ledger.slot(&bound.key());
        assert!(!ledger.hear(&bound, 4, at(9_000)) && !ledger.hear(&released, 5, at(9_000)));
        assert!(!ledger.hear_gone(&bound.key(), 4, at(9_000)));
        assert_eq!(ledger.slot(&bound.key()), before);
        assert!(ledger.hear_gone(&bound.key(), 5, at(9_000)));
        assert_eq!(ledger.slot(&bound.key()), None);
    }

    #[test]
    fn a_release_that_is_heard_of_again_in_a_later_row_rests_on_and_another_release_anew() {
        let mut ledger = four();
        let bound = lease(&reserved(&mut ledger).key, "c1", 1);
        let (key, released) = (bound.key(), bound.clone().released(at(0).wall, Proof::None, 60));
        ledger.apply(&released, 5, at(0));
        let ends = |ledger: &Ledger| ledger.slot(&key).unwrap().rest_ends();
        for second in 1..=59 {
            assert!(ledger.hear(&released, 5 + second, at(second * 1000)));
        }
        assert_eq!(ends(&ledger), Some(at(60_000).moment), "somebody writes it all the time");
        // While an ADD had it, too.
        let hold = ledger.reserve_exact(&key, For::Anyone, at(59_000)).unwrap();
        assert!(ledger.hear(&released, 99, at(59_500)));
        ledger.cancel(hold, at(59_800));
        assert_eq!(ends(&ledger), Some(at(60_000).moment));
        // It was in use in between.
        ledger.hear(&bound.released(at(61_000).wall, Proof::None, 60), 100, at(61_000));
        assert_eq!(ends(&ledger), Some(at(121_000).moment));
    }

    #[test]
    fn news_of_a_reserved_address_waits_for_the_end_of_the_add_and_is_not_lost() {
        let ends: [fn(&mut Ledger, Hold); 2] = [
            |ledger, hold| ledger.cancel(hold, at(2)),
            // Its write came first; what was heard since is what stands now.
            |ledger, hold| ledger.wrote(&lease(&hold.key, "mine", 1), 6, at(2)),
        ];
        for end in ends {
            let mut ledger = four();
            let hold = reserved(&mut ledger);
            let key = hold.key.clone();
            let theirs = lease(&key, "theirs", 2);
            assert!(ledger.hear(&theirs, 7, at(1)));
            assert!(!ledger.hear(&lease(&key, "late", 1), 3, at(1)));
            assert!(ledger.is_reserved(&key), "until the ADD has ended");
            end(&mut ledger, hold);
            let slot = ledger.slot(&key).unwrap();
            assert_eq!((slot.revision, slot.is_bound()), (7, true));
            assert!(ledger.reserve_exact(&key, For::Anyone, at(3)).is_err());
            assert!(ledger.counts(0, at(3)).add_up());
        }
    }

    #[test]
    fn an_old_event_of_an_address_that_we_have_just_taken_is_dropped() {
        let mut ledger = four();
        let hold = reserved(&mut ledger);
        let key = hold.key.clone();
        ledger.hear(&lease(&key, "before", 1), 3, at(1));
        ledger.hear_gone(&key, 4, at(1));
        let mine = lease(&key, "mine", 1);
        ledger.wrote(&mine, 6, at(2));
        assert_eq!(ledger.slot(&key).unwrap().revision, 6);
        assert!(ledger.news.is_empty());
    }

    #[test]
    fn an_answer_of_our_own_that_comes_late_does_not_undo_what_was_heard_since() {
        let mut ledger = four();
        let hold = reserved(&mut ledger);
        let key = hold.key.clone();
        ledger.wrote(&lease(&key, "mine", 1), 6, at(0));
        let released = lease(&key, "mine", 1).released(at(1).wall, Proof::None, 60);
        ledger.hear(&released, 9, at(1));
        ledger.wrote(&lease(&key, "mine", 1), 8, at(2));
        ledger.deleted(&key, 8);
        assert_eq!(ledger.slot(&key).unwrap().revision, 9);
    }

    #[derive(Debug, Clone)]
    enum Op {
        /// The next change of the row by others: bound, released or gone.
        Change(u8),
        /// Any event so far is heard, late or again.
        Hear(usize),
        Reserve,
        Cancel,
        /// The ADD writes: it succeeds where nothing has changed since it reserved.
        Write,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            3 => (0u8..3).prop_map(Op::Change),
            4 => any::<usize>().prop_map(Op::Hear),
            2 => Just(Op::Reserve),
            1 => Just(Op::Cancel),
            2 => Just(Op::Write),
        ]
    }

    proptest! {
        /// Knowledge never goes back, and once everything was heard it is the truth.
        #[test]
        fn no_order_of_events_lowers_knowledge(ops in proptest::collection::vec(op(), 1..60)) {
            let mut ledger = four();
            let first = reserved(&mut ledger);
            let key = first.key.clone();
            ledger.cancel(first, at(0));
            let mut events: Vec<(u64, Option<Lease>)> = vec![(0, None)];
            let mut hold: Option<Hold> = None;
            let hear = |ledger: &mut Ledger, (revision, row): &(u64, Option<Lease>)| match row {
                Some(row) => ledger.hear(row, *revision, at(0)),
                None => ledger.hear_gone(&key, *revision, at(0)),
            };
            for op in ops {
                let known = ledger.slot(&key).map_or(0, |slot| slot.revision);
                let last = events.last().unwrap().clone();
                match op {
                    Op::Change(kind) => {
                        let bound = lease(&key, "theirs", last.0 + 1);
                        let row = match kind {
                            0 => Some(bound),
                            1 => Some(bound.released(at(0).wall, Proof::None, 0)),
                            _ if last.1.is_none() => continue,
                            _ => None,
                        };
                        events.push((last.0 + 1, row));
                    }
                    Op::Hear(nth) => {
                        let event = events[nth % events.len()].clone();
                        hear(&mut ledger, &event);
                        let now = ledger.slot(&key).map_or(0, |slot| slot.revision);
                        prop_assert!(now >= known || event.1.is_none() && event.0 >= known);
                    }
                    Op::Reserve if hold.is_none() => {
                        hold = ledger.reserve_exact(&key, For::Anyone, at(0)).ok();
                    }
                    Op::Cancel => if let Some(hold) = hold.take() {
                        ledger.cancel(hold, at(0));
                    },
                    Op::Write => if let Some(mine) = hold.take() {
                        let expected = mine.prior.map(|slot| slot.revision);
                        let stands = last.1.as_ref().map(|_| last.0);
                        if expected == stands {
                            let row = lease(&key, "mine", last.0 + 1);
                            ledger.wrote(&row, last.0 + 1, at(0));
                            events.push((last.0 + 1, Some(row)));
                        } else {
                            ledger.cancel(mine, at(0));
                        }
                    },
                    Op::Reserve => {}
                }
                prop_assert!(ledger.counts(0, at(0)).add_up(), "I10");
            }
            if let Some(hold) = hold.take() {
                ledger.cancel(hold, at(0));
            }
            for event in &events {
                hear(&mut ledger, event);
            }
            let (revision, row) = events.last().unwrap();
            let stands = row.as_ref().map(|_| *revision);
            prop_assert_eq!(ledger.slot(&key).map(|slot| slot.revision), stands);
            prop_assert!(ledger.news.is_empty());
        }
    }
}
