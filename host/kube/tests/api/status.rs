//! What operators see of pools and policies with kubectl, beside two engines of which the first leads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tenure_core::name::{Digest, ObjectName};
use tenure_core::objects::ObjectKind;
use tenure_engine::{AddRequest, Background};
use tenure_kube::KubeOptions;
use tenure_sim::pool;
use tenure_store::{Change, Store as _};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::follow::{Pair, add, del, served};
use crate::lab::{Lab, options, resource};

/// The columns of one object in `kubectl get -o wide`.
type Row = BTreeMap<String, Value>;

struct Scene {
    pair: Pair,
    /// Stopped when the test ends.
    _tasks: [Background; 2],
}

impl Scene {
    async fn new() -> Self {
        let pair = Pair::new(Lab::default(), None).await;
        let leads = Background::start(&pair.engines[0]);
        let follows = Background::start_following(&pair.engines[1]);
        let scene = Self { pair, _tasks: [leads, follows] };
        for name in ["v4", "v6"] {
            scene.until_accepted("IPPool", name, "True").await;
        }
        scene
    }

    /// What `kubectl get` asks for, and what it prints.
    async fn table(&self, plural: &str) -> BTreeMap<String, Row> {
        let request = http::Request::get(format!("/apis/tenure.dev/v1alpha1/{plural}"))
            .header("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
            .body(Vec::new())
            .unwrap();
        let table: Value = self.pair.lab.client().request(request).await.unwrap();
        assert_eq!(table["kind"], "Table");
        let columns = table["columnDefinitions"].as_array().unwrap();
        let columns: Vec<_> = columns.iter().map(|c| c["name"].as_str().unwrap()).collect();
        let row = |row: &Value| {
            let cells = row["cells"].as_array().unwrap().iter().cloned();
            let cells = columns.iter().map(|&column| column.to_owned()).zip(cells);
            (row["object"]["metadata"]["name"].as_str().unwrap().to_owned(), cells.collect())
        };
        table["rows"].as_array().unwrap().iter().map(row).collect()
    }

    /// The row of this object, once these columns show that.
    async fn until_shown(&self, plural: &str, name: &str, wanted: &[(&str, &str)]) -> Row {
        let deadline = Instant::now() + Duration::from_secs(40);
        loop {
            let row = self.table(plural).await.remove(name).unwrap();
            if wanted.iter().all(|(column, value)| row[*column] == **value) {
                return row;
            }
            assert!(Instant::now() < deadline, "{name}: {row:?}, not {wanted:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The object and its condition `Accepted`, once its status is so and of the object's newest version.
    async fn until_accepted(&self, kind: &str, name: &str, status: &str) -> (Value, Value) {
        let deadline = Instant::now() + Duration::from_secs(40);
        loop {
            let object = self.pair.lab.api(kind).get(name).await.unwrap();
            let conditions = object.data["status"]["conditions"].as_array().cloned();
            let condition = conditions.and_then(|all| all.first().cloned()).unwrap_or_default();
            let is_of_it = condition["observedGeneration"] == json!(object.metadata.generation);
            if condition["status"] == status && is_of_it {
                assert_eq!(condition["type"], "Accepted");
                return (object.data, condition);
            }
            assert!(Instant::now() < deadline, "{kind} {name}: {condition}, not {status}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn patches(&self) -> u64 {
        self.pair.lab.counted_of("ippools", "PATCH").await
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_get_ippools_says_how_full_each_is_at_one_write_in_ten_seconds() {
    let scene = Scene::new().await;
    let big = pool("big", &json!({"cidr": "10.8.0.0/24", "cooldown": "1h"}));
    scene.pair.engines[0].apply(vec![big], false).await.unwrap();
    let empty = [("Size", "254"), ("Held", "0"), ("Free", "254"), ("Accepted", "True")];
    scene.until_shown("ippools", "big", &empty).await;

    let (before, since) = (scene.patches().await, Instant::now());
    for batch in 0..4 {
        let mut adds = JoinSet::new();
        for n in 0..25 {
            let request = scene.pair.site.request(&format!("c{}", batch * 25 + n));
            let only = AddRequest { pools: tenure_sim::names(&["big"]), ..request };
            adds.spawn(add(scene.pair.engines[n % 2].clone(), only));
        }
        assert_eq!(adds.join_all().await.into_iter().flatten().count(), 25);
        // Long enough for the engine to see other counts than before.
        tokio::time::sleep(Duration::from_millis(1200)).await;
    }
    del(&scene.pair.engines[1], "c7").await;
    let counted = [("Held", "99"), ("Free", "154"), ("Resting", "1"), ("Quarantined", "0")];
    let row = scene.until_shown("ippools", "big", &counted).await;
    assert_eq!(row["CIDR"], "10.8.0.0/24");
    let (patches, ten_seconds) = (scene.patches().await - before, since.elapsed().as_secs() / 10);
    assert!((1..=1 + ten_seconds).contains(&patches), "{patches} writes in {:?}", since.elapsed());

    let (object, _) = scene.until_accepted("IPPool", "big", "True").await;
    let number = |key: &str| text(&object["status"][key]).parse::<u128>().unwrap();
    let parts = ["free", "held", "resting", "retained", "quarantined"].map(number);
    assert_eq!(parts.iter().sum::<u128>(), number("size"), "I10");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_kubernetes_let_in_and_we_do_not_accept_says_so_and_hinders_nobody() {
    let scene = Scene::new().await;
    let pair = &scene.pair;
    let twin = json!({"cidr": "10.6.0.0/25"});
    // The API server takes it as it would from kubectl; the name sorts before that of the older one.
    pair.stores[1].put_objects(vec![pool("a-twin", &twin)]).await.unwrap();
    let (_, condition) = scene.until_accepted("IPPool", "a-twin", "False").await;
    assert_eq!(condition["reason"], "Overlaps");
    let message = text(&condition["message"]);
    assert!(message.contains("overlaps 10.6.0.0/24 of pool v4"), "{message}");
    let row = scene.until_shown("ippools", "a-twin", &[("Reason", "Overlaps")]).await;
    assert_eq!(row["Size"], Value::Null, "it has no addresses");
    let (_, condition) = scene.until_accepted("IPPool", "v4", "True").await;
    assert_eq!(condition["reason"], "Accepted");
    pair.add_all(0, "a").await;
    pair.until_free(1, 0).await;

    let more = pool("more", &json!({"cidr": "10.7.0.0/30"}));
    pair.engines[0].apply(vec![more], false).await.unwrap();
    scene.until_accepted("IPPool", "more", "True").await;
    let next_start = pair.site.engine_over(Arc::new(pair.lab.store()), "boot-1");
    assert_eq!(served(&next_start), 3, "a-twin alone serves nothing");

    pair.del_all(0, "a").await;
    let name = ObjectName::new("v4").unwrap();
    pair.engines[0].delete(ObjectKind::IPPool, &name).await.unwrap();
    scene.until_accepted("IPPool", "a-twin", "True").await;
    scene.until_shown("ippools", "a-twin", &[("Size", "126")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_shown_already_is_not_written_again() {
    let scene = Scene::new().await;
    let before = scene.patches().await;
    let more = pool("more", &json!({"cidr": "10.7.0.0/30"}));
    scene.pair.engines[1].apply(vec![more], false).await.unwrap();
    scene.until_accepted("IPPool", "more", "True").await;
    // Longer than the time that lies between two writes of an object.
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(scene.patches().await - before, 1, "only the new pool, by the engine that leads");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_writes_over_a_status_comes_right() {
    let scene = Scene::new().await;
    let api = scene.pair.lab.api("IPPool");
    // The first time an object changes all are listed; later a watch alone tells.
    for free in ["7", "8"] {
        let theirs = json!({"status": {"free": free, "conditions": []}});
        api.patch_status("v4", &PatchParams::default(), &Patch::Merge(theirs)).await.unwrap();
        // Sooner than a sweep would list them.
        let wanted = [("Free", "12"), ("Accepted", "True")];
        let shown = scene.until_shown("ippools", "v4", &wanted);
        timeout(Duration::from_secs(16), shown).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_that_changes_is_no_changed_object_however_many_watches_have_begun_since() {
    let lab = Lab::default();
    let short = KubeOptions { watch_for: Duration::from_secs(1), ..options() };
    let store = lab.store_with(lab.config(), short);
    store.put_objects(vec![pool("v4", &json!({"cidr": "10.6.0.0/24"}))]).await.unwrap();
    store.scan(&mut |_| ()).unwrap();
    let mut changes = store.changes().unwrap();
    // Each kind is followed from here on.
    let mut begun = 0;
    while begun < ObjectKind::ALL.len() {
        begun += usize::from(changes.recv().await == Some(Change::Objects));
    }
    let api = lab.api("IPPool");
    let mut objects_changed = async |patch: Value, is_status: bool| {
        let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
        match is_status {
            true => api.patch_status("v4", &params, &patch).await.unwrap(),
            false => api.patch("v4", &params, &patch).await.unwrap(),
        };
        let mut told = 0;
        while let Ok(change) = timeout(Duration::from_secs(3), changes.recv()).await {
            told += usize::from(change == Some(Change::Objects));
        }
        told
    };
    assert_eq!(objects_changed(json!({"spec": {"priority": 1}}), false).await, 1);
    for free in ["7", "8"] {
        assert_eq!(objects_changed(json!({"status": {"free": free}}), true).await, 0);
    }
    assert_eq!(objects_changed(json!({"spec": {"priority": 2}}), false).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_says_what_serves_and_why_the_newest_version_does_not() {
    let scene = Scene::new().await;
    let (api, policies) = (scene.pair.lab.api("IPAMPolicy"), &scene.pair.site.policies);
    let version = |text: &str| Digest::of(text.as_bytes());
    let set = async |digest: Digest| {
        let patch = json!({"spec": {"digest": digest}});
        api.patch("mine", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    };
    let mut policy = DynamicObject::new("mine", &resource("IPAMPolicy"));
    policy.data = json!({"spec": {"source": {"bundled": "mine"}, "digest": version("good")}});
    api.create(&PostParams::default(), &policy).await.unwrap();
    let (object, _) = scene.until_accepted("IPAMPolicy", "mine", "True").await;
    assert_eq!(object["status"]["digest"], json!(version("good")));
    let shown = [("Component", "fake"), ("Version", "0"), ("Accepted", "True")];
    scene.until_shown("ipampolicies", "mine", &shown).await;

    policies.refuse.store(true, Ordering::Relaxed);
    set(version("bad")).await;
    let (object, condition) = scene.until_accepted("IPAMPolicy", "mine", "False").await;
    assert_eq!(condition["reason"], "Refused");
    let message = text(&condition["message"]);
    assert!(message.contains("was refused while reading it: told so; the version"), "{message}");
    let status = &object["status"];
    assert_eq!(
        (&status["stage"], &status["digest"]),
        (&json!("reading it"), &json!(version("good")))
    );

    policies.refuse.store(false, Ordering::Relaxed);
    set(version("better")).await;
    let (object, _) = scene.until_accepted("IPAMPolicy", "mine", "True").await;
    let status = &object["status"];
    assert_eq!((status.get("stage"), &status["digest"]), (None, &json!(version("better"))));

    api.delete("mine", &DeleteParams::default()).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !scene.pair.engines[0].policies().is_empty() {
        assert!(Instant::now() < deadline, "it goes on serving");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
