//! A set of numbers kept as disjoint, non-touching intervals: its cost follows the number of gaps,
//! never the number of members, so that a /64 costs what a /31 costs.

use std::collections::BTreeMap;

/// Disjoint inclusive intervals of `u128`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IntervalSet {
    /// First number of an interval -> its last.
    spans: BTreeMap<u128, u128>,
    /// Number of members, saturating (only the full 128-bit space does not fit).
    len: u128,
}

// === impl IntervalSet ===

impl IntervalSet {
    /// The empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many numbers are in the set; saturates for the full space.
    #[must_use]
    pub fn len(&self) -> u128 {
        self.len
    }

    /// Whether no number is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// How many intervals the set takes: its cost in memory.
    #[must_use]
    pub fn spans(&self) -> usize {
        self.spans.len()
    }

    /// The intervals, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u128, u128)> + '_ {
        self.spans.iter().map(|(first, last)| (*first, *last))
    }

    /// Whether `number` is in the set.
    #[must_use]
    pub fn contains(&self, number: u128) -> bool {
        self.spans.range(..=number).next_back().is_some_and(|(_, last)| number <= *last)
    }

    /// The smallest member at or after `number`.
    #[must_use]
    pub fn at_or_after(&self, number: u128) -> Option<u128> {
        if self.contains(number) {
            return Some(number);
        }
        self.spans.range(number..).next().map(|(first, _)| *first)
    }

    /// Adds `first..=last`; what is already there stays.
    pub fn insert(&mut self, first: u128, last: u128) {
        debug_assert!(first <= last, "an interval does not end before it begins");
        let (mut from, mut to) = (first, last);
        // Every interval that overlaps or touches the new one is taken out and joined.
        while let Some((&f, &l)) = self.spans.range(..=to.saturating_add(1)).next_back() {
            if l.saturating_add(1) < from {
                break;
            }
            self.spans.remove(&f);
            self.len = self.len.saturating_sub(size(f, l));
            from = from.min(f);
            to = to.max(l);
        }
        self.spans.insert(from, to);
        self.len = self.len.saturating_add(size(from, to));
    }

    /// Takes `first..=last` out; what is not there is ignored.
    pub fn remove(&mut self, first: u128, last: u128) {
        debug_assert!(first <= last, "an interval does not end before it begins");
        while let Some((&f, &l)) = self.spans.range(..=last).next_back() {
            if l < first {
                break;
            }
            self.spans.remove(&f);
            self.len = self.len.saturating_sub(size(f, l));
            if l > last {
                self.add_disjoint(last.saturating_add(1), l);
            }
            if f < first {
                self.add_disjoint(f, first.saturating_sub(1));
                break;
            }
        }
    }

    fn add_disjoint(&mut self, first: u128, last: u128) {
        self.spans.insert(first, last);
        self.len = self.len.saturating_add(size(first, last));
    }
}

fn size(first: u128, last: u128) -> u128 {
    last.saturating_sub(first).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn joins_neighbours_and_splits_in_the_middle() {
        let mut set = IntervalSet::new();
        set.insert(1, 3);
        set.insert(5, 7);
        assert_eq!(set.spans(), 2);
        set.insert(4, 4);
        assert_eq!((set.spans(), set.len()), (1, 7));
        set.remove(2, 2);
        assert_eq!(set.iter().collect::<Vec<_>>(), [(1, 1), (3, 7)]);
        assert_eq!(set.at_or_after(2), Some(3));
        assert_eq!(set.at_or_after(8), None);
    }

    #[test]
    fn the_ends_of_the_number_space_are_ordinary_members() {
        let mut set = IntervalSet::new();
        set.insert(0, u128::MAX);
        set.remove(0, 0);
        set.remove(u128::MAX, u128::MAX);
        assert!(!set.contains(0) && set.contains(1) && !set.contains(u128::MAX));
        set.insert(u128::MAX, u128::MAX);
        assert_eq!(set.spans(), 1);
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_a_plain_set(ops in proptest::collection::vec((0u8..2, 0u128..60, 0u128..12), 0..60)) {
            let mut set = IntervalSet::new();
            let mut model = BTreeSet::new();
            for (op, first, extra) in ops {
                let last = first + extra;
                if op == 0 {
                    set.insert(first, last);
                    model.extend(first..=last);
                } else {
                    set.remove(first, last);
                    model.retain(|n| *n < first || *n > last);
                }
                proptest::prop_assert_eq!(set.len(), model.len() as u128);
                for n in 0..75 {
                    proptest::prop_assert_eq!(set.contains(n), model.contains(&n));
                    proptest::prop_assert_eq!(set.at_or_after(n), model.range(n..).next().copied());
                }
                let spans: Vec<_> = set.iter().collect();
                proptest::prop_assert!(spans.windows(2).all(|w| w[0].1 + 1 < w[1].0), "{:?}", spans);
            }
        }
    }
}
