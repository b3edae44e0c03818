//! What the kernel reuses: inode numbers and namespace ids.

use std::collections::HashSet;
use std::path::Path;

use rustix::io::Errno;
use tenure_core::ports::{Kernel as _, NetnsLook};

use super::world::{Idle, Room, socket_in_new_namespace, wait_for};
use super::{first_witness, kernel_test, next_witness, state, wait_until_gone};
use crate::KernelWitness;
use crate::namespace_file::NamespaceFile;
use crate::netlink::{Route, RouteError};
use crate::nsid;

/// An id that no namespace has, below those that we choose.
fn unused_low_id(witness: &KernelWitness) -> i32 {
    let mut route = Route::open(witness.home().cookie).unwrap();
    let start = i32::try_from(getrandom::u32().unwrap() % 60_000).unwrap() + 1000;
    (start..).find(|id| !nsid::exists(&mut route, *id).unwrap()).unwrap()
}

/// Waits while another namespace still has the id.
fn give(witness: &KernelWitness, path: &Path, id: i32) {
    let file = NamespaceFile::open(path).unwrap();
    let mut route = Route::open(witness.home().cookie).unwrap();
    wait_for("the id to be free", || match nsid::give(&mut route, file.raw(), id) {
        Ok(()) => true,
        Err(RouteError::Refused(Errno::EXIST)) => false,
        Err(error) => panic!("{error}"),
    });
}

kernel_test! {
    fn an_inode_number_that_is_reused_does_not_make_the_dead_namespace_alive() {
        let witness = first_witness();
        let mut dead = HashSet::new();
        for _ in 0..1000 {
            let room = Room::new();
            let netns = witness.identify(room.path()).unwrap();
            let reused = dead.iter().find(|(ino, _)| *ino == netns.ino).copied();
            if let Some((_, before)) = reused {
                assert_eq!(state(&witness, &netns), NetnsLook::Alive);
                assert_eq!(state(&witness, &before), NetnsLook::Gone);
                assert_eq!(witness.holders_of(&before), [], "the inode is worn by another namespace");
                assert_ne!(witness.holders_of(&netns), []);
                return;
            }
            drop(room);
            wait_until_gone(&witness, &netns);
            dead.insert((netns.ino, netns));
        }
        panic!("no inode number was reused");
    }
}

kernel_test! {
    fn an_id_that_another_namespace_wears_now_proves_the_end_of_its_first_wearer() {
        let witness = first_witness();
        let id = unused_low_id(&witness);
        let first = Room::new();
        give(&witness, first.path(), id);
        let before = witness.identify(first.path()).unwrap();
        assert_eq!(before.nsid, Some(id), "the id that it has is kept");
        drop(first);
        let second = Idle::in_new_namespace();
        give(&witness, &second.path(), id);
        assert_eq!(state(&witness, &before), NetnsLook::Gone, "memory is not believed after an end");
        assert_eq!(state(&next_witness(&witness), &before), NetnsLook::Gone, "a handle shows the wearer");
        let after = witness.identify(&second.path()).unwrap();
        assert_eq!(after.nsid, Some(id));
        assert_eq!(state(&witness, &after), NetnsLook::Alive);
        assert_eq!(state(&witness, &before), NetnsLook::Gone);
    }
}

kernel_test! {
    fn an_id_that_went_to_a_namespace_which_nothing_shows_leaves_its_first_wearer_unknown() {
        let witness = first_witness();
        let id = unused_low_id(&witness);
        let first = Room::new();
        give(&witness, first.path(), id);
        let before = witness.identify(first.path()).unwrap();
        drop(first);
        let (socket, ()) = socket_in_new_namespace(|path| give(&witness, path, id));
        assert_eq!(state(&witness, &before), NetnsLook::Unknown);
        drop(socket);
        wait_until_gone(&witness, &before);
    }
}

kernel_test! {
    fn a_namespace_identified_after_the_look_is_alive() {
        let witness = first_witness();
        let look = witness.look().unwrap();
        let room = Room::new();
        let netns = witness.identify(room.path()).unwrap();
        assert_eq!(look.namespace(&netns), NetnsLook::Alive);
    }
}

kernel_test! {
    fn ids_of_our_choice_lie_above_those_that_the_kernel_chooses() {
        let witness = first_witness();
        let rooms: Vec<_> = (0..20).map(|_| Room::new()).collect();
        for room in &rooms {
            let given = witness.identify(room.path()).unwrap();
            assert!(given.nsid.unwrap() >= nsid::FIRST_CHOSEN, "{given:?}");
            assert_eq!(witness.identify(room.path()).unwrap(), given, "the second time it is the same");
        }
    }
}
