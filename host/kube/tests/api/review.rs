//! Whose token it is.

use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, ServiceAccount};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tenure_kube::{Refusal, ReviewError, ReviewOptions, Reviewed, Reviewer};
use tenure_lab::Relay;

use crate::lab::{Lab, NAMESPACE};

const ACCOUNT: &str = "tenure-agent";
const AUDIENCE: &str = "tenure-allocator";
const NODE: &str = "node-x";

/// Makes an object, which may be there already.
async fn make<K>(api: Api<K>, object: Value)
where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + serde::Serialize + std::fmt::Debug,
{
    let object: K = serde_json::from_value(object).unwrap();
    match api.create(&PostParams::default(), &object).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => panic!("{error}"),
    }
}

/// What the tests need: accounts and a node.
async fn prepare(lab: &Lab) {
    let client = lab.client();
    make::<Namespace>(Api::all(client.clone()), json!({"metadata": {"name": "elsewhere"}})).await;
    make::<Node>(Api::all(client.clone()), json!({"metadata": {"name": NODE}})).await;
    for (namespace, account) in [(NAMESPACE, ACCOUNT), (NAMESPACE, "other"), ("elsewhere", ACCOUNT)]
    {
        let accounts = Api::<ServiceAccount>::namespaced(client.clone(), namespace);
        make(accounts, json!({"metadata": {"name": account}})).await;
    }
}

/// A pod of an account, on a node if there is one; a fresh one.
async fn pod(lab: &Lab, namespace: &str, account: &str, name: &str, node: Option<&str>) -> Pod {
    let pods = Api::<Pod>::namespaced(lab.client(), namespace);
    pods.delete(name, &DeleteParams::default().grace_period(0)).await.ok();
    let mut pod = json!({
        "metadata": {"name": name},
        "spec": {
            "serviceAccountName": account,
            "containers": [{"name": "agent", "image": "tenure"}],
        },
    });
    if let Some(node) = node {
        pod["spec"]["nodeName"] = json!(node);
    }
    let pod: Pod = serde_json::from_value(pod).unwrap();
    pods.create(&PostParams::default(), &pod).await.unwrap()
}

/// A token as the kubelet asks for it.
async fn token(
    lab: &Lab,
    (namespace, account): (&str, &str),
    audience: &str,
    bound: Option<&Pod>,
) -> String {
    let mut spec = json!({"audiences": [audience], "expirationSeconds": 3600});
    if let Some(pod) = bound {
        let metadata = &pod.metadata;
        spec["boundObjectRef"] =
            json!({"apiVersion": "v1", "kind": "Pod", "name": metadata.name, "uid": metadata.uid});
    }
    let request: TokenRequest =
        serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
    let accounts = Api::<ServiceAccount>::namespaced(lab.client(), namespace);
    let made = accounts.create_token_request(account, &PostParams::default(), &request).await;
    made.unwrap().status.unwrap().token
}

async fn agents_token(lab: &Lab, pod: &Pod) -> String {
    token(lab, (NAMESPACE, ACCOUNT), AUDIENCE, Some(pod)).await
}

/// Each review asks.
fn fresh() -> ReviewOptions {
    ReviewOptions { keep: Duration::ZERO, ..ReviewOptions::default() }
}

fn reviewed(pod: &str) -> Reviewed {
    Reviewed { node: NODE.to_owned(), pod: pod.to_owned() }
}

async fn refusal(lab: &Lab, token: &str) -> Refusal {
    match Reviewer::new(lab.client(), ReviewOptions::default()).review(token).await {
        Err(ReviewError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_of_an_agents_pod_speaks_for_its_node() {
    let lab = Lab::default();
    prepare(&lab).await;
    let pod = pod(&lab, NAMESPACE, ACCOUNT, "agent-1", Some(NODE)).await;
    let token = agents_token(&lab, &pod).await;
    let reviewer = Reviewer::new(lab.client(), ReviewOptions::default());
    assert_eq!(reviewer.review(&token).await, Ok(reviewed("agent-1")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_bound_to_no_node_is_refused() {
    let lab = Lab::default();
    prepare(&lab).await;
    let unbound = token(&lab, (NAMESPACE, ACCOUNT), AUDIENCE, None).await;
    assert_eq!(refusal(&lab, &unbound).await, Refusal::NoNode);
    let pending = pod(&lab, NAMESPACE, ACCOUNT, "agent-pending", None).await;
    let pending = agents_token(&lab, &pending).await;
    assert_eq!(refusal(&lab, &pending).await, Refusal::NoNode);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_another_account_is_refused() {
    let lab = Lab::default();
    prepare(&lab).await;
    for (namespace, account) in [(NAMESPACE, "other"), ("elsewhere", ACCOUNT)] {
        let pod = pod(&lab, namespace, account, "pretender", Some(NODE)).await;
        let token = token(&lab, (namespace, account), AUDIENCE, Some(&pod)).await;
        let user = format!("system:serviceaccount:{namespace}:{account}");
        assert_eq!(refusal(&lab, &token).await, Refusal::Account { user });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_for_another_audience_is_refused() {
    let lab = Lab::default();
    prepare(&lab).await;
    let pod = pod(&lab, NAMESPACE, ACCOUNT, "agent-audience", Some(NODE)).await;
    for audience in ["another", "https://kubernetes.default.svc"] {
        let token = token(&lab, (NAMESPACE, ACCOUNT), audience, Some(&pod)).await;
        let refusal = refusal(&lab, &token).await;
        assert!(matches!(refusal, Refusal::NotAuthenticated { .. }), "{refusal}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_token_is_refused() {
    let lab = Lab::default();
    let refused = refusal(&lab, "no.token.atall").await;
    assert!(matches!(refused, Refusal::NotAuthenticated { .. }), "{refused}");
    assert_eq!(refusal(&lab, "").await, Refusal::Length);
    assert_eq!(refusal(&lab, &"x".repeat(100_000)).await, Refusal::Length);
    // Of the lab's own user, made for the API server itself.
    let refused = refusal(&lab, "lab").await;
    assert!(matches!(refused, Refusal::NotAuthenticated { .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_of_a_deleted_pod_is_refused_by_a_fresh_review() {
    let lab = Lab::default();
    prepare(&lab).await;
    let pod = pod(&lab, NAMESPACE, ACCOUNT, "agent-deleted", Some(NODE)).await;
    let token = agents_token(&lab, &pod).await;
    let relay = Relay::before(&lab.config()).await;
    let through = Client::try_from(relay.through(lab.config())).unwrap();
    let kept = Reviewer::new(lab.client(), ReviewOptions::default());
    let asked = Reviewer::new(through, fresh());
    kept.review(&token).await.unwrap();
    asked.review(&token).await.unwrap();
    let pods = Api::<Pod>::namespaced(lab.client(), NAMESPACE);
    pods.delete("agent-deleted", &DeleteParams::default().grace_period(0)).await.unwrap();
    // The API server keeps its own answers for 10 s.
    let deadline = Instant::now() + Duration::from_secs(60);
    let refused = loop {
        match asked.review(&token).await {
            Ok(_) => assert!(Instant::now() < deadline, "it is never refused"),
            Err(error) => break error,
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert!(matches!(refused, ReviewError::Refused(Refusal::NotAuthenticated { .. })), "{refused}");
    assert_eq!(kept.review(&token).await, Ok(reviewed("agent-deleted")), "as it is promised");
    relay.freeze();
    let away = asked.review(&token).await;
    assert!(matches!(away, Err(ReviewError::Unavailable { .. })), "it is forgotten: {away:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_review_is_remembered_while_the_api_server_is_away_and_no_longer_than_allowed() {
    let lab = Lab::default();
    prepare(&lab).await;
    let known = pod(&lab, NAMESPACE, ACCOUNT, "agent-known", Some(NODE)).await;
    let known = agents_token(&lab, &known).await;
    let stranger = pod(&lab, NAMESPACE, ACCOUNT, "agent-new", Some(NODE)).await;
    let stranger = agents_token(&lab, &stranger).await;
    let relay = Relay::before(&lab.config()).await;
    let through = || Client::try_from(relay.through(lab.config())).unwrap();
    let call_deadline = Duration::from_millis(700);
    let patient = Reviewer::new(through(), ReviewOptions { call_deadline, ..fresh() });
    let strict = ReviewOptions { call_deadline, keep_away: Duration::ZERO, ..fresh() };
    let strict = Reviewer::new(through(), strict);
    for reviewer in [&patient, &strict] {
        assert_eq!(reviewer.review(&known).await, Ok(reviewed("agent-known")));
    }
    relay.freeze();
    assert_eq!(patient.review(&known).await, Ok(reviewed("agent-known")));
    for (reviewer, token) in [(&patient, &stranger), (&strict, &known)] {
        let answer = reviewer.review(token).await;
        assert!(matches!(answer, Err(ReviewError::Unavailable { .. })), "{answer:?}");
    }
    relay.thaw();
    assert_eq!(strict.review(&stranger).await, Ok(reviewed("agent-new")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_review_is_not_asked_for_twice() {
    let lab = Lab::default();
    prepare(&lab).await;
    let pod = pod(&lab, NAMESPACE, ACCOUNT, "agent-twice", Some(NODE)).await;
    let token = agents_token(&lab, &pod).await;
    let reviewer = Reviewer::new(lab.client(), ReviewOptions::default());
    let before = lab.counted_of("tokenreviews", "POST").await;
    for _ in 0..5 {
        reviewer.review(&token).await.unwrap();
    }
    assert_eq!(lab.counted_of("tokenreviews", "POST").await - before, 1);
}
