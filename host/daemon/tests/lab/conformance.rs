//! Real runtimes' path: cnitool, the real main plugins, the shipped `tenure-ipam`, and whatever serves it. The cases are the
//! same in both modes; a program of tests has them by [`conformance_suite`].

use serde_json::{Value, json};

use super::runtime::Runtime;
use super::{Answer, ip, netns};

/// The pools that all cases expect: name and spec.
pub fn pools() -> [(&'static str, Value); 2] {
    [
        (
            "v4",
            json!({
                "cidr": "10.5.0.0/24", "ranges": ["10.5.0.10-10.5.0.99"], "gateway": "10.5.0.1",
                "routes": [{"dst": "0.0.0.0/0"}], "dns": {"nameservers": ["10.5.0.1"]},
            }),
        ),
        (
            "v6",
            json!({
                "cidr": "fd05::/64", "ranges": ["fd05::10-fd05::99"], "gateway": "fd05::1", "routes": [{"dst": "::/0"}],
            }),
        ),
    ]
}

/// All cases as tests. `$start` gives what serves these pools, alive while it is kept, and has a `runtime()`.
#[macro_export]
macro_rules! conformance_suite {
    ($start:path) => {
        $crate::conformance_suite!($start:
            bridge_lives_at_every_current_version
            macvlan_lives_at_every_current_version_and_at_0_3_1
            ptp_lives_at_every_current_version
            host_device_gives_a_device_to_the_container_and_takes_it_back
            two_networks_of_one_container_get_an_address_each
            bad_input_changes_nothing
        );
    };
    ($start:path: $($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                let machine = $start();
                $crate::lab::conformance::$case(&machine.runtime());
            }
        )*
    };
}

pub fn bridge_lives_at_every_current_version(runtime: &Runtime) {
    for version in ["0.4.0", "1.0.0", "1.1.0"] {
        life(runtime, version, "bridge", json!({"bridge": "br0", "isGateway": true}));
    }
    ip(&["link", "del", "br0"]);
}

pub fn macvlan_lives_at_every_current_version_and_at_0_3_1(runtime: &Runtime) {
    uplink();
    for version in ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        life(runtime, version, "macvlan", json!({"master": "up0", "mode": "bridge"}));
    }
    ip(&["link", "del", "up0"]);
}

pub fn ptp_lives_at_every_current_version(runtime: &Runtime) {
    for version in ["0.4.0", "1.0.0", "1.1.0"] {
        life(runtime, version, "ptp", json!({}));
    }
}

pub fn host_device_gives_a_device_to_the_container_and_takes_it_back(runtime: &Runtime) {
    for version in ["0.4.0", "1.0.0", "1.1.0"] {
        let name = format!("hd-{}", version.replace('.', ""));
        quick_netns(&name);
        ip(&["link", "add", "dev0", "type", "veth", "peer", "name", "dev1"]);
        let config = runtime.network(version, "host-device", json!({"device": "dev0"}));
        let added: Answer = runtime.cnitool("add", &config, &name);
        assert_eq!(added.addresses().len(), 2);
        runtime.cnitool("check", &config, &name).ok();
        runtime.cnitool("del", &config, &name).ok();
        ip(&["link", "del", "dev0"]);
    }
}

pub fn two_networks_of_one_container_get_an_address_each(runtime: &Runtime) {
    netns("c1");
    let config = runtime.network("1.1.0", "bridge", json!({}));
    let add = |ifname| runtime.plugin_for("ADD", "c1", ifname, &config).addresses();
    assert_ne!(add("eth0"), add("net1"));
}

pub fn bad_input_changes_nothing(runtime: &Runtime) {
    netns("c1");
    let config = runtime.network("1.1.0", "bridge", json!({"ipam": {"poolz": ["v4"]}}));
    let refused = runtime.plugin("ADD", "c1", &config);
    assert_eq!(refused.code(), 2);
    let text = refused.body.to_string();
    assert!(text.contains("poolz") && text.contains("pools"), "{text}");
    let config = runtime.network("1.1.0", "bridge", json!({"ipam": {"pools": ["v4"]}}));
    assert_eq!(runtime.plugin("ADD", "../c1", &config).code(), 4);
    let first = runtime.plugin("ADD", "c1", &config).addresses();
    let expected: std::net::IpAddr = "10.5.0.10".parse().unwrap();
    assert_eq!(first, [expected], "nothing was taken before");
}

/// ADD, CHECK, a second container, DEL twice; GC and STATUS where the version has them.
fn life(runtime: &Runtime, version: &str, main: &str, extra: Value) {
    let config = runtime.network(version, main, extra);
    let (one, two) = (format!("{main}-{version}-1"), format!("{main}-{version}-2"));
    quick_netns(&one);
    quick_netns(&two);
    let first = runtime.cnitool("add", &config, &one);
    let addresses = first.addresses();
    assert_eq!(addresses.len(), 2, "dual stack: {first:?}");
    for address in &addresses {
        assert!(on_link(&one, &address.to_string()), "{address} is on no link of {one}");
    }
    if version != "0.3.1" {
        runtime.cnitool("check", &config, &one).ok();
    }
    let second = runtime.cnitool("add", &config, &two).addresses();
    assert!(second.iter().all(|a| !addresses.contains(a)));
    if version == "1.1.0" {
        runtime.cnitool("status", &config, &one).ok();
        runtime.cnitool("gc", &config, &one).ok();
    }
    for name in [&one, &two, &one] {
        runtime.cnitool("del", &config, name).ok();
    }
}

/// A namespace whose kernel does not look for duplicates of an IPv6 address before it uses it: the main plugins wait two
/// seconds for that, and it is none of ours.
fn quick_netns(name: &str) {
    netns(name);
    let quick = "for of in all default; do echo 0 > /proc/sys/net/ipv6/conf/$of/accept_dad; done";
    ip(&["netns", "exec", name, "sh", "-c", quick]);
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
