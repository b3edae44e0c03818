//! What the API says of owners: pods, compared by uid.
//!
//! ```text
//! 404, another uid (of a static pod: another hash), Succeeded, Failed  -> Gone
//! Terminating, its grace has passed on our clock                       -> Overdue
//! there, or Terminating within its grace                               -> Alive
//! an error, a timeout, a 404 of somebody else                          -> Silent
//! no pod, or an empty uid                                              -> Nothing
//! ```
//!
//! The grace of a deletion counts from when this process first saw it (I8): `deletionTimestamp` is of another clock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use parking_lot::Mutex;
use tenure_core::judge::ApiSays;
use tenure_core::lease::{Owner, OwnerKind};
use tenure_core::time::{Clock, Moment};

use crate::facts::{Facts, PodFacts};

/// Reads at once (I12).
const AT_ONCE: usize = 16;
/// Deletions that are remembered (I12), beside those of which the watch tells.
const DELETIONS: usize = 16_384;
/// A deletion that nobody asked for in so long is forgotten if the room is needed.
const FORGET: Duration = Duration::from_secs(600);

/// The witness of owners.
pub struct PodWitness {
    facts: Arc<Facts>,
    clock: Arc<dyn Clock>,
    deletions: Mutex<Deletions>,
}

/// When deletions were first seen, by uid.
#[derive(Debug, Default)]
struct Deletions(HashMap<Arc<str>, Seen>);

#[derive(Debug, Clone, Copy)]
struct Seen {
    first: Moment,
    last: Moment,
}

// === impl PodWitness ===

impl PodWitness {
    /// A witness that reads through these facts, with their deadline for a call.
    #[must_use]
    pub fn new(facts: Arc<Facts>, clock: Arc<dyn Clock>) -> Self {
        Self { facts, clock, deletions: Mutex::default() }
    }

    /// What the API says of each owner, in their order, by reads that begin with this call.
    pub async fn says_live(&self, owners: &[Owner]) -> Vec<ApiSays> {
        // Both addresses of a pod have one owner.
        let mut distinct: Vec<&Owner> = Vec::new();
        let mut places = HashMap::new();
        let mut place_of = |owner| {
            *places.entry(owner).or_insert_with(|| {
                distinct.push(owner);
                distinct.len() - 1
            })
        };
        let places: Vec<usize> = owners.iter().map(&mut place_of).collect();
        let reads = distinct.into_iter().map(|owner| self.live(owner));
        let said: Vec<ApiSays> = stream::iter(reads).buffered(AT_ONCE).collect().await;
        places.into_iter().map(|at| said.get(at).copied().unwrap_or(ApiSays::Silent)).collect()
    }

    /// What the watch told of an owner: for speed, and never a reason to take anything from anybody. While changes are not
    /// heard, it says nothing.
    #[must_use]
    pub fn says_cached(&self, owner: &Owner) -> ApiSays {
        if !is_known(owner) {
            return ApiSays::Nothing;
        }
        if !self.facts.is_current() {
            return ApiSays::Silent;
        }
        let pod = self.facts.pod(&owner.namespace, &owner.name);
        says(&owner.uid, pod.as_deref(), self.clock.now())
    }

    async fn live(&self, owner: &Owner) -> ApiSays {
        if !is_known(owner) {
            return ApiSays::Nothing;
        }
        match self.facts.fetch_pod(&owner.namespace, &owner.name).await {
            Ok(mut pod) => {
                let now = self.clock.now();
                if let Some(pod) = &mut pod
                    && let Some(deletion) = &mut pod.deletion
                {
                    let mut deletions = self.deletions.lock();
                    deletion.seen = deletions.first_seen(&pod.uid, deletion.seen, now);
                }
                says(&owner.uid, pod.as_ref(), now)
            }
            Err(error) => {
                tracing::debug!(%error, "an owner cannot be read");
                ApiSays::Silent
            }
        }
    }
}

/// Whether the API knows owners of this kind, and this one can be told from others of its name.
fn is_known(owner: &Owner) -> bool {
    owner.kind == OwnerKind::Pod && !owner.uid.is_empty()
}

/// What follows for the holder of this uid from the pod that stands under its name now.
fn says(uid: &str, pod: Option<&PodFacts>, now: Moment) -> ApiSays {
    let Some(pod) = pod.filter(|pod| pod.is_of(uid) && !pod.is_finished) else {
        return ApiSays::Gone;
    };
    let Some(deletion) = pod.deletion else { return ApiSays::Alive };
    match deletion.grace {
        Some(grace) if now.since(deletion.seen) >= grace => ApiSays::Overdue,
        Some(_) | None => ApiSays::Alive,
    }
}

// === impl Deletions ===

impl Deletions {
    /// When a deletion that is seen now, and was seen at `known` at the latest, was first seen. If there is no room to
    /// remember it, it counts from later on: never from sooner.
    fn first_seen(&mut self, uid: &Arc<str>, known: Moment, now: Moment) -> Moment {
        if let Some(seen) = self.0.get_mut(uid) {
            seen.first = seen.first.min(known);
            seen.last = now;
            return seen.first;
        }
        if self.0.len() >= DELETIONS {
            self.0.retain(|_, seen| now.since(seen.last) < FORGET);
        }
        if self.0.len() < DELETIONS {
            self.0.insert(uid.clone(), Seen { first: known, last: now });
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Deletion, Restart, Texts};

    fn pod(uid: &str) -> PodFacts {
        PodFacts {
            uid: uid.into(),
            node: None,
            labels: Texts::default(),
            annotations: Texts::default(),
            is_cut: false,
            controller: None,
            is_finished: false,
            deletion: None,
            static_hash: None,
            restart: Restart::Always,
        }
    }

    fn at(second: u64) -> Moment {
        Moment(second * 1000)
    }

    fn deleted(seen: u64, grace: Option<u64>) -> PodFacts {
        let deletion = Deletion { seen: at(seen), grace: grace.map(Duration::from_secs) };
        PodFacts { deletion: Some(deletion), ..pod("u") }
    }

    #[test]
    fn what_the_api_says_of_an_owner() {
        let finished = PodFacts { is_finished: true, ..deleted(0, Some(1000)) };
        let fixed = PodFacts { static_hash: Some("u".into()), ..pod("mirror") };
        let changed = PodFacts { static_hash: Some("v".into()), ..pod("mirror") };
        let table = [
            ("there", Some(pod("u")), ApiSays::Alive),
            ("404", None, ApiSays::Gone),
            ("another uid", Some(pod("v")), ApiSays::Gone),
            ("finished", Some(finished), ApiSays::Gone),
            ("a static pod", Some(fixed), ApiSays::Alive),
            ("a static pod that was changed", Some(changed), ApiSays::Gone),
            ("within its grace", Some(deleted(71, Some(30))), ApiSays::Alive),
            ("its grace has passed", Some(deleted(70, Some(30))), ApiSays::Overdue),
            ("no grace", Some(deleted(100, Some(0))), ApiSays::Overdue),
            ("a grace that is not said", Some(deleted(0, None)), ApiSays::Alive),
        ];
        for (what, pod, said) in table {
            assert_eq!(says("u", pod.as_ref(), at(100)), said, "{what}");
        }
    }

    #[test]
    fn a_deletion_counts_from_the_first_sight_of_it() {
        let mut deletions = Deletions::default();
        assert_eq!(deletions.first_seen(&"u".into(), at(5), at(5)), at(5));
        assert_eq!(deletions.first_seen(&"u".into(), at(9), at(9)), at(5));
        assert_eq!(
            deletions.first_seen(&"u".into(), at(3), at(9)),
            at(3),
            "the watch saw it sooner"
        );
        assert_eq!(deletions.first_seen(&"v".into(), at(9), at(9)), at(9));
    }

    #[test]
    fn deletions_that_do_not_fit_count_from_later_on() {
        let mut deletions = Deletions::default();
        for n in 0..DELETIONS {
            let _ = deletions.first_seen(&n.to_string().into(), at(0), at(0));
        }
        let last: Arc<str> = "last".into();
        assert_eq!(deletions.first_seen(&last, at(1), at(1)), at(1));
        assert_eq!(deletions.first_seen(&last, at(2), at(2)), at(2));
        assert_eq!(deletions.0.len(), DELETIONS);
        assert_eq!(deletions.first_seen(&"0".into(), at(2), at(2)), at(0));
        assert_eq!(
            deletions.first_seen(&last, at(600), at(600)),
            at(600),
            "the old ones are forgotten"
        );
        assert_eq!(deletions.first_seen(&last, at(601), at(601)), at(600));
        assert_eq!(deletions.0.len(), 2);
    }
}
