//! Until when a namespace is seen, whoever keeps it alive.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tenure_core::ports::{Kernel as _, NetnsLook, WitnessError};

use super::world::{Idle, Mounted, Room, socket_in_new_namespace, wait_for};
use super::{first_witness, kernel_test, next_witness, state, wait_until_gone};
use crate::{Hold, KernelWitness, NamespaceHolder, Options, SelfTest};

kernel_test! {
    fn a_namespace_is_seen_until_its_process_ends_and_looking_at_it_keeps_nothing_alive() {
        let witness = first_witness();
        assert!(matches!(witness.self_test(), SelfTest::Passed { .. }), "{:?}", witness.self_test());
        let resident = Idle::in_new_namespace();
        let netns = witness.identify(&resident.path()).unwrap();
        let look = witness.look().unwrap();
        assert_eq!(look.namespace(&netns), NetnsLook::Alive);
        let _ = look.address(&netns, "10.0.0.1".parse().unwrap());
        let holders = witness.holders_of(&netns);
        let runs_in_it = |holder: &NamespaceHolder| holder.how == Hold::Process;
        assert!(holders.iter().any(|h| h.pid == resident.pid() && runs_in_it(h)), "{holders:?}");
        drop(resident);
        wait_until_gone(&witness, &netns);
    }
}

kernel_test! {
    fn an_open_descriptor_in_another_process_keeps_a_namespace_alive() {
        let witness = first_witness();
        let resident = Idle::in_new_namespace();
        let netns = witness.identify(&resident.path()).unwrap();
        let keeper = Idle::holding_open(&resident.path());
        let pid = resident.pid();
        drop(resident);
        wait_for("the process to vanish", || !PathBuf::from(format!("/proc/{pid}")).exists());
        assert_eq!(state(&witness, &netns), NetnsLook::Alive);
        let holders = witness.holders_of(&netns);
        assert_eq!(holders.len(), 1, "{holders:?}");
        assert_eq!((holders[0].pid, &*holders[0].comm), (keeper.pid(), "cat"));
        assert_eq!(holders[0].how, Hold::Descriptor { fd: 9 });
        drop(keeper);
        wait_until_gone(&witness, &netns);
    }
}

kernel_test! {
    fn a_socket_alone_keeps_a_namespace_alive_though_nothing_shows_it() {
        let witness = first_witness();
        let (socket, netns) = socket_in_new_namespace(|path| witness.identify(path).unwrap());
        assert_eq!(state(&witness, &netns), NetnsLook::Alive);
        assert_eq!(witness.holders_of(&netns), []);
        drop(socket);
        wait_until_gone(&witness, &netns);
    }
}

kernel_test! {
    fn a_bind_mount_keeps_a_namespace_alive() {
        let witness = first_witness();
        let folder = tempfile::tempdir().unwrap();
        let resident = Idle::in_new_namespace();
        let mounted = Mounted::new(&resident.path(), folder.path().join("a b"));
        let netns = witness.identify(mounted.path()).unwrap();
        drop(resident);
        assert_eq!(state(&witness, &netns), NetnsLook::Alive);
        assert_eq!(state(&next_witness(&witness), &netns), NetnsLook::Alive);
        let how = Hold::Mount { path: mounted.path().to_owned() };
        assert!(witness.holders_of(&netns).iter().any(|holder| holder.how == how));
        drop(mounted);
        wait_until_gone(&witness, &netns);
    }
}

kernel_test! {
    fn a_zombie_holds_nothing() {
        let witness = first_witness();
        let mut resident = Idle::in_new_namespace();
        let netns = witness.identify(&resident.path()).unwrap();
        resident.become_zombie();
        wait_until_gone(&witness, &netns);
        assert_eq!(witness.holders_of(&netns), []);
    }
}

kernel_test! {
    fn after_a_restart_the_ids_of_the_earlier_process_still_count() {
        let earlier = first_witness();
        let (resident, lost) = (Idle::in_new_namespace(), Room::new());
        let (lives, ended) = (earlier.identify(&resident.path()).unwrap(), earlier.identify(lost.path()).unwrap());
        drop(lost);
        wait_until_gone(&earlier, &ended);
        let next = next_witness(&earlier);
        assert_eq!(state(&next, &ended), NetnsLook::Gone);
        assert_eq!(state(&next, &lives), NetnsLook::Alive);
        drop(resident);
        wait_until_gone(&next, &lives);
    }
}

kernel_test! {
    fn a_witness_that_was_moved_takes_no_absent_id_for_an_end_until_it_has_seen_the_namespace() {
        let earlier = first_witness();
        let (resident, lost) = (Idle::in_new_namespace(), Room::new());
        let (lives, ended) = (earlier.identify(&resident.path()).unwrap(), earlier.identify(lost.path()).unwrap());
        drop(lost);
        wait_until_gone(&earlier, &ended);
        for earlier_home in [None, Some(earlier.home().cookie + 1)] {
            let moved = KernelWitness::start(&Options { earlier_home }).unwrap();
            assert_eq!(state(&moved, &ended), NetnsLook::Unknown);
            assert_eq!(state(&moved, &lives), NetnsLook::Alive, "a process shows it");
        }
        let moved = first_witness();
        assert_eq!(state(&moved, &lives), NetnsLook::Alive);
        drop(resident);
        wait_until_gone(&moved, &lives);
    }
}

kernel_test! {
    fn after_a_restart_a_namespace_that_nothing_shows_is_unknown_and_never_gone() {
        let earlier = first_witness();
        let (socket, netns) = socket_in_new_namespace(|path| earlier.identify(path).unwrap());
        let next = next_witness(&earlier);
        assert_eq!(state(&next, &netns), NetnsLook::Unknown);
        drop(socket);
        wait_until_gone(&next, &netns);
    }
}

kernel_test! {
    fn after_lost_events_nothing_is_believed_that_is_not_seen_again() {
        let witness = first_witness();
        let resident = Idle::in_new_namespace();
        let visible = witness.identify(&resident.path()).unwrap();
        let (_socket, hidden) = socket_in_new_namespace(|path| witness.identify(path).unwrap());
        witness.inner.memory.lock().doubt_all();
        assert_eq!(state(&witness, &visible), NetnsLook::Alive);
        assert_eq!(state(&witness, &hidden), NetnsLook::Unknown);
    }
}

kernel_test! {
    fn a_witness_whose_self_test_failed_says_nothing_until_one_passes() {
        let witness = first_witness();
        let resident = Idle::in_new_namespace();
        let failed = SelfTest::Failed { why: "ids never vanish".to_owned() };
        *witness.self_test.lock() = (failed.clone(), Instant::now());
        assert!(witness.identify(&resident.path()).is_ok());
        assert!(matches!(witness.census(), Err(WitnessError::Off { .. })));
        match witness.look() {
            Err(WitnessError::Off { why }) => assert_eq!(why, "ids never vanish"),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("it spoke"),
        }
        let long_ago = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        *witness.self_test.lock() = (failed, long_ago);
        assert!(witness.look().is_ok());
    }
}
