//! How long to wait before a lease is taken back, by owner, phase, node and pressure on the pool. It shapes *when*;
//! whether a holder is gone is for the host to prove.
//!
//! | setting | default | meaning |
//! | --- | --- | --- |
//! | `graceSeconds.pod`, `.container` | 2 | how long a lease must be suspect |
//! | `graceSeconds.vm`, `.claim` | 60 | they restart and move more slowly |
//! | `returningSeconds` | 300 | the API says that the workload lives: it will come back |
//! | `finishedSeconds` | 2 | the pod has finished |
//! | `retainSeconds` | as decided at ADD | how long a sticky address stays kept |
//! | `cooldownSeconds` | 120 | how long the address rests |
//! | `releaseTerminating` | `true` | on a lost node, the lease of a Terminating pod may go once the pod's own termination grace is over |
//! | `permitUnfenced` | `true` | leases of lost, unfenced nodes may go to a probed reuse at all |
//! | `pressure.freePercent` | 10 | a pool is short below this share of free addresses, or when ADDs wait |
//! | `pressure.returningSeconds` | 30 | `returningSeconds` of a short pool |
//! | `pressure.cooldownSeconds` | 30 | `cooldownSeconds` of a short pool |
//!
//! `releaseTerminating` is the rule by which Spiderpool frees the address of a pod that stays Terminating on a node
//! that does not answer. Here the host adds its own: on a node that does answer only the kernel's word
//! counts, and on a lost one a silent probe must precede reuse.

use serde::Deserialize;
use tenure_policy::{
    Description, FieldError, Lease, Owner, Policy, PolicyError, Pressure, Reclaim, ReclaimRequest,
    Verdict, Verdicts, export,
};

const SCHEMA: &str = include_str!("settings.json");

/// Settings as an operator writes them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    grace_seconds: ByOwner,
    returning_seconds: u32,
    finished_seconds: u32,
    retain_seconds: Option<u32>,
    cooldown_seconds: u32,
    release_terminating: bool,
    permit_unfenced: bool,
    pressure: WhenShort,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ByOwner {
    pod: u32,
    vm: u32,
    claim: u32,
    container: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct WhenShort {
    free_percent: u32,
    returning_seconds: u32,
    cooldown_seconds: u32,
}

/// The policy.
pub struct Grace(Settings);

impl Default for Settings {
    fn default() -> Self {
        Self {
            grace_seconds: ByOwner::default(),
            returning_seconds: 300,
            finished_seconds: 2,
            retain_seconds: None,
            cooldown_seconds: 120,
            release_terminating: true,
            permit_unfenced: true,
            pressure: WhenShort::default(),
        }
    }
}

impl Default for ByOwner {
    fn default() -> Self {
        Self { pod: 2, vm: 60, claim: 60, container: 2 }
    }
}

impl Default for WhenShort {
    fn default() -> Self {
        Self { free_percent: 10, returning_seconds: 30, cooldown_seconds: 30 }
    }
}

impl Policy for Grace {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), SCHEMA)
    }

    fn new(settings: Settings) -> Result<Self, Vec<FieldError>> {
        Ok(Self(settings))
    }
}

impl Reclaim for Grace {
    fn reclaim(&self, request: &ReclaimRequest) -> Result<Verdicts, PolicyError> {
        let verdict = |lease: Lease| Some(self.verdict(&lease, request.pressure(lease.pool)));
        Ok(request.leases().map(verdict).collect())
    }
}

impl Grace {
    fn verdict(&self, lease: &Lease, pressure: Option<Pressure>) -> Verdict {
        let short = pressure.is_some_and(|pressure| self.is_short(pressure));
        Verdict {
            grace_s: self.grace(lease, short),
            retain_s: self.0.retain_seconds.unwrap_or(Verdict::OWN_RETENTION),
            cooldown_s: shortened(self.0.cooldown_seconds, self.0.pressure.cooldown_seconds, short),
            permits_unfenced: self.permits_unfenced(lease),
        }
    }

    fn grace(&self, lease: &Lease, short: bool) -> u32 {
        let by_owner = match lease.owner {
            Owner::Pod => self.0.grace_seconds.pod,
            Owner::Vm => self.0.grace_seconds.vm,
            Owner::Claim => self.0.grace_seconds.claim,
            Owner::Container => self.0.grace_seconds.container,
        };
        if lease.finished {
            self.0.finished_seconds
        } else if lease.terminating && lease.node_lost {
            // On our clock, from the moment that it became suspect.
            by_owner.max(lease.termination_grace_s)
        } else if lease.api_alive && !lease.terminating {
            let pressed = self.0.pressure.returning_seconds;
            by_owner.max(shortened(self.0.returning_seconds, pressed, short))
        } else {
            by_owner
        }
    }

    fn permits_unfenced(&self, lease: &Lease) -> bool {
        let terminating_only = lease.terminating && !lease.finished && !lease.api_gone;
        self.0.permit_unfenced && (self.0.release_terminating || !terminating_only)
    }

    fn is_short(&self, pressure: Pressure) -> bool {
        let free = u128::from(pressure.free) * 100;
        let bound = u128::from(pressure.size) * u128::from(self.0.pressure.free_percent);
        pressure.waiting > 0 || free < bound
    }
}

/// Pressure shortens; it never lengthens, whatever the settings say.
fn shortened(normal: u32, pressed: u32, short: bool) -> u32 {
    if short { pressed.min(normal) } else { normal }
}

export!(Grace: reclaim);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tenure_policy::testing::{check_verdicts, strategies};

    use super::*;

    fn policy(settings: &str) -> Grace {
        tenure_policy::testing::policy(settings).unwrap()
    }

    proptest! {
        /// Whatever the host asks.
        #[test]
        fn there_is_a_verdict_on_each_lease(request in strategies::reclaim()) {
            let verdicts = policy("{}").reclaim(&request).unwrap();
            prop_assert_eq!(check_verdicts(&request, &verdicts), Ok(()));
            prop_assert!(verdicts.iter().all(|verdict| verdict.is_some()));
        }
    }

    fn ask(settings: &str, lease: Lease, free: u64, waiting: u32) -> Verdict {
        let request =
            ReclaimRequest::builder().lease(lease).pressure(0, free, 100, waiting).build();
        policy(settings).reclaim(&request).unwrap().iter().next().unwrap().unwrap()
    }

    fn gone() -> Lease {
        Lease { kernel_gone: true, api_gone: true, ..Lease::default() }
    }

    #[test]
    fn a_gone_pod_waits_two_seconds_and_leaves_its_retention_to_the_lease() {
        let verdict = ask("{}", gone(), 50, 0);
        let expected = Verdict {
            grace_s: 2,
            retain_s: Verdict::OWN_RETENTION,
            cooldown_s: 120,
            permits_unfenced: true,
        };
        assert_eq!(verdict, expected);
    }

    #[test]
    fn a_workload_that_comes_back_gets_time_and_less_of_it_under_pressure() {
        let returning = Lease { api_gone: false, api_alive: true, ..gone() };
        assert_eq!(ask("{}", returning, 50, 0).grace_s, 300);
        assert_eq!(ask("{}", returning, 9, 0).grace_s, 30, "below ten percent free");
        let waited_for = ask("{}", returning, 50, 1);
        assert_eq!((waited_for.grace_s, waited_for.cooldown_s), (30, 30), "an ADD waits");
        assert_eq!(ask("{}", Lease { finished: true, ..returning }, 50, 0).grace_s, 2);
    }

    #[test]
    fn the_owner_sets_the_grace() {
        let settings = r#"{"graceSeconds": {"vm": 90, "claim": 7}}"#;
        let of = |owner| ask(settings, Lease { owner, ..gone() }, 50, 0).grace_s;
        assert_eq!(
            [of(Owner::Pod), of(Owner::Vm), of(Owner::Claim), of(Owner::Container)],
            [2, 90, 7, 2]
        );
    }

    #[test]
    fn release_terminating_waits_for_the_pods_own_grace_and_only_it_permits_such_a_lease() {
        let lost = Lease {
            node_lost: true,
            api_alive: true,
            terminating: true,
            termination_grace_s: 45,
            ..Lease::default()
        };
        let permitted = ask("{}", lost, 50, 0);
        assert_eq!((permitted.grace_s, permitted.permits_unfenced), (45, true));
        assert!(!ask(r#"{"releaseTerminating": false}"#, lost, 50, 0).permits_unfenced);
        assert!(!ask(r#"{"permitUnfenced": false}"#, lost, 50, 0).permits_unfenced);
        let gone = Lease { api_gone: true, ..lost };
        assert!(ask(r#"{"releaseTerminating": false}"#, gone, 50, 0).permits_unfenced);
    }

    #[test]
    fn pressure_never_lengthens() {
        let settings = r#"{"cooldownSeconds": 10, "pressure": {"cooldownSeconds": 20}}"#;
        assert_eq!(ask(settings, gone(), 0, 3).cooldown_s, 10);
    }
}
