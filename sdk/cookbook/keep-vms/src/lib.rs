//! Virtual machines keep their addresses: a lease of one waits for the longest grace that its pool allows, is kept for its key as
//! long as that allows, and never goes to a probed reuse. They stop, migrate and come back; their address stands in DNS and
//! licences. On leases of anybody else: no opinion.
//!
//! | setting | default | meaning |
//! | --- | --- | --- |
//! | `owners` | `["vm", "claim"]` | `pod`, `vm`, `claim`, `container` |

use serde::Deserialize;
use tenure_policy::{
    Description, FieldError, Lease, Owner, Policy, PolicyError, Reclaim, ReclaimRequest, Verdict,
    Verdicts, export,
};

/// Beyond the limit of any pool, to which the host clamps it; the largest number would mean "as at ADD".
const AS_LONG_AS_ALLOWED: u32 = u32::MAX - 1;

/// Settings as an operator writes them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    owners: Vec<Kind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Pod,
    Vm,
    Claim,
    Container,
}

/// The policy.
pub struct KeepVms(Settings);

impl Default for Settings {
    fn default() -> Self {
        Self { owners: vec![Kind::Vm, Kind::Claim] }
    }
}

impl Policy for KeepVms {
    type Settings = Settings;

    fn describe() -> Description {
        let schema = include_str!("settings.json");
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), schema)
    }

    fn new(settings: Settings) -> Result<Self, Vec<FieldError>> {
        Ok(Self(settings))
    }
}

impl Reclaim for KeepVms {
    fn reclaim(&self, request: &ReclaimRequest) -> Result<Verdicts, PolicyError> {
        Ok(request.leases().map(|lease| self.verdict(&lease)).collect())
    }
}

impl KeepVms {
    fn verdict(&self, lease: &Lease) -> Option<Verdict> {
        let kind = match lease.owner {
            Owner::Pod => Kind::Pod,
            Owner::Vm => Kind::Vm,
            Owner::Claim => Kind::Claim,
            Owner::Container => Kind::Container,
        };
        self.0.owners.contains(&kind).then_some(Verdict {
            grace_s: AS_LONG_AS_ALLOWED,
            retain_s: AS_LONG_AS_ALLOWED,
            cooldown_s: 0,
            permits_unfenced: false,
        })
    }
}

export!(KeepVms: reclaim);

#[cfg(test)]
mod tests {
    use tenure_policy::testing::policy;

    use super::*;

    #[test]
    fn only_the_owners_that_are_named_keep_theirs() {
        let of = |owner| Lease { owner, kernel_gone: true, ..Lease::default() };
        let request = ReclaimRequest::builder().lease(of(Owner::Vm)).lease(of(Owner::Pod)).build();
        let verdicts = policy::<KeepVms>("{}").unwrap().reclaim(&request).unwrap();
        let kept: Vec<bool> = verdicts.iter().map(|verdict| verdict.is_some()).collect();
        assert_eq!(kept, [true, false]);
    }
}
