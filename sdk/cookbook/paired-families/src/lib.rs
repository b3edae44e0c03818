//! Both addresses of a dual-stack pod come from pools that belong together (one VLAN, one router), IPv6 first: the family that leads
//! decides by its free addresses, and the other follows to the pool with the same label. Pairs of which one is full come
//! last. Pods that want one family only: no opinion.
//!
//! | setting | default | meaning |
//! | --- | --- | --- |
//! | `pairLabel` | `pair` | the label that two pools of a pair share |
//! | `lead` | `v6` | `v4` or `v6` |

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Deserialize;
use tenure_policy::{
    Candidate, Candidates, Description, Family, FieldError, Policy, PolicyError, Select,
    SelectRequest, Selection, export, pool_label, rank,
};

/// Settings as an operator writes them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    pair_label: String,
    lead: Lead,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Lead {
    V4,
    V6,
}

/// The policy.
pub struct PairedFamilies(Settings);

impl Default for Settings {
    fn default() -> Self {
        Self { pair_label: "pair".to_owned(), lead: Lead::V6 }
    }
}

impl Policy for PairedFamilies {
    type Settings = Settings;

    fn describe() -> Description {
        let schema = include_str!("settings.json");
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), schema)
    }

    fn new(settings: Settings) -> Result<Self, Vec<FieldError>> {
        Ok(Self(settings))
    }
}

impl Select for PairedFamilies {
    fn select(
        &self,
        request: &SelectRequest,
        candidates: &Candidates,
    ) -> Result<Selection, PolicyError> {
        if !Family::ALL.into_iter().all(|family| request.wants(family)) {
            return Ok(Selection::Abstain);
        }
        let lead = if self.0.lead == Lead::V6 { Family::V6 } else { Family::V4 };
        let mut pairs: BTreeMap<String, (Option<Candidate>, Option<Candidate>)> = BTreeMap::new();
        for row in candidates.iter() {
            let Some(label) = pool_label(row.pool, &self.0.pair_label) else { continue };
            let pair = pairs.entry(label).or_default();
            let place = if row.family == lead { &mut pair.0 } else { &mut pair.1 };
            if place.is_none_or(|present| present.free < row.free) {
                *place = Some(row);
            }
        }
        let mut whole: Vec<(Candidate, Candidate)> =
            pairs.into_values().filter_map(|(lead, other)| Some((lead?, other?))).collect();
        whole.sort_by_key(|(lead, other)| {
            (lead.free == 0 || other.free == 0, Reverse(lead.free), lead.row)
        });
        // No whole pair: no row, which is no opinion.
        Ok(rank(whole.into_iter().flat_map(|(lead, other)| [lead, other])))
    }
}

export!(PairedFamilies: select);

#[cfg(test)]
mod tests {
    use tenure_policy::testing::{candidate, check_selection, policy, set_pools};

    use super::*;

    #[test]
    fn the_other_family_follows_the_one_that_leads() {
        set_pools(&[
            ("a4", &[("pair", "a")]),
            ("b4", &[("pair", "b")]),
            ("a6", &[("pair", "a")]),
            ("b6", &[("pair", "b")]),
        ]);
        let v6 = |pool, free| Candidate { family: Family::V6, ..candidate(pool, free) };
        let rows = Candidates::of(&[candidate(0, 90), candidate(1, 5), v6(2, 1), v6(3, 7)]);
        let request = SelectRequest::builder().families(&Family::ALL).build();
        let ask = |settings: &str| {
            let answer = policy::<PairedFamilies>(settings).unwrap().select(&request, &rows);
            let answer = answer.unwrap();
            assert_eq!(check_selection(&request, &rows, &answer), Ok(()));
            answer
        };
        assert_eq!(ask("{}"), Selection::Ranked(vec![1, 0, 3, 2]));
        assert_eq!(ask(r#"{"lead": "v4"}"#), Selection::Ranked(vec![0, 1, 2, 3]));
    }
}
