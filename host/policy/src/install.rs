//! How versions come, change and go: installs, the way back to the last good version, and what a restart finds.
//!
//! ```text
//! install: load -> taken back before? -> swap, note on disk
//!            `- refused: what serves goes on; if nothing does (a start): the kept version serves
//! roll-back: the breaker opened within ten minutes of a swap -> the version before it, noted on disk
//! ```

use std::sync::Arc;
use std::time::Duration;

use tenure_core::name::ObjectName;
use tenure_core::objects::PolicySpec;
use tenure_core::ports::{PolicyRefusal, PolicyStatus};
use tenure_core::time::{Moment, WallMs};

use crate::chain::{Counters, Installed, Refused, Version};
use crate::error::PolicyHostError;
use crate::host::PolicyHost;
use crate::kept::{Component, Record, Served, TakenBack};
use crate::load::{self, Loaded};

/// A breaker that opens so soon after a swap says that the new version is to blame.
const ON_PROBATION: Duration = Duration::from_secs(10 * 60);

impl PolicyHost {
    pub(crate) fn install_version(
        &self,
        name: &ObjectName,
        spec: &PolicySpec,
    ) -> Result<PolicyStatus, PolicyRefusal> {
        let kept = self.kept_record(name);
        let loaded = load::load(self, name, spec);
        let loaded = loaded.and_then(|loaded| self.not_taken_back(kept.as_ref(), loaded));
        match loaded {
            Ok(loaded) => {
                let Loaded { version, component, signatures } = loaded;
                let digest = version.compiled.digest.clone();
                tracing::info!(policy = name.as_str(), digest = digest.as_str(), "policy serves");
                self.swap_in(Arc::new(version), kept);
                let (bytes, signatures) = (component.as_slice(), signatures.as_slice());
                self.note(name, Some(Component { digest: &digest, bytes, signatures }));
            }
            Err(error) => {
                let refusal = error.refusal(name);
                tracing::warn!(policy = name.as_str(), "{refusal}");
                self.note_refusal(name, &refusal, kept);
                return Err(refusal);
            }
        }
        // A roll-back may have been faster; then the table has another truth, and this is it.
        self.status_of(name).ok_or_else(|| PolicyRefusal {
            policy: name.clone(),
            stage: "taking over",
            why: "it was taken out of service in the same moment".to_owned(),
        })
    }

    /// Notes that the newest version of a policy is not to be had, as a refused install does: what serves goes on, and where
    /// nothing does, the last good version serves from now on.
    pub fn refuse(&self, name: &ObjectName, refusal: &PolicyRefusal) {
        let _one_at_a_time = self.admin.lock();
        self.note_refusal(name, refusal, self.kept_record(name));
    }

    /// Returns to the version before `failed`, if that one came just now and nobody has changed it since.
    pub(crate) fn roll_back(&self, failed: &Arc<Installed>, cause: &str) {
        let now = self.place.clock.now();
        let Some(previous) = &failed.previous else { return };
        if now.since(failed.since) > ON_PROBATION {
            return;
        }
        let name = &failed.version.name;
        let version = Served::of(&failed.version);
        let why =
            format!("{} was taken back after repeated faults, the last: {cause}", version.digest);
        let taken_back = TakenBack { version, why: why.clone() };
        let mut is_done = false;
        self.table.rcu(|table| {
            is_done = table.get(name).is_some_and(|present| Arc::ptr_eq(present, failed));
            if !is_done {
                return table.clone();
            }
            Arc::new(table.with(Installed {
                version: previous.clone(),
                previous: None,
                since: now,
                since_wall: self.place.clock.wall(),
                counters: failed.counters.clone(),
                refused: Some(taken_back.refused()),
                taken_back: Some(taken_back.clone()),
            }))
        });
        if !is_done {
            return;
        }
        tracing::error!(policy = name.as_str(), to = previous.compiled.digest.as_str(), "{why}");
        if let Some(keeper) = &self.keeper {
            keeper.note_soon(name);
        }
    }

    /// What is kept of a policy that does not serve in this process yet.
    fn kept_record(&self, name: &ObjectName) -> Option<Record> {
        if self.table.load().get(name).is_some() {
            return None;
        }
        self.keeper.as_ref()?.record(name)
    }

    fn not_taken_back(
        &self,
        kept: Option<&Record>,
        loaded: Loaded,
    ) -> Result<Loaded, PolicyHostError> {
        let version = &loaded.version;
        let table = self.table.load();
        let present = table.get(&version.name).and_then(|present| present.taken_back.as_ref());
        match present.or_else(|| kept?.taken_back.as_ref()) {
            Some(taken_back) if taken_back.version.is(version) => {
                Err(PolicyHostError::TakenBack(taken_back.why.clone()))
            }
            _ => Ok(loaded),
        }
    }

    /// `kept` is what served before this process, if nothing served yet.
    fn swap_in(&self, version: Arc<Version>, kept: Option<Record>) {
        let (now, wall) = (self.place.clock.now(), self.place.clock.wall());
        let begun = kept.map(|record| self.begun(record, &version, (now, wall)));
        let fresh = Installed::fresh(version.clone(), now, wall);
        self.table.rcu(|table| {
            let present = table.get(&version.name);
            table.with(match (present, &begun) {
                (Some(present), _) => Installed {
                    previous: last_good(present),
                    counters: counters(present, &version),
                    ..fresh.clone()
                },
                (None, Some(begun)) => begun.clone(),
                (None, None) => fresh.clone(),
            })
        });
    }

    /// A version that is the first of this process: what it could go back to is what served before.
    fn begun(
        &self,
        kept: Record,
        version: &Arc<Version>,
        (now, wall): (Moment, WallMs),
    ) -> Installed {
        let served_for = Duration::from_millis(wall.0.saturating_sub(kept.since.0));
        let fresh = Installed::fresh(version.clone(), now, wall);
        if !kept.serving.is(version) {
            let previous = self.kept_version(&version.name, &kept.serving);
            return Installed { previous, ..fresh };
        }
        let previous = kept.previous.filter(|_| served_for <= ON_PROBATION);
        let previous = previous.and_then(|previous| self.kept_version(&version.name, &previous));
        let elapsed = u64::try_from(served_for.as_millis()).unwrap_or(u64::MAX);
        let since = Moment(now.0.saturating_sub(elapsed));
        Installed { previous, since, since_wall: kept.since, ..fresh }
    }

    /// Says at the version that serves why the newest does not; where none serves, the kept one does from now on.
    fn note_refusal(&self, name: &ObjectName, refusal: &PolicyRefusal, kept: Option<Record>) {
        let refused = Refused { stage: refusal.stage, why: refusal.to_string() };
        let restored = kept.and_then(|record| self.restored(name, record, &refused));
        self.table.rcu(|table| match (table.get(name), &restored) {
            (Some(present), _) => Arc::new(table.with(present.refused(refused.clone()))),
            (None, Some(restored)) => Arc::new(table.with(restored.clone())),
            (None, None) => table.clone(),
        });
        if let Some(restored) = restored {
            let digest = restored.version.compiled.digest.as_str();
            tracing::warn!(policy = name.as_str(), digest, "the last good version serves instead");
            self.note(name, None);
        }
    }

    /// The version that served last, or the one before it.
    fn restored(&self, name: &ObjectName, kept: Record, refused: &Refused) -> Option<Installed> {
        let Record { serving, previous, since, taken_back } = kept;
        let version = self
            .kept_version(name, &serving)
            .or_else(|| previous.and_then(|previous| self.kept_version(name, &previous)))?;
        let fresh = Installed::fresh(version, self.place.clock.now(), since);
        Some(Installed { refused: Some(refused.clone()), taken_back, ..fresh })
    }

    /// A kept version, through the whole pipeline.
    fn kept_version(&self, name: &ObjectName, served: &Served) -> Option<Arc<Version>> {
        let component = self.keeper.as_ref()?.component(&served.digest)?;
        match load::load_from(self, name, &served.spec, component) {
            Ok(loaded) => Some(Arc::new(loaded.version)),
            Err(error) => {
                let refusal = error.refusal(name);
                tracing::warn!(digest = served.digest.as_str(), "a kept version: {refusal}");
                None
            }
        }
    }

    pub(crate) fn note(&self, name: &ObjectName, component: Option<Component<'_>>) {
        if let Some(keeper) = &self.keeper {
            keeper.note(name, component);
        }
    }
}

/// What to return to: the present version, or the one before it if the present one is failing.
fn last_good(present: &Installed) -> Option<Arc<Version>> {
    if present.version.breaker.is_open() {
        present.previous.clone()
    } else {
        Some(present.version.clone())
    }
}

/// A candidate is judged by what it did itself.
fn counters(present: &Installed, next: &Version) -> Arc<Counters> {
    if next.is_shadow() { Arc::default() } else { present.counters.clone() }
}
