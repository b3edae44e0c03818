//! Every verb in every version, through the real plugin and the real server.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on shall panic"
)]

mod support;

use serde_json::{Value, json};
use support::{Script, World, golden, granted_v4, plugin, run, section};
use tenure_cni::CniVersion;
use tenure_core::error::Kind;

/// One golden file with a section per version.
fn every_version(name: &str, world: &World, command: &str, change: impl Fn(&mut Value)) {
    let mut text = String::new();
    for version in CniVersion::ALL {
        let mut config = world.config(version.as_str());
        change(&mut config);
        let output = run(plugin(command), config.to_string());
        text.push_str(&section(version.as_str(), &output, world.folder.path()));
    }
    golden(name, &text);
}

#[test]
fn add_with_both_families_in_every_version() {
    every_version("add-dual.txt", &World::new(), "ADD", |_| {});
}

#[test]
fn add_with_one_family_in_every_version() {
    let world = World::new();
    *world.verbs.granted.lock().unwrap() = vec![granted_v4()];
    every_version("add-v4.txt", &world, "ADD", |_| {});
}

#[test]
fn del_is_silent_in_every_version() {
    every_version("del.txt", &World::new(), "DEL", |_| {});
}

#[test]
fn check_exists_from_0_4_0_on() {
    every_version("check.txt", &World::new(), "CHECK", |config| {
        config["prevResult"] = json!({"ips": [{"address": "10.6.0.5/16", "interface": 0}]});
    });
}

#[test]
fn gc_exists_from_1_1_0_on() {
    every_version("gc.txt", &World::new(), "GC", |config| {
        config["cni.dev/valid-attachments"] = json!([{"containerID": "c1", "ifname": "eth0"}]);
    });
}

#[test]
fn status_exists_from_1_1_0_on() {
    every_version("status.txt", &World::new(), "STATUS", |_| {});
}

#[test]
fn version_answers_every_version_without_a_daemon() {
    every_version("version.txt", &World::without_server(), "VERSION", |_| {});
}

#[test]
fn every_kind_of_error_in_every_verb() {
    let world = World::new();
    let mut text = String::new();
    for kind in [
        Kind::Invalid,
        Kind::NotFound,
        Kind::Refused,
        Kind::Retry,
        Kind::Operator,
        Kind::Io,
        Kind::Bug,
    ] {
        world.verbs.follow(Script::Fail(kind));
        for command in ["ADD", "DEL", "CHECK", "GC", "STATUS"] {
            let mut config = world.config("1.1.0");
            config["prevResult"] = json!({});
            config["cni.dev/valid-attachments"] = json!([{"containerID": "c1", "ifname": "eth0"}]);
            let output = run(plugin(command), config.to_string());
            text.push_str(&section(&format!("{command} {kind:?}"), &output, world.folder.path()));
        }
    }
    golden("verb-errors.txt", &text);
}

/// What is wrong with a request, and the request.
type Mistake = (&'static str, &'static str, fn(&mut std::process::Command), fn(&mut Value));

const MISTAKES: [Mistake; 24] = [
    ("unknown command", "RESTART", |_| {}, |_| {}),
    (
        "nothing in the environment",
        "ADD",
        |p| {
            p.env_clear().env("CNI_COMMAND", "ADD");
        },
        |_| {},
    ),
    (
        "no ids",
        "DEL",
        |p| {
            p.env_clear().env("CNI_COMMAND", "DEL");
        },
        |_| {},
    ),
    (
        "bad container id",
        "ADD",
        |p| {
            p.env("CNI_CONTAINERID", "../c");
        },
        |_| {},
    ),
    (
        "bad interface name",
        "DEL",
        |p| {
            p.env("CNI_IFNAME", "a/b");
        },
        |_| {},
    ),
    (
        "bad pair in CNI_ARGS",
        "ADD",
        |p| {
            p.env("CNI_ARGS", "IP");
        },
        |_| {},
    ),
    (
        "unknown key in CNI_ARGS",
        "ADD",
        |p| {
            p.env("CNI_ARGS", "JOB=x");
        },
        |_| {},
    ),
    (
        "bad address in CNI_ARGS",
        "ADD",
        |p| {
            p.env("CNI_ARGS", "IP=ten");
        },
        |_| {},
    ),
    (
        "pod name with a space",
        "ADD",
        |p| {
            p.env("CNI_ARGS", "K8S_POD_NAMESPACE=ns;K8S_POD_NAME=a b");
        },
        |_| {},
    ),
    (
        "own namespace",
        "ADD",
        |p| {
            p.env("CNI_NETNS", "/proc/self/ns/net");
        },
        |_| {},
    ),
    ("unknown version", "ADD", |_| {}, |c| c["cniVersion"] = json!("2.0.0")),
    ("version that is no text", "ADD", |_| {}, |c| c["cniVersion"] = json!(1)),
    (
        "no name",
        "ADD",
        |_| {},
        |c| {
            c.as_object_mut().unwrap().remove("name");
        },
    ),
    ("bad name", "ADD", |_| {}, |c| c["name"] = json!("-x")),
    ("unknown key", "ADD", |_| {}, |c| c["ipam"]["waitSecond"] = json!(5)),
    ("key of host-local", "ADD", |_| {}, |c| c["ipam"]["subnet"] = json!("10.0.0.0/8")),
    ("bad pool", "ADD", |_| {}, |c| c["ipam"]["pools"] = json!(["Blue"])),
    (
        "two addresses of a family",
        "ADD",
        |_| {},
        |c| c["runtimeConfig"] = json!({"ips": ["10.0.0.1", "10.0.0.2"]}),
    ),
    (
        "ranges from the runtime",
        "ADD",
        |_| {},
        |c| c["runtimeConfig"] = json!({"ipRanges": [[{"subnet": "10.0.0.0/8"}]]}),
    ),
    ("no prevResult", "CHECK", |_| {}, |_| {}),
    ("no list", "GC", |_| {}, |_| {}),
    ("null list", "GC", |_| {}, |c| c["cni.dev/valid-attachments"] = Value::Null),
    ("empty list", "GC", |_| {}, |c| c["cni.dev/valid-attachments"] = json!([])),
    ("bad entry", "GC", |_| {}, |c| c["cni.dev/valid-attachments"] = json!([{"containerID": "c"}])),
];

#[test]
fn every_mistake_is_named() {
    let world = World::new();
    let mut text = String::new();
    for (title, command, environment, change) in MISTAKES {
        let mut config = world.config("1.1.0");
        change(&mut config);
        let mut invocation = plugin(command);
        environment(&mut invocation);
        let output = run(invocation, config.to_string());
        text.push_str(&section(&format!("{command}: {title}"), &output, world.folder.path()));
    }
    golden("mistakes.txt", &text);
    assert_eq!(world.verbs.take_calls(), Vec::<String>::new(), "no mistake reaches the engine");
}

#[test]
fn the_engine_is_asked_what_the_runtime_said() {
    let world = World::new();
    let mut config = world.config("1.1.0");
    config["ipam"]["pools"] = json!(["blue-v4", "blue-v6"]);
    config["ipam"]["waitSeconds"] = json!(15);
    config["ipam"]["allowEmptyGC"] = json!(true);
    config["ipam"]["statusOnExhaustion"] = json!(true);
    config["args"] = json!({"cni": {"team": "red", "ips": ["fd00:6::9"]}});
    config["runtimeConfig"] = json!({"ips": ["10.6.0.9/16"]});
    config["prevResult"] =
        json!({"ips": [{"address": "10.6.0.5/16"}, {"address": "fd00:6::5/64"}]});
    config["cni.dev/valid-attachments"] = json!([]);
    // The digest covers the section with this test's own paths; the unit tests say what it depends on.
    for command in ["ADD", "DEL", "CHECK", "GC", "STATUS"] {
        let mut invocation = plugin(command);
        invocation.env(
            "CNI_ARGS",
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web-0;K8S_POD_UID=u1",
        );
        let output = run(invocation, config.to_string());
        assert!(output.status.success(), "{output:?}");
    }
    let calls = world.verbs.take_calls().join("\n\n");
    let digest = calls.find("sha256:").unwrap();
    golden("requests.txt", &calls.replace(&calls[digest..digest + 71], "DIGEST"));
}

#[test]
fn the_plugins_own_namespace_is_taken_when_the_caller_means_it() {
    let world = World::new();
    let mut invocation = plugin("ADD");
    invocation.env("CNI_NETNS", "/proc/self/ns/net").env("CNI_NETNS_OVERRIDE", "TRUE");
    let output = run(invocation, world.config("1.1.0").to_string());
    assert!(output.status.success(), "{output:?}");
    assert!(world.verbs.take_calls()[0].contains("file: Some("), "device and inode are told");
}
