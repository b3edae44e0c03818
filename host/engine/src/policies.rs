//! From the objects to the policy host: which policies it was given, and what it said.

use std::sync::Arc;

use tenure_core::error::Coded as _;
use tenure_core::name::ObjectName;
use tenure_core::objects::{Object, PolicySpec};
use tenure_core::ports::PolicyRefusal;

use crate::{Engine, EngineError};

/// A policy as it stands in the store.
pub(crate) type Policy = (ObjectName, PolicySpec);

/// A policy as it was last given to the policy host.
#[derive(Debug)]
pub(crate) struct Given {
    spec: PolicySpec,
    /// Why it was not taken; the version before it, or the built-in strategy, answers then.
    pub(crate) refusal: Option<PolicyRefusal>,
}

/// What has to be done about policies that others changed.
#[derive(Debug, Default)]
pub(crate) struct PolicyNews {
    gone: Vec<ObjectName>,
    changed: Vec<Policy>,
}

impl Engine {
    /// Installs the policies of the store. One that fails is reported and not served; the others are.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn install_policies(&self) -> Result<Vec<PolicyRefusal>, EngineError> {
        let policies = policies_of(&self.ports.store.objects()?);
        Ok(policies.into_iter().filter_map(|policy| self.give(policy).err()).collect())
    }

    /// Gives a policy to the policy host. Blocks for as long as it takes to load it.
    pub(crate) fn give(&self, (name, spec): Policy) -> Result<(), PolicyRefusal> {
        let outcome = self.ports.policies.install(&name, &spec).map(drop);
        let refusal = outcome.clone().err();
        self.given.lock().insert(name, Given { spec, refusal });
        outcome
    }

    /// Gives a policy again that was refused, when what it lacked may have come. One that was taken, or is no more, stays as
    /// it is; answers whether there was one to give.
    ///
    /// # Errors
    /// [`EngineError::Bug`] only: that it is refused again is noted, as it is at first.
    pub async fn give_again(self: &Arc<Self>, name: &ObjectName) -> Result<bool, EngineError> {
        let _one = self.objects.lock().await;
        let name = name.clone();
        self.in_background(move |engine| {
            let refused = {
                let given = engine.given.lock();
                let refused = given.get(&name).filter(|given| given.refusal.is_some());
                refused.map(|given| given.spec.clone())
            };
            let Some(spec) = refused else { return false };
            if let Err(error) = engine.give((name, spec)) {
                tracing::warn!(%error, code = error.code(), "a policy is refused again");
            }
            true
        })
        .await
    }

    /// Takes a policy back from the policy host.
    pub(crate) fn take_back(&self, name: &ObjectName) {
        self.ports.policies.remove(name);
        self.given.lock().remove(name);
    }

    /// Why the newest version of a policy was not taken, if it was not.
    #[must_use]
    pub fn policy_refusal(&self, name: &ObjectName) -> Option<PolicyRefusal> {
        self.given.lock().get(name)?.refusal.clone()
    }

    /// Takes back what the policy host has and the store has no more. The others serve until their successors do.
    pub(crate) fn take_back_others(&self, wanted: &[Policy]) {
        for policy in self.ports.policies.status() {
            if !wanted.iter().any(|(name, _)| *name == policy.name) {
                self.ports.policies.remove(&policy.name);
            }
        }
        self.given.lock().clear();
    }

    /// What the policy host has not been told of these policies; none if it knows all.
    pub(crate) fn policy_news(&self, wanted: Vec<Policy>) -> Option<PolicyNews> {
        let given = self.given.lock();
        let is_wanted = |name: &&ObjectName| wanted.iter().any(|(other, _)| other == *name);
        let gone: Vec<_> = given.keys().filter(|name| !is_wanted(name)).cloned().collect();
        let is_given =
            |(name, spec): &Policy| given.get(name).is_some_and(|given| given.spec == *spec);
        let changed: Vec<_> = wanted.into_iter().filter(|policy| !is_given(policy)).collect();
        (!gone.is_empty() || !changed.is_empty()).then_some(PolicyNews { gone, changed })
    }

    /// Tells the policy host. Blocks for as long as it takes to load what has changed.
    pub(crate) fn follow_policies(&self, news: PolicyNews) {
        for name in news.gone {
            self.take_back(&name);
        }
        for policy in news.changed {
            if let Err(error) = self.give(policy) {
                tracing::error!(%error, code = error.code(), "a policy is not served; the version before it, or the built-in strategy, answers");
            }
        }
    }
}

pub(crate) fn policies_of(objects: &[Object]) -> Vec<Policy> {
    let policy = |object: &Object| match object {
        Object::IPAMPolicy(policy) => Some((policy.metadata.name.clone(), policy.spec.clone())),
        _ => None,
    };
    objects.iter().filter_map(policy).collect()
}
