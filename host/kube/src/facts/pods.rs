//! What is kept of a pod.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tenure_core::time::Moment;

use super::strip::{SlimMeta, SlimPod};
use super::texts::{Texts, Words};
use super::view::Kind;

/// Annotations that are kept: those by which people speak to Tenure and to the chooser of networks.
const KEPT: [&str; 3] = ["tenure.dev/", "ipam.tenure.dev/", "k8s.v1.cni.cncf.io/"];
/// Those that are written after an ADD, by whoever made it: they ask for nothing, and are long.
const WRITTEN_BACK: [&str; 2] =
    ["k8s.v1.cni.cncf.io/network-status", "k8s.v1.cni.cncf.io/networks-status"];
/// Annotations of one pod take at most so much, keys included (I12). Anybody may write 256 KiB of them.
const ANNOTATIONS: usize = 4096;

/// The hash of a static pod's definition, which is its uid where it runs. The API shows it as a pod with another uid.
const CONFIG_MIRROR: &str = "kubernetes.io/config.mirror";
const CONFIG_HASH: &str = "kubernetes.io/config.hash";

/// What is known of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodFacts {
    /// Its uid.
    pub uid: Arc<str>,
    /// The node that it was given to.
    pub node: Option<Arc<str>>,
    /// Its labels.
    pub labels: Texts,
    /// Its annotations below `tenure.dev/`, `ipam.tenure.dev/` and `k8s.v1.cni.cncf.io/`, as far as they are not too long.
    pub annotations: Texts,
    /// Some of these were too long: what is missing is not known.
    pub is_cut: bool,
    /// What controls it.
    pub controller: Option<Arc<Controller>>,
    /// It succeeded or failed: no container of it will run any more.
    pub is_finished: bool,
    /// It is being deleted.
    pub deletion: Option<Deletion>,
    /// By which the node knows it, if it is a static pod.
    pub static_hash: Option<Arc<str>>,
    /// Whether its containers come back.
    pub restart: Restart,
}

/// The object that made a pod and will replace it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controller {
    /// e.g. `StatefulSet`.
    pub kind: Arc<str>,
    /// In the pod's namespace.
    pub name: Arc<str>,
    /// Its uid.
    pub uid: Arc<str>,
}

/// A deletion that waits for the pod to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deletion {
    /// When this process first saw it, on its own clock (I8).
    pub seen: Moment,
    /// How long the pod was given, as it stands now; none if that is not said.
    pub grace: Option<Duration>,
}

/// What becomes of containers that end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Restart {
    /// They come back.
    #[default]
    Always,
    /// They come back if they failed.
    OnFailure,
    /// They do not.
    Never,
}

/// Pods, for the view.
pub(super) struct Pods;

// === impl PodFacts ===

impl PodFacts {
    /// Whether the holder of this uid is this pod. Of a static pod the node says the hash of its definition, not the uid of
    /// what the API shows. No pod has an empty uid.
    #[must_use]
    pub fn is_of(&self, uid: &str) -> bool {
        !uid.is_empty() && (*self.uid == *uid || self.static_hash.as_deref() == Some(uid))
    }

    /// Reads a pod. A deletion of the same uid that was seen before goes on.
    pub(super) fn of(pod: &SlimPod, before: Option<&Self>, words: &mut Words, now: Moment) -> Self {
        let meta = &pod.metadata;
        let before = before.filter(|before| *before.uid == *meta.uid);
        let (kept, is_cut) = annotations(&meta.annotations);
        let hash = [CONFIG_MIRROR, CONFIG_HASH].iter().find_map(|key| meta.annotations.get(*key));
        Self {
            uid: match before {
                Some(before) => before.uid.clone(),
                None => meta.uid.as_str().into(),
            },
            node: Some(&*pod.spec.node_name)
                .filter(|node| !node.is_empty())
                .map(|node| words.word(node)),
            labels: words.texts(&meta.labels),
            annotations: words.texts(&kept),
            is_cut,
            controller: controller(meta, before, words),
            is_finished: matches!(&*pod.status.phase, "Succeeded" | "Failed"),
            deletion: meta.deletion_timestamp.map(|_| Deletion {
                seen: before.and_then(|before| before.deletion).map_or(now, |first| first.seen),
                grace: meta
                    .deletion_grace_period_seconds
                    .and_then(|seconds| u64::try_from(seconds).ok())
                    .map(Duration::from_secs),
            }),
            static_hash: hash.map(|hash| hash.as_str().into()),
            restart: match &*pod.spec.restart_policy {
                "Never" => Restart::Never,
                "OnFailure" => Restart::OnFailure,
                _ => Restart::Always,
            },
        }
    }

    fn is_ending(&self) -> bool {
        self.is_finished || self.deletion.is_some()
    }
}

fn annotations(all: &BTreeMap<String, String>) -> (BTreeMap<String, String>, bool) {
    let is_kept = |key: &str| {
        KEPT.iter().any(|prefix| key.starts_with(prefix)) && !WRITTEN_BACK.contains(&key)
    };
    let (mut kept, mut is_cut, mut left) = (BTreeMap::new(), false, ANNOTATIONS);
    for (key, text) in all.iter().filter(|(key, _)| is_kept(key)) {
        match left.checked_sub(key.len() + text.len()) {
            Some(less) => {
                left = less;
                kept.insert(key.clone(), text.clone());
            }
            None => is_cut = true,
        }
    }
    (kept, is_cut)
}

fn controller(
    meta: &SlimMeta,
    before: Option<&PodFacts>,
    words: &mut Words,
) -> Option<Arc<Controller>> {
    let owner = meta.owner_references.iter().find(|owner| owner.controller == Some(true))?;
    let is_same = |known: &&Arc<Controller>| {
        *known.uid == *owner.uid && *known.kind == *owner.kind && *known.name == *owner.name
    };
    let known = before.and_then(|before| before.controller.as_ref()).filter(is_same);
    Some(known.cloned().unwrap_or_else(|| {
        Arc::new(Controller {
            kind: words.word(&owner.kind),
            name: words.word(&owner.name),
            uid: words.word(&owner.uid),
        })
    }))
}

impl Kind for Pods {
    type Slim = SlimPod;
    type Facts = PodFacts;

    const PATH: &'static str = "/api/v1/pods";
    const WHAT: &'static str = "pods";

    fn strip(
        slim: &SlimPod,
        before: Option<&PodFacts>,
        words: &mut Words,
        now: Moment,
    ) -> PodFacts {
        PodFacts::of(slim, before, words, now)
    }

    /// A pod ends, or is another one now.
    fn matters(before: Option<&PodFacts>, now: Option<&PodFacts>) -> bool {
        match (before, now) {
            (None, None) => false,
            (Some(_), None) => true,
            (None, Some(now)) => now.is_ending(),
            (Some(before), Some(now)) => {
                before.uid != now.uid
                    || before.is_finished != now.is_finished
                    || before.deletion.is_some() != now.deletion.is_some()
            }
        }
    }
}

#[cfg(test)]
mod tests;
