//! A namespace holds at most so many addresses of a family, over all pools that admit it: a crash loop or a runaway
//! autoscaler cannot drain a pool for its neighbours. Above the quota an ADD is refused in words; below it, no opinion.
//!
//! | setting | default | meaning |
//! | --- | --- | --- |
//! | `quota` | none | for each namespace |
//! | `namespaces` | `{}` | for the namespaces that are named, in place of it |

use std::collections::BTreeMap;

use serde::Deserialize;
use tenure_policy::{
    Candidates, Description, Family, FieldError, Policy, PolicyError, Select, SelectRequest,
    Selection, export,
};

/// Settings as an operator writes them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    quota: Option<u64>,
    namespaces: BTreeMap<String, u64>,
}

/// The policy.
pub struct NamespaceQuota(Settings);

impl Policy for NamespaceQuota {
    type Settings = Settings;

    fn describe() -> Description {
        let schema = include_str!("settings.json");
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), schema)
    }

    fn new(settings: Settings) -> Result<Self, Vec<FieldError>> {
        Ok(Self(settings))
    }
}

impl Select for NamespaceQuota {
    fn select(
        &self,
        request: &SelectRequest,
        candidates: &Candidates,
    ) -> Result<Selection, PolicyError> {
        let namespace = &request.holder.namespace;
        let Some(quota) = self.0.namespaces.get(namespace).copied().or(self.0.quota) else {
            return Ok(Selection::Abstain);
        };
        for family in Family::ALL.into_iter().filter(|family| request.wants(*family)) {
            let of_family = candidates.iter().filter(|row| row.family == family);
            let held = of_family.fold(0_u64, |sum, row| sum.saturating_add(row.held_by_namespace));
            if held >= quota {
                let reason = format!(
                    "namespace {namespace} holds {held} {family:?} address(es), and its quota is {quota}"
                );
                return Ok(Selection::Deny(reason));
            }
        }
        Ok(Selection::Abstain)
    }
}

export!(NamespaceQuota: select);

#[cfg(test)]
mod tests {
    use tenure_policy::testing::{candidate, policy};
    use tenure_policy::{Candidate, Holder};

    use super::*;

    #[test]
    fn the_last_address_of_the_quota_is_given_and_no_further() {
        let ask = |held_by_namespace: u64| {
            let row = Candidate { held_by_namespace, ..candidate(0, 9) };
            let request = SelectRequest::builder().holder(Holder::builder().pod("batch", "x"));
            let policy: NamespaceQuota = policy(r#"{"quota": 3}"#).unwrap();
            policy.select(&request.build(), &Candidates::of(&[row])).unwrap()
        };
        assert_eq!(ask(2), Selection::Abstain);
        assert!(matches!(ask(3), Selection::Deny(_)));
    }
}
