//! The least used pool first, so that pools fill evenly.
//!
//! Used is what cannot be given now: held, resting and retained addresses. The share decides, not the
//! number: a small half-full pool comes after a large quarter-full one. Full pools come last.
//!
//! Zones are known in Kubernetes mode only; in standalone mode the setting `zone` has no effect.
//!
//! | setting | default | meaning |
//! | --- | --- | --- |
//! | `zone` | `prefer` | pools in the holder's zone: `prefer` them, `require` them where there are any, or `ignore` zones |
//! | `namedOnly` | `true` | where the CNI configuration names pools of a family, rank only those |

use std::cmp::{Ordering, Reverse};

use serde::Deserialize;
use tenure_policy::{
    Candidate, Candidates, Description, Family, FieldError, Policy, PolicyError, Select,
    SelectRequest, Selection, export, rank,
};

const SCHEMA: &str = include_str!("settings.json");

/// Settings as an operator writes them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    zone: Zone,
    named_only: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Zone {
    Prefer,
    Require,
    Ignore,
}

/// The policy.
pub struct Balanced(Settings);

impl Default for Settings {
    fn default() -> Self {
        Self { zone: Zone::Prefer, named_only: true }
    }
}

impl Policy for Balanced {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), SCHEMA)
    }

    fn new(settings: Settings) -> Result<Self, Vec<FieldError>> {
        Ok(Self(settings))
    }
}

impl Select for Balanced {
    fn select(
        &self,
        request: &SelectRequest,
        candidates: &Candidates,
    ) -> Result<Selection, PolicyError> {
        let of_family = |family| {
            let rows = candidates.iter().filter(|row| row.family == family).collect();
            self.order(rows)
        };
        let wanted = Family::ALL.into_iter().filter(|family| request.wants(*family));
        Ok(rank(wanted.flat_map(of_family)))
    }
}

impl Balanced {
    fn order(&self, mut rows: Vec<Candidate>) -> Vec<Candidate> {
        if self.0.named_only {
            keep_if_any(&mut rows, |row| row.named);
        }
        if self.0.zone == Zone::Require {
            keep_if_any(&mut rows, |row| row.in_zone);
        }
        let prefer = self.0.zone == Zone::Prefer;
        rows.sort_by(|a, b| {
            let first = |row: &Candidate| (row.free == 0, prefer && !row.in_zone);
            first(a)
                .cmp(&first(b))
                .then_with(|| by_share(a, b))
                .then_with(|| (Reverse(a.priority), a.row).cmp(&(Reverse(b.priority), b.row)))
        });
        rows
    }
}

/// By used / size, without division: a / b < c / d where a * d < c * b.
fn by_share(a: &Candidate, b: &Candidate) -> Ordering {
    let used =
        |row: &Candidate| u128::from(row.used) + u128::from(row.resting) + u128::from(row.retained);
    let size = |row: &Candidate| used(row) + u128::from(row.free);
    let cross = |x: u128, y: u128| x.saturating_mul(y);
    cross(used(a), size(b)).cmp(&cross(used(b), size(a)))
}

fn keep_if_any(rows: &mut Vec<Candidate>, wanted: impl Fn(&Candidate) -> bool) {
    if rows.iter().any(&wanted) {
        rows.retain(wanted);
    }
}

export!(Balanced: select);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tenure_policy::testing::{check_selection, policy, strategies};

    use super::*;

    fn row(free: u64, used: u64, in_zone: bool) -> Candidate {
        Candidate { free, used, in_zone, ..Candidate::default() }
    }

    fn ask(settings: &str, rows: &[Candidate]) -> Selection {
        let policy: Balanced = policy(settings).unwrap();
        policy.select(&SelectRequest::builder().build(), &Candidates::of(rows)).unwrap()
    }

    proptest! {
        /// Whatever the host asks.
        #[test]
        fn every_answer_keeps_the_contract((request, candidates) in strategies::select(&[])) {
            for settings in ["{}", r#"{"zone": "require", "namedOnly": false}"#] {
                let policy: Balanced = policy(settings).unwrap();
                let answer = policy.select(&request, &candidates).unwrap();
                prop_assert_eq!(check_selection(&request, &candidates, &answer), Ok(()));
            }
        }
    }

    #[test]
    fn the_share_decides_and_not_the_number() {
        let rows = [row(1000, 1000, true), row(10, 5, true), row(75, 25, true)];
        assert_eq!(ask("{}", &rows), Selection::Ranked(vec![2, 1, 0]));
    }

    #[test]
    fn the_zone_comes_before_the_share_and_a_full_pool_last() {
        let rows = [row(9, 1, false), row(1, 9, true), row(0, 10, true)];
        assert_eq!(ask("{}", &rows), Selection::Ranked(vec![1, 0, 2]));
        assert_eq!(ask(r#"{"zone": "ignore"}"#, &rows), Selection::Ranked(vec![0, 1, 2]));
        assert_eq!(ask(r#"{"zone": "require"}"#, &rows), Selection::Ranked(vec![1, 2]));
    }

    #[test]
    fn named_pools_are_the_only_ones_where_there_are_any() {
        let mut rows = [row(9, 1, true), row(1, 9, false)];
        rows[1].named = true;
        assert_eq!(ask("{}", &rows), Selection::Ranked(vec![1]));
        assert_eq!(ask(r#"{"namedOnly": false}"#, &rows), Selection::Ranked(vec![0, 1]));
    }

    #[test]
    fn counts_at_their_limit_do_not_overflow() {
        let full = row(u64::MAX, u64::MAX, true);
        assert_eq!(ask("{}", &[full, row(1, 0, true)]), Selection::Ranked(vec![1, 0]));
    }
}
