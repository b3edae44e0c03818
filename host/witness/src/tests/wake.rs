//! The end of a namespace wakes, whatever kept it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

use parking_lot::Mutex;
use tenure_core::lease::Netns;
use tenure_core::ports::{Kernel as _, NetnsLook};

use super::world::{Idle, Mounted, PATIENCE, Room, in_own_home, socket_in_new_namespace};
use super::{first_witness, kernel_test, next_witness, state, wait_until_gone};
use crate::KernelWitness;
use crate::memory::Memory;
use crate::wake::Bell;
use crate::watch::EndWatch;

/// How many of these still live, as each wake finds it by a witness that has seen them all.
fn living_at_each_wake(
    witness: &KernelWitness,
    all: Vec<Netns>,
    viewer: KernelWitness,
) -> Receiver<usize> {
    let (woken, wakes) = channel();
    let wake = move || {
        let look = viewer.look().unwrap();
        let living = all.iter().filter(|netns| look.namespace(netns) != NetnsLook::Gone);
        let _ = woken.send(living.count());
    };
    witness.on_end(wake).unwrap();
    wakes
}

fn wait_for_the_last(wakes: &Receiver<usize>) {
    while wakes.recv_timeout(PATIENCE).expect("a wake after the last end") > 0 {}
}

/// Whoever is woken by the end of what `hold` made finds it gone.
fn wakes_when_let_go<T>(hold: impl FnOnce(&KernelWitness) -> (T, Netns)) {
    let witness = first_witness();
    let (held, netns) = hold(&witness);
    let viewer = next_witness(&witness);
    let wakes = living_at_each_wake(&witness, vec![netns], viewer);
    assert_eq!(state(&witness, &netns), NetnsLook::Alive);
    drop(held);
    wait_for_the_last(&wakes);
}

kernel_test! {
    fn a_killed_process_wakes() {
        in_own_home(|| wakes_when_let_go(|witness| {
            let resident = Idle::in_new_namespace();
            let netns = witness.identify(&resident.path()).unwrap();
            (resident, netns)
        }));
    }
}

kernel_test! {
    fn an_unlinked_path_that_was_the_last_reference_wakes_without_any_watch_on_its_folder() {
        in_own_home(|| wakes_when_let_go(|witness| {
            let folder = tempfile::tempdir().unwrap();
            let resident = Idle::in_new_namespace();
            let mounted = Mounted::new(&resident.path(), folder.path().join("blue"));
            let netns = witness.identify(mounted.path()).unwrap();
            // Fields are dropped in order: first the mount, then its folder.
            ((mounted, folder), netns)
        }));
    }
}

kernel_test! {
    fn the_last_descriptor_and_the_last_socket_wake() {
        in_own_home(|| {
            wakes_when_let_go(|witness| {
                let resident = Idle::in_new_namespace();
                let netns = witness.identify(&resident.path()).unwrap();
                (Idle::holding_open(&resident.path()), netns)
            });
            wakes_when_let_go(|witness| {
                socket_in_new_namespace(|path| witness.identify(path).unwrap())
            });
        });
    }
}

kernel_test! {
    fn a_namespace_that_only_an_earlier_process_met_wakes() {
        in_own_home(|| {
            let earlier = first_witness();
            let room = Room::new();
            let netns = earlier.identify(room.path()).unwrap();
            let next = next_witness(&earlier);
            let wakes = living_at_each_wake(&next, vec![netns], earlier);
            drop(room);
            wait_for_the_last(&wakes);
        });
    }
}

kernel_test! {
    fn five_hundred_ends_at_once_lose_no_wake_though_others_take_in_events_too() {
        in_own_home(|| {
            let (witness, viewer) = (first_witness(), first_witness());
            let rooms: Vec<_> = (0..500).map(|_| Room::new()).collect();
            let meet = |room: &Room| {
                witness.identify(room.path()).unwrap();
                viewer.identify(room.path()).unwrap()
            };
            let all: Vec<_> = rooms.iter().map(meet).collect();
            let wakes = living_at_each_wake(&witness, all, viewer);
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        witness.look().unwrap();
                    }
                });
                drop(rooms);
                // Whatever comes of it, the other thread must end.
                let last = std::panic::catch_unwind(AssertUnwindSafe(|| wait_for_the_last(&wakes)));
                done.store(true, Ordering::Relaxed);
                assert!(last.is_ok());
            });
        });
    }
}

kernel_test! {
    fn lost_events_wake() {
        in_own_home(|| {
            let bell = Arc::new(Bell::new().unwrap());
            let mut memory = Memory::new(EndWatch::with_budget(1).unwrap(), Arc::clone(&bell));
            memory.catch_up();
            assert!(!bell.was_rung());
            let witness = first_witness();
            let rooms: Vec<_> = (0..40).map(|_| Room::new()).collect();
            let all: Vec<_> = rooms.iter().map(|room| witness.identify(room.path()).unwrap()).collect();
            drop(rooms);
            all.iter().for_each(|netns| wait_until_gone(&witness, netns));
            memory.catch_up();
            assert!(bell.was_rung());
        });
    }
}

kernel_test! {
    fn the_thread_ends_with_the_witness_even_if_its_own_wake_lets_go_of_it() {
        in_own_home(|| {
            let (woken, wakes) = channel();
            let slot = Arc::new(Mutex::new(None));
            let owned = Arc::clone(&slot);
            let witness = first_witness();
            let room = Room::new();
            witness.identify(room.path()).unwrap();
            let wake = move || {
                let witness: Option<KernelWitness> = owned.lock().take();
                let lets_go = witness.is_some();
                drop(witness);
                let _ = woken.send(lets_go);
            };
            witness.on_end(wake).unwrap();
            *slot.lock() = Some(witness);
            drop(room);
            while !wakes.recv_timeout(PATIENCE).expect("a wake that comes back from letting go") {}
            assert_eq!(wakes.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
        });
    }
}
