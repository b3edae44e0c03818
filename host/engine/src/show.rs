//! What operators are shown who look into the store themselves, as in Kubernetes: which pools are served and how full they
//! are, which policies serve and how they fare, and why others do not.
//!
//! Of several engines over one store the one that sweeps shows: two would write over each other what they count at
//! different moments, and what a policy host of another version loads.

use std::sync::Arc;
use std::time::Duration;

use tenure_core::name::ObjectName;
use tenure_store::Shown;
use tokio::time::{MissedTickBehavior, interval};

use crate::Engine;

/// So often it is looked what there is to show; how often it is written is a matter of the store.
const LOOKS_APART: Duration = Duration::from_secs(1);

impl Engine {
    /// Shows until the task is dropped.
    pub(crate) async fn show_forever(self: Arc<Self>) {
        let mut looks = interval(LOOKS_APART);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            // What is shown speaks of the objects as they were read last: nobody reads them anew meanwhile.
            let _one = self.objects.lock().await;
            if let Err(error) = self.ports.store.show(self.to_show()).await {
                tracing::warn!(%error, "what operators are shown of pools and policies is out of date; it is tried again");
            }
        }
    }

    /// Pools by name, those first that are served, then policies by name.
    fn to_show(&self) -> Vec<Shown> {
        let now = self.now();
        let mut state = self.state.lock();
        let names = state.ledger.pools().map(|pool| ObjectName::new(pool.name.as_str()).ok());
        let names: Vec<_> = names.collect();
        let mut shown = Vec::with_capacity(names.len());
        for (index, name) in names.into_iter().enumerate() {
            let counts = self.counts(&mut state, index, now);
            shown.extend(name.map(|name| Shown::Pool { name, state: Ok(counts) }));
        }
        shown.extend(
            state
                .unserved
                .iter()
                .map(|one| Shown::Pool { name: one.name.clone(), state: Err(one.refusal.clone()) }),
        );
        drop(state);
        shown.extend(self.policies_to_show());
        shown
    }

    fn policies_to_show(&self) -> Vec<Shown> {
        let serving = self.ports.policies.status();
        let given = self.given.lock();
        let shown = given.iter().map(|(name, given)| Shown::Policy {
            name: name.clone(),
            serving: serving.iter().find(|one| one.name == *name).cloned().map(Box::new),
            refusal: given.refusal.clone(),
        });
        shown.collect()
    }
}
