//! `oci:` sources and trust, with a real registry and a real `tenured`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod lab;

use std::fs;
use std::path::Path;

use lab::modules::{push, reference};
use lab::{Lab, policies, until};
use serde_json::{Value, json};
use tenure_core::name::Digest;
use tenure_lab::Registry as Server;
use tenure_trust::{SecretKey, Signatures};

fn object(source: &Value) -> Value {
    json!({"apiVersion": "tenure.dev/v1alpha1", "kind": "IPAMPolicy", "metadata": {"name": "mine"},
        "spec": {"source": source, "priority": 100}})
}

/// Applies the policy `mine`; answers the status and what was said.
fn apply(lab: &Lab, source: &Value) -> (u16, String) {
    lab.http("POST", "/v1/apply", &object(source).to_string())
}

fn mine(lab: &Lab) -> Value {
    let (status, body) = lab.http("GET", "/v1/policies/mine", "");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

fn serves(lab: &Lab, digest: &Digest) -> bool {
    mine(lab)["status"]["digest"] == digest.as_str()
}

fn lab() -> Lab {
    Lab::enter().pool("p", json!({"cidr": "10.7.0.0/24"}))
}

#[test]
fn a_tag_is_pinned_and_what_was_fetched_serves_when_the_registry_is_away() {
    let mut lab = lab();
    let mut server = Server::start();
    let first = push(&server, "v1", "balanced", &[]);
    let source = json!({"oci": reference(&server, "v1")});
    lab.launch();
    let (status, body) = apply(&lab, &source);
    assert_eq!(status, 200, "{body}");
    assert!(serves(&lab, &first));
    assert_eq!(mine(&lab)["spec"]["digest"], first.as_str());
    let kept = Path::new(&lab.path("state")).join("policies").join(first.module_file());
    assert_eq!(Digest::of(&fs::read(&kept).unwrap()), first);

    server.stop();
    lab.kill();
    lab.launch();
    assert!(serves(&lab, &first), "what is kept needs no registry");
    assert_eq!(apply(&lab, &source).0, 200, "the tag is what it was");
    assert!(serves(&lab, &first));

    server.start_again();
    let second = push(&server, "v1", "pool-order", &[]);
    lab.kill();
    lab.launch();
    assert!(serves(&lab, &first), "a tag that was moved moves nothing");
    assert_eq!(apply(&lab, &source).0, 200);
    assert!(serves(&lab, &second), "until it is applied anew");
    let pinned = json!({"oci": reference(&server, "v9")});
    let (status, body) = apply(&lab, &pinned);
    assert!(status == 400 && body.contains("fetching the component"), "{body}");
    assert!(body.contains("is not in its registry") && serves(&lab, &second), "{body}");
}

#[test]
fn a_module_that_is_missing_holds_up_no_start_and_is_fetched_when_it_can_be() {
    let mut lab = lab();
    let mut server = Server::start();
    let digest = push(&server, "v1", "balanced", &[]);
    lab.launch();
    assert_eq!(apply(&lab, &json!({"oci": reference(&server, "v1")})).0, 200);
    let kept = Path::new(&lab.path("state")).join("policies").join(digest.module_file());

    // Changed on disk: it is not what was applied, and is fetched again.
    lab.kill();
    fs::write(&kept, b"changed").unwrap();
    lab.launch();
    assert!(serves(&lab, &digest), "what served last does so until then");
    until("it is fetched again", || Digest::of(&fs::read(&kept).unwrap()) == digest);

    // Gone, and what served last with it.
    lab.kill();
    server.stop();
    fs::remove_file(&kept).unwrap();
    fs::remove_dir_all(Path::new(&lab.path("state")).join("policy-kept")).unwrap();
    lab.launch();
    lab::netns("c1");
    let network = lab.network("1.1.0", "bridge", json!({}));
    assert_eq!(lab.plugin("ADD", "c1", &network).addresses().len(), 1, "others decide");
    until("the failure is told", || lab.log().contains("it is tried again in 10 s"));
    assert!(!serves(&lab, &digest));
    server.start_again();
    until("it serves", || serves(&lab, &digest));
}

#[test]
fn trust_is_asked_before_a_module_is_looked_at_and_names_the_missing_keys() {
    let lab = lab();
    let server = Server::start();
    let keys: Vec<SecretKey> = (0..3).map(|_| SecretKey::generate().unwrap()).collect();
    let mut config = "[policy.trust]\nallOf = ['a']\nanyOf = {minimum = 1, keys = ['b', 'c']}\n[policy.trust.keys]\n".to_owned();
    for (name, key) in ["a", "b", "c"].iter().zip(&keys) {
        let file = lab.path(&format!("{name}.pub"));
        fs::write(&file, key.public().to_pem().unwrap()).unwrap();
        config += &format!("{name} = '{file}'\n");
    }
    let id = |key: usize| keys[key].public().id().to_string();
    let lab = lab.configure(&config).start();
    let (_, all) = lab.http("GET", "/v1/policies", "");
    assert!(
        all.contains("sticky-identity") && all.contains("\"decisions\""),
        "bundled ones: {all}"
    );

    let source = json!({"oci": reference(&server, "v1")});
    let refused = |missing: &str| {
        let (status, body) = apply(&lab, &source);
        assert!(status == 400 && body.contains("checking the trust"), "{body}");
        assert!(body.contains(missing), "{missing}: {body}");
    };
    push(&server, "v1", "balanced", &[]);
    refused(&format!("it has no signature; missing: a ({}), and 1 of b (", id(0)));
    push(&server, "v1", "balanced", &[&keys[0]]);
    refused(&format!("it is signed by a only; missing: 1 of b ({}), c ({})", id(1), id(2)));
    let digest = push(&server, "v1", "balanced", &[&keys[2]]);
    let (status, body) = apply(&lab, &source);
    assert!(status == 200 && serves(&lab, &digest), "both signatures stand there now: {body}");
}

#[test]
fn a_file_needs_its_signatures_beside_it_and_garbage_is_not_even_recognised_without() {
    let lab = lab();
    let key = SecretKey::generate().unwrap();
    let config = format!(
        "[policy.trust]\nallOf = ['a']\n[policy.trust.keys]\na = '''{}'''\n",
        key.public().to_pem().unwrap()
    );
    let lab = lab.configure(&config).start();
    let file = lab.path("mine.wasm");
    let sign = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        let mut signatures = Signatures::default();
        signatures.sign(&Digest::of(bytes), &key).unwrap();
        fs::write(format!("{file}.sig"), signatures.to_text().unwrap()).unwrap();
    };
    let source = json!({"file": file});
    let said = |part: &str| {
        let (status, body) = apply(&lab, &source);
        assert!(status == 400 && body.contains(part), "{part}: {body}");
    };
    fs::write(&file, b"no Wasm at all").unwrap();
    said("checking the trust");
    sign(b"no Wasm at all");
    said("recognising the file");
    let component = fs::read(policies().join("balanced.wasm")).unwrap();
    fs::write(&file, &component).unwrap();
    said("its signatures are those of another module");
    // It serves already, bundled: what is compiled is no more trusted for that.
    let bundled = object(&json!({"bundled": "balanced"})).to_string().replace("mine", "other");
    assert_eq!(lab.http("POST", "/v1/apply", &bundled).0, 200);
    said("checking the trust");
    sign(&component);
    let (status, body) = apply(&lab, &source);
    assert!(status == 200 && serves(&lab, &Digest::of(&component)), "{body}");
    fs::write(format!("{file}.sig"), "-----BEGIN").unwrap();
    said("not DSSE envelopes");
    assert!(serves(&lab, &Digest::of(&component)), "the old version goes on serving");
}
