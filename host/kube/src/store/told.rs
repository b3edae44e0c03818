//! What is known of objects besides what they ask for: those that cannot be read, and what operators see of the others.
//!
//! ```text
//! LIST of all objects        -> their generations: what the engine says next is about these
//! watches, answers to writes -> the status as it stands there
//! the engine, each second    -> what differs is written, of each object at most once in ten seconds
//! ```
//!
//! So what somebody else writes over it comes right again, and two allocators that both take themselves for the leader write
//! no more than twice as much.

use std::collections::HashMap;
use std::time::Duration;

use kube::api::DynamicObject;
use serde_json::{Map, Value, json};
use tenure_core::name::ObjectName;
use tenure_core::objects::{BadObject, ObjectKind};
use tenure_core::ports::PolicyRefusal;
use tenure_store::{Refusal, Revision, Shown};
use tokio::time::Instant;

use super::rows::parsed;
use crate::crds::status_of;

/// A status is written at most so often (DESIGN section 9): pools change with each ADD, and each write goes to all who
/// watch.
const WRITES_APART: Duration = Duration::from_secs(10);

/// Which object.
pub(crate) type Key = (ObjectKind, ObjectName);

/// What is known of objects.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Those that Kubernetes let in and that cannot be read, and why, by the last LIST.
    pub(crate) refused: Vec<(ObjectKind, ObjectName, BadObject)>,
    standing: HashMap<Key, Standing>,
}

/// What stands in one object.
#[derive(Debug, Clone)]
struct Standing {
    /// The version that operators wrote, by the last LIST: a watch may tell of one that the engine has not read.
    generation: Option<i64>,
    /// At this revision.
    revision: Revision,
    status: Value,
    /// When it was last tried to write it.
    tried: Option<Instant>,
}

// === impl Told ===

impl Told {
    /// An object in a LIST.
    pub(super) fn list(&mut self, key: Key, object: &DynamicObject) {
        self.standing.insert(key, Standing::of(object));
    }

    /// Takes over what a LIST told.
    pub(super) fn take(&mut self, mut listed: Self) {
        for (key, before) in self.standing.drain() {
            if let Some(now) = listed.standing.get_mut(&key) {
                now.tried = before.tried;
                if before.revision > now.revision {
                    (now.revision, now.status) = (before.revision, before.status);
                }
            }
        }
        *self = listed;
    }

    /// An object as it stands now, or stood before.
    pub(super) fn hear(&mut self, kind: ObjectKind, object: &DynamicObject) {
        let Some(name) =
            object.metadata.name.as_deref().and_then(|name| ObjectName::new(name).ok())
        else {
            return;
        };
        let heard = Standing::of(object);
        // One that came since the LIST is told with the next.
        let known = self.standing.get_mut(&(kind, name));
        if let Some(known) = known.filter(|known| known.revision < heard.revision) {
            (known.revision, known.status) = (heard.revision, heard.status);
        }
    }

    /// What is to be shown of objects that cannot be read.
    pub(super) fn unreadable(&self) -> Vec<Shown> {
        let shown = |(kind, name, why): &(ObjectKind, ObjectName, BadObject)| {
            let (name, why) = (name.clone(), why.to_string());
            match kind {
                ObjectKind::IPPool => {
                    let state = Err(Refusal { reason: "Invalid", message: why });
                    Some(Shown::Pool { name, state })
                }
                ObjectKind::IPAMPolicy => {
                    let refusal =
                        PolicyRefusal { policy: name.clone(), stage: "reading the object", why };
                    Some(Shown::Policy { name, serving: None, refusal: Some(refusal) })
                }
                // It has no status.
                ObjectKind::IPReservation => None,
            }
        };
        self.refused.iter().filter_map(shown).collect()
    }

    /// The merge patch that shows it, to be sent now; none if it stands there already, or was written a moment ago.
    pub(super) fn due(&mut self, shown: &Shown, now: Instant) -> Option<(Key, Value)> {
        let (kind, name) = shown.object();
        let key = (kind, name.clone());
        let standing = self.standing.get_mut(&key)?;
        if standing.tried.is_some_and(|tried| now < tried + WRITES_APART) {
            return None;
        }
        let next = status_of(shown, &standing.status, standing.generation);
        let patch = merge_patch(&standing.status, &next)?;
        standing.tried = Some(now);
        Some((key, json!({"status": patch})))
    }
}

// === impl Standing ===

impl Standing {
    fn of(object: &DynamicObject) -> Self {
        let revision = object.metadata.resource_version.as_deref().and_then(parsed);
        Self {
            generation: object.metadata.generation,
            revision: revision.unwrap_or_default(),
            status: object.data.get("status").cloned().unwrap_or_default(),
            tried: None,
        }
    }
}

/// What makes the one of the other (RFC 7386); none where they are the same.
fn merge_patch(before: &Value, after: &Value) -> Option<Value> {
    let Value::Object(after) = after else {
        return (before != after).then(|| after.clone());
    };
    let empty = Map::new();
    let before = before.as_object().unwrap_or(&empty);
    let mut patch = Map::new();
    for (key, value) in after {
        let change = match before.get(key) {
            Some(old) => merge_patch(old, value),
            None => Some(value.clone()),
        };
        patch.extend(change.map(|change| (key.clone(), change)));
    }
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    patch.extend(gone.map(|key| (key.clone(), Value::Null)));
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests;
