use serde_json::{Value, json};

use super::*;
use crate::fixed;

fn config(value: &Value) -> NetworkConfig {
    NetworkConfig::parse(value.to_string().as_bytes()).unwrap()
}

fn with_ipam(ipam: Value) -> NetworkConfig {
    config(&json!({"cniVersion": "1.1.0", "name": "underlay", "ipam": ipam}))
}

fn refusal(ipam: Value) -> (u32, String) {
    let error = with_ipam(ipam).ipam().unwrap_err();
    (error.cni_code(), error.to_string())
}

fn args(text: &str) -> CniArgs {
    CniArgs::parse(text.as_bytes()).unwrap()
}

#[test]
fn only_the_type_is_required() {
    let ipam = with_ipam(json!({"type": "tenure-ipam"})).ipam().unwrap();
    assert_eq!(
        ipam,
        IpamConfig {
            pools: vec![],
            wait: None,
            allow_empty_gc: false,
            status_on_exhaustion: false
        }
    );
}

#[test]
fn an_unknown_key_is_named_with_its_value_and_its_nearest_neighbour() {
    let (code, text) = refusal(json!({"type": "t", "waitseconds": 3}));
    assert_eq!(code, 2);
    assert!(text.contains("ipam.waitseconds = 3") && text.contains("`waitSeconds`"), "{text}");
    let (_, text) = refusal(json!({"type": "t", "pool": "blue"}));
    assert!(
        text.contains("ipam.pool = \"blue\"") && text.contains("did you mean `pools`"),
        "{text}"
    );
}

#[test]
fn every_bad_value_is_named_by_its_path_with_the_code_of_its_kind() {
    for (ipam, code, said) in [
        (json!([]), 6, "ipam: it must be an object"),
        (json!({}), 7, "ipam.type: it is missing"),
        (json!({"type": 7}), 6, "ipam.type: it must be a text"),
        (json!({"type": "t", "pools": "blue"}), 6, "ipam.pools: it must be a list"),
        (json!({"type": "t", "pools": ["a", 7]}), 6, "ipam.pools[1]: it must be a text"),
        (json!({"type": "t", "pools": ["Blue"]}), 7, "ipam.pools[0]: pool name \"Blue\""),
        (json!({"type": "t", "pools": ["a", "a"]}), 7, "ipam.pools[1]: pool a is there twice"),
        (json!({"type": "t", "waitSeconds": -1}), 6, "ipam.waitSeconds: it must be a whole number"),
        (json!({"type": "t", "waitSeconds": 101}), 7, "ipam.waitSeconds: 101 is more than 100"),
        (
            json!({"type": "t", "allowEmptyGC": "yes"}),
            6,
            "ipam.allowEmptyGC: it must be true or false",
        ),
    ] {
        let (found, text) = refusal(ipam);
        assert!(text.starts_with(said), "{text}");
        assert_eq!(found, code, "{text}");
    }
}

#[test]
fn a_name_is_required_and_a_version_must_be_one_that_exists() {
    let refused = |value: Value| {
        let error = NetworkConfig::parse(value.to_string().as_bytes()).unwrap_err();
        (error.cni_code(), error.to_string())
    };
    assert_eq!(refused(json!({"cniVersion": "1.1.0"})), (7, "name: it is missing".into()));
    assert_eq!(refused(json!({"name": "../x"})).0, 7);
    assert_eq!(refused(json!({"cniVersion": "1.1", "name": "a"})).0, 1);
    assert_eq!(refused(json!([])).0, 6);
}

#[test]
fn a_gc_list_must_be_there_and_be_a_list() {
    let top = |key: &str, value: Value| {
        config(&json!({"cniVersion": "1.1.0", "name": "a", key: value})).valid_attachments(false)
    };
    let one = json!([{"containerID": "c1", "ifname": "eth0"}]);
    assert_eq!(top("cni.dev/valid-attachments", one.clone()).unwrap().len(), 1);
    assert_eq!(top("cni.dev/attachments", one).unwrap().len(), 1);
    for (key, value, said) in [
        ("other", json!([]), "absent or null"),
        ("cni.dev/valid-attachments", Value::Null, "absent or null"),
        ("cni.dev/valid-attachments", json!({}), "must be a list"),
        ("cni.dev/valid-attachments", json!([]), "ipam.allowEmptyGC"),
        ("cni.dev/valid-attachments", json!([{"containerID": "c1"}]), "[0].ifname: it is missing"),
        (
            "cni.dev/valid-attachments",
            json!([{"containerID": "../c", "ifname": "e"}]),
            "[0].containerID",
        ),
    ] {
        let text = top(key, value).unwrap_err().to_string();
        assert!(text.contains(said), "{text}");
    }
    let empty = config(&json!({"name": "a", "cni.dev/valid-attachments": []}));
    assert_eq!(empty.valid_attachments(true).unwrap(), vec![]);
}

#[test]
fn the_digest_follows_what_the_operator_and_the_runtime_ask_for_and_nothing_else() {
    let base = json!({"cniVersion": "1.1.0", "name": "a", "ipam": {"type": "t", "pools": ["x"]},
        "args": {"cni": {"ips": ["10.0.0.1"]}}, "runtimeConfig": {"ips": ["10.0.0.1"], "mac": "0a:"}});
    let digest = |value: &Value, text: &str| config(value).digest(&args(text));
    let changed = |pointer: &str, value: Value| {
        let mut copy = base.clone();
        *copy.pointer_mut(pointer).unwrap() = value;
        digest(&copy, "IP=10.0.0.1")
    };
    let first = digest(&base, "IP=10.0.0.1");
    let mut more = base.clone();
    more["prevResult"] = json!({"ips": []});
    more["cni.dev/valid-attachments"] = json!([]);
    assert_eq!(digest(&more, "IP=10.0.0.1"), first);
    assert_eq!(changed("/cniVersion", json!("1.0.0")), first);
    assert_eq!(changed("/runtimeConfig/mac", json!("0b:")), first);
    assert_ne!(changed("/ipam/pools", json!(["y"])), first);
    assert_ne!(changed("/args/cni/ips", json!([])), first);
    assert_ne!(changed("/runtimeConfig/ips", json!([])), first);
    assert_ne!(digest(&base, ""), first);
    assert_eq!(
        digest(&base, "IP=10.0.0.1;GATEWAY=10.0.0.9"),
        digest(&base, "GATEWAY=10.0.0.9;IP=10.0.0.1")
    );
}

#[test]
fn the_digest_does_not_depend_on_the_order_of_keys() {
    let parse = |text: &str| NetworkConfig::parse(text.as_bytes()).unwrap().digest(&args(""));
    assert_eq!(
        parse(r#"{"name":"a","ipam":{"type":"t","pools":["x"]}}"#),
        parse(r#"{"ipam":{"pools":["x"],"type":"t"},"name":"a"}"#)
    );
}

#[test]
fn fixed_addresses_come_from_three_places_and_args_win_over_the_environment() {
    let asked = |extra: Value, env: &str| {
        let mut whole = json!({"name": "a"});
        whole.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        fixed::addresses(&config(&whole), &args(env))
            .map(|list| {
                list.iter().map(|fixed| fixed.address.to_string()).collect::<Vec<_>>().join(" ")
            })
            .map_err(|error| (error.cni_code(), error.to_string()))
    };
    let runtime = json!({"runtimeConfig": {"ips": ["fd00::5/64", "10.0.0.5/24"]}});
    assert_eq!(asked(runtime, "").unwrap(), "10.0.0.5 fd00::5");
    assert_eq!(asked(json!({}), "IP=10.0.0.7").unwrap(), "10.0.0.7");
    let cni = json!({"args": {"cni": {"ips": ["10.0.0.6"]}}});
    assert_eq!(asked(cni, "IP=10.0.0.7").unwrap(), "10.0.0.6");
    let both =
        json!({"runtimeConfig": {"ips": ["10.0.0.5"]}, "args": {"cni": {"ips": ["10.0.0.5/24"]}}});
    assert_eq!(asked(both, "").unwrap(), "10.0.0.5");
    let two = asked(json!({"runtimeConfig": {"ips": ["10.0.0.5", "10.0.0.6"]}}), "").unwrap_err();
    assert_eq!(two.0, 7);
    assert!(
        two.1.contains("10.0.0.6 and runtimeConfig.ips[0] = 10.0.0.5 are both IPv4"),
        "{}",
        two.1
    );
    assert_eq!(asked(json!({"runtimeConfig": {"ips": ["ten"]}}), "").unwrap_err().0, 7);
    assert_eq!(asked(json!({}), "IP=ten").unwrap_err().0, 4);
    let ranges = asked(json!({"runtimeConfig": {"ipRanges": [[]]}}), "").unwrap_err();
    assert!(ranges.0 == 2 && ranges.1.contains("runtimeConfig.ipRanges = [[]]"), "{}", ranges.1);
}

#[test]
fn what_else_cni_tells_becomes_attributes() {
    let whole = config(&json!({"name": "a", "args": {"cni": {
        "ips": [], "team": "red", "depth": 3,
        "labels": [{"key": "zone", "value": "a"}, {"key": "team", "value": "blue"}],
    }}}));
    let attributes =
        fixed::attributes(&whole, &args("IgnoreUnknown=1;JOB=x;zone=b;IP=10.0.0.1")).unwrap();
    let shown: Vec<_> = attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(shown, ["cni.args/JOB=x", "cni.args/team=red", "cni.args/zone=a"]);
    let bad = config(&json!({"name": "a", "args": {"cni": {"labels": [{"value": "a"}]}}}));
    let text = fixed::attributes(&bad, &args("")).unwrap_err().to_string();
    assert!(text.contains("args.cni.labels[0].key"), "{text}");
}

#[test]
fn attributes_are_bounded_and_free_of_control_characters() {
    let refused = |cni: Value, env: &str| {
        let whole = config(&json!({"name": "a", "args": {"cni": cni}}));
        let error = fixed::attributes(&whole, &args(&format!("IgnoreUnknown=1{env}"))).unwrap_err();
        (error.cni_code(), error.to_string())
    };
    let long = "v".repeat(4097);
    let many: serde_json::Map<String, Value> =
        (0..65).map(|n| (format!("k{n}"), json!("v"))).collect();
    for ((code, text), wanted, said) in [
        (
            refused(json!({"team": long}), ""),
            7,
            "args.cni.team: the value has 4097 bytes; at most 4096",
        ),
        (
            refused(json!({"labels": [{"key": "zone", "value": "a\u{1b}[2J"}]}), ""),
            7,
            "args.cni.labels[0]: the value has control characters",
        ),
        (refused(json!({"a\nb": "x"}), ""), 7, "args.cni.a\nb: the key has control characters"),
        (refused(json!({("k".repeat(254)): "x"}), ""), 7, ": the key has 254 bytes; at most 253"),
        (refused(json!({}), ";JOB=a\tb"), 4, "CNI_ARGS: JOB: the value has control characters"),
        (refused(json!({}), &format!(";JOB={long}")), 4, "CNI_ARGS: JOB: the value has 4097 bytes"),
        (refused(Value::Object(many), ""), 7, "more than 64 attributes"),
    ] {
        assert_eq!(code, wanted, "{text}");
        assert!(text.contains(said), "{text}");
    }
    let most: serde_json::Map<String, Value> =
        (0..64).map(|n| (format!("k{n}"), json!("v".repeat(4096)))).collect();
    let whole = config(&json!({"name": "a", "args": {"cni": most}}));
    assert_eq!(fixed::attributes(&whole, &args("")).unwrap().len(), 64);
}

#[test]
fn a_far_key_gets_no_guess_and_one_of_host_local_is_told_its_place() {
    let said = |key: &str| refusal(json!({"type": "t", key: []})).1;
    let far = said("nameservers");
    assert!(!far.contains("did you mean") && far.contains("known are type, pools"), "{far}");
    assert!(said("allowEmptyGCs").contains("did you mean `allowEmptyGC`"));
    for (key, place) in [
        ("ranges", "spec.ranges of an IPPool"),
        ("subnet", "spec.cidr of an IPPool"),
        ("rangeStart", "spec.ranges of an IPPool"),
        ("rangeEnd", "spec.ranges of an IPPool"),
        ("gateway", "spec.gateway of an IPPool"),
        ("routes", "spec.routes of an IPPool"),
        ("dataDir", "not used"),
        ("resolvConf", "spec.dns of an IPPool"),
    ] {
        let text = said(key);
        assert!(text.contains(place) && !text.contains("did you mean"), "{text}");
    }
}
