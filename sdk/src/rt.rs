//! Between the generated `Guest` traits (static functions) and the author's traits (`&self`). Public
//! only for `export!`.

use std::cell::RefCell;
use std::marker::PhantomData;

use crate::bindings::affinity::exports::tenure::policy::affinity;
use crate::bindings::lifecycle::exports::tenure::policy::lifecycle;
use crate::bindings::reclaim::exports::tenure::policy::reclaim;
use crate::bindings::select::exports::tenure::policy::select;
use crate::{
    Affinity, Candidates, FieldError, Policy, PolicyError, Reclaim, ReclaimRequest, Select,
};

/// Where the one policy of an instance lives. `export!` implements it with a `thread_local!`.
pub trait Slot: Policy {
    fn slot<R>(f: impl FnOnce(&RefCell<Option<Self>>) -> R) -> R;
}

/// What the generated export macros are given: they want an identifier and static functions.
pub struct Exports<P>(PhantomData<P>);

/// On the first entry, so that a panic tells the host its text and place before it aborts.
fn enter() {
    #[cfg(target_arch = "wasm32")]
    {
        static HOOK: std::sync::Once = std::sync::Once::new();
        HOOK.call_once(|| {
            std::panic::set_hook(Box::new(|panic| {
                crate::log(crate::Level::Error, &panic.to_string());
            }));
        });
    }
}

fn build<P: Policy>(settings: &str) -> Result<P, Vec<FieldError>> {
    P::new(crate::parse_settings(settings)?)
}

fn with<P: Slot, R>(f: impl FnOnce(&P) -> Result<R, PolicyError>) -> Result<R, PolicyError> {
    enter();
    P::slot(|slot| match &*slot.borrow() {
        Some(policy) => f(policy),
        None => Err(PolicyError::new("not-initialised", "a hook was called before `init`")),
    })
}

impl<P: Slot> lifecycle::Guest for Exports<P> {
    /// Before `init` there are no settings that attribute keys could depend on.
    fn describe() -> lifecycle::Description {
        enter();
        let told = P::describe();
        let keys = |slot: &RefCell<Option<P>>| slot.borrow().as_ref().map(P::attribute_keys);
        lifecycle::Description {
            name: told.name,
            version: told.version,
            settings_schema: told.settings_schema,
            attribute_keys: P::slot(keys).unwrap_or_default(),
        }
    }

    fn validate_settings(settings: String) -> Vec<FieldError> {
        enter();
        build::<P>(&settings).err().unwrap_or_default()
    }

    fn init(settings: String) -> Result<(), Vec<FieldError>> {
        enter();
        let policy = build::<P>(&settings)?;
        P::slot(|slot| *slot.borrow_mut() = Some(policy));
        Ok(())
    }
}

impl<P: Slot + Select> select::Guest for Exports<P> {
    fn select(
        request: select::Request,
        candidates: select::Candidates,
    ) -> Result<select::Decision, PolicyError> {
        with(|policy: &P| policy.select(&request, &Candidates::new(candidates)))
    }
}

impl<P: Slot + Affinity> affinity::Guest for Exports<P> {
    fn affinity(request: affinity::Request) -> Result<affinity::Answer, PolicyError> {
        with(|policy: &P| policy.affinity(&request))
    }
}

impl<P: Slot + Reclaim> reclaim::Guest for Exports<P> {
    fn reclaim(request: reclaim::Request) -> Result<reclaim::Decision, PolicyError> {
        with(|policy: &P| Ok(policy.reclaim(&ReclaimRequest::new(request))?.into_raw()))
    }
}
