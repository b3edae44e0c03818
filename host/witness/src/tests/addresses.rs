//! Addresses on links, seen from outside.

use std::net::IpAddr;
use std::process::Command;

use tenure_core::ports::{AddressLook, Kernel as _};

use super::world::{Idle, ip_in, socket_in_new_namespace};
use super::{first_witness, kernel_test, next_witness, wait_until_gone};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A namespace with a pair of links and a macvlan on one of them.
fn furnished() -> Idle {
    let resident = Idle::in_new_namespace();
    resident.ip("link add v0 type veth peer name v1");
    resident.ip("link add link v0 name m0 type macvlan mode bridge");
    resident
}

kernel_test! {
    fn an_address_stands_on_a_link_until_it_is_taken_off() {
        let witness = first_witness();
        let resident = furnished();
        let netns = witness.identify(&resident.path()).unwrap();
        for (address, prefix) in [(ip("10.6.1.7"), 24), (ip("fd00:6::7"), 64)] {
            let seen = || witness.look().unwrap().address(&netns, address);
            assert_eq!(seen(), AddressLook::OnNone, "{address}");
            resident.ip(&format!("addr add {address}/{prefix} dev m0"));
            assert_eq!(seen(), AddressLook::OnLink, "{address} on a link that is down");
            resident.ip("link set v0 up");
            resident.ip("link set m0 up");
            assert_eq!(seen(), AddressLook::OnLink, "{address}, tentative or not");
            resident.ip(&format!("addr del {address}/{prefix} dev m0"));
            assert_eq!(seen(), AddressLook::OnNone, "{address} was taken off");
        }
    }
}

kernel_test! {
    fn only_the_own_end_of_a_point_to_point_address_counts() {
        let witness = first_witness();
        let resident = furnished();
        resident.ip("addr add 10.6.1.7 peer 10.6.1.8 dev v0");
        resident.ip("addr add fd00:6::7 peer fd00:6::8 dev v0");
        let netns = witness.identify(&resident.path()).unwrap();
        let look = witness.look().unwrap();
        for own in ["10.6.1.7", "fd00:6::7"] {
            assert_eq!(look.address(&netns, ip(own)), AddressLook::OnLink, "{own}");
        }
        for peer in ["10.6.1.8", "fd00:6::8"] {
            assert_eq!(look.address(&netns, ip(peer)), AddressLook::OnNone, "{peer}");
        }
    }
}

kernel_test! {
    fn addresses_of_other_namespaces_do_not_count() {
        let witness = first_witness();
        let (first, second) = (furnished(), furnished());
        first.ip("addr add 10.6.1.7/24 dev v0");
        let netns = witness.identify(&second.path()).unwrap();
        let look = witness.look().unwrap();
        assert_eq!(look.address(&netns, ip("10.6.1.7")), AddressLook::OnNone);
        assert_eq!(look.address(&netns, ip("127.0.0.1")), AddressLook::OnNone, "loopback is down there");
        let listed = Command::new("ip").args(["-o", "addr", "show", "to", "127.0.0.1"]).output().unwrap();
        let expected =
            if listed.stdout.is_empty() { AddressLook::OnNone } else { AddressLook::OnLink };
        assert_eq!(look.address(&witness.home(), ip("127.0.0.1")), expected);
    }
}

kernel_test! {
    fn a_namespace_that_only_a_socket_keeps_alive_still_shows_its_addresses() {
        let witness = first_witness();
        let (socket, netns) = socket_in_new_namespace(|path| {
            let netns = witness.identify(path).unwrap();
            ip_in(path, "link set lo up");
            netns
        });
        let seen = || witness.look().unwrap().address(&netns, ip("127.0.0.1"));
        assert_eq!(seen(), AddressLook::OnLink);
        drop(socket);
        wait_until_gone(&witness, &netns);
        assert_eq!(seen(), AddressLook::NamespaceGone);
    }
}

kernel_test! {
    fn a_namespace_that_ends_after_the_look_has_no_address() {
        let witness = first_witness();
        let resident = furnished();
        resident.ip("addr add 10.6.1.7/24 dev v0");
        let netns = witness.identify(&resident.path()).unwrap();
        let look = witness.look().unwrap();
        assert_eq!(look.address(&netns, ip("10.6.1.7")), AddressLook::OnLink);
        drop(resident);
        wait_until_gone(&witness, &netns);
        // The old look still lists the id; the kernel knows better.
        assert_ne!(look.address(&netns, ip("10.6.1.7")), AddressLook::OnLink);
        let seen = witness.look().unwrap().address(&netns, ip("10.6.1.7"));
        assert_eq!(seen, AddressLook::NamespaceGone);
    }
}

kernel_test! {
    fn after_a_restart_addresses_are_seen_again() {
        let earlier = first_witness();
        let resident = furnished();
        resident.ip("addr add 10.6.1.7/24 dev v0");
        let netns = earlier.identify(&resident.path()).unwrap();
        let look = next_witness(&earlier).look().unwrap();
        assert_eq!(look.address(&netns, ip("10.6.1.7")), AddressLook::OnLink);
        assert_eq!(look.address(&netns, ip("10.6.1.8")), AddressLook::OnNone);
    }
}

kernel_test! {
    fn a_listing_of_many_addresses_is_read_to_its_end() {
        let witness = first_witness();
        let resident = furnished();
        let all: Vec<IpAddr> = (0..1500_u16)
            .flat_map(|n| [ip(&format!("10.6.{}.{}", n / 250, n % 250 + 1)), ip(&format!("fd00:6::{n:x}:1"))])
            .collect();
        let commands: String = all.iter().map(|address| format!("addr add {address} dev v0\n")).collect();
        let folder = tempfile::tempdir().unwrap();
        let batch = folder.path().join("batch");
        std::fs::write(&batch, commands).unwrap();
        resident.ip(&format!("-batch {}", batch.display()));
        let netns = witness.identify(&resident.path()).unwrap();
        let look = witness.look().unwrap();
        for address in all.iter().rev().take(20).chain(&all[..20]) {
            assert_eq!(look.address(&netns, *address), AddressLook::OnLink, "{address}");
        }
        assert_eq!(look.address(&netns, ip("10.6.9.1")), AddressLook::OnNone);
    }
}

kernel_test! {
    fn links_that_carry_an_address_are_set_down_and_no_others() {
        let witness = first_witness();
        let resident = furnished();
        for link in ["v0", "m0"] {
            resident.ip(&format!("link set {link} up"));
        }
        resident.ip("addr add 10.6.1.7/24 dev m0");
        resident.ip("addr add 10.6.1.8/24 dev v0");
        let netns = witness.identify(&resident.path()).unwrap();
        let is_up = |link: &str| resident.ip(&format!("link show {link}")).contains("UP,") || resident.ip(&format!("link show {link}")).contains(",UP");
        assert!(is_up("v0") && is_up("m0"));
        assert_eq!(witness.set_down(&netns, ip("10.6.1.7")).unwrap(), 1);
        assert!(is_up("v0") && !is_up("m0"));
        assert_eq!(witness.set_down(&netns, ip("10.6.1.9")).unwrap(), 0, "nobody has it");
        let gone = resident.path();
        drop(resident);
        wait_until_gone(&witness, &netns);
        assert!(witness.set_down(&netns, ip("10.6.1.8")).is_err(), "{}", gone.display());
    }
}
