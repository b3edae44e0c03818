//! Real runtimes' path: cnitool, the real main plugins, the shipped `tenure-ipam` and the daemon.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod lab;

use lab::{Answer, Lab, ip, netns};
use serde_json::{Value, json};

fn dual() -> Lab {
    Lab::enter()
        .pool("v4", json!({
            "cidr": "10.5.0.0/24", "ranges": ["10.5.0.10-10.5.0.99"], "gateway": "10.5.0.1",
            "routes": [{"dst": "0.0.0.0/0"}], "dns": {"nameservers": ["10.5.0.1"]},
        }))
        .pool("v6", json!({
            "cidr": "fd05::/64", "ranges": ["fd05::10-fd05::99"], "gateway": "fd05::1", "routes": [{"dst": "::/0"}],
        }))
        .start()
}

/// ADD, CHECK, a second container, DEL twice; GC and STATUS where the version has them.
fn life(lab: &Lab, version: &str, main: &str, extra: Value) {
    let config = lab.network(version, main, extra);
    let (one, two) = (format!("{main}-{version}-1"), format!("{main}-{version}-2"));
    netns(&one);
    netns(&two);
    let first = lab.cnitool("add", &config, &one);
    let addresses = first.addresses();
    assert_eq!(addresses.len(), 2, "dual stack: {first:?}");
    for address in &addresses {
        assert!(on_link(&one, &address.to_string()), "{address} is on no link of {one}");
    }
    if version != "0.3.1" {
        lab.cnitool("check", &config, &one).ok();
    }
    let second = lab.cnitool("add", &config, &two).addresses();
    assert!(second.iter().all(|a| !addresses.contains(a)));
    if version == "1.1.0" {
        lab.cnitool("status", &config, &one).ok();
        lab.cnitool("gc", &config, &one).ok();
    }
    for name in [&one, &two, &one] {
        lab.cnitool("del", &config, name).ok();
    }
}

fn on_link(netns: &str, address: &str) -> bool {
    let shown =
        std::process::Command::new("ip").args(["-n", netns, "-o", "address"]).output().unwrap();
    String::from_utf8_lossy(&shown.stdout).contains(&format!("{address}/"))
}

fn uplink() {
    ip(&["link", "add", "up0", "type", "veth", "peer", "name", "up1"]);
    ip(&["link", "set", "up0", "up"]);
    ip(&["link", "set", "up1", "up"]);
}

#[test]
fn bridge_lives_at_every_current_version() {
    let lab = dual();
    for version in ["0.4.0", "1.0.0", "1.1.0"] {
        life(&lab, version, "bridge", json!({"bridge": "br0", "isGateway": true}));
    }
}

#[test]
fn macvlan_lives_at_every_current_version_and_at_0_3_1() {
    let lab = dual();
    uplink();
    for version in ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        life(&lab, version, "macvlan", json!({"master": "up0", "mode": "bridge"}));
    }
}

#[test]
fn ptp_lives_at_every_current_version() {
    let lab = dual();
    for version in ["0.4.0", "1.0.0", "1.1.0"] {
        life(&lab, version, "ptp", json!({}));
    }
}

#[test]
fn host_device_gives_a_device_to_the_container_and_takes_it_back() {
    let lab = dual();
    for version in ["0.4.0", "1.0.0", "1.1.0"] {
        let name = format!("hd-{}", version.replace('.', ""));
        netns(&name);
        ip(&["link", "add", "dev0", "type", "veth", "peer", "name", "dev1"]);
        let config = lab.network(version, "host-device", json!({"device": "dev0"}));
        let added: Answer = lab.cnitool("add", &config, &name);
        assert_eq!(added.addresses().len(), 2);
        lab.cnitool("check", &config, &name).ok();
        lab.cnitool("del", &config, &name).ok();
        ip(&["link", "del", "dev0"]);
    }
}

#[test]
fn two_networks_of_one_container_get_an_address_each() {
    let lab = dual();
    netns("c1");
    let env = |ifname: &str| {
        [("CNI_IFNAME", ifname.to_owned()), ("CNI_NETNS", "/run/netns/c1".to_owned())].into()
    };
    let config = lab.network("1.1.0", "bridge", json!({}));
    let add =
        |ifname| lab::run_plugin(&lab::plugin(), "ADD", "c1", &config, &env(ifname)).addresses();
    assert_ne!(add("eth0"), add("net1"));
}

#[test]
fn a_pod_is_named_in_its_lease_and_bad_input_changes_nothing() {
    let lab = dual();
    netns("c1");
    let config = lab.network("1.1.0", "bridge", json!({"ipam": {"poolz": ["v4"]}}));
    let refused = lab.plugin("ADD", "c1", &config);
    assert_eq!(refused.code(), 2);
    let text = refused.body.to_string();
    assert!(text.contains("poolz") && text.contains("pools"), "{text}");
    let config = lab.network("1.1.0", "bridge", json!({"ipam": {"pools": ["v4"]}}));
    assert_eq!(lab.plugin("ADD", "../c1", &config).code(), 4);
    let first = lab.plugin("ADD", "c1", &config).addresses();
    assert_eq!(
        first,
        ["10.5.0.10".parse::<std::net::IpAddr>().unwrap()],
        "nothing was taken before"
    );
}
