//! Machines that answer for others.

use std::net::UdpSocket;

use tenure_core::ports::WireLook;

use super::world::{Switch, inside};
use super::{assert_blind, ip, look, on_macvlan, question, wire_test};
use crate::tests::world::wait_for;

wire_test! {
    fn proxy_arp_of_linux_is_never_taken_for_a_holder() {
        let switch = Switch::new();
        let proxy = switch.machine(&[]);
        // It has a way elsewhere to everything, and answers at once.
        proxy.run("ip link add d0 type veth peer name d1");
        proxy.run("ip link set d0 up");
        proxy.run("ip link set d1 up");
        proxy.run("ip addr add 192.0.2.1/24 dev d0");
        proxy.run("ip route add default via 192.0.2.2 dev d0");
        proxy.run("sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0");
        proxy.run("sysctl -qw net.ipv4.conf.eth0.proxy_arp=1 net.ipv4.neigh.eth0.proxy_delay=0");
        let asker = switch.machine(&[ip(4, 3)]);
        inside(&asker.0.path(), || UdpSocket::bind("10.6.1.3:0").unwrap().send_to(b"?", "10.6.1.7:9").unwrap());
        let hardware = proxy.mac().map(|byte| format!("{byte:02x}")).join(":");
        wait_for("the proxy to answer whoever has an address", || {
            asker.run("ip neigh show to 10.6.1.7").contains(&hardware)
        });
        assert_blind(&look(&question(on_macvlan(), 4, &[2])), &["no control answered"]);
        let _gateway = switch.machine(&[ip(4, 1)]);
        assert_eq!(look(&question(on_macvlan(), 4, &[2])), WireLook::Silent);
    }
}

wire_test! {
    fn one_machine_that_answers_for_three_addresses_is_blind() {
        let switch = Switch::new();
        let all = [4, 6].map(|family| [2, 3, 7].map(|last| ip(family, last)));
        let _proxy = switch.machine(all.as_flattened());
        for family in [4, 6] {
            let seen = look(&question(on_macvlan(), family, &[2, 3]));
            assert_blind(&seen, &["v0", "proxy ARP", &ip(family, 7).to_string(), &ip(family, 3).to_string()]);
        }
    }
}

wire_test! {
    fn a_gateway_that_answers_for_the_address_is_blind() {
        let switch = Switch::new();
        let _gateway = switch.machine(&[ip(4, 1), ip(4, 7), ip(6, 1), ip(6, 7)]);
        for family in [4, 6] {
            let seen = look(&question(on_macvlan(), family, &[]));
            assert_blind(&seen, &["v0", "proxy ARP", &ip(family, 7).to_string()]);
        }
    }
}

wire_test! {
    fn a_gateway_that_is_told_to_answer_for_the_address_by_proxy_is_blind() {
        let switch = Switch::new();
        let gateway = switch.machine(&[ip(6, 1)]);
        gateway.run("sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv6.conf.eth0.proxy_ndp=1");
        // Else it takes up to 0.8 s, and may be late.
        gateway.run("sysctl -qw net.ipv6.neigh.eth0.proxy_delay=0");
        gateway.run("ip -6 neigh add proxy fd00:6::7 dev eth0");
        let seen = look(&question(on_macvlan(), 6, &[]));
        assert_blind(&seen, &["v0", "proxy ARP", "fd00:6::7"]);
    }
}

wire_test! {
    fn a_control_with_a_second_claimant_that_also_claims_the_address_is_blind() {
        let switch = Switch::new();
        let _true_holder = switch.machine(&[ip(4, 2), ip(6, 2)]);
        let _proxy = switch.machine(&[ip(4, 2), ip(4, 7), ip(6, 2), ip(6, 7)]);
        for family in [4, 6] {
            let seen = look(&question(on_macvlan(), family, &[2]));
            assert_blind(&seen, &["v0", "proxy ARP", &ip(family, 7).to_string()]);
        }
    }
}
