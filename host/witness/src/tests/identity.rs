//! Who a namespace is, and what asking leaves behind: nothing.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use tenure_core::ports::{AddressLook, Kernel as _, NetnsLook, WitnessError};

use super::world::{Idle, Room, wait_for};
use super::{first_witness, kernel_test, next_witness, state, wait_until_gone};
use crate::doorway::Doorway;
use crate::namespace_file::NamespaceFile;

kernel_test! {
    fn what_is_no_network_namespace_is_refused_by_its_path() {
        let witness = first_witness();
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let other = ["/dev/null", "/proc/self/ns/uts", "/proc/self/status", "/etc/hostname", "/tmp"];
        for path in other.into_iter().map(Path::new).chain([&*fifo]) {
            match witness.identify(path) {
                Err(WitnessError::NotANamespace { path: named }) => assert_eq!(named, path),
                answer => panic!("{}: {answer:?}", path.display()),
            }
        }
        for path in ["/run/netns/none-such", "/dev/null/x", ""].map(PathBuf::from) {
            match witness.identify(&path) {
                Err(WitnessError::NoSuchNamespace { path: named }) => assert_eq!(named, path),
                answer => panic!("{}: {answer:?}", path.display()),
            }
        }
    }
}

kernel_test! {
    fn our_own_namespace_is_alive_as_long_as_we_are() {
        let witness = first_witness();
        let own = witness.identify(Path::new("/proc/self/ns/net")).unwrap();
        assert_eq!(own, witness.home());
        assert_eq!(state(&witness, &own), NetnsLook::Alive);
        let stray = "203.0.113.77".parse().unwrap();
        assert_eq!(witness.look().unwrap().address(&own, stray), AddressLook::OnNone);
    }
}

kernel_test! {
    fn three_hundred_namespaces_identified_by_eight_threads_are_all_told_apart() {
        let witness = first_witness();
        let rooms: Vec<_> = (0..300).map(|_| Room::new()).collect();
        let identify = |part: &[Room]| {
            part.iter().map(|room| witness.identify(room.path()).unwrap()).collect::<Vec<_>>()
        };
        let found: Vec<_> = std::thread::scope(|scope| {
            let parts: Vec<_> =
                rooms.chunks(38).map(|part| scope.spawn(move || identify(part))).collect();
            parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
        });
        assert_eq!(found.iter().map(|n| n.cookie).collect::<HashSet<_>>().len(), 300);
        assert_eq!(found.iter().map(|n| n.nsid).collect::<HashSet<_>>().len(), 300);
        let look = witness.look().unwrap();
        assert!(found.iter().all(|netns| look.namespace(netns) == NetnsLook::Alive));
        // More than one page of ids: a listing would lack most of them.
        let next = next_witness(&witness).look().unwrap();
        assert!(found.iter().all(|netns| next.namespace(netns) != NetnsLook::Gone));
        drop(rooms);
        found.iter().for_each(|netns| wait_until_gone(&witness, netns));
    }
}

kernel_test! {
    fn eight_threads_that_identify_one_namespace_agree_on_its_id() {
        let witness = first_witness();
        for _ in 0..20 {
            let room = Room::new();
            let found: HashSet<_> = std::thread::scope(|scope| {
                let one = || witness.identify(room.path()).unwrap();
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(found.len(), 1, "{found:?}");
        }
    }
}

kernel_test! {
    fn a_thread_that_cannot_come_back_ends_and_is_replaced() {
        let witness = first_witness();
        // Nobody can enter `/dev/null`, so no visit comes back.
        let nowhere: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        let doorway = Doorway::new(nowhere);
        let resident = Idle::in_new_namespace();
        let netns = witness.identify(&resident.path()).unwrap();
        for _ in 0..3 {
            let mut cookie = None;
            // A visit that is sent just as the thread ends is lost, and said so.
            wait_for("a visit", || {
                let file = NamespaceFile::open(&resident.path()).unwrap();
                cookie = doorway.cookie(file).ok().map(|(_file, cookie)| cookie);
                cookie.is_some()
            });
            assert_eq!(cookie, Some(netns.cookie));
        }
        drop(resident);
        wait_until_gone(&witness, &netns);
    }
}

/// Descriptors and threads of this process.
fn possessions() -> (usize, usize) {
    let count = |folder| std::fs::read_dir(folder).unwrap().count();
    (count("/proc/self/fd"), count("/proc/self/task"))
}

/// Counts what a process owns, so it must be alone in its process: `nothing_is_left_behind_by_a_thousand_calls`
/// runs it so.
#[test]
#[ignore = "run by another test, alone in a process"]
fn possessions_stay_the_same() {
    let resident = Idle::in_new_namespace();
    let before = possessions();
    let witness = first_witness();
    (0..3).for_each(|_| witness.on_end(|| {}).unwrap());
    let work = || {
        let netns = witness.identify(&resident.path()).unwrap();
        let look = witness.look().unwrap();
        assert_eq!(look.namespace(&netns), NetnsLook::Alive);
        let _ = look.address(&netns, "10.0.0.1".parse().unwrap());
        assert!(witness.identify(Path::new("/proc/self/ns/uts")).is_err());
    };
    work();
    let working = possessions();
    (0..300).for_each(|_| work());
    let netns = witness.identify(&resident.path()).unwrap();
    assert_ne!(witness.holders_of(&netns), []);
    assert!(witness.census().is_ok());
    assert_eq!(possessions(), working);
    drop(witness);
    wait_for("the witness to let go", || possessions() == before);
}

kernel_test! {
    fn nothing_is_left_behind_by_a_thousand_calls() {
        let alone = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::identity::possessions_stay_the_same"])
            .args(["--include-ignored", "--test-threads=1"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&alone.stdout);
        assert!(alone.status.success() && said.contains("1 passed"), "{said}");
    }
}
