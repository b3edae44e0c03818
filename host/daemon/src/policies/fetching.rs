//! `oci:` sources: modules are fetched off the decision path and kept by digest; then the policy host takes them as it takes files.
//!
//! *Flow*: an apply (`check`) fetches while its caller waits, and the engine pins the digest that was found. Whatever is to serve
//! (`install`: at a start, and when a cluster's objects change) is taken from what is kept, without any network; what is missing there
//! is refused at its own stage, fetched in the background, and given again. A tag is resolved once and stays what it was, until the
//! object is applied anew.
//!
//! *Guarantees*: decisions never wait for a registry, and a start does not either. One fetch at a time, each within a deadline; tries get
//! rarer. *Errors*: a refusal names the registry's answer and when it is asked again.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tenure_core::decision::{
    AffinityAnswer, AffinityRequest, Decided, DecisionRecord, ReclaimRequest, SelectRequest,
    Selection, Verdict,
};
use tenure_core::name::{Digest, ObjectName, OciRef};
use tenure_core::objects::{PolicySource, PolicySpec};
use tenure_core::ports::{Pinned, Policies, PolicyRefusal, PolicyStatus};
use tenure_engine::Engine;
use tenure_oci::{Credentials, OciError, Registry, RegistryOptions};
use tenure_policy_host::{COMPONENT_BYTES, FETCH, PolicyHost, TRUST};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::kept::Kept;
use crate::config::RegistrySettings;

/// After a fetch that failed, and after one whose signatures do not suffice.
const FIRST_RETRY: Duration = Duration::from_secs(10);
/// A registry that is away for a day is asked so often.
const RARELY: Duration = Duration::from_secs(300);

type Answer = Result<PolicyStatus, PolicyRefusal>;

/// The policy host, with what it cannot do: reach a registry.
pub(crate) struct Fetching {
    host: Arc<PolicyHost>,
    kept: Kept,
    settings: RegistrySettings,
    runtime: Handle,
    /// What is missing, by policy.
    wishes: Mutex<BTreeMap<ObjectName, Wish>>,
    wished: Notify,
    /// Whoever fetches; only one writes what is kept.
    busy: tokio::sync::Mutex<()>,
}

/// A module, or signatures of it, that a policy waits for.
#[derive(Debug, Clone)]
struct Wish {
    reference: OciRef,
    digest: Option<Digest>,
    due: Instant,
    pause: Duration,
    why: String,
}

/// Why a module did not come.
#[derive(Debug, thiserror::Error)]
enum Unfetched {
    #[error(transparent)]
    Oci(#[from] OciError),
    #[error(
        "{reference} is {found} now, and spec.digest asks for {wanted}; correct spec.digest, or name the manifest, too (`{reference}@sha256:...`)"
    )]
    Other { reference: OciRef, found: Digest, wanted: Digest },
    #[error("it cannot be kept in {folder}: {source}")]
    Kept { folder: String, source: io::Error },
}

// === impl Fetching ===

impl Fetching {
    /// Nothing is fetched before a policy asks for it.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub(crate) fn new(host: Arc<PolicyHost>, kept: Kept, settings: RegistrySettings) -> Self {
        Self {
            host,
            kept,
            settings,
            runtime: Handle::current(),
            wishes: Mutex::default(),
            wished: Notify::new(),
            busy: tokio::sync::Mutex::default(),
        }
    }

    /// Fetches what is missing and gives it to the engine, until the task is dropped.
    pub(crate) async fn follow(self: Arc<Self>, engine: Arc<Engine>) {
        loop {
            let next = {
                let wishes = self.wishes.lock();
                let first = wishes.iter().min_by_key(|(_, wish)| wish.due);
                first.map(|(name, wish)| (name.clone(), wish.clone()))
            };
            match next {
                None => self.wished.notified().await,
                Some((_, wish)) if wish.due > Instant::now() => {
                    tokio::select! {
                        () = self.wished.notified() => {}
                        () = tokio::time::sleep_until(wish.due) => {}
                    }
                }
                Some((name, wish)) => {
                    self.grant(&name, &wish).await;
                    match engine.give_again(&name).await {
                        Ok(true) => {}
                        // Nobody waits for it any more. A wish that came meanwhile is a new one.
                        Ok(false) => self
                            .wishes
                            .lock()
                            .retain(|other, wish| *other != name || wish.pause == FIRST_RETRY),
                        Err(error) => {
                            tracing::warn!(%error, %name, "a policy could not be given again");
                        }
                    }
                }
            }
        }
    }

    /// Fetches one, and says when it is tried again if that does not suffice.
    async fn grant(&self, name: &ObjectName, wish: &Wish) {
        let fetched = self.fetch(&wish.reference, wish.digest.as_ref()).await;
        let seconds = wish.pause.as_secs();
        let mut wishes = self.wishes.lock();
        let Some(wish) = wishes.get_mut(name) else { return };
        wish.due = Instant::now() + wish.pause;
        wish.pause = (wish.pause * 2).min(RARELY);
        if let Err(error) = fetched {
            wish.why = format!("{error}; it is tried again in {seconds} s");
            tracing::warn!(%name, "a module was not fetched: {}", wish.why);
        }
    }

    async fn fetch(
        &self,
        reference: &OciRef,
        wanted: Option<&Digest>,
    ) -> Result<Digest, Unfetched> {
        let _one = self.busy.lock().await;
        let pulled = Registry::new(self.options()?).pull(reference).await?;
        let found = pulled.artifact.digest();
        if let Some(wanted) = wanted.filter(|wanted| **wanted != found) {
            let (reference, wanted) = (reference.clone(), wanted.clone());
            return Err(Unfetched::Other { reference, found, wanted });
        }
        let mut in_use: Vec<Digest> = self.host.status().into_iter().map(|s| s.digest).collect();
        in_use.extend(self.wishes.lock().values().filter_map(|wish| wish.digest.clone()));
        let kept = (reference, pulled.artifact.component.as_slice());
        // A few milliseconds of a disk that is asked rarely.
        let digest =
            tokio::task::block_in_place(|| self.kept.keep(kept, &pulled.signatures, &in_use));
        let digest = digest.map_err(|source| Unfetched::Kept {
            folder: self.kept.folder().display().to_string(),
            source,
        })?;
        tracing::info!(%reference, %digest, manifest = %pulled.artifact.manifest_digest(), "a module was fetched");
        Ok(digest)
    }

    /// Credentials are read each time: whoever rotates them need not tell the daemon.
    fn options(&self) -> Result<RegistryOptions, OciError> {
        let RegistrySettings { docker_config, plain_http, ca } = &self.settings;
        let credentials = docker_config.as_deref().map(Credentials::read).transpose()?;
        Ok(RegistryOptions {
            credentials: credentials.unwrap_or_default(),
            plain_http: plain_http.clone(),
            ca: ca.clone(),
            ..RegistryOptions::new(COMPONENT_BYTES)
        })
    }

    /// What an apply gets: the module as the registry has it now, or as it is pinned.
    fn fetched_now(
        &self,
        reference: &OciRef,
        wanted: Option<&Digest>,
    ) -> Result<Digest, Unfetched> {
        let fetched = self.runtime.block_on(self.fetch(reference, wanted));
        match fetched {
            Err(Unfetched::Oci(error)) if error.is_passing() && wanted.is_none() => {
                let known = self.kept.resolved(reference).ok_or(error)?;
                tracing::warn!(%reference, digest = %known, "the registry does not answer: the module that the tag named last is taken");
                Ok(known)
            }
            fetched => fetched,
        }
    }

    fn check_fetched(
        &self,
        (name, spec): (&ObjectName, &PolicySpec),
        reference: &OciRef,
    ) -> Answer {
        let refused = |error: Unfetched| refusal(name, error.to_string());
        let kept = spec.digest.clone().filter(|digest| self.kept.has(digest));
        let digest = match kept.clone() {
            Some(digest) => digest,
            None => self.fetched_now(reference, spec.digest.as_ref()).map_err(refused)?,
        };
        let spec = pinned(spec, &digest);
        let answer = self.host.check(name, &spec);
        // It may have been signed since it was kept.
        let may_be_signed = kept.is_some() && is_distrust(&answer);
        if may_be_signed && self.runtime.block_on(self.fetch(reference, Some(&digest))).is_ok() {
            return self.host.check(name, &spec);
        }
        answer
    }

    fn install_kept(&self, (name, spec): (&ObjectName, &PolicySpec), reference: &OciRef) -> Answer {
        let known = match &spec.digest {
            Some(digest) => self.kept.has(digest).then(|| digest.clone()),
            None => self.kept.resolved(reference),
        };
        let Some(known) = known else {
            let why = self.wish(name, reference, spec.digest.as_ref());
            let refusal = refusal(name, why);
            self.host.refuse(name, &refusal);
            return Err(refusal);
        };
        let answer = self.host.install(name, &pinned(spec, &known));
        if is_distrust(&answer) {
            self.wish(name, reference, Some(&known));
        } else {
            self.wishes.lock().remove(name);
        }
        answer
    }

    /// Has it fetched soon, and answers what is to be said meanwhile.
    fn wish(&self, name: &ObjectName, reference: &OciRef, digest: Option<&Digest>) -> String {
        let mut wishes = self.wishes.lock();
        let same = |wish: &&Wish| wish.reference == *reference && wish.digest.as_ref() == digest;
        if let Some(known) = wishes.get(name).filter(same) {
            return known.why.clone();
        }
        let why = format!("it is not kept here and is being fetched from {reference}");
        let wish = Wish {
            reference: reference.clone(),
            digest: digest.cloned(),
            due: Instant::now(),
            pause: FIRST_RETRY,
            why: why.clone(),
        };
        wishes.insert(name.clone(), wish);
        self.wished.notify_one();
        why
    }
}

impl Policies for Fetching {
    fn pinned(&self) -> Box<dyn Pinned + '_> {
        self.host.pinned()
    }

    fn affinity(&self, request: &AffinityRequest) -> Decided<AffinityAnswer> {
        self.host.affinity(request)
    }

    fn select(&self, request: &SelectRequest) -> Decided<Selection> {
        self.host.select(request)
    }

    fn reclaim(&self, request: &ReclaimRequest) -> Decided<Vec<Verdict>> {
        self.host.reclaim(request)
    }

    fn check(&self, name: &ObjectName, spec: &PolicySpec) -> Answer {
        match &spec.source {
            PolicySource::Oci(reference) => self.check_fetched((name, spec), reference),
            PolicySource::Bundled(_) | PolicySource::File(_) => self.host.check(name, spec),
        }
    }

    fn install(&self, name: &ObjectName, spec: &PolicySpec) -> Answer {
        match &spec.source {
            PolicySource::Oci(reference) => self.install_kept((name, spec), reference),
            PolicySource::Bundled(_) | PolicySource::File(_) => {
                self.wishes.lock().remove(name);
                self.host.install(name, spec)
            }
        }
    }

    fn remove(&self, name: &ObjectName) {
        self.wishes.lock().remove(name);
        self.host.remove(name);
    }

    fn status(&self) -> Vec<PolicyStatus> {
        self.host.status()
    }

    fn decisions(&self, limit: usize) -> Vec<DecisionRecord> {
        self.host.decisions(limit)
    }
}

fn pinned(spec: &PolicySpec, digest: &Digest) -> PolicySpec {
    PolicySpec { digest: Some(digest.clone()), ..spec.clone() }
}

fn is_distrust(answer: &Answer) -> bool {
    answer.as_ref().is_err_and(|refusal| refusal.stage == TRUST)
}

fn refusal(name: &ObjectName, why: String) -> PolicyRefusal {
    PolicyRefusal { policy: name.clone(), stage: FETCH, why }
}
