//! What a census sees, and what it owns up to not having seen.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use tenure_core::ports::{Census, Kernel as _, Place};

use super::world::{Idle, Mounted, Room, in_own_home, ip_in, socket_in_new_namespace, wait_for};
use super::{first_witness, kernel_test, next_witness, wait_until_gone};
use crate::doorway::Doorway;
use crate::nsid;
use crate::{KernelWitness, Options};

/// An address that no other test uses: a census sees the whole machine.
fn fresh_address() -> IpAddr {
    let [a, b, c, _] = getrandom::u32().unwrap().to_ne_bytes();
    Ipv4Addr::new(10, a, b, c).into()
}

fn settle_in(namespace: &Path, address: IpAddr) {
    ip_in(namespace, &format!("addr add {address}/32 dev lo"));
}

/// The namespace of the calling thread, as other processes see it.
fn own_namespace() -> PathBuf {
    format!("/proc/self/task/{}/ns/net", rustix::thread::gettid()).into()
}

/// Where the address was seen.
fn places(census: &Census, address: IpAddr) -> HashSet<Place> {
    let seen = census.sightings.iter().filter(|seen| seen.address == address);
    seen.map(|seen| seen.place).collect()
}

/// Only who is root of the machine may look at everything.
fn assert_complete(census: &Census) {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
    if map.split_whitespace().eq(["0", "0", "4294967295"]) {
        assert_eq!(census.incomplete, None);
    }
}

kernel_test! {
    fn every_address_of_a_namespace_is_seen_with_its_link_whatever_its_state() {
        let witness = first_witness();
        let resident = Idle::in_new_namespace();
        resident.ip("link add v0 type veth peer name v1");
        resident.ip("link add link v0 name m0 type macvlan mode bridge");
        resident.ip("addr add 10.6.1.7/24 dev m0");
        resident.ip("addr add 10.6.1.8 peer 10.6.1.9 dev v0");
        resident.ip("addr add 169.254.7.7/16 dev v0");
        resident.ip("addr add fd00:6::9/64 dev m0");
        for link in ["lo", "v0", "v1"] {
            resident.ip(&format!("link set {link} up"));
        }
        resident.ip("addr add fd00:6::7/64 dev v0");
        let tentative = || resident.ip("-6 addr show dev v0 tentative");
        wait_for("the address to be known as the only one", || tentative().is_empty());
        resident.ip("addr add fd00:6::7/64 dev v1");
        let failed = || resident.ip("-6 addr show dev v1 dadfailed");
        wait_for("the duplicate to be found", || !failed().is_empty());

        let census = witness.census().unwrap();
        let netns = witness.identify(&resident.path()).unwrap();
        let here = census.sightings.iter().filter(|seen| seen.place == Place::Netns(netns));
        let mut seen: Vec<_> = here.map(|seen| format!("{} {}", seen.ifname, seen.address)).collect();
        seen.sort_unstable();
        let expected = [
            "m0 10.6.1.7", "m0 fd00:6::9", "v0 10.6.1.8", "v0 169.254.7.7", "v0 fd00:6::7", "v1 fd00:6::7",
        ];
        assert_eq!(seen, expected);
        assert_complete(&census);
        drop(resident);
        wait_until_gone(&witness, &netns);
    }
}

kernel_test! {
    fn an_address_in_two_namespaces_comes_twice_and_never_from_the_daemons_own() {
        in_own_home(|| {
            let (witness, address) = (first_witness(), fresh_address());
            settle_in(&own_namespace(), address);
            assert_eq!(places(&witness.census().unwrap(), address), HashSet::new());
            let residents = [Idle::in_new_namespace(), Idle::in_new_namespace()];
            residents.iter().for_each(|resident| settle_in(&resident.path(), address));
            let seen = places(&witness.census().unwrap(), address);
            let identify = |resident: &Idle| Place::Netns(witness.identify(&resident.path()).unwrap());
            assert_eq!(seen, residents.iter().map(identify).collect());
        });
    }
}

kernel_test! {
    fn whatever_shows_a_namespace_is_enough_for_its_addresses() {
        let (witness, address) = (first_witness(), fresh_address());
        let folder = tempfile::tempdir().unwrap();
        let [by_mount, by_descriptor] = [Idle::in_new_namespace(), Idle::in_new_namespace()];
        let by_thread = Room::new();
        let paths = [by_mount.path(), by_descriptor.path(), by_thread.path().to_owned()];
        paths.iter().for_each(|path| settle_in(path, address));
        let mounted = Mounted::new(&by_mount.path(), folder.path().join("a b"));
        let keeper = Idle::holding_open(&by_descriptor.path());
        drop((by_mount, by_descriptor));
        let census = witness.census().unwrap();
        assert_complete(&census);
        let held = [mounted.path(), Path::new(&format!("/proc/{}/fd/9", keeper.pid())), by_thread.path()]
            .map(|path| witness.identify(path).unwrap());
        assert_eq!(places(&census, address), held.map(Place::Netns).into());
        drop((mounted, keeper, by_thread));
        held.iter().for_each(|netns| wait_until_gone(&witness, netns));
    }
}

kernel_test! {
    fn a_namespace_that_only_a_socket_keeps_alive_is_seen_by_its_id() {
        in_own_home(|| {
            let (witness, address) = (first_witness(), fresh_address());
            let (socket, netns) = socket_in_new_namespace(|path| {
                settle_in(path, address);
                witness.identify(path).unwrap()
            });
            let by_another = first_witness().census().unwrap();
            let hidden = Place::Hidden { nsid: netns.nsid.unwrap() };
            assert_eq!(places(&by_another, address), [hidden].into());
            assert_complete(&by_another);
            let known = Place::Netns(netns);
            assert_eq!(places(&witness.census().unwrap(), address), [known].into(), "it was met before");
            drop(socket);
            wait_until_gone(&witness, &netns);
            assert_eq!(places(&witness.census().unwrap(), address), HashSet::new());
        });
    }
}

kernel_test! {
    fn hidden_namespaces_are_seen_among_more_ids_than_the_kernel_lists() {
        in_own_home(|| {
            let (witness, address) = (first_witness(), fresh_address());
            let rooms: Vec<_> = (0..150).map(|_| Room::new()).collect();
            let mut ids: Vec<_> =
                rooms.iter().map(|room| witness.identify(room.path()).unwrap().nsid.unwrap()).collect();
            let (socket, netns) = socket_in_new_namespace(|path| {
                settle_in(path, address);
                witness.identify(path).unwrap()
            });
            ids.extend(netns.nsid);
            ids.sort_unstable();
            assert_eq!(nsid::all(witness.home().cookie).unwrap(), ids);
            let census = first_witness().census().unwrap();
            let hidden = Place::Hidden { nsid: netns.nsid.unwrap() };
            assert_eq!(places(&census, address), [hidden].into());
            drop((rooms, socket));
        });
    }
}

kernel_test! {
    fn namespaces_that_come_and_go_meanwhile_are_no_gap() {
        in_own_home(|| {
            let (witness, address) = (first_witness(), fresh_address());
            let stays = Room::new();
            settle_in(stays.path(), address);
            let netns = Place::Netns(witness.identify(stays.path()).unwrap());
            let done = AtomicBool::new(false);
            let come_and_go = || {
                while !done.load(Ordering::Relaxed) {
                    // Some have no id when they end, and the last one has.
                    drop([(); 8].map(|()| Room::new()));
                    let last = Room::new();
                    let ended = witness.identify(last.path()).unwrap();
                    drop(last);
                    // No faster than the kernel takes them down: other tests wait for ends too.
                    wait_until_gone(&witness, &ended);
                }
            };
            std::thread::scope(|scope| {
                let threads = [scope.spawn(come_and_go), scope.spawn(come_and_go)];
                let all: Vec<_> = (0..20).map(|_| witness.census().unwrap()).collect();
                done.store(true, Ordering::Relaxed);
                threads.into_iter().for_each(|thread| thread.join().unwrap());
                for census in all {
                    assert_complete(&census);
                    assert_eq!(places(&census, address), [netns].into());
                }
            });
        });
    }
}

/// A census by a thread that lacks a capability, after the self-test was passed with it.
fn census_without(capability: CapabilitySet, witness: &mut KernelWitness) -> Census {
    // The thread that goes into namespaces has all capabilities: another one inherits what this thread has left.
    let own = std::fs::File::open(own_namespace()).unwrap();
    Arc::get_mut(&mut witness.inner).unwrap().doorway = Doorway::new(own.into());
    let all = capabilities(None).unwrap();
    set_capabilities(None, CapabilitySets { effective: all.effective - capability, ..all })
        .unwrap();
    witness.census().unwrap()
}

kernel_test! {
    fn a_namespace_that_cannot_be_entered_is_a_gap_but_what_its_id_tells_is_told() {
        in_own_home(|| {
            let (mut witness, address) = (first_witness(), fresh_address());
            let (known, unknown) = (Room::new(), Room::new());
            [&known, &unknown].into_iter().for_each(|room| settle_in(room.path(), address));
            let netns = witness.identify(known.path()).unwrap();
            let census = census_without(CapabilitySet::SYS_ADMIN, &mut witness);
            let why = census.incomplete.as_deref().unwrap();
            assert!(why.contains("network namespace"), "{why}");
            assert_eq!(places(&census, address), [Place::Netns(netns)].into());
        });
    }
}

kernel_test! {
    fn a_process_that_may_not_be_looked_at_is_a_gap() {
        in_own_home(|| {
            let (mut witness, _resident) = (first_witness(), Idle::in_new_namespace());
            let census = census_without(CapabilitySet::SYS_PTRACE, &mut witness);
            let why = census.incomplete.as_deref().unwrap();
            assert!(why.contains("/proc/") && why.contains("could not be read"), "{why}");
        });
    }
}

kernel_test! {
    fn a_daemon_that_was_moved_in_this_boot_says_that_it_cannot_see_by_the_ids_of_before() {
        let earlier = first_witness();
        assert_complete(&next_witness(&earlier).census().unwrap());
        let elsewhere = Options { earlier_home: Some(earlier.home().cookie + 1) };
        let census = KernelWitness::start(&elsewhere).unwrap().census().unwrap();
        let why = census.incomplete.as_deref().unwrap();
        assert!(why.contains("in another network namespace"), "{why}");
    }
}
