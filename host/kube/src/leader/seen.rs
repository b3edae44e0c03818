//! What stands in the lease, since when, and what is to be done about it.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::LeaseSpec;
use tokio::time::Instant;

use super::LeaderOptions;

/// A duration that stands in the lease counts up to here, so that no edit keeps all from leading for long.
const LONGEST: Duration = Duration::from_secs(60);
/// What stands in the API, and since when we know it to stand there.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) spec: LeaseSpec,
    pub(super) since: Instant,
}

/// What is to be done about a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// It is ours: write that we are here.
    Renew,
    /// It names nobody, or somebody who is gone.
    Take,
    /// It is another's until then.
    Wait(Instant),
}

// === impl Seen ===

impl Seen {
    /// Whom it names; an empty name is nobody's.
    pub(super) fn holder(&self) -> Option<&str> {
        self.spec.holder_identity.as_deref().filter(|holder| !holder.is_empty())
    }

    /// Its holder may have set another duration than ours, as while a new version is rolled out: the longer one counts.
    pub(super) fn counts_until(&self, options: &LeaderOptions) -> Instant {
        let written = self.spec.lease_duration_seconds.and_then(|it| u64::try_from(it).ok());
        let written = Duration::from_secs(written.unwrap_or(0)).min(LONGEST);
        self.since + options.duration.max(written)
    }

    pub(super) fn plan(&self, options: &LeaderOptions, now: Instant) -> Plan {
        match self.holder() {
            None => Plan::Take,
            Some(holder) if holder == options.identity => Plan::Renew,
            Some(_) if now >= self.counts_until(options) => Plan::Take,
            Some(_) => Plan::Wait(self.counts_until(options)),
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn seen(holder: Option<&str>, seconds: Option<i32>) -> Seen {
        let spec = LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: seconds,
            // As a machine whose clock is a century ahead would write it.
            renew_time: Some(MicroTime("2126-01-01T00:00:00Z".parse().unwrap())),
            ..LeaseSpec::default()
        };
        Seen { spec, since: Instant::now() }
    }

    #[test]
    fn a_lease_is_planned_by_whom_it_names_and_how_long_it_was_seen_unchanged() {
        let options = LeaderOptions::new("tenure-system", "me");
        let take = None;
        for (holder, seconds, after, waits_until) in [
            (Some("other"), Some(4), 0, Some(4)),
            (Some("other"), Some(4), 3, Some(4)),
            (Some("other"), Some(4), 4, take),
            (Some("other"), None, 3, Some(4)),
            (Some("other"), Some(-1), 4, take),
            // A longer one that its holder wrote counts, up to a bound.
            (Some("other"), Some(10), 9, Some(10)),
            (Some("other"), Some(86_400), 59, Some(60)),
            (Some("other"), Some(86_400), 60, take),
            (None, Some(4), 0, take),
            (Some(""), Some(4), 0, take),
        ] {
            let seen = seen(holder, seconds);
            let plan = seen.plan(&options, seen.since + SECOND * after);
            let expected =
                waits_until.map_or(Plan::Take, |it| Plan::Wait(seen.since + SECOND * it));
            assert_eq!(plan, expected, "{holder:?} {seconds:?} after {after} s");
        }
        let mine = seen(Some("me"), Some(4));
        assert_eq!(mine.plan(&options, mine.since + SECOND * 100), Plan::Renew);
    }

    #[test]
    fn who_leads_says_so_for_less_time_than_others_wait() {
        let options = LeaderOptions::new("tenure-system", "me");
        assert!(options.hold() < options.duration);
        assert!(options.hold() > options.renew_every + options.call_deadline, "one may fail");
    }
}
