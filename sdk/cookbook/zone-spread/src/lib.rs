//! Spreads the pods of one controller over zones: the pools of the zone in which it holds the fewest addresses come first, and
//! within a zone the pool with the most free addresses. Full pools come last.
//!
//! | setting | default | meaning |
//! | --- | --- | --- |
//! | `zoneLabel` | `zone` | the label of a pool that names its zone; pools without it are a zone of their own |

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Deserialize;
use tenure_policy::{
    Candidate, Candidates, Description, FieldError, Policy, PolicyError, Select, SelectRequest,
    Selection, export, pool_label, rank,
};

/// Settings as an operator writes them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    zone_label: String,
}

/// The policy.
pub struct ZoneSpread(Settings);

impl Default for Settings {
    fn default() -> Self {
        Self { zone_label: "zone".to_owned() }
    }
}

impl Policy for ZoneSpread {
    type Settings = Settings;

    fn describe() -> Description {
        let schema = include_str!("settings.json");
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), schema)
    }

    fn new(settings: Settings) -> Result<Self, Vec<FieldError>> {
        Ok(Self(settings))
    }
}

impl Select for ZoneSpread {
    fn select(
        &self,
        request: &SelectRequest,
        candidates: &Candidates,
    ) -> Result<Selection, PolicyError> {
        let rows: Vec<Candidate> =
            candidates.iter().filter(|row| request.wants(row.family)).collect();
        let zones: Vec<Option<String>> =
            rows.iter().map(|row| pool_label(row.pool, &self.0.zone_label)).collect();
        let mut held = BTreeMap::new();
        for (row, zone) in rows.iter().zip(&zones) {
            let sum: &mut u64 = held.entry((row.family, zone)).or_default();
            *sum = sum.saturating_add(row.held_by_controller);
        }
        let mut order: Vec<(bool, u64, Reverse<u64>, Candidate)> = rows
            .iter()
            .zip(&zones)
            .map(|(row, zone)| {
                let of_zone = held.get(&(row.family, zone)).copied().unwrap_or_default();
                (row.free == 0, of_zone, Reverse(row.free), *row)
            })
            .collect();
        order.sort_by_key(|(full, held, free, _)| (*full, *held, *free));
        Ok(rank(order.into_iter().map(|(.., row)| row)))
    }
}

export!(ZoneSpread: select);

#[cfg(test)]
mod tests {
    use tenure_policy::testing::{candidate, policy, set_pools};

    use super::*;

    #[test]
    fn the_zone_with_the_fewest_comes_first_whatever_is_free() {
        set_pools(&[("a1", &[("zone", "a")]), ("a2", &[("zone", "a")]), ("b", &[("zone", "b")])]);
        let held = |pool, free, held_by_controller| Candidate {
            held_by_controller,
            ..candidate(pool, free)
        };
        let rows = Candidates::of(&[held(0, 99, 1), held(1, 99, 1), held(2, 1, 1)]);
        let request = SelectRequest::builder().build();
        let answer = policy::<ZoneSpread>("{}").unwrap().select(&request, &rows).unwrap();
        assert_eq!(answer, Selection::Ranked(vec![2, 0, 1]), "zone a holds two, zone b one");
    }
}
