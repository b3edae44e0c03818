//! What asking leaves behind: nothing.

use std::collections::HashSet;
use std::process::{Child, Command, Stdio};

use tenure_core::ports::{Wire as _, WireLook};

use super::world::{Switch, run};
use super::{assert_blind, ip, on_macvlan, question, wire_test};
use crate::tests::world::wait_for;
use crate::wire::WireWitness;
use crate::wire::interface::Interface;
use crate::wire::station::Stations;

/// Hardware addresses that `v0` receives for beside its own: those of the macvlans on it, in whatever namespace.
fn macs_on_v0() -> HashSet<String> {
    let listed = run("bridge fdb show dev v0");
    let macs = listed.lines().filter_map(|line| line.split(' ').next());
    // Groups are not machines.
    macs.filter(|mac| u8::from_str_radix(&mac[..2], 16).unwrap() & 1 == 0)
        .map(str::to_owned)
        .collect()
}

fn links() -> String {
    run("ip -br link show")
}

wire_test! {
    fn a_look_changes_neither_the_links_of_the_node_nor_what_its_interface_receives() {
        let switch = Switch::new();
        let _gateway = switch.machine(&[ip(4, 1), ip(6, 1)]);
        let (links_before, witness) = (links(), WireWitness::start().unwrap());
        assert_eq!(macs_on_v0(), HashSet::new());
        for family in [4, 6] {
            std::thread::scope(|scope| {
                let look = scope.spawn(|| witness.probe(&question(on_macvlan(), family, &[])));
                wait_for("the temporary macvlan", || macs_on_v0().len() == 1 || look.is_finished());
                assert_eq!(links(), links_before, "no tool of the node meets a new link");
                assert_eq!(look.join().unwrap(), WireLook::Silent, "IPv{family}");
            });
            assert_eq!((links(), macs_on_v0()), (links_before.clone(), HashSet::new()));
        }
        let mut never = question(on_macvlan(), 4, &[]);
        never.gateway = None;
        assert_blind(&witness.probe(&never), &["could be a control"]);
        assert_eq!(macs_on_v0(), HashSet::new(), "after a blind look too");
    }
}

wire_test! {
    fn questions_of_a_moment_share_a_macvlan_and_the_next_one_has_the_same_hardware_address() {
        let _switch = Switch::new();
        let stations = Stations::new(crate::doorway::cookie_here().unwrap(), [7; 6]);
        let v0 = Interface::of(crate::doorway::cookie_here().unwrap(), &on_macvlan()).unwrap();
        let (first, second) = (stations.on(&v0).unwrap(), stations.on(&v0).unwrap());
        let macs = macs_on_v0();
        assert_eq!((macs.len(), first.mac()), (1, second.mac()));
        drop(first);
        assert_eq!(macs_on_v0(), macs, "somebody still asks");
        drop(second);
        assert_eq!(macs_on_v0(), HashSet::new());
        let _third = stations.on(&v0).unwrap();
        assert_eq!(macs_on_v0(), macs);
    }
}

wire_test! {
    fn a_parent_that_goes_away_in_the_middle_leaves_the_witness_whole() {
        let switch = Switch::new();
        let witness = WireWitness::start().unwrap();
        std::thread::scope(|scope| {
            let look = scope.spawn(|| witness.probe(&question(on_macvlan(), 4, &[])));
            wait_for("the temporary macvlan", || macs_on_v0().len() == 1 || look.is_finished());
            run("ip link del v0");
            assert_blind(&look.join().unwrap(), &["v0"]);
        });
        drop(switch);
        let again = Switch::new();
        let _gateway = again.machine(&[ip(4, 1)]);
        assert_eq!(witness.probe(&question(on_macvlan(), 4, &[])), WireLook::Silent);
    }
}

fn possessions() -> (usize, usize) {
    let count = |folder| std::fs::read_dir(folder).unwrap().count();
    (count("/proc/self/fd"), count("/proc/self/task"))
}

/// Counts what a process owns; `looks_leave_no_descriptor_and_no_thread` runs it alone in one, on its node.
#[test]
#[ignore = "run by another test, alone in a process"]
fn possessions_stay_the_same() {
    let witness = WireWitness::start().unwrap();
    let look = || assert_eq!(witness.probe(&question(on_macvlan(), 4, &[])), WireLook::Silent);
    look();
    let before = possessions();
    (0..5).for_each(|_| look());
    // A thread that was joined is listed for a moment more, in either count.
    wait_for("threads to end", || {
        let after = possessions();
        after.0 <= before.0 && after.1 <= before.1
    });
}

wire_test! {
    fn looks_leave_no_descriptor_and_no_thread() {
        let switch = Switch::new();
        let _gateway = switch.machine(&[ip(4, 1)]);
        let alone = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "wire::tests::traces::possessions_stay_the_same", "--ignored"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&alone.stdout);
        assert!(alone.status.success() && said.contains("1 passed"), "{said}");
    }
}

/// A process on the node that does nothing but ask. Dropping kills it.
struct Daemon(Child);

impl Daemon {
    fn start() -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "wire::tests::traces::ask_for_ever", "--ignored"]);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks until it is killed; `a_killed_daemon_leaves_nothing_on_the_parent` runs it on its node.
#[test]
#[ignore = "run by another test, as the daemon on its node"]
fn ask_for_ever() {
    let witness = WireWitness::start().unwrap();
    loop {
        witness.probe(&question(on_macvlan(), 4, &[]));
    }
}

wire_test! {
    fn a_killed_daemon_leaves_nothing_on_the_parent_and_disturbs_no_other() {
        let switch = Switch::new();
        let _gateway = switch.machine(&[ip(4, 1)]);
        let daemon = Daemon::start();
        let busy = || wait_for("a macvlan of the daemon", || macs_on_v0().len() == 1);
        busy();
        // Two daemons on one machine, of which each leaves the other's macvlan alone.
        let mut another = question(on_macvlan(), 4, &[]);
        another.address = ip(4, 8);
        assert_eq!(WireWitness::start().unwrap().probe(&another), WireLook::Silent);
        busy();
        drop(daemon);
        wait_for("the macvlan to end with its daemon", || macs_on_v0().is_empty());
    }
}
