//! Some pools are used only when all others are full: the expensive range, the one behind another router, the one that shall be
//! given back. Other pools come first, the fullest that still has room before emptier ones, so that ranges run empty and can be
//! taken away.
//!
//! | setting | default | meaning |
//! | --- | --- | --- |
//! | `label` | `tier` | the label that marks a pool |
//! | `value` | `overflow` | its value |

use serde::Deserialize;
use tenure_policy::{
    Candidate, Candidates, Description, Family, FieldError, Level, Policy, PolicyError, Select,
    SelectRequest, Selection, export, log, pool_label, rank,
};

/// Settings as an operator writes them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    label: String,
    value: String,
}

/// The policy.
pub struct OverflowPool(Settings);

impl Default for Settings {
    fn default() -> Self {
        Self { label: "tier".to_owned(), value: "overflow".to_owned() }
    }
}

impl Policy for OverflowPool {
    type Settings = Settings;

    fn describe() -> Description {
        let schema = include_str!("settings.json");
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), schema)
    }

    fn new(settings: Settings) -> Result<Self, Vec<FieldError>> {
        Ok(Self(settings))
    }
}

impl Select for OverflowPool {
    fn select(
        &self,
        request: &SelectRequest,
        candidates: &Candidates,
    ) -> Result<Selection, PolicyError> {
        let wanted = Family::ALL.into_iter().filter(|family| request.wants(*family));
        Ok(rank(wanted.flat_map(|family| self.of_family(family, candidates))))
    }
}

impl OverflowPool {
    fn of_family(&self, family: Family, candidates: &Candidates) -> Vec<Candidate> {
        let marked = |row: &Candidate| {
            pool_label(row.pool, &self.0.label).is_some_and(|value| value == self.0.value)
        };
        let (mut overflow, mut ordinary): (Vec<Candidate>, Vec<Candidate>) =
            candidates.iter().filter(|row| row.family == family).partition(marked);
        let by_room = |row: &Candidate| (row.free == 0, row.free, row.row);
        ordinary.sort_by_key(by_room);
        if ordinary.iter().any(|row| row.free > 0) {
            return ordinary;
        }
        if !overflow.is_empty() {
            log(Level::Info, &format!("all ordinary {family:?} pools are full"));
        }
        overflow.sort_by_key(by_room);
        // The ordinary ones last: an ADD that has to wait waits on them, too.
        overflow.into_iter().chain(ordinary).collect()
    }
}

export!(OverflowPool: select);

#[cfg(test)]
mod tests {
    use tenure_policy::testing::{candidate, policy, set_pools, take_log};

    use super::*;

    #[test]
    fn overflow_comes_in_only_when_nothing_else_is_free() {
        set_pools(&[("blue", &[]), ("red", &[]), ("rented", &[("tier", "overflow")])]);
        let ask = |free: [u64; 3]| {
            let rows: Vec<Candidate> =
                (0..).zip(free).map(|(pool, free)| candidate(pool, free)).collect();
            let request = SelectRequest::builder().build();
            let policy: OverflowPool = policy("{}").unwrap();
            policy.select(&request, &Candidates::of(&rows)).unwrap()
        };
        assert_eq!(ask([9, 1, 99]), Selection::Ranked(vec![1, 0]));
        assert!(take_log().is_empty());
        assert_eq!(ask([0, 0, 99]), Selection::Ranked(vec![2, 0, 1]));
        assert_eq!(take_log().len(), 1);
    }
}
