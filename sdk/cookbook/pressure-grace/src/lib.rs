//! The shorter a pool, the sooner addresses come back: the grace shrinks in a straight line from `calmSeconds`, at `freePercent` free,
//! to `shortSeconds`, at nothing free. An ADD that waits counts as nothing free, and a finished pod (a Job's) always has the short one.
//!
//! | setting | default | meaning |
//! | --- | --- | --- |
//! | `calmSeconds` | `120` | the grace while the pool has room |
//! | `shortSeconds` | `2` | the grace when nothing is free, or an ADD waits |
//! | `freePercent` | `20` | below this share of free addresses it begins to shrink |

use serde::Deserialize;
use tenure_policy::{
    Description, FieldError, Lease, Policy, PolicyError, Pressure, Reclaim, ReclaimRequest,
    Verdict, Verdicts, export,
};

/// Settings as an operator writes them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    calm_seconds: u32,
    short_seconds: u32,
    free_percent: u32,
}

/// The policy.
pub struct PressureGrace(Settings);

impl Default for Settings {
    fn default() -> Self {
        Self { calm_seconds: 120, short_seconds: 2, free_percent: 20 }
    }
}

impl Policy for PressureGrace {
    type Settings = Settings;

    fn describe() -> Description {
        let schema = include_str!("settings.json");
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), schema)
    }

    fn new(settings: Settings) -> Result<Self, Vec<FieldError>> {
        if settings.short_seconds > settings.calm_seconds {
            let why = "must not be longer than /calmSeconds: pressure never lengthens";
            return Err(vec![FieldError::new("/shortSeconds", why)]);
        }
        Ok(Self(settings))
    }
}

impl Reclaim for PressureGrace {
    fn reclaim(&self, request: &ReclaimRequest) -> Result<Verdicts, PolicyError> {
        let verdict = |lease: Lease| {
            let grace_s = if lease.finished {
                self.0.short_seconds
            } else {
                request.pressure(lease.pool).map_or(self.0.calm_seconds, |p| self.grace(p))
            };
            Some(Verdict {
                grace_s,
                retain_s: Verdict::OWN_RETENTION,
                cooldown_s: 120,
                permits_unfenced: true,
            })
        };
        Ok(request.leases().map(verdict).collect())
    }
}

impl PressureGrace {
    fn grace(&self, pressure: Pressure) -> u32 {
        let Settings { calm_seconds, short_seconds, free_percent } = self.0;
        if pressure.waiting > 0 {
            return short_seconds;
        }
        let free = u128::from(pressure.free) * 100;
        let room = u128::from(pressure.size) * u128::from(free_percent);
        if free >= room {
            return calm_seconds;
        }
        let span = u128::from(calm_seconds.saturating_sub(short_seconds));
        let more = u32::try_from(span * free / room.max(1)).unwrap_or(u32::MAX);
        short_seconds.saturating_add(more)
    }
}

export!(PressureGrace: reclaim);

#[cfg(test)]
mod tests {
    use tenure_policy::testing::policy;

    use super::*;

    fn ask(free: u64, size: u64, waiting: u32) -> u32 {
        let lease = Lease { kernel_gone: true, ..Lease::default() };
        let request =
            ReclaimRequest::builder().lease(lease).pressure(0, free, size, waiting).build();
        let settings = r#"{"calmSeconds": 102, "shortSeconds": 2, "freePercent": 50}"#;
        let verdicts = policy::<PressureGrace>(settings).unwrap().reclaim(&request).unwrap();
        verdicts.iter().next().unwrap().unwrap().grace_s
    }

    #[test]
    fn the_grace_shrinks_with_the_room_and_never_grows() {
        let graces: Vec<u32> = (0..=100).rev().map(|free| ask(free, 100, 0)).collect();
        assert!(graces.is_sorted_by(|before, after| before >= after), "{graces:?}");
        assert_eq!((ask(50, 100, 0), ask(25, 100, 0), ask(0, 100, 0)), (102, 52, 2));
        assert_eq!(ask(100, 100, 1), 2, "an ADD waits");
        assert_eq!((ask(0, 0, 0), ask(u64::MAX, u64::MAX, 0)), (102, 102));
    }
}
