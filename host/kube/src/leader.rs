//! Who of the allocators is asked first: a coordination.k8s.io/v1 Lease.
//!
//! This is a *preference*, never a safety device. One replica is preferred so that waiting is fair; any replica may serve, and
//! two that both believe to lead harm nothing, because the lock is the store's conditional write. Nothing may be built on
//! [`Leader::is_me`] that must not happen twice.
//!
//! # Flow
//! Every replica reads the lease twice as often as its holder renews it. It takes a lease that names nobody at once, one that
//! names another after it has not *seen it change* for its duration, and makes one that is not there. A holder renews it.
//!
//! # Guarantees
//! - No time that another machine wrote is ever compared with a clock of ours (invariant I8): what counts is how long ago,
//!   by our monotonic clock, we first saw what stands there. The times in the lease are for people.
//! - Writes replace the version that was read, so of those who want it one gets it.
//! - Who cannot renew says that it leads no more [`MARGIN`] before the first instant at which another may take it, also while
//!   a request hangs. A clock that stands still (suspend) delays that.
//! - A lease that somebody edits is taken as it stands: whom it names leads until its duration has passed without a change.
//!
//! # Assumptions
//! Identities differ between processes: two of the same identity would both renew.

use std::future::{Future, pending};
use std::pin::pin;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::store::calls::{Calls, Failure};

/// This part of the duration lies between "I lead no more" and the first instant at which another may take it: for
/// monotonic clocks that run at different rates, and threads that are scheduled late.
const MARGIN: u32 = 8;
/// A duration that stands in the lease counts up to here, so that no edit keeps all from leading for long.
const LONGEST: Duration = Duration::from_secs(60);
/// So often in a row a lease that was changed in between is read again.
const TRIES: usize = 3;

/// Settings of the leadership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderOptions {
    /// The namespace of the allocator.
    pub namespace: String,
    /// The name of the lease.
    pub name: String,
    /// By what this process is known; no other process may have it, not even after it.
    pub identity: String,
    /// Unchanged for so long, a lease may be taken.
    pub duration: Duration,
    /// The holder renews it so often.
    pub renew_every: Duration,
    /// How long one request may take.
    pub call_deadline: Duration,
}

/// Who leads, as far as is known here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leader {
    /// The identity of the one that leads; none if nobody does, or if it cannot be known.
    pub holder: Option<String>,
    /// Whether it is this process.
    pub is_me: bool,
}

/// Takes part in the choice of a leader. Dropped, it leads no more and lets the lease run out.
#[derive(Debug)]
pub struct Leadership {
    leader: watch::Receiver<Leader>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// The task.
struct Candidate {
    options: LeaderOptions,
    api: Api<Lease>,
    calls: Calls,
    seen: Option<Seen>,
    /// The lease in the version that we wrote last.
    ours: Option<Lease>,
    leads_until: Option<Instant>,
}

/// What stands in the API, and since when we know it to stand there.
#[derive(Debug, Clone)]
struct Seen {
    spec: LeaseSpec,
    since: Instant,
}

/// What is to be done about a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    /// It is ours: write that we are here.
    Renew,
    /// It names nobody, or somebody who is gone.
    Take,
    /// It is another's until then.
    Wait(Instant),
}

/// Why a round did not end well.
enum Trouble {
    /// It was changed in between: read it again.
    Changed,
    /// It cannot be known now.
    Failed(Failure),
}

/// Says who leads; once it is gone, nobody does as far as this process knows.
struct Voice(watch::Sender<Leader>);

// === impl LeaderOptions ===

impl LeaderOptions {
    /// The defaults, for this identity. Another leads at the latest 5 s after the leader has died: half a renewal until its
    /// last change is seen, then the duration.
    #[must_use]
    pub fn new(namespace: impl Into<String>, identity: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: "tenure-allocator".to_owned(),
            identity: identity.into(),
            duration: Duration::from_secs(4),
            renew_every: Duration::from_secs(1),
            call_deadline: Duration::from_secs(1),
        }
    }

    /// How long who has written the lease may say that it leads, from before the write on.
    fn hold(&self) -> Duration {
        self.duration.saturating_sub(self.duration / MARGIN)
    }

    fn look_every(&self) -> Duration {
        self.renew_every / 2
    }
}

// === impl Leadership ===

impl Leadership {
    /// Takes part from now on, in a task of its own.
    #[must_use]
    pub fn start(client: Client, options: LeaderOptions) -> Self {
        let (says, leader) = watch::channel(Leader::default());
        let (stop, stopped) = oneshot::channel();
        let candidate = Candidate {
            api: Api::namespaced(client, &options.namespace),
            calls: Calls::new(options.call_deadline, 1),
            options,
            seen: None,
            ours: None,
            leads_until: None,
        };
        let task = tokio::spawn(candidate.run(Voice(says), stopped));
        Self { leader, stop: Some(stop), task }
    }

    /// Who leads, now and with each change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Leader> {
        self.leader.clone()
    }

    /// Leads no more, gives the lease back so that another takes it at once, and takes part no more. It ends after a few
    /// requests even if the API server is away; the lease then runs out.
    pub async fn resign(mut self) {
        // The task is gone already if either fails.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = (&mut self.task).await;
    }
}

impl Drop for Leadership {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Candidate ===

impl Candidate {
    async fn run(mut self, voice: Voice, mut stop: oneshot::Receiver<()>) {
        loop {
            let until = self.leads_until;
            let Some(next) = guarded(&voice, &mut stop, until, self.round()).await else { break };
            voice.say(self.leader(Instant::now()));
            let pause = sleep_until(next);
            if guarded(&voice, &mut stop, self.leads_until, pause).await.is_none() {
                break;
            }
        }
        drop(voice);
        self.give_back().await;
    }

    /// Reads, and writes if it has to. Answers when to come again.
    async fn round(&mut self) -> Instant {
        for _ in 0..TRIES {
            match self.act().await {
                Ok(next) => return next,
                Err(Trouble::Changed) => self.ours = None,
                Err(Trouble::Failed(failure)) => {
                    tracing::debug!(%failure, "the leader's lease could not be read or written");
                    self.ours = None;
                    break;
                }
            }
        }
        Instant::now() + self.options.look_every()
    }

    async fn act(&mut self) -> Result<Instant, Trouble> {
        let lease = match self.ours.take() {
            Some(lease) => Some(lease),
            None => self.read().await?,
        };
        let now = Instant::now();
        let written = match (lease, &self.seen) {
            (Some(lease), Some(seen)) => match seen.plan(&self.options, now) {
                Plan::Wait(until) => return Ok(until.min(now + self.options.look_every())),
                plan => self.write(lease, plan).await?,
            },
            _ => self.create().await?,
        };
        self.note(&written, Instant::now());
        self.ours = Some(written);
        // From before the request on: the server may have done it at once, and others seen it.
        self.leads_until = Some(now + self.options.hold());
        Ok(now + self.options.renew_every)
    }

    /// What stands there. Whoever is no longer named leads no more.
    async fn read(&mut self) -> Result<Option<Lease>, Trouble> {
        let name = &self.options.name;
        let lease = self.calls.send(self.api.get_opt(name)).await.map_err(Trouble::Failed)?;
        match &lease {
            Some(lease) => self.note(lease, Instant::now()),
            None => self.seen = None,
        }
        if self.seen.as_ref().and_then(Seen::holder) != Some(self.options.identity.as_str()) {
            self.leads_until = None;
        }
        Ok(lease)
    }

    fn note(&mut self, lease: &Lease, now: Instant) {
        let spec = lease.spec.clone().unwrap_or_default();
        if self.seen.as_ref().is_none_or(|seen| seen.spec != spec) {
            self.seen = Some(Seen { spec, since: now });
        }
    }

    async fn create(&self) -> Result<Lease, Trouble> {
        let metadata =
            ObjectMeta { name: Some(self.options.name.clone()), ..ObjectMeta::default() };
        let spec = Some(self.spec(LeaseSpec::default(), Plan::Take));
        let lease = Lease { metadata, spec };
        self.sent(self.api.create(&PostParams::default(), &lease)).await
    }

    async fn write(&self, lease: Lease, plan: Plan) -> Result<Lease, Trouble> {
        let spec = Some(self.spec(lease.spec.unwrap_or_default(), plan));
        let lease = Lease { spec, ..lease };
        self.sent(self.api.replace(&self.options.name, &PostParams::default(), &lease)).await
    }

    async fn sent(
        &self,
        request: impl Future<Output = Result<Lease, kube::Error>>,
    ) -> Result<Lease, Trouble> {
        self.calls.send(request).await.map_err(|failure| match failure {
            // It was changed, made or deleted by another.
            Failure::Refused(status) if matches!(status.code, 404 | 409) => Trouble::Changed,
            failure => Trouble::Failed(failure),
        })
    }

    fn spec(&self, before: LeaseSpec, plan: Plan) -> LeaseSpec {
        let now = Some(MicroTime(Timestamp::now()));
        let seconds = self.options.duration.as_millis().div_ceil(1000).max(1);
        let (acquire_time, transitions) = match plan {
            Plan::Renew | Plan::Wait(_) => (before.acquire_time, 0),
            Plan::Take => (now.clone(), 1),
        };
        LeaseSpec {
            holder_identity: Some(self.options.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(seconds).unwrap_or(i32::MAX)),
            renew_time: now,
            acquire_time,
            lease_transitions: before.lease_transitions.unwrap_or(0).checked_add(transitions),
            ..before
        }
    }

    fn leader(&self, now: Instant) -> Leader {
        if self.leads_until.is_some_and(|until| now < until) {
            return Leader { holder: Some(self.options.identity.clone()), is_me: true };
        }
        let seen = self.seen.as_ref().filter(|seen| now < seen.counts_until(&self.options));
        // Our own name in a lease that we could not renew says nothing.
        let holder = seen.and_then(Seen::holder).filter(|holder| *holder != self.options.identity);
        Leader { holder: holder.map(str::to_owned), is_me: false }
    }

    /// Writes that nobody holds it, if we do. Writes of ours that are still on their way then meet another version.
    async fn give_back(&mut self) {
        for _ in 0..TRIES {
            let Ok(Some(lease)) = self.read().await else { return };
            if self.seen.as_ref().and_then(Seen::holder) != Some(self.options.identity.as_str()) {
                return;
            }
            let spec = lease.spec.map(|spec| LeaseSpec { holder_identity: None, ..spec });
            let lease = Lease { spec, ..lease };
            let params = PostParams::default();
            match self.sent(self.api.replace(&self.options.name, &params, &lease)).await {
                Ok(_) => return,
                Err(Trouble::Changed) => {}
                Err(Trouble::Failed(failure)) => {
                    tracing::warn!(%failure, "the leader's lease was not given back; it runs out");
                    return;
                }
            }
        }
    }
}

// === impl Seen ===

impl Seen {
    /// Whom it names; an empty name is nobody's.
    fn holder(&self) -> Option<&str> {
        self.spec.holder_identity.as_deref().filter(|holder| !holder.is_empty())
    }

    /// Its holder may have set another duration than ours, as while a new version is rolled out: the longer one counts.
    fn counts_until(&self, options: &LeaderOptions) -> Instant {
        let written = self.spec.lease_duration_seconds.and_then(|it| u64::try_from(it).ok());
        let written = Duration::from_secs(written.unwrap_or(0)).min(LONGEST);
        self.since + options.duration.max(written)
    }

    fn plan(&self, options: &LeaderOptions, now: Instant) -> Plan {
        match self.holder() {
            None => Plan::Take,
            Some(holder) if holder == options.identity => Plan::Renew,
            Some(_) if now >= self.counts_until(options) => Plan::Take,
            Some(_) => Plan::Wait(self.counts_until(options)),
        }
    }
}

// === impl Voice ===

impl Voice {
    fn say(&self, leader: Leader) {
        self.0.send_if_modified(|said| {
            let is_news = *said != leader;
            if is_news {
                tracing::info!(holder = ?leader.holder, is_me = leader.is_me, "the leader changed");
                *said = leader;
            }
            is_news
        });
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        self.say(Leader::default());
    }
}

/// Waits for some work. What we said of leading ends when it has to, and not only with the work. None if we are to stop.
async fn guarded<T>(
    voice: &Voice,
    stop: &mut oneshot::Receiver<()>,
    leads_until: Option<Instant>,
    work: impl Future<Output = T>,
) -> Option<T> {
    let over = pin!(async {
        if let Some(until) = leads_until {
            sleep_until(until).await;
            voice.say(Leader::default());
        }
        pending::<T>().await
    });
    tokio::select! {
        biased;
        _ = stop => None,
        never = over => Some(never),
        done = work => Some(done),
    }
}

#[cfg(test)]
mod tests {
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

    #[tokio::test(start_paused = true)]
    async fn leading_ends_in_time_while_a_request_hangs() {
        let (says, mut leader) = watch::channel(Leader { holder: None, is_me: true });
        let (voice, (_stop, mut stopped)) = (Voice(says), oneshot::channel());
        let until = Instant::now() + SECOND;
        let hanging = pending::<()>();
        tokio::select! {
            _ = guarded(&voice, &mut stopped, Some(until), hanging) => panic!("it hangs"),
            changed = leader.changed() => changed.unwrap(),
        }
        assert!(!leader.borrow().is_me);
        assert_eq!(Instant::now(), until);
    }
}
