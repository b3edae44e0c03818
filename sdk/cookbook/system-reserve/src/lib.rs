//! The last addresses of each pool are kept for system namespaces, so that DNS and agents start on a crowded cluster, too.
//! Others get addresses only of pools that have more than that share free, the emptiest first, and are refused where none has.
//!
//! | setting | default | meaning |
//! | --- | --- | --- |
//! | `namespaces` | `["kube-system"]` | no opinion on these: they may take any |
//! | `keepPercent` | `5` | the share of a pool that is kept for them |

use std::cmp::Reverse;

use serde::Deserialize;
use tenure_policy::{
    Candidate, Candidates, Description, Family, FieldError, Policy, PolicyError, Select,
    SelectRequest, Selection, export, rank,
};

/// Settings as an operator writes them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    namespaces: Vec<String>,
    keep_percent: u8,
}

/// The policy.
pub struct SystemReserve(Settings);

impl Default for Settings {
    fn default() -> Self {
        Self { namespaces: vec!["kube-system".to_owned()], keep_percent: 5 }
    }
}

impl Policy for SystemReserve {
    type Settings = Settings;

    fn describe() -> Description {
        let schema = include_str!("settings.json");
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), schema)
    }

    fn new(settings: Settings) -> Result<Self, Vec<FieldError>> {
        Ok(Self(settings))
    }
}

impl Select for SystemReserve {
    fn select(
        &self,
        request: &SelectRequest,
        candidates: &Candidates,
    ) -> Result<Selection, PolicyError> {
        if self.0.namespaces.contains(&request.holder.namespace) {
            return Ok(Selection::Abstain);
        }
        let wanted = candidates.iter().filter(|row| request.wants(row.family));
        let (mut open, kept): (Vec<Candidate>, Vec<Candidate>) =
            wanted.partition(|row| self.has_more_than_the_reserve(row));
        let has = |rows: &[Candidate], family: Family| rows.iter().any(|row| row.family == family);
        let closed = |family: &Family| has(&kept, *family) && !has(&open, *family);
        if let Some(family) = Family::ALL.into_iter().find(closed) {
            let (share, names) = (self.0.keep_percent, self.0.namespaces.join(", "));
            let reason = format!("the last {share} % of {family:?} addresses are kept for {names}");
            return Ok(Selection::Deny(reason));
        }
        open.sort_by_key(|row| Reverse(row.free));
        Ok(rank(open))
    }
}

impl SystemReserve {
    fn has_more_than_the_reserve(&self, row: &Candidate) -> bool {
        let parts = [row.free, row.used, row.resting, row.retained];
        let size: u128 = parts.into_iter().map(u128::from).sum();
        u128::from(row.free) * 100 > size * u128::from(self.0.keep_percent)
    }
}

export!(SystemReserve: select);

#[cfg(test)]
mod tests {
    use tenure_policy::testing::{candidate, policy};

    use super::*;

    #[test]
    fn the_share_that_is_kept_is_kept() {
        let ask = |free: u64| {
            let row = Candidate { used: 100 - free, ..candidate(0, free) };
            let request = SelectRequest::builder().build();
            let policy: SystemReserve = policy(r#"{"keepPercent": 10}"#).unwrap();
            policy.select(&request, &Candidates::of(&[row])).unwrap()
        };
        assert_eq!(ask(11), Selection::Ranked(vec![0]));
        assert!(matches!(ask(10), Selection::Deny(_)));
    }
}
