//! What operators who look into a shared store are shown: pools with their counts, policies with what became of them, by one
//! engine of several.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tenure_core::ledger::Counts;
use tenure_core::name::{Digest, ObjectName};
use tenure_core::objects::{Object, ObjectKind};
use tenure_core::ports::PolicyRefusal;
use tenure_engine::{Background, DelRequest, Engine};
use tenure_sim::{SimStore, Site, attachment, pool};
use tenure_store::{Change, MemoryStore, Refusal, Shown, Store as _};
use tokio::sync::mpsc;

/// An engine over a store that others write as well: the test is the others.
struct Scene {
    site: Site,
    store: Arc<SimStore>,
    behind: Arc<MemoryStore>,
    engine: Arc<Engine>,
    feed: mpsc::Sender<Change>,
}

impl Scene {
    async fn new() -> Self {
        let site = Site::new(&[]).await;
        let behind = Arc::new(MemoryStore::new());
        let spec = json!({"cidr": "10.0.0.0/24", "ranges": ["10.0.0.1-10.0.0.4"]});
        behind.put_objects(vec![pool("p", &spec)]).await.unwrap();
        let store = Arc::new(SimStore::new(behind.clone(), site.clock.clone()));
        let feed = store.share();
        let engine = site.engine_over(store.clone(), "boot-1");
        Self { site, store, behind, engine, feed }
    }

    /// Others write it, and the engine hears of it.
    async fn written(&self, object: Object) {
        self.behind.put_objects(vec![object]).await.unwrap();
        self.feed.send(Change::Objects).await.unwrap();
        self.passed(2).await;
    }

    async fn passed(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    /// How often something was shown in so many seconds.
    async fn shown_within(&self, seconds: u64) -> usize {
        self.store.take_shown();
        self.passed(seconds).await;
        self.store.take_shown().len()
    }

    /// What is shown next.
    async fn next_shown(&self) -> Vec<Shown> {
        self.store.take_shown();
        self.passed(2).await;
        self.store.take_shown().pop().unwrap()
    }

    async fn pools(&self) -> Vec<(String, Result<Counts, Refusal>)> {
        let shown = self.next_shown().await.into_iter();
        let pools = shown.filter_map(|one| match one {
            Shown::Pool { name, state } => Some((name.to_string(), state)),
            Shown::Policy { .. } => None,
        });
        pools.collect()
    }

    /// Digest of what serves of the only policy, and why the newest version does not.
    async fn policy(&self) -> Option<(Option<Digest>, Option<PolicyRefusal>)> {
        let mut shown = self.next_shown().await.into_iter();
        let found = shown.find_map(|one| match one {
            Shown::Policy { serving, refusal, .. } => {
                Some((serving.map(|serving| serving.digest), refusal))
            }
            Shown::Pool { .. } => None,
        });
        let serving = self.engine.policies();
        let found_here = found.as_ref().and_then(|(digest, _)| digest.clone());
        assert_eq!(found_here, serving.first().map(|one| one.digest.clone()), "what serves");
        found
    }
}

fn version(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

/// The policy `mine` in this version.
fn policy(text: &str) -> Object {
    let spec = json!({"source": {"bundled": "mine"}, "digest": version(text)});
    let object = json!({
        "apiVersion": "tenure.dev/v1alpha1", "kind": "IPAMPolicy", "metadata": {"name": "mine"}, "spec": spec,
    });
    Object::from_json(object).unwrap()
}

fn mine() -> ObjectName {
    ObjectName::new("mine").unwrap()
}

#[tokio::test(start_paused = true)]
async fn pools_are_shown_with_their_counts_and_those_that_are_not_served_with_the_reason() {
    let scene = Scene::new().await;
    let background = Background::start(&scene.engine);
    // Its name sorts before that of the one that serves.
    scene.written(pool("a-twin", &json!({"cidr": "10.0.0.0/25"}))).await;
    for container in ["c1", "c2"] {
        scene.engine.add(scene.site.request(container)).await.unwrap();
    }
    scene.engine.del(DelRequest::of(attachment("c2"))).await.unwrap();
    let shown = scene.pools().await;
    let [(p, Ok(counts)), (twin, Err(refusal))] = &shown[..] else { panic!("{shown:?}") };
    assert_eq!((p.as_str(), twin.as_str()), ("p", "a-twin"));
    let expected = Counts { size: 4, free: 2, held: 1, resting: 1, ..Counts::default() };
    assert_eq!(Counts { lingering: 0, ..*counts }, expected);
    assert!(counts.add_up(), "I10");
    assert_eq!(refusal.reason, "Overlaps");
    assert!(refusal.message.contains("of pool p"), "{}", refusal.message);
    background.stop().await;
}

#[tokio::test(start_paused = true)]
async fn who_follows_shows_nothing_and_who_leads_each_second() {
    let scene = Scene::new().await;
    let mut background = Background::start_following(&scene.engine);
    assert_eq!(scene.shown_within(60).await, 0);
    background.sweep(true);
    let shown = scene.shown_within(60).await;
    assert!((55..=62).contains(&shown), "{shown}");
    background.sweep(true);
    let shown = scene.shown_within(10).await;
    assert!((8..=12).contains(&shown), "said twice, begun once: {shown}");
    background.sweep(false);
    assert_eq!(scene.shown_within(60).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_others_apply_change_and_delete_is_followed() {
    let scene = Scene::new().await;
    let _background = Background::start(&scene.engine);
    assert_eq!(scene.policy().await, None);
    for text in ["one", "two"] {
        scene.written(policy(text)).await;
        assert_eq!(scene.policy().await, Some((Some(version(text)), None)));
    }
    scene.behind.delete_object(ObjectKind::IPAMPolicy, &mine()).await.unwrap();
    scene.feed.send(Change::Objects).await.unwrap();
    scene.passed(2).await;
    assert_eq!(scene.policy().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_bad_version_of_a_policy_leaves_the_one_before_serving_and_says_why() {
    let scene = Scene::new().await;
    let _background = Background::start(&scene.engine);
    scene.written(policy("good")).await;
    scene.site.policies.refuse.store(true, Ordering::Relaxed);
    scene.written(policy("bad")).await;
    let (serving, refusal) = scene.policy().await.unwrap();
    assert_eq!(serving, Some(version("good")));
    assert_eq!(refusal.map(|refusal| refusal.stage), Some("reading it"));
    scene.site.policies.refuse.store(false, Ordering::Relaxed);
    scene.written(policy("better")).await;
    assert_eq!(scene.policy().await, Some((Some(version("better")), None)));
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_is_bad_at_the_start_says_why() {
    let scene = Scene::new().await;
    scene.behind.put_objects(vec![policy("bad")]).await.unwrap();
    scene.site.policies.refuse.store(true, Ordering::Relaxed);
    assert_eq!(scene.engine.install_policies().unwrap().len(), 1);
    let _background = Background::start(&scene.engine);
    let (serving, refusal) = scene.policy().await.unwrap();
    assert_eq!(serving, None);
    assert!(refusal.unwrap().to_string().contains("refused while reading it"));
}
