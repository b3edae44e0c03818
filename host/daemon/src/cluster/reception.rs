//! Who is let in for which node, and what the cluster knows of the owner of an ADD.

use std::collections::BTreeMap;
use std::sync::Arc;

use tenure_core::error::Kind;
use tenure_core::lease::{Attachment, LeaseKey, NodeRef, Owner, OwnerKind};
use tenure_engine::{Engine, Facts as OwnerFacts};
use tenure_kube::{Facts, KubeStore, NodeWitness, PodFacts, ReviewError, Reviewer, Texts};
use tenure_link::allocator::Reception;
use tenure_link::messages::{AddCall, Claim, Failure, Hello, StoreMark};
use tenure_store::{Identity, Selection, Store};

/// Where clouds and operators say in which zone a node stands.
const ZONE: &str = "topology.kubernetes.io/zone";

/// The reception of one allocator.
pub(crate) struct Doorway {
    pub(crate) reviewer: Reviewer,
    pub(crate) facts: Arc<Facts>,
    pub(crate) nodes: Arc<NodeWitness>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) store: Arc<KubeStore>,
    /// One agent's word at a time: the second finds what the first one brought about.
    pub(crate) checking: tokio::sync::Mutex<()>,
}

impl Doorway {
    /// The pod of an owner, if it runs on this node: from the cache, or read live if the watch has not told of it yet.
    async fn pod_on(
        &self,
        node: &NodeRef,
        owner: &Owner,
    ) -> Result<Option<Arc<PodFacts>>, Failure> {
        let is_it = |pod: &PodFacts| {
            // Old runtimes tell no uid: then namespace and name on this node decide.
            let same = owner.uid.is_empty() || pod.is_of(&owner.uid);
            same && pod.node.as_deref() == Some(&*node.name)
        };
        let known = self.facts.pod(&owner.namespace, &owner.name);
        if let Some(pod) = known.filter(|pod| is_it(pod)) {
            return Ok(Some(pod));
        }
        match self.facts.fetch_pod(&owner.namespace, &owner.name).await {
            Ok(pod) => Ok(pod.filter(is_it).map(Arc::new)),
            Err(error) => {
                let why =
                    format!("the pod {}/{} cannot be read: {error}", owner.namespace, owner.name);
                Err(Failure::new("POD_UNREAD", Kind::Retry, why))
            }
        }
    }

    /// Whether the store is less far than an agent has seen it: then etcd was restored while no allocator was there to notice.
    async fn check_history(&self, seen: &StoreMark) -> Result<(), Failure> {
        let _one = self.checking.lock().await;
        if !mark_of(&self.store).is_behind(seen) {
            return Ok(());
        }
        // A replica may lag behind; live reads show where the store is.
        let selection = Selection::Node("-".to_owned());
        let listed = self.store.list(&selection).await.map_err(|error| Failure::of(&error))?;
        let ticks = self.store.ticks_now().await.map_err(|error| Failure::of(&error))?;
        let now = StoreMark { ticks, ..mark_of(&self.store) };
        let revision = listed.map_or(now.revision, |l| now.revision.max(l.revision.0));
        let now = StoreMark { revision, ..now };
        if !now.is_behind(seen) {
            return Ok(());
        }
        let what = match now.store == seen.store {
            true => format!(
                "it is at epoch {}, revision {}, count {}, and a node saw it at epoch {}, revision {}, count {}",
                now.epoch, now.revision, now.ticks, seen.epoch, seen.revision, seen.ticks
            ),
            false => format!(
                "another store was in use before (id {}, this one is {})",
                seen.store, now.store
            ),
        };
        self.engine.begin_anew(&what).await.map_err(|error| Failure::of(&error))
    }

    fn facts_of(&self, node: &NodeRef, owner: &Owner, pod: &PodFacts) -> OwnerFacts {
        let controller = pod.controller.as_deref();
        let namespace = self.facts.namespace(&owner.namespace);
        let node_labels =
            self.facts.node(&node.name).map(|node| node.labels.to_map()).unwrap_or_default();
        OwnerFacts {
            controller_kind: controller.map(|it| it.kind.to_string()).unwrap_or_default(),
            controller_name: controller.map(|it| it.name.to_string()).unwrap_or_default(),
            zone: node_labels.get(ZONE).cloned().unwrap_or_default(),
            pod_labels: pod.labels.to_map(),
            namespace_labels: namespace.map(|it| it.labels.to_map()).unwrap_or_default(),
            node_labels,
        }
    }

    /// All that policies may ask for, by the keys of the policy contract.
    fn describe(&self, call: &mut AddCall, facts: &OwnerFacts, pod: &PodFacts) {
        let mut put = |prefix: &str, key: &str, text: &str| {
            call.attributes.insert(format!("{prefix}/{key}"), text.to_owned());
        };
        let mut put_all = |prefix: &str, texts: &mut dyn Iterator<Item = (&str, &str)>| {
            texts.for_each(|(key, text)| put(prefix, key, text));
        };
        put_all("pod.label", &mut texts_of(&facts.pod_labels));
        put_all("pod.annotation", &mut Texts::iter(&pod.annotations));
        put_all("namespace.label", &mut texts_of(&facts.namespace_labels));
        put_all("node.label", &mut texts_of(&facts.node_labels));
        if let Some(namespace) = self.facts.namespace(&call.owner.namespace) {
            put_all("namespace.annotation", &mut namespace.annotations.iter());
        }
    }
}

impl Reception for Doorway {
    async fn admit(&self, token: Option<&str>, hello: &Hello) -> Result<NodeRef, Failure> {
        let token = token.unwrap_or_default();
        let reviewed = self.reviewer.review(token).await.map_err(|error| match error {
            ReviewError::Refused(_) => {
                Failure::new("NOT_ADMITTED", Kind::Refused, error.to_string())
            }
            ReviewError::Unavailable { .. } => {
                Failure::new("NO_REVIEW", Kind::Retry, error.to_string())
            }
        })?;
        let name = &hello.node.name;
        if *reviewed.node != **name {
            let why = format!(
                "the token of pod {} speaks for node {}, not for {name}; set `node` of the agent to its node's name",
                reviewed.pod, reviewed.node
            );
            return Err(Failure::new("WRONG_NODE", Kind::Refused, why));
        }
        if let Some(seen) = &hello.seen {
            self.check_history(seen).await?;
        }
        let known = match self.facts.node(name) {
            Some(node) => Some(node.uid.clone()),
            None => {
                let read = self.facts.fetch_node(name).await.map_err(|error| {
                    let why = format!("the node {name} cannot be read: {error}");
                    Failure::new("NODE_UNREAD", Kind::Retry, why)
                })?;
                read.map(|node| node.uid)
            }
        };
        // Its containers live on even if somebody deleted its Node.
        let node = NodeRef { uid: known.unwrap_or_default(), ..hello.node.clone() };
        self.engine.note_agent(&node);
        Ok(node)
    }

    async fn overtaken(
        &self,
        node: &Arc<NodeRef>,
        claims: Vec<Claim>,
    ) -> Result<Vec<Attachment>, Failure> {
        let claims = claims.into_iter().map(|claim| tenure_engine::Claim {
            attachment: claim.attachment,
            key: LeaseKey { space: claim.space, address: claim.address },
            generation: claim.generation,
        });
        let overtaken = self.engine.overtaken(claims.collect()).await;
        let overtaken = overtaken.map_err(|error| Failure::of(&error))?;
        for attachment in &overtaken {
            tracing::error!(%attachment, node = %node.name, "its address was given to another holder: its node is told to set its links down");
        }
        Ok(overtaken)
    }

    fn mark(&self) -> Option<StoreMark> {
        // Before it is known what is alive, nobody shall believe this life of the store.
        self.engine.knows_what_lives().then(|| mark_of(&self.store))
    }

    fn heard(&self, node: &Arc<NodeRef>) {
        self.nodes.heard(node);
    }

    fn ended(&self, node: &Arc<NodeRef>) {
        self.engine.note_end_of(&node.agent);
    }

    async fn introduce(
        &self,
        node: &Arc<NodeRef>,
        call: &mut AddCall,
    ) -> Result<Option<Arc<OwnerFacts>>, Failure> {
        if call.owner.kind != OwnerKind::Pod {
            return Ok(None);
        }
        let Some(pod) = self.pod_on(node, &call.owner).await? else {
            tracing::warn!(
                attachment = %call.attachment, owner = %call.owner, node = %node.name,
                "no such pod runs on this node: it counts as a container of its own, without affinity"
            );
            let container: Arc<str> = call.attachment.container.as_str().into();
            call.owner = Owner {
                kind: OwnerKind::Container,
                namespace: "".into(),
                name: container.clone(),
                uid: container,
            };
            return Ok(None);
        };
        let facts = self.facts_of(node, &call.owner, &pod);
        self.describe(call, &facts, &pod);
        Ok(Some(Arc::new(facts)))
    }
}

fn mark_of(store: &KubeStore) -> StoreMark {
    let Identity { store_id, epoch, revision, .. } = store.identity();
    StoreMark { store: store_id, epoch: epoch.0, revision: revision.0, ticks: store.ticks() }
}

fn texts_of(labels: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    labels.iter().map(|(key, text)| (key.as_str(), text.as_str()))
}
