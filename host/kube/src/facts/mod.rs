//! Facts about pods, namespaces and nodes, kept up by watches: pool selection and policies read them without a request.
//!
//! ```text
//! strip       which parts of objects are read at all
//! texts       labels and annotations, kept once for all who share them
//! pods, nodes, namespaces   what is kept of each kind, and which of its changes a sweep should hear of
//! view        what is known of one kind: written by its feed, read by anybody
//! feed        list, then watch after watch
//! ```
//!
//! What they are for: speed. A fact may be some seconds old, or older while the API server is away ([`Facts::is_current`]).
//! Nothing is destroyed on their word: that takes live reads ([`crate::PodWitness`], [`crate::NodeWitness`]).

mod feed;
mod namespaces;
mod nodes;
mod pods;
mod strip;
mod texts;
mod view;

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tenure_core::time::Clock;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::feed::Feed;
use self::namespaces::Namespaces;
use self::nodes::Nodes;
use self::pods::Pods;
pub(crate) use self::strip::SlimMeta;
use self::strip::{SlimNode, SlimPod};
use self::texts::Words;
use self::view::{Kind, View, key};
use crate::live::{Live, Read, is_name};

pub use self::namespaces::NamespaceFacts;
pub use self::nodes::{NodeFacts, OUT_OF_SERVICE};
pub use self::pods::{Controller, Deletion, PodFacts, Restart};
pub use self::texts::Texts;
pub use crate::live::Unread;

/// Settings of the facts.
#[derive(Debug, Clone)]
pub struct FactsOptions {
    /// How long one read of one object may take, and how long a watch may take to begin.
    pub call_deadline: Duration,
    /// How long a page of a list may take.
    pub page_deadline: Duration,
    /// Objects in a page: whole ones, as the server sends them, so that a page of pods is some MiB until it is stripped. For
    /// each page the server puts all that it has in order: many small ones cost it more than what is in them.
    pub page: u32,
    /// How long one watch lasts, more or less. A frozen one, of which nothing comes any more, is noticed some seconds
    /// later.
    pub watch_for: Duration,
}

/// Facts, for as long as this is kept.
pub struct Facts {
    clock: Arc<dyn Clock>,
    live: Live,
    pods: Arc<View<Pods>>,
    namespaces: Arc<View<Namespaces>>,
    nodes: Arc<View<Nodes>>,
    changes: watch::Sender<u64>,
    /// Ends with the facts.
    _feeds: JoinSet<()>,
}

// === impl FactsOptions ===

impl Default for FactsOptions {
    fn default() -> Self {
        Self {
            call_deadline: Duration::from_secs(5),
            page_deadline: Duration::from_secs(30),
            page: 2500,
            watch_for: Duration::from_secs(30),
        }
    }
}

// === impl Facts ===

impl Facts {
    /// Begins to follow pods, namespaces and nodes, on the runtime of the caller. The client should not retry by itself.
    #[must_use]
    pub fn start(client: Client, clock: Arc<dyn Clock>, options: FactsOptions) -> Arc<Self> {
        let changes = watch::Sender::new(0);
        let pods = Arc::new(View::new(clock.clone(), changes.clone()));
        let namespaces = Arc::new(View::new(clock.clone(), changes.clone()));
        let nodes = Arc::new(View::new(clock.clone(), changes.clone()));
        let mut feeds = JoinSet::new();
        follow(&mut feeds, &pods, &client, &options);
        follow(&mut feeds, &namespaces, &client, &options);
        follow(&mut feeds, &nodes, &client, &options);
        let live = Live::new(client, options.call_deadline);
        Arc::new(Self { clock, live, pods, namespaces, nodes, changes, _feeds: feeds })
    }

    /// Waits for the first full view of all three kinds.
    pub async fn ready(&self) {
        self.pods.complete().await;
        self.namespaces.complete().await;
        self.nodes.complete().await;
    }

    /// Whether there was a full view and, as far as is known, changes of pods are heard.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.pods.is_current()
    }

    /// Whether the same holds of nodes.
    #[must_use]
    pub fn nodes_are_current(&self) -> bool {
        self.nodes.is_current()
    }

    /// A pod.
    #[must_use]
    pub fn pod(&self, namespace: &str, name: &str) -> Option<Arc<PodFacts>> {
        self.pods.get(&key(namespace, name))
    }

    /// A namespace.
    #[must_use]
    pub fn namespace(&self, name: &str) -> Option<Arc<NamespaceFacts>> {
        self.namespaces.get(name)
    }

    /// A node.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<Arc<NodeFacts>> {
        self.nodes.get(name)
    }

    /// All nodes, by name, in no order.
    #[must_use]
    pub fn nodes(&self) -> Vec<(Arc<str>, Arc<NodeFacts>)> {
        self.nodes.all()
    }

    /// How many pods, namespaces and nodes are known.
    #[must_use]
    pub fn counts(&self) -> [usize; 3] {
        [self.pods.len(), self.namespaces.len(), self.nodes.len()]
    }

    /// Changes whenever a pod is deleted, finished, terminating or another one of its name, or the out-of-service taint of
    /// a node comes or goes. One wake-up may stand for many changes, and none is lost.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Reads a pod as it stands now: one that the watch has not told of yet, or that is about to be judged. A deletion
    /// counts from when the watch told of it, if it did.
    ///
    /// # Errors
    /// The API server did not answer in time, or not about this pod.
    pub async fn fetch_pod(&self, namespace: &str, name: &str) -> Result<Option<PodFacts>, Unread> {
        if !is_name(namespace) {
            let why = "no namespace can have this name".to_owned();
            return Err(Unread { what: format!("the pod {name} in {namespace:?}"), why });
        }
        let folder = format!("/api/v1/namespaces/{namespace}/pods");
        match self.live.get::<SlimPod>(&folder, name).await {
            Read::Is(pod) => {
                let known = self.pod(namespace, name);
                let (words, now) = (&mut Words::default(), self.clock.now());
                Ok(Some(PodFacts::of(&pod, known.as_deref(), words, now)))
            }
            Read::Absent => Ok(None),
            Read::Silent(why) => Err(why),
        }
    }

    /// The same of a node.
    ///
    /// # Errors
    /// The API server did not answer in time, or not about this node.
    pub async fn fetch_node(&self, name: &str) -> Result<Option<NodeFacts>, Unread> {
        match self.live.get::<SlimNode>(Nodes::PATH, name).await {
            Read::Is(node) => Ok(Some(NodeFacts::of(&node, None, &mut Words::default()))),
            Read::Absent => Ok(None),
            Read::Silent(why) => Err(why),
        }
    }
}

fn follow<K: Kind>(
    feeds: &mut JoinSet<()>,
    view: &Arc<View<K>>,
    client: &Client,
    options: &FactsOptions,
) {
    let live = Live::new(client.clone(), options.page_deadline);
    let feed = Feed::new(view.clone(), live, options.clone());
    feeds.spawn(async move { match feed.run().await {} });
}
