//! The hook `select`: candidates as rows, and the ranking.

use crate::bindings::select::exports::tenure::policy::select as raw;

pub use raw::Decision as Selection;
pub use raw::Request as SelectRequest;

/// At most so many rows may be ranked.
pub const MAX_RANKED: usize = 16;

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Family {
    /// IPv4.
    #[default]
    V4,
    /// IPv6.
    V6,
}

/// The pools that admit the holder, full ones included: columns that read as rows.
#[derive(Debug, Clone)]
pub struct Candidates(raw::Candidates);

/// One pool that admits the holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Candidate {
    /// Its place in the answer.
    pub row: u32,
    /// Its index for look-ups such as [`crate::pool_name`].
    pub pool: u32,
    /// Its family.
    pub family: Family,
    /// Addresses that could be given now.
    pub free: u64,
    /// Held addresses.
    pub used: u64,
    /// Released and not yet rested.
    pub resting: u64,
    /// Kept for an affinity key.
    pub retained: u64,
    /// ADDs that wait for it.
    pub waiting: u32,
    /// Held by the holder's namespace.
    pub held_by_namespace: u64,
    /// Held by the holder's controller.
    pub held_by_controller: u64,
    /// `spec.priority`, higher first.
    pub priority: i32,
    /// The CNI configuration names it.
    pub named: bool,
    /// It lies in the holder's zone.
    pub in_zone: bool,
    /// It admits only by an explicit selector, and did.
    pub by_selector: bool,
    /// Position in the CNI configuration's list.
    pub order: Option<u32>,
}

/// Ranks rows, best first, as many as the contract takes; no rows abstain. Where both families
/// occur, each keeps at least half of the places, for the host looks at each family by itself.
#[must_use]
pub fn rank(rows: impl IntoIterator<Item = Candidate>) -> Selection {
    let (v4, v6): (Vec<Candidate>, Vec<Candidate>) =
        rows.into_iter().partition(|row| row.family == Family::V4);
    let half = MAX_RANKED / 2;
    let v4_places = MAX_RANKED - v6.len().min(half);
    let v6_places = MAX_RANKED - v4.len().min(v4_places);
    let ranked: Vec<u32> =
        v4.iter().take(v4_places).chain(v6.iter().take(v6_places)).map(|row| row.row).collect();
    if ranked.is_empty() { Selection::Abstain } else { Selection::Ranked(ranked) }
}

// === impl SelectRequest ===

impl SelectRequest {
    /// Whether an address of that family is wanted.
    #[must_use]
    pub fn wants(&self, family: Family) -> bool {
        wants(self.families, family)
    }
}

// === impl Family ===

impl Family {
    /// Both, IPv4 first.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    fn number(self) -> u32 {
        match self {
            Self::V4 => 4,
            Self::V6 => 6,
        }
    }
}

pub(crate) fn wants(families: u32, family: Family) -> bool {
    let bit = match family {
        Family::V4 => 0,
        Family::V6 => 1,
    };
    families >> bit & 1 == 1
}

// === impl Candidates ===

impl Candidates {
    pub(crate) fn new(columns: raw::Candidates) -> Self {
        Self(columns)
    }

    /// Candidates for a test; rows are numbered in their order.
    #[must_use]
    pub fn of(rows: &[Candidate]) -> Self {
        Self(raw::Candidates {
            pool: column(rows, |r| r.pool),
            family: column(rows, |r| r.family.number()),
            free: column(rows, |r| r.free),
            used: column(rows, |r| r.used),
            resting: column(rows, |r| r.resting),
            retained: column(rows, |r| r.retained),
            waiting: column(rows, |r| r.waiting),
            held_by_namespace: column(rows, |r| r.held_by_namespace),
            held_by_controller: column(rows, |r| r.held_by_controller),
            priority: column(rows, |r| r.priority),
            bits: column(rows, |r| {
                u32::from(r.named) | u32::from(r.in_zone) << 1 | u32::from(r.by_selector) << 2
            }),
            order: column(rows, |r| r.order.unwrap_or(u32::MAX)),
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.pool.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.pool.is_empty()
    }

    /// The row at that place.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<Candidate> {
        let c = &self.0;
        let bits = *c.bits.get(row)?;
        let order = *c.order.get(row)?;
        Some(Candidate {
            row: u32::try_from(row).ok()?,
            pool: *c.pool.get(row)?,
            family: if *c.family.get(row)? == 6 { Family::V6 } else { Family::V4 },
            free: *c.free.get(row)?,
            used: *c.used.get(row)?,
            resting: *c.resting.get(row)?,
            retained: *c.retained.get(row)?,
            waiting: *c.waiting.get(row)?,
            held_by_namespace: *c.held_by_namespace.get(row)?,
            held_by_controller: *c.held_by_controller.get(row)?,
            priority: *c.priority.get(row)?,
            named: bits & 1 != 0,
            in_zone: bits & 2 != 0,
            by_selector: bits & 4 != 0,
            order: (order != u32::MAX).then_some(order),
        })
    }

    /// All rows, in order.
    pub fn iter(&self) -> impl Iterator<Item = Candidate> + '_ {
        (0..self.len()).filter_map(|row| self.get(row))
    }
}

pub(crate) fn column<R, T>(rows: &[R], field: impl Fn(&R) -> T) -> Vec<T> {
    rows.iter().map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: usize, family: Family) -> Vec<Candidate> {
        vec![Candidate { family, ..Candidate::default() }; count]
    }

    #[test]
    fn rows_come_back_from_columns_as_they_went_in() {
        let row = Candidate {
            row: 1,
            pool: 7,
            family: Family::V6,
            free: 3,
            waiting: 2,
            priority: -5,
            named: true,
            by_selector: true,
            order: Some(4),
            ..Candidate::default()
        };
        let candidates = Candidates::of(&[Candidate::default(), row]);
        assert_eq!(candidates.get(1), Some(row));
        assert_eq!(candidates.iter().count(), 2);
    }

    #[test]
    fn a_long_ranking_keeps_both_families() {
        let mut all = rows(40, Family::V4);
        all.extend(rows(3, Family::V6));
        for (at, row) in all.iter_mut().enumerate() {
            row.row = at as u32;
        }
        let Selection::Ranked(ranked) = rank(all) else { panic!("abstained") };
        assert_eq!(ranked.len(), 16);
        assert!(ranked.ends_with(&[12, 40, 41, 42]), "{ranked:?}");
        assert_eq!(rank(Vec::new()), Selection::Abstain);
    }
}
