//! Does what the steps say, and knows what every container was told.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use super::rules::name;
use super::steps::{ALLOCATORS, NODE, SLOTS, Step, Upset, Verb};
use crate::lab::{Answer, ip, until};
use crate::world::{Call, Cluster};

/// Of each family.
pub const ADDRESSES: usize = 6;
/// A step waits at most so long for a node to be given up, and for its return.
const LOST_AFTER: Duration = Duration::from_secs(10);

pub struct Run {
    pub cluster: Cluster,
    /// In each place one, or none.
    pub slots: Vec<Option<Container>>,
    /// Deleted, or ended without it: their namespaces may live on.
    pub gone: Vec<Container>,
    /// Containers that there have been.
    count: usize,
}

/// A container, and the pod of its name.
#[derive(Debug, Clone)]
pub struct Container {
    pub name: String,
    uid: String,
    /// What its last ADD was answered with, and no DEL was called since.
    pub told: Option<BTreeSet<IpAddr>>,
    /// Its namespace exists.
    pub lives: bool,
    /// Its pod stands in the API.
    in_api: bool,
}

// === impl Run ===

impl Run {
    pub fn start() -> Self {
        let cluster = Cluster::start(ALLOCATORS, &[NODE]);
        cluster.pool(
            "p",
            json!({"cidr": "10.6.0.0/24", "ranges": ["10.6.0.1-10.6.0.6"], "cooldown": "0s"}),
        );
        cluster.pool(
            "q",
            json!({"cidr": "fd06::/64", "ranges": ["fd06::1-fd06::6"], "cooldown": "0s"}),
        );
        Self { cluster, slots: vec![None; SLOTS], gone: Vec::new(), count: 0 }
    }

    pub fn step(&mut self, step: &Step) {
        let calls: Vec<(usize, Verb, Call)> =
            step.verbs.iter().filter_map(|(slot, verb)| self.prepare(*slot, *verb)).collect();
        let answers: Vec<(usize, Verb, Answer)> = std::thread::scope(|scope| {
            let running: Vec<_> = calls
                .into_iter()
                .map(|(slot, verb, call)| (slot, verb, scope.spawn(move || call.run())))
                .collect();
            std::thread::sleep(step.after);
            self.upset(step.upset);
            running
                .into_iter()
                .map(|(slot, verb, call)| (slot, verb, call.join().unwrap()))
                .collect()
        });
        for (slot, verb, answer) in answers {
            self.answered(slot, verb, &answer);
        }
        if step.upset == Upset::Silence {
            self.return_of_the_node();
        }
        self.check();
        self.leave();
    }

    fn prepare(&mut self, slot: usize, verb: Verb) -> Option<(usize, Verb, Call)> {
        if verb == Verb::Add && self.slots[slot].is_none() {
            self.slots[slot] = Some(self.create());
        }
        let of = match verb {
            Verb::Add => self.slots[slot].as_ref(),
            Verb::Del => self.slots[slot].as_ref(),
            Verb::LateDel => self.gone.iter().rev().nth(slot),
        }?;
        let name = if verb == Verb::Add { "ADD" } else { "DEL" };
        let call = of.call(name, &self.cluster);
        if let (Verb::Del, Some(container)) = (verb, &mut self.slots[slot]) {
            // From the call on, nothing is promised any more.
            container.told = None;
        }
        Some((slot, verb, call))
    }

    /// A pod with its namespace.
    pub fn create(&mut self) -> Container {
        let name = format!("c{}", self.count);
        self.count += 1;
        crate::lab::netns(&name);
        let uid = self.cluster.pod(NODE, &name);
        Container { name, uid, told: None, lives: true, in_api: true }
    }

    fn answered(&mut self, slot: usize, verb: Verb, answer: &Answer) {
        match verb {
            Verb::LateDel => drop(answer.ok()),
            Verb::Del => {
                answer.ok();
                let container = self.slots[slot].take().unwrap();
                self.gone.push(container);
            }
            Verb::Add if answer.exit == 0 => {
                let container = self.slots[slot].as_mut().unwrap();
                container.take(answer);
            }
            Verb::Add => {
                let code = answer.code();
                assert!(matches!(code, 5 | 11), "ADD fails in an orderly way: {answer:?}");
            }
        }
    }

    fn upset(&mut self, upset: Upset) {
        match upset {
            Upset::Nothing => {}
            Upset::KillAgent => {
                self.cluster.agents.get_mut(NODE).unwrap().kill();
                self.cluster.start_agent(NODE);
            }
            Upset::KillAllocator(number) => self.kill_allocator(number),
            Upset::KillLeader => self.kill_allocator(self.cluster.leader()),
            Upset::StopApi(time) => {
                self.signal_api(Signal::STOP);
                std::thread::sleep(time);
                self.signal_api(Signal::CONT);
            }
            Upset::ForceDelete(slot) => {
                if let Some(container) = &mut self.slots[slot] {
                    container.force_delete(&self.cluster);
                }
            }
            Upset::End(slot) => {
                if let Some(mut container) = self.slots[slot].take() {
                    container.end(&self.cluster);
                    self.gone.push(container);
                }
            }
            Upset::Silence => self.silence(),
        }
    }

    fn kill_allocator(&mut self, number: usize) {
        self.cluster.allocators[number].kill();
        self.cluster.start_allocator(number);
    }

    fn signal_api(&mut self, signal: Signal) {
        self.cluster.server().server().unwrap().signal(signal);
    }

    fn silence(&mut self) {
        self.signal_agent(Signal::STOP);
        for container in self.slots.iter_mut().flatten() {
            container.force_delete(&self.cluster);
        }
        // Some are quarantined by now, others on their way to it.
        std::thread::sleep(LOST_AFTER + Duration::from_secs(3));
    }

    fn return_of_the_node(&mut self) {
        self.signal_agent(Signal::CONT);
        until("its holders have their addresses again", || {
            let leases = self.cluster.leases();
            let is_bound = |address: &IpAddr| {
                leases.get(&name(*address)).is_some_and(|lease| lease["state"] == "Bound")
            };
            self.slots.iter().flatten().filter_map(|one| one.told.as_ref()).flatten().all(is_bound)
        });
    }

    fn signal_agent(&self, signal: Signal) {
        self.cluster.agents[NODE].daemon.as_ref().unwrap().signal(signal);
    }

    /// The namespaces of those that were deleted two steps ago and earlier end.
    fn leave(&mut self) {
        let keep = self.gone.len().saturating_sub(2);
        for container in &mut self.gone[..keep] {
            container.end(&self.cluster);
        }
    }
}

// === impl Container ===

impl Container {
    /// Takes the answer of an ADD: the main plugin puts it on a link.
    fn take(&mut self, answer: &Answer) {
        let told: BTreeSet<IpAddr> = answer.addresses().into_iter().collect();
        let families: BTreeSet<bool> = told.iter().map(IpAddr::is_ipv4).collect();
        assert_eq!((told.len(), families.len()), (2, 2), "I3: all families: {answer:?}");
        match &self.told {
            Some(before) => assert_eq!(*before, told, "I4: the same answer for {}", self.name),
            None => self.bring_up(&told),
        }
        self.told = Some(told);
    }

    fn bring_up(&self, addresses: &BTreeSet<IpAddr>) {
        let ns = self.name.as_str();
        ip(&["-n", ns, "link", "add", "eth0", "type", "veth", "peer", "name", "other"]);
        for address in addresses {
            let with_length = format!("{address}/{}", if address.is_ipv4() { 24 } else { 64 });
            let more: &[&str] = if address.is_ipv4() { &[] } else { &["nodad"] };
            let add = ["-n", ns, "addr", "add", &with_length, "dev", "eth0"];
            ip(&[&add, more].concat());
        }
        ip(&["-n", ns, "link", "set", "eth0", "up"]);
    }

    pub fn end(&mut self, cluster: &Cluster) {
        if std::mem::take(&mut self.lives) {
            cluster.end(&self.name);
        }
    }

    pub fn force_delete(&mut self, cluster: &Cluster) {
        if std::mem::take(&mut self.in_api) {
            cluster.force_delete(&self.name);
        }
    }

    pub fn call(&self, verb: &str, cluster: &Cluster) -> Call {
        cluster.plugin_call(verb, NODE, &self.name, &self.uid)
    }
}
