//! From a bridge of the node.

use tenure_core::ports::WireLook;

use super::world::{Machine, run};
use super::{assert_blind, ip, look, on_bridge, question, wire_test};
use crate::tests::world::wait_for;

/// The bridge `br0`, which is the gateway of its containers, as the CNI plugin `bridge` makes it with `isGateway`.
fn gateway_bridge() {
    run("ip link add br0 type bridge");
    run("ip addr add 10.6.1.1/24 dev br0");
    run("ip addr add fd00:6::1/64 dev br0 nodad");
    run("ip link set br0 up");
}

/// A container on it, with the number in both families.
fn container(number: u16) -> Machine {
    Machine::on_port(&format!("c{number}"), &[ip(4, number), ip(6, number)])
}

wire_test! {
    fn a_container_that_has_the_address_answers() {
        gateway_bridge();
        let holder = container(7);
        for family in [4, 6] {
            let answered = WireLook::Answered { mac: holder.mac() };
            assert_eq!(look(&question(on_bridge(), family, &[])), answered, "IPv{family}");
        }
    }
}

wire_test! {
    fn silence_counts_when_another_container_answers() {
        gateway_bridge();
        let _control = container(2);
        for family in [4, 6] {
            assert_eq!(look(&question(on_bridge(), family, &[2])), WireLook::Silent, "IPv{family}");
        }
    }
}

wire_test! {
    fn the_bridge_itself_is_no_control_and_its_own_address_is_in_use() {
        gateway_bridge();
        let _bystander = container(9);
        for family in [4, 6] {
            assert_blind(&look(&question(on_bridge(), family, &[])), &["br0", "could be a control"]);
            assert_blind(&look(&question(on_bridge(), family, &[2])), &["br0", "no control answered"]);
            let mut own = question(on_bridge(), family, &[]);
            own.address = ip(family, 1);
            assert!(matches!(look(&own), WireLook::Answered { .. }), "IPv{family}");
        }
    }
}

wire_test! {
    fn an_address_that_stands_elsewhere_on_the_node_is_asked_for() {
        gateway_bridge();
        run("ip addr add 10.6.1.7/32 dev lo");
        let _control = container(2);
        // In another routing domain of this node it may well be another address.
        assert_eq!(look(&question(on_bridge(), 4, &[2])), WireLook::Silent);
    }
}

wire_test! {
    fn a_bridge_without_addresses_of_its_own_asks_as_well() {
        run("ip link add br0 type bridge");
        run("sysctl -qw net.ipv6.conf.br0.disable_ipv6=1");
        run("ip link set br0 up");
        let (_gateway, holder) = (container(1), container(7));
        for family in [4, 6] {
            let asked = question(on_bridge(), family, &[]);
            assert_eq!(look(&asked), WireLook::Answered { mac: holder.mac() }, "IPv{family}");
            let mut free = asked;
            free.address = ip(family, 8);
            assert_eq!(look(&free), WireLook::Silent, "IPv{family}");
        }
    }
}

wire_test! {
    fn a_bridge_that_is_down_or_cut_off_or_none_is_blind() {
        run("ip link add br0 type bridge");
        assert_blind(&look(&question(on_bridge(), 4, &[])), &["br0", "is down", "ip link set br0 up"]);
        run("ip link add c1 type veth peer name c1x");
        run("ip link set c1 master br0");
        run("ip link set br0 up");
        wait_for("the bridge to find no port of it up", || run("ip -o link show br0").contains("NO-CARRIER"));
        assert_blind(&look(&question(on_bridge(), 4, &[])), &["br0", "no carrier"]);
        run("ip link del br0");
        assert_blind(&look(&question(on_bridge(), 4, &[])), &["br0", "does not exist"]);
        run("ip link add br0 type veth peer name v1");
        run("ip link set br0 up");
        run("ip link set v1 up");
        assert_blind(&look(&question(on_bridge(), 4, &[])), &["br0", "no Linux bridge"]);
    }
}
