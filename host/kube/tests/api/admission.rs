//! What the API server lets in, what it refuses, and what it shows.

use kube::api::{DynamicObject, PostParams};
use serde_json::{Value, json};
use tenure_core::lease::Lease;
use tenure_kube::LeaseSpec;
use tenure_store::contract::samples::{all_states, lease};

use crate::lab::{Lab, resource};

fn object(kind: &str, name: &str, spec: Value) -> DynamicObject {
    let mut object = DynamicObject::new(name, &resource(kind));
    object.data = json!({"spec": spec});
    object
}

/// The refusal, or the object as it was taken.
async fn tried(lab: &Lab, kind: &str, name: &str, spec: Value) -> Result<DynamicObject, String> {
    let api = if kind == "IPLease" { lab.leases() } else { lab.api(kind) };
    let dry = PostParams { dry_run: true, field_manager: None };
    match api.create(&dry, &object(kind, name, spec)).await {
        Ok(object) => Ok(object),
        Err(kube::Error::Api(status)) => Err(status.message.clone()),
        Err(other) => panic!("{other}"),
    }
}

async fn is_refused(lab: &Lab, kind: &str, name: &str, spec: Value, why: &str) {
    let answer = tried(lab, kind, name, spec.clone()).await;
    let text = answer.err().unwrap_or_else(|| panic!("{kind} {name} was let in: {spec}"));
    assert!(text.contains(why), "{spec} was refused with {text:?} and not {why:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shipped_examples_and_every_field_of_a_pool_are_let_in() {
    let lab = Lab::default();
    let whole = json!({
        "cidr": "10.6.0.0/16", "ranges": ["10.6.1.0-10.6.1.255", "10.6.4.0/24", "10.6.9.9"],
        "exclude": ["10.6.1.1"], "gateway": "10.6.0.1",
        "routes": [{"dst": "0.0.0.0/0", "gw": "10.6.0.1", "mtu": 1400, "scope": 0}],
        "dns": {"nameservers": ["10.6.0.2", "fd00::2"], "search": ["example.com"]},
        "space": "red", "priority": -3, "disabled": true, "networks": ["underlay"],
        "namespaceSelector": {"matchLabels": {"team": "red"}},
        "podSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]},
        "nodeSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]},
        "cooldown": "1h 30m", "cooldownFloor": "5s", "unfencedReclaim": "never",
        "probe": "always", "limits": {"graceMin": "1s", "graceMax": "10m"},
        "labels": {"zone": "a"},
    });
    let mut specs = vec![whole, json!({"cidr": "10.0.0.0/32", "gateway": "10.9.9.9"})];
    specs.push(json!({"cidr": "fd00::/64", "gateway": "fd00::1", "routes": [{"dst": "::/0"}]}));
    for spec in specs {
        tried(&lab, "IPPool", "blue", spec.clone()).await.unwrap_or_else(|e| panic!("{spec}: {e}"));
    }
    for file in ["pools.yaml", "policies.yaml"] {
        let path = format!("{}/../../deploy/examples/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        assert!(!documents.is_empty());
        for document in documents {
            let (kind, name) = (document["kind"].as_str(), document["metadata"]["name"].as_str());
            let (kind, name) = (kind.unwrap(), name.unwrap());
            tried(&lab, kind, name, document["spec"].clone())
                .await
                .unwrap_or_else(|e| panic!("{kind} {name} of {file}: {e}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_comes_back_with_the_defaults_of_standalone_mode() {
    let lab = Lab::default();
    let taken = tried(&lab, "IPPool", "blue", json!({"cidr": "10.6.0.0/16"})).await.unwrap();
    let spec = &taken.data["spec"];
    assert_eq!(
        (&spec["space"], &spec["cooldown"], &spec["unfencedReclaim"], &spec["probe"]),
        (&json!("default"), &json!("120s"), &json!("probe"), &json!("unproven"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_pools_are_refused_with_the_reason() {
    let lab = Lab::default();
    let with = |key: &str, value: Value| {
        let mut spec = json!({"cidr": "10.6.0.0/16"});
        spec[key] = value;
        spec
    };
    let requirement = |value: Value| with("podSelector", json!({"matchExpressions": [value]}));
    let cases = [
        (json!({}), "spec.cidr"),
        (with("cidr", json!("10.6.0.7/16")), "without host bits"),
        (with("cidr", json!("blue")), "must be a subnet"),
        (with("cidr", json!("8.0.0.0/7")), "is wider than /8"),
        (with("space", json!("Red")), "spec.space"),
        (with("space", json!("a--b")), "must not contain"),
        (with("ranges", json!(["10.6.0.1-"])), "must be an address, a range"),
        (with("ranges", json!(["10.7.0.1"])), "outside cidr"),
        (with("ranges", json!(["10.6.0.1-10.7.0.1"])), "outside cidr"),
        (with("ranges", json!(["10.0.0.0/8"])), "outside cidr"),
        (with("exclude", json!(["fd00::1"])), "outside cidr"),
        (with("gateway", json!("10.7.0.1")), "gateway must be"),
        (with("gateway", json!("fd00::1")), "gateway must be"),
        (with("routes", json!([{"dst": "::/0"}])), "family of cidr"),
        (with("routes", json!([{"dst": "10.0.0.1/8"}])), "without host bits"),
        (with("routes", json!([{"dst": "0.0.0.0/0", "gw": "me"}])), "must be an address"),
        (with("routes", json!([{"dst": "0.0.0.0/0", "mtu": 60}])), "mtu"),
        (with("routes", json!([{"dst": "0.0.0.0/0", "scope": 256}])), "scope"),
        (with("dns", json!({"nameservers": ["ns1"]})), "must be an address"),
        (with("networks", json!(["a b"])), "spec.networks"),
        (with("cooldown", json!("soon")), "length of time"),
        (with("cooldownFloor", json!("121s")), "longer than cooldown"),
        (with("cooldown", json!("48h")), "longer than limits.cooldownMax"),
        (with("limits", json!({"graceMin": "2s", "graceMax": "1s"})), "longer than graceMax"),
        (with("probe", json!("sometimes")), "spec.probe"),
        (with("unfencedReclaim", json!("always")), "spec.unfencedReclaim"),
        (requirement(json!({"key": "a", "operator": "In"})), "need values"),
        (requirement(json!({"key": "a", "operator": "Exists", "values": ["b"]})), "need values"),
        (requirement(json!({"key": "a", "operator": "Like"})), "operator"),
    ];
    for (spec, why) in cases {
        is_refused(&lab, "IPPool", "blue", spec, why).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_reservations_and_policies_are_refused_with_the_reason() {
    let lab = Lab::default();
    for (spec, why) in [
        (json!({"addresses": []}), "spec.addresses"),
        (json!({"addresses": ["10.6.0.300"]}), "must be an address"),
        (json!({"addresses": ["10.6.0.1"], "space": "a--b"}), "must not contain"),
    ] {
        is_refused(&lab, "IPReservation", "router", spec, why).await;
    }
    for (spec, why) in [
        (json!({}), "spec.source"),
        (json!({"source": {}}), "spec.source"),
        (json!({"source": {"bundled": "a", "file": "/b"}}), "spec.source"),
        (json!({"source": {"oci": "grace:v1"}}), "spec.source.oci"),
        (json!({"source": {"oci": "https://r.example/grace:v1"}}), "spec.source.oci"),
        (json!({"source": {"oci": "r.example/grace"}}), "spec.source.oci"),
        (json!({"source": {"bundled": "a"}, "digest": "sha256:XY"}), "spec.digest"),
        (json!({"source": {"bundled": "a"}, "mode": "silent"}), "spec.mode"),
        (json!({"source": {"bundled": "a"}, "hooks": ["elect"]}), "spec.hooks"),
        (json!({"source": {"bundled": "a"}, "limits": {"fuel": -1}}), "fuel"),
    ] {
        is_refused(&lab, "IPAMPolicy", "mine", spec, why).await;
    }
    let settings = json!({"source": {"bundled": "a"}, "settings": {"order": [{"any": 1}]}});
    let taken = tried(&lab, "IPAMPolicy", "mine", settings.clone()).await.unwrap();
    assert_eq!(taken.data["spec"]["settings"], settings["settings"], "nothing is pruned there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cidr_and_space_of_a_pool_and_the_key_of_a_lease_do_not_change() {
    let lab = Lab::default();
    let api = lab.api("IPPool");
    let spec = json!({"cidr": "10.6.0.0/16", "space": "red"});
    let pool = api.create(&PostParams::default(), &object("IPPool", "blue", spec)).await.unwrap();
    let changed =
        async |api: &kube::Api<DynamicObject>, object: &DynamicObject, field: &str, to: &str| {
            let mut changed = object.clone();
            changed.data["spec"][field] = json!(to);
            let name = object.metadata.name.as_deref().unwrap();
            api.replace(name, &PostParams::default(), &changed).await.unwrap_err().to_string()
        };
    assert!(changed(&api, &pool, "cidr", "10.6.0.0/17").await.contains("cidr is immutable"));
    assert!(changed(&api, &pool, "space", "default").await.contains("space is immutable"));
    let leases = lab.leases();
    let spec = serde_json::to_value(LeaseSpec::from(&lease("10.6.0.1"))).unwrap();
    let lease = object("IPLease", "10.6.0.1", spec);
    let lease = leases.create(&PostParams::default(), &lease).await.unwrap();
    assert!(changed(&leases, &lease, "address", "10.6.0.2").await.contains("is immutable"));
    assert!(changed(&leases, &lease, "space", "red").await.contains("is immutable"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_let_in_under_the_name_of_its_address_only() {
    let lab = Lab::default();
    let spec = |lease: &Lease| serde_json::to_value(LeaseSpec::from(lease)).unwrap();
    let in_red = |address: &str| Lease {
        space: tenure_core::name::SpaceName::new("red").unwrap(),
        ..lease(address)
    };
    for (name, lease) in [
        ("10.6.0.1", lease("10.6.0.1")),
        ("fd00-0-0-0-0-0-0-1", lease("fd00::1")),
        ("red--10.6.0.1", in_red("10.6.0.1")),
        ("red--fd00-0-0-0-0-0-0-1", in_red("fd00::1")),
        ("0-0-0-0-0-ffff-a06-1", lease("::ffff:10.6.0.1")),
    ] {
        tried(&lab, "IPLease", name, spec(&lease)).await.unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    for (name, lease) in [
        ("10.6.0.2", lease("10.6.0.1")),
        ("fd00-0-0-0-0-0-0-2", lease("fd00::1")),
        ("10.6.0.1", in_red("10.6.0.1")),
        ("red--10.6.0.1", lease("10.6.0.1")),
        ("blue--10.6.0.1", in_red("10.6.0.1")),
        ("fd00-0-0-0-0-0-0-1", in_red("fd00::1")),
    ] {
        is_refused(&lab, "IPLease", name, spec(&lease), "the name must").await;
    }
    for lease in all_states() {
        tried(&lab, "IPLease", &lease.address.to_string(), spec(&lease)).await.unwrap();
    }
    let with = |key: &str, value: Value| {
        let mut spec = spec(&lease("10.6.0.1"));
        spec[key] = value;
        spec
    };
    for (spec, why) in [
        (with("address", json!("10.6.0")), "must be an address"),
        (with("state", json!("Released")), "must agree"),
        (with("state", json!("Free")), "spec.state"),
        (with("attempt", json!("7")), "spec.attempt"),
        (with("boundAt", json!("yesterday")), "spec.boundAt"),
        (with("generation", json!(-1)), "spec.generation"),
    ] {
        is_refused(&lab, "IPLease", "10.6.0.1", spec, why).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_but_the_allocator_writes_leases() {
    let lab = Lab::default();
    let spec = serde_json::to_value(LeaseSpec::from(&lease("10.6.0.1"))).unwrap();
    let sent = object("IPLease", "10.6.0.1", spec);
    let by_hand = lab.api("IPLease");
    let refused = |result: Result<(), kube::Error>| {
        let text = result.unwrap_err().to_string();
        assert!(text.contains("written by the allocator only, not by lab"), "{text}");
    };
    refused(by_hand.create(&PostParams::default(), &sent).await.map(|_| ()));
    let written = lab.leases().create(&PostParams::default(), &sent).await.unwrap();
    refused(by_hand.replace("10.6.0.1", &PostParams::default(), &written).await.map(|_| ()));
    refused(by_hand.delete("10.6.0.1", &Default::default()).await.map(|_| ()));
    lab.leases().delete("10.6.0.1", &Default::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_shows_who_holds_an_address_and_where() {
    let lab = Lab::default();
    let spec = serde_json::to_value(LeaseSpec::from(&lease("10.6.0.1"))).unwrap();
    lab.leases()
        .create(&PostParams::default(), &object("IPLease", "10.6.0.1", spec))
        .await
        .unwrap();
    let table = http::Request::get("/apis/tenure.dev/v1alpha1/ipleases")
        .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
        .body(Vec::new())
        .unwrap();
    let table: Value = lab.client().request(table).await.unwrap();
    let columns = table["columnDefinitions"].as_array().unwrap().iter();
    let shown: Vec<_> = columns
        .filter(|column| column["priority"] == json!(0))
        .map(|column| column["name"].as_str().unwrap())
        .collect();
    assert_eq!(shown, ["Name", "State", "Namespace", "Owner", "Node", "Pool", "Bound"]);
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    assert_eq!(
        cells[..6],
        ["10.6.0.1", "Bound", "payments", "checkout-7d9c5b6f4-x2lqp", "worker-17", "blue-v4"]
    );
}
