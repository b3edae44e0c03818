//! What goes wrong on the node: interfaces, permission, signals.

use std::sync::atomic::{AtomicBool, Ordering};

use tenure_core::ports::{Wire as _, WireLook};

use super::world::{Machine, Switch, run};
use super::{assert_blind, ip, look, on_bridge, on_macvlan, question, wire_test};
use crate::wire::WireWitness;

wire_test! {
    fn a_parent_that_is_missing_down_or_without_carrier_is_blind() {
        let asked = question(on_macvlan(), 4, &[]);
        assert_blind(&look(&asked), &["v0", "does not exist", "network configuration"]);
        run("ip link add v0 type veth peer name v1");
        assert_blind(&look(&asked), &["v0", "is down", "ip link set v0 up"]);
        run("ip link set v0 up");
        assert_blind(&look(&asked), &["v0", "no carrier"]);
    }
}

wire_test! {
    fn a_parent_that_carries_no_macvlan_is_blind_with_the_kernels_reason() {
        run("ip link add v0 type veth peer name v1");
        run("ip link set v1 up");
        run("ip link add br0 type bridge");
        run("ip link set v0 master br0 up");
        let asked = question(on_macvlan(), 4, &[]);
        assert_blind(&look(&asked), &["v0", "no macvlan", "port of a bridge"]);
        run("ip link set v0 nomaster");
        assert_blind(&look(&asked), &["v0", "no control answered"]);
        run("ip link set lo up");
        let mut loopback = asked;
        loopback.link = tenure_core::ports::WireLink::Macvlan { parent: "lo".parse().unwrap() };
        assert_blind(&look(&loopback), &["lo", "not Ethernet"]);
    }
}

wire_test! {
    fn an_address_that_is_nobodys_is_not_asked_for() {
        let _switch = Switch::new();
        for address in ["0.0.0.0", "255.255.255.255", "224.0.0.1", "127.0.0.1", "::", "ff02::1", "::1"] {
            let mut asked = question(on_macvlan(), 4, &[]);
            asked.address = address.parse().unwrap();
            assert_blind(&look(&asked), &["v0", address, "no address of one machine"]);
        }
    }
}

wire_test! {
    fn without_permission_a_look_is_blind_and_names_the_capabilities() {
        let switch = Switch::new();
        let _gateway = switch.machine(&[ip(4, 1)]);
        run("ip link add br0 type bridge");
        run("ip link set br0 up");
        let container = Machine::on_port("c1", &[ip(4, 2)]);
        let seen = std::thread::scope(|scope| {
            let powerless = || {
                let none = rustix::thread::CapabilitySet::empty();
                let sets = rustix::thread::CapabilitySets { effective: none, permitted: none, inheritable: none };
                rustix::thread::set_capabilities(None, sets).unwrap();
                let witness = WireWitness::start().unwrap();
                [on_macvlan(), on_bridge()].map(|link| witness.probe(&question(link, 4, &[2])))
            };
            scope.spawn(powerless).join().unwrap()
        });
        drop(container);
        assert_blind(&seen[0], &["v0", "CAP_NET_ADMIN"]);
        assert_blind(&seen[1], &["br0", "CAP_NET_RAW"]);
    }
}

wire_test! {
    fn signals_do_not_end_a_look() {
        let switch = Switch::new();
        let holder = switch.machine(&[ip(4, 1)]);
        let witness = WireWitness::start().unwrap();
        let stop = AtomicBool::new(false);
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let task = rustix::thread::gettid().as_raw_nonzero().get();
        interruptible();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    interrupt(pid, task);
                    std::thread::yield_now();
                }
            });
            let silent = witness.probe(&question(on_macvlan(), 4, &[]));
            let mut taken = question(on_macvlan(), 4, &[]);
            taken.address = ip(4, 1);
            let answered = witness.probe(&taken);
            stop.store(true, Ordering::Relaxed);
            assert_eq!(silent, WireLook::Silent);
            assert_eq!(answered, WireLook::Answered { mac: holder.mac() });
        });
    }
}

/// Lets `SIGUSR1` interrupt calls of this process and do nothing else.
#[expect(
    unsafe_code,
    reason = "no crate of the workspace sets signal handlers without restarting calls"
)]
fn interruptible() {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: the structure is plain numbers, of which zeroes are valid; the handler touches nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()), 0);
    }
}

#[expect(unsafe_code, reason = "rustix signals processes, not threads")]
fn interrupt(pid: i32, task: i32) {
    // SAFETY: signals to a thread of our own that has a handler for it.
    unsafe { libc::syscall(libc::SYS_tgkill, pid, task, libc::SIGUSR1) };
}
