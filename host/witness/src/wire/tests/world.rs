//! A node, which is the thread of the test in a namespace of its own; a switch; machines.

use std::cell::Cell;
use std::path::Path;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::self_test::move_into_new_namespace;
use crate::tests::world::{Idle, wait_for};
use crate::wire::Mac;

/// Runs `body` on a thread whose namespace is new.
pub(super) fn on_a_node(body: impl FnOnce() + Send) {
    let done = std::thread::scope(|scope| {
        let node = scope.spawn(|| {
            move_into_new_namespace().unwrap();
            body();
        });
        node.join()
    });
    if let Err(panic) = done {
        std::panic::resume_unwind(panic);
    }
}

/// Runs `act` on a thread in the namespace behind `path`.
pub(super) fn inside<T: Send>(path: &Path, act: impl FnOnce() -> T + Send) -> T {
    let file = std::fs::File::open(path).unwrap();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            move_into_link_name_space(
                std::os::fd::AsFd::as_fd(&file),
                Some(LinkNameSpaceType::Network),
            )
            .unwrap();
            act()
        });
        thread.join().unwrap()
    })
}

/// `ip`, or another program, on the node: what it says.
pub(super) fn run(command: &str) -> String {
    let mut words = command.split(' ');
    let done = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// A switch to which machines and the node's `v0` are plugged.
pub(super) struct Switch {
    switch: Idle,
    ports: Cell<u32>,
}

/// A machine with one interface, `eth0`.
pub(super) struct Machine(pub(super) Idle);

// === impl Switch ===

impl Switch {
    /// With the node plugged in.
    pub(super) fn new() -> Self {
        let switch = Self { switch: Idle::in_new_namespace(), ports: Cell::new(0) };
        switch.switch.ip("link add sw type bridge mcast_snooping 0");
        switch.switch.ip("link set sw up");
        let port = switch.next_port();
        let pid = switch.switch.pid();
        run(&format!("ip link add v0 type veth peer name {port} netns {pid}"));
        run("ip link set v0 up");
        switch.connect(&port);
        wait_for("the node's link", || {
            run("ip -o link show v0").contains("state UP") && switch.forwards(&port)
        });
        switch
    }

    /// A machine with these addresses.
    pub(super) fn machine(&self, addresses: &[std::net::IpAddr]) -> Machine {
        let machine = Idle::in_new_namespace();
        let port = self.next_port();
        let (own, other) = (machine.pid(), self.switch.pid());
        run(&format!("ip link add eth0 netns {own} type veth peer name {port} netns {other}"));
        self.connect(&port);
        let machine = Machine::furnished(machine, addresses);
        wait_for("the machine's port", || self.forwards(&port));
        machine
    }

    fn next_port(&self) -> String {
        self.ports.set(self.ports.get() + 1);
        format!("port{}", self.ports.get())
    }

    fn connect(&self, port: &str) {
        self.switch.ip(&format!("link set {port} master sw up"));
    }

    /// The kernel opens a port some time after its link is up.
    fn forwards(&self, port: &str) -> bool {
        let pid = self.switch.pid();
        run(&format!("nsenter --net --target {pid} bridge link show dev {port}"))
            .contains("state forwarding")
    }
}

// === impl Machine ===

impl Machine {
    /// A container with a macvlan on the node's `v0`.
    pub(super) fn sibling(addresses: &[std::net::IpAddr]) -> Self {
        let machine = Idle::in_new_namespace();
        let pid = machine.pid();
        run(&format!("ip link add link v0 name eth0 netns {pid} type macvlan mode bridge"));
        Self::furnished(machine, addresses)
    }

    /// A container on the node's bridge `br0`, by its port there.
    pub(super) fn on_port(port: &str, addresses: &[std::net::IpAddr]) -> Self {
        let machine = Idle::in_new_namespace();
        let pid = machine.pid();
        run(&format!("ip link add {port} type veth peer name eth0 netns {pid}"));
        run(&format!("ip link set {port} master br0 up"));
        let machine = Self::furnished(machine, addresses);
        wait_for("the bridge", || {
            run(&format!("bridge link show dev {port}")).contains("state forwarding")
        });
        machine
    }

    fn furnished(machine: Idle, addresses: &[std::net::IpAddr]) -> Self {
        machine.ip("link set eth0 up");
        let machine = Self(machine);
        for address in addresses {
            machine.add(*address, "nodad");
        }
        wait_for("the machine's link", || machine.run("ip -o link show eth0").contains("state UP"));
        machine
    }

    pub(super) fn add(&self, address: std::net::IpAddr, flags: &str) {
        let arguments = match address {
            std::net::IpAddr::V4(_) => format!("addr add {address}/24 dev eth0"),
            std::net::IpAddr::V6(_) => format!("addr add {address}/64 dev eth0 {flags}"),
        };
        self.0.ip(arguments.trim());
    }

    pub(super) fn run(&self, command: &str) -> String {
        run(&format!("nsenter --net --target {} {command}", self.0.pid()))
    }

    pub(super) fn mac(&self) -> Mac {
        let shown = self.run("ip -o link show eth0");
        let mac = shown.split("link/ether ").nth(1).unwrap().split(' ').next().unwrap();
        let bytes: Vec<u8> =
            mac.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        bytes.try_into().unwrap()
    }
}
