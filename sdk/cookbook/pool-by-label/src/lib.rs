//! A label of the namespace decides the pools: a holder gets addresses only of pools that carry the same value, the one with
//! the most free addresses first, and is refused where there is none. Holders without the label: no opinion.
//!
//! | setting | default | meaning |
//! | --- | --- | --- |
//! | `attribute` | `namespace.label/tenure.dev/group` | which attribute of the holder counts |
//! | `poolLabel` | `group` | which label of a pool it must equal |

use std::cmp::Reverse;

use serde::Deserialize;
use tenure_policy::{
    Candidate, Candidates, Description, Family, FieldError, Policy, PolicyError, Select,
    SelectRequest, Selection, export, pool_label, rank,
};

/// Settings as an operator writes them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    attribute: String,
    pool_label: String,
}

/// The policy.
pub struct PoolByLabel(Settings);

impl Default for Settings {
    fn default() -> Self {
        Self {
            attribute: "namespace.label/tenure.dev/group".to_owned(),
            pool_label: "group".to_owned(),
        }
    }
}

impl Policy for PoolByLabel {
    type Settings = Settings;

    fn describe() -> Description {
        let schema = include_str!("settings.json");
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), schema)
    }

    fn new(settings: Settings) -> Result<Self, Vec<FieldError>> {
        Ok(Self(settings))
    }

    fn attribute_keys(&self) -> Vec<String> {
        vec![self.0.attribute.clone()]
    }
}

impl Select for PoolByLabel {
    fn select(
        &self,
        request: &SelectRequest,
        candidates: &Candidates,
    ) -> Result<Selection, PolicyError> {
        let Some(group) = request.holder.attribute(&self.0.attribute) else {
            return Ok(Selection::Abstain);
        };
        let label = &self.0.pool_label;
        let (mut rows, others): (Vec<Candidate>, Vec<Candidate>) = candidates
            .iter()
            .filter(|row| request.wants(row.family))
            .partition(|row| pool_label(row.pool, label).is_some_and(|value| value == group));
        // A family that is wanted and offered must be ranked; to give it from another group would break the rule.
        let has = |rows: &[Candidate], family: Family| rows.iter().any(|row| row.family == family);
        let lacks = |family: &Family| has(&others, *family) && !has(&rows, *family);
        if let Some(family) = Family::ALL.into_iter().find(lacks) {
            let reason = format!("no {family:?} pool that admits it has the label {label}={group}");
            return Ok(Selection::Deny(reason));
        }
        rows.sort_by_key(|row| Reverse(row.free));
        Ok(rank(rows))
    }
}

export!(PoolByLabel: select);

#[cfg(test)]
mod tests {
    use tenure_policy::Holder;
    use tenure_policy::testing::{candidate, check_selection, policy, set_pools};

    use super::*;

    #[test]
    fn the_group_of_the_namespace_decides() {
        set_pools(&[("blue", &[("group", "shop")]), ("red", &[("group", "bank")]), ("grey", &[])]);
        let rows = Candidates::of(&[candidate(0, 1), candidate(1, 9), candidate(2, 9)]);
        let ask = |group: &str| {
            let holder = Holder::builder().namespace_label("tenure.dev/group", group);
            let request = SelectRequest::builder().holder(holder).build();
            let answer = policy::<PoolByLabel>("{}").unwrap().select(&request, &rows).unwrap();
            assert_eq!(check_selection(&request, &rows, &answer), Ok(()));
            answer
        };
        assert_eq!(ask("shop"), Selection::Ranked(vec![0]));
        assert!(matches!(ask("zoo"), Selection::Deny(reason) if reason.contains("group=zoo")));
    }
}
