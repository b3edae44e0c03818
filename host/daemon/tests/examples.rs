//! What `deploy/examples` shows works as it stands.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod lab;

use std::path::{Path, PathBuf};
use std::process::Command;

use lab::{Lab, ip, netns};
use serde_json::{Value, json};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/examples").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(example(name)).unwrap()
}

#[test]
fn the_example_configuration_is_valid() {
    let check = Command::new(env!("CARGO_BIN_EXE_tenured"))
        .args(["--check", "--config"])
        .arg(example("tenured.toml"))
        .output()
        .unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
}

#[test]
fn the_example_network_gets_its_addresses_from_the_example_pools_and_policies() {
    let mut lab = Lab::enter();
    lab.manifests = format!("{}---\n{}", read("pools.yaml"), read("policies.yaml"));
    let lab = lab.start();
    ip(&["link", "add", "eth1", "type", "veth", "peer", "name", "peer1"]);
    ip(&["link", "set", "eth1", "up"]);
    let list: Value = serde_json::from_str(&read("macvlan.conflist")).unwrap();
    let mut config = list["plugins"][0].clone();
    lab::merge(
        &mut config,
        json!({
            "cniVersion": list["cniVersion"], "name": list["name"],
            "ipam": {"socket": lab.path("cni.sock"), "spool": lab.path("spool")},
        }),
    );
    netns("web");
    let first = lab.cnitool("add", &config, "web");
    assert_eq!(
        first.addresses().iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.6.1.1", "fd00:6::1000"]
    );
    lab.cnitool("del", &config, "web").ok();
}

#[test]
fn a_pod_gets_its_address_back_by_the_example_policy() {
    let mut lab = Lab::enter();
    lab.manifests = format!("{}---\n{}", read("pools.yaml"), read("policies.yaml"));
    let lab = lab.start();
    let mut config = lab.network("1.0.0", "macvlan", json!({}));
    config["name"] = json!("underlay");
    let pod = |verb: &str, container: &str, name: &str| {
        let args = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME={name};K8S_POD_UID=uid-{container}"
        );
        let env = [
            ("CNI_IFNAME", "eth0".to_owned()),
            ("CNI_NETNS", format!("/run/netns/{container}")),
            ("CNI_ARGS", args),
        ];
        lab::run_plugin(&lab::plugin(), verb, container, &config, &env.into())
    };
    for container in ["c1", "c2", "c3"] {
        netns(container);
    }
    let first = pod("ADD", "c1", "db-0").addresses();
    let other = pod("ADD", "c2", "db-1").addresses();
    assert_ne!(first, other);
    pod("DEL", "c1", "db-0").ok();
    ip(&["netns", "del", "c1"]);
    lab::until("the pod has its address again", || pod("ADD", "c3", "db-0").exit == 0);
    assert_eq!(pod("ADD", "c3", "db-0").addresses(), first);
}
