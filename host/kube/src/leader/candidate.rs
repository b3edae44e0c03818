//! The task of a replica that may lead.

use std::future::Future;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::seen::{Plan, Seen};
use super::voice::{Voice, guarded};
use super::{Leader, LeaderOptions};
use crate::store::calls::{Calls, Failure};

/// So often in a row a lease that was changed in between is read again.
const TRIES: usize = 3;

/// The task.
pub(super) struct Candidate {
    options: LeaderOptions,
    api: Api<Lease>,
    calls: Calls,
    seen: Option<Seen>,
    /// The lease in the version that we wrote last.
    ours: Option<Lease>,
    leads_until: Option<Instant>,
}

/// Why a round did not end well.
enum Trouble {
    /// It was changed in between: read it again.
    Changed,
    /// It cannot be known now.
    Failed(Failure),
}

// === impl Candidate ===

impl Candidate {
    pub(super) fn new(client: Client, options: LeaderOptions) -> Self {
        Self {
            api: Api::namespaced(client, &options.namespace),
            calls: Calls::new(options.call_deadline, 1),
            options,
            seen: None,
            ours: None,
            leads_until: None,
        }
    }

    /// Ends when it is told to, with the lease given back.
    pub(super) async fn run(mut self, voice: Voice, mut stop: oneshot::Receiver<()>) {
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
        if !self.is_named() {
            self.leads_until = None;
        }
        Ok(lease)
    }

    fn is_named(&self) -> bool {
        let holder = self.seen.as_ref().and_then(Seen::holder);
        holder == Some(self.options.identity.as_str())
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
            if !self.is_named() {
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
