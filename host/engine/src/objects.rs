//! Pools, reservations and policies as operators apply and delete them. Checked whole before anything changes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tenure_core::error::Coded as _;
use tenure_core::name::ObjectName;
use tenure_core::objects::{Object, ObjectKind, PolicySource, PoolSpec, Resource};
use tenure_core::ports::PolicyStatus;

use crate::engine::{check_all, pool_name};
use crate::policies::{Policy, policies_of};
use crate::{Engine, EngineError};

/// What became of an applied object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// There was none of this name.
    Created,
    /// It is different now.
    Configured,
    /// It was as it is.
    Unchanged,
}

/// One applied object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its name.
    pub name: ObjectName,
    /// What became of it.
    pub change: Change,
}

/// What became of a deleted object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "outcome")]
pub enum Deleted {
    /// It is gone.
    Done,
    /// A pool whose addresses are still held: it gives nothing any more and goes when the last one leaves.
    #[serde(rename_all = "camelCase")]
    Waiting {
        /// Addresses still held or quarantined.
        held: u64,
    },
}

impl Engine {
    /// All objects, by kind and name.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn objects(&self) -> Result<Vec<Object>, EngineError> {
        let mut objects = self.ports.store.objects()?;
        objects.sort_by(|a, b| (a.kind(), a.name()).cmp(&(b.kind(), b.name())));
        Ok(objects)
    }

    /// One object.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub fn object(&self, kind: ObjectKind, name: &ObjectName) -> Result<Object, EngineError> {
        let found =
            self.ports.store.objects()?.into_iter().find(|o| o.kind() == kind && o.name() == name);
        found.ok_or_else(|| EngineError::NotFound { object: format!("{kind} {name}") })
    }

    /// Creates or replaces objects: all or none. With `dry_run` everything is checked and nothing changed.
    ///
    /// # Errors
    /// The first object that cannot be taken, naming its field; nothing has changed then.
    pub async fn apply(
        self: &Arc<Self>,
        objects: Vec<Object>,
        dry_run: bool,
    ) -> Result<Vec<Applied>, EngineError> {
        let _one = self.objects.lock().await;
        let before = self.ports.store.objects()?;
        let objects = normal(objects, &before)?;
        check_all(&merged(&self.servable(&before, &objects)?, &objects))?;
        let policies = policies_of(&objects);
        let found = self.in_background(move |engine| engine.check_policies(&policies)).await??;
        let objects: Vec<Object> =
            objects.into_iter().map(|object| pinned(object, &found)).collect();
        let after = merged(&before, &objects);
        let serving = self.ports.policies.status();
        let applied: Vec<Applied> =
            objects.iter().map(|object| applied(&before, object, &found, &serving)).collect();
        let changed: Vec<Object> = objects
            .into_iter()
            .zip(&applied)
            .filter(|(_, applied)| applied.change != Change::Unchanged)
            .map(|(object, _)| object)
            .collect();
        if dry_run || changed.is_empty() {
            return Ok(applied);
        }
        self.ports.store.put_objects(changed.clone()).await?;
        self.take_effect(&after, &changed).await?;
        self.learn_if_possible().await;
        Ok(applied)
    }

    /// Deletes an object. A pool with held addresses waits until they leave.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub async fn delete(
        self: &Arc<Self>,
        kind: ObjectKind,
        name: &ObjectName,
    ) -> Result<Deleted, EngineError> {
        let one = self.objects.lock().await;
        self.delete_alone(kind, name, &one).await
    }

    /// The deletion itself; the guard says that nobody else changes objects meanwhile.
    async fn delete_alone(
        self: &Arc<Self>,
        kind: ObjectKind,
        name: &ObjectName,
        _one: &tokio::sync::MutexGuard<'_, ()>,
    ) -> Result<Deleted, EngineError> {
        let object = self.object(kind, name)?;
        if let Object::IPPool(pool) = object {
            // First it gives nothing any more, then its holders are counted: an ADD under way is one.
            self.mark_deleted(pool.clone()).await?;
            let held = self.still_held(name)?;
            if held > 0 {
                return Ok(Deleted::Waiting { held });
            }
        }
        self.ports.store.delete_object(kind, name).await?;
        if kind == ObjectKind::IPAMPolicy {
            self.take_back(name);
        }
        let now = self.now();
        self.state.lock().configure(&self.ports.store.objects()?, now)?;
        Ok(Deleted::Done)
    }

    /// Pools that were deleted while held go when the last holder has left. Nothing is asked of the store before one has
    /// nobody left: each sweep comes here.
    pub(crate) async fn finish_deletions(self: &Arc<Self>) -> Result<(), EngineError> {
        // Whoever changes objects now may compile a policy for long: the sweep does not wait for it.
        let Ok(one) = self.objects.try_lock() else { return Ok(()) };
        let leaving = self.state.lock().leaving.clone();
        for name in leaving {
            if self.still_held(&name)? == 0 && self.is_deleted(&name)? {
                self.delete_alone(ObjectKind::IPPool, &name, &one).await?;
                tracing::info!(pool = %name, "the pool is empty now and has been deleted");
            }
        }
        Ok(())
    }

    /// Whether the store says so now: what is known may be of an earlier pool of this name.
    fn is_deleted(&self, name: &ObjectName) -> Result<bool, EngineError> {
        match self.object(ObjectKind::IPPool, name) {
            Ok(object) => Ok(
                matches!(object, Object::IPPool(pool) if pool.metadata.deletion_timestamp.is_some()),
            ),
            Err(EngineError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn still_held(&self, name: &ObjectName) -> Result<u64, EngineError> {
        let now = self.now();
        let mut state = self.state.lock();
        let Some(index) = state.ledger.pool_named(&pool_name(name)?) else {
            return Ok(0);
        };
        let counts = state.ledger.counts(index, now);
        let held =
            counts.held.saturating_add(counts.quarantined).saturating_add(counts.out_of_range);
        Ok(crate::candidates::saturate(held))
    }

    async fn mark_deleted(&self, mut pool: Resource<PoolSpec>) -> Result<(), EngineError> {
        if pool.metadata.deletion_timestamp.is_none() {
            let now = self.now();
            pool.metadata.deletion_timestamp = Some(now.wall.to_rfc3339());
            self.ports.store.put_objects(vec![Object::IPPool(pool)]).await?;
            self.state.lock().configure(&self.ports.store.objects()?, now)?;
        }
        Ok(())
    }

    /// What stands there, but for pools that cannot be served and that are not applied now either: they hinder nobody.
    fn servable(&self, before: &[Object], applied: &[Object]) -> Result<Vec<Object>, EngineError> {
        let unserved = self.state.lock().served(before)?.unserved;
        let hinders = |object: &&Object| {
            object.kind() == ObjectKind::IPPool
                && unserved.iter().any(|one| one.name == *object.name())
                && find(applied, object).is_none()
        };
        Ok(before.iter().filter(|object| !hinders(object)).cloned().collect())
    }

    fn check_policies(&self, policies: &[Policy]) -> Result<Vec<PolicyStatus>, EngineError> {
        let check = |(name, spec): &Policy| Ok(self.ports.policies.check(name, spec)?);
        policies.iter().map(check).collect()
    }

    async fn take_effect(
        self: &Arc<Self>,
        after: &[Object],
        changed: &[Object],
    ) -> Result<(), EngineError> {
        let now = self.now();
        self.state.lock().configure(after, now)?;
        let policies = policies_of(changed);
        self.in_background(move |engine| {
            for policy in policies {
                if let Err(error) = engine.give(policy) {
                    // It was checked a moment ago: the old version goes on serving, and status says so.
                    tracing::error!(%error, code = error.code(), "a policy that had passed its check was refused");
                }
            }
        })
        .await
    }
}

fn find<'a>(objects: &'a [Object], like: &Object) -> Option<&'a Object> {
    objects.iter().find(|o| o.kind() == like.kind() && o.name() == like.name())
}

/// Refuses what cannot be asked for, and carries over what only the daemon writes.
fn normal(objects: Vec<Object>, before: &[Object]) -> Result<Vec<Object>, EngineError> {
    let mut out: Vec<Object> = Vec::new();
    for mut object in objects {
        if find(&out, &object).is_some() {
            return Err(refused(&object, "is given twice".to_owned()));
        }
        let old = find(before, &object).cloned();
        if let (Object::IPPool(new), Some(Object::IPPool(old))) = (&mut object, &old) {
            new.metadata.deletion_timestamp.clone_from(&old.metadata.deletion_timestamp);
            let fixed = [
                ("spec.cidr", old.spec.cidr.to_string(), new.spec.cidr.to_string()),
                ("spec.space", old.spec.space.to_string(), new.spec.space.to_string()),
            ];
            if let Some((field, old, new)) = fixed.into_iter().find(|(_, old, new)| old != new) {
                let why = format!(
                    "{field} is immutable ({old}, not {new}); make another pool and delete this one"
                );
                return Err(refused(&object, why));
            }
        } else if let Object::IPPool(new) = &mut object {
            new.metadata.deletion_timestamp = None;
        }
        out.push(object);
    }
    Ok(out)
}

fn refused(object: &Object, why: String) -> EngineError {
    EngineError::Refused { object: format!("{} {}", object.kind(), object.name()), why }
}

fn merged(before: &[Object], objects: &[Object]) -> Vec<Object> {
    let kept = before.iter().filter(|old| find(objects, old).is_none());
    kept.chain(objects).cloned().collect()
}

/// A policy from a file or a registry is kept with the digest that was checked: what serves is what was applied, also after
/// a restart. Bundled ones follow the installed version.
fn pinned(mut object: Object, found: &[PolicyStatus]) -> Object {
    if let Object::IPAMPolicy(policy) = &mut object
        && matches!(policy.spec.source, PolicySource::File(_) | PolicySource::Oci(_))
        && policy.spec.digest.is_none()
    {
        let status = found.iter().find(|status| status.name == policy.metadata.name);
        policy.spec.digest = status.map(|status| status.digest.clone());
    }
    object
}

fn applied(
    before: &[Object],
    object: &Object,
    found: &[PolicyStatus],
    serving: &[PolicyStatus],
) -> Applied {
    let digest = |list: &[PolicyStatus]| {
        let same = |status: &&PolicyStatus| status.name == *object.name();
        list.iter().find(same).map(|status| status.digest.clone())
    };
    let serves_other = object.kind() == ObjectKind::IPAMPolicy && digest(found) != digest(serving);
    let change = match find(before, object) {
        None => Change::Created,
        Some(old) if old == object && !serves_other => Change::Unchanged,
        Some(_) => Change::Configured,
    };
    Applied { kind: object.kind(), name: object.name().clone(), change }
}
