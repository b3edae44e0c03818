//! The machine that runs a history: the real engine in a process of its own, everything around it moved by hand, and the
//! model beside it.
//!
//! ```text
//! step: timers -> the operation -> everybody runs until all wait -> log, answers, counts against the model -> trace
//! ```
//!
//! One thread, paused time, `Options::inline`: the same operations give the same steps. Only what an operation itself
//! does changes the world around the engine, so within a step that world stands still.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tenure_core::lease::NodeRef;
use tenure_engine::{AddAnswer, Engine, Options, Ports, SpoolInstant};
use tenure_sim::{FakeKernel, FakePolicies, FakeWire, Gate, HandClock, MemoryDisk, SimStore};
use tenure_store::{MemoryStore, RedbOptions, RedbStore, Store, read_export};
use tokio::runtime::{Builder, Runtime};

use crate::cast::{FIRST_SHAPES, PLACES, addresses, key, shape};
use crate::model::Model;
use crate::ops::{Op, Ranking, Wish};
use crate::trace::Trace;
use crate::world::{Answer, Breach, Call, Check, Env, Flight, Pools, Written, breach};

/// Small, so that rows are forgotten.
pub const ROWS_KEPT: usize = 3;
/// So many turns without anything happening at the store: everybody waits. The longest way between two calls of the
/// store is a handful of jobs.
const IDLE_TURNS: u32 = 16;
/// Calls under way at most; further ones do nothing.
pub const MOST_FLIGHTS: usize = 8;

/// The engine of the store behind.
#[derive(Debug, Clone)]
pub enum Backing {
    Memory,
    Redb(MemoryDisk),
    /// Any other one, by what opens it: at first it is empty.
    #[allow(dead_code, reason = "`kube/tests/model` runs these histories over its own store")]
    Other(Open),
}

/// Opens a store, again and again.
#[derive(Clone)]
pub struct Open(pub Arc<dyn Fn() -> Arc<dyn Store> + Send + Sync>);

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Open")
    }
}

/// What is so for some more steps.
#[derive(Debug, Default)]
pub struct Timers {
    pub hold: u8,
    pub reads: u8,
    pub silent: u8,
    pub deaf: u8,
    pub unsure: Vec<(u64, u8)>,
}

pub struct Machine {
    pub clock: Arc<HandClock>,
    pub kernel: Arc<FakeKernel>,
    pub policies: Arc<FakePolicies>,
    pub wire: Arc<FakeWire>,
    pub store: Arc<SimStore>,
    /// The same, as each process is given them.
    ports: Ports,
    pub backing: Backing,
    pub process: Process,
    pub processes: u64,
    pub boots: u64,
    pub model: Model,
    pub flights: Vec<Flight>,
    /// Calls that have begun.
    pub calls: u64,
    /// The life of the store of which it was last known what is alive, as the daemon keeps it for the boot.
    pub mark: u64,
    pub timers: Timers,
    pub exported: Option<(Vec<u8>, Rc<Pools>)>,
    pub spool: VecDeque<(u8, SpoolInstant)>,
    /// Namespaces without a path, kept by something.
    pub kept: Vec<u64>,
    pub trace: Trace,
}

/// A daemon.
pub struct Process {
    pub engine: Arc<Engine>,
    pub runtime: Runtime,
}

// === impl Machine ===

impl Machine {
    pub fn new(backing: Backing, trace: Trace) -> Check<Self> {
        let (clock, kernel) = (Arc::new(HandClock::default()), Arc::new(FakeKernel::default()));
        let policies = Arc::new(FakePolicies::default());
        let store = Arc::new(SimStore::new(open(&backing), clock.clone()));
        let wire = Arc::new(FakeWire::default());
        let ports = Ports {
            store: store.clone(),
            policies: policies.clone(),
            kernel: kernel.clone(),
            wire: Some(wire.clone()),
            clock: clock.clone(),
        };
        let process = start(ports.clone(), 1, None)?;
        let env = Env {
            times: clock.times(),
            pools: Rc::default(),
            epoch: store.identity().epoch.0,
            verdict: *policies.verdict.lock(),
            silent: false,
            unsure: BTreeSet::new(),
            lacking: false,
            deaf: false,
            foreign: Rc::default(),
            linked: Rc::default(),
        };
        let mark = env.epoch;
        let model = Model::new(kernel.clone(), env, boot_name(1));
        let mut machine = Self {
            clock,
            kernel,
            policies,
            wire,
            store,
            ports,
            backing,
            process,
            processes: 1,
            boots: 1,
            model,
            flights: Vec::new(),
            calls: 0,
            mark,
            timers: Timers::default(),
            exported: None,
            spool: VecDeque::new(),
            kept: Vec::new(),
            trace,
        };
        machine.first_pools()?;
        Ok(machine)
    }

    pub fn first_pools(&mut self) -> Check {
        let shapes = FIRST_SHAPES.map(shape);
        let objects = PLACES.iter().zip(&shapes).map(|(place, shape)| place.object(shape));
        let engine = self.process.engine.clone();
        let applied = self.process.runtime.block_on(engine.apply(objects.collect(), false));
        if let Err(error) = applied {
            breach!("the first pools were refused: {error}");
        }
        let pools = shapes.map(|shape| Some(Written { shape, leaving: false }));
        self.model.set_pools(|written| written.pools = pools);
        Ok(())
    }

    /// One step of the history.
    pub fn step(&mut self, op: &Op) -> Check {
        self.tick();
        let failed = self.store.failed();
        let promised = self.served_soon(op);
        self.act(op)?;
        self.observe();
        self.wire.set_all(self.model.on_wire());
        // It looks at once, unless it has to write what a census found first, or to wait for another sweep.
        let free = self.timers.hold == 0 && !self.model.doubt && !self.store.will_fail();
        for flight in self.flights.iter().filter(|flight| matches!(flight.call, Call::Sweep)) {
            match flight.is_new && flight.alone {
                true => self.model.sweep_looks(free),
                false => self.model.late_looks(),
            }
        }
        self.run();
        let failed = self.store.failed() != failed;
        self.unsettle(failed);
        self.absorb()?;
        self.collect(op)?;
        self.in_line(failed, &promised)?;
        self.check()?;
        self.trace.note(op, &self.model);
        Ok(())
    }

    /// What lasts for some steps comes to its end.
    fn tick(&mut self) {
        let ends = |left: &mut u8| {
            *left = left.saturating_sub(1);
            *left == 0
        };
        if ends(&mut self.timers.hold) {
            self.store.set_gate(Gate::Open);
        }
        if ends(&mut self.timers.reads) {
            self.store.fail_reads(false);
        }
        if ends(&mut self.timers.silent) {
            self.kernel.be_silent(false);
        }
        if ends(&mut self.timers.deaf) {
            self.wire.be_blind(false);
        }
        let kernel = self.kernel.clone();
        self.timers.unsure.retain_mut(|(cookie, left)| {
            let over = ends(left);
            if over {
                kernel.be_unsure(*cookie, false);
            }
            !over
        });
    }

    /// The model, and whoever is under way, see what is true now.
    pub fn observe(&mut self) {
        let env = &mut self.model.env;
        env.times = self.clock.times();
        env.verdict = *self.policies.verdict.lock();
        env.silent = self.kernel.is_silent();
        env.unsure = self.timers.unsure.iter().map(|(cookie, _)| *cookie).collect();
        env.lacking = env.unsure.iter().any(|cookie| self.kernel.is_alive(*cookie));
        env.deaf = self.timers.deaf > 0;
        self.model.links_now();
        self.model.census_may_be();
        self.model.retentions();
        for flight in &mut self.flights {
            flight.see(&self.model.env);
        }
    }

    /// Everybody runs until all have ended or wait for the world.
    pub fn run(&mut self) {
        let (store, flights) = (&self.store, &self.flights);
        self.process.runtime.block_on(async {
            let (mut idle, mut seen) = (0, store.activity());
            while idle < IDLE_TURNS {
                tokio::task::yield_now().await;
                let now = store.activity();
                idle = if now == seen { idle + 1 } else { 0 };
                seen = now;
                let ended = flights.iter().all(|f| f.task.is_finished()) && store.is_idle();
                if ended && idle >= 2 {
                    break;
                }
            }
        });
        self.store.set_noise(None);
    }

    /// Time passes: on the clocks, and for whoever sleeps.
    pub fn pass(&mut self, time: Duration) {
        self.clock.pass(time);
        self.process.runtime.block_on(tokio::time::advance(time));
    }

    /// Whoever was disturbed has seen, or read, more than can be followed from outside.
    fn unsettle(&mut self, failed: bool) {
        if self.timers.reads > 0 {
            self.model.doubt = true;
        }
        if failed || self.timers.reads > 0 {
            self.flights.iter_mut().for_each(|flight| flight.alone = false);
        }
        if failed || self.flights.iter().any(|flight| !flight.alone) {
            self.model.unsettle();
        }
    }

    pub fn absorb(&mut self) -> Check {
        for event in self.store.take_log() {
            self.model.absorb(event, &mut self.flights)?;
        }
        if self.flights.iter().any(Flight::is_new_sweep) {
            // It may have looked at what was bound meanwhile, too.
            self.model.late_looks();
        }
        Ok(())
    }

    /// Takes the answers of those that have ended.
    pub fn collect(&mut self, op: &Op) -> Check {
        let (ended, open): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.flights).into_iter().partition(|f| f.task.is_finished());
        self.flights = open;
        self.model.nobody_is_overtaken(&self.flights, &ended, op)?;
        for mut flight in ended {
            if flight.hung_up {
                // A write that has begun goes on without its caller; whether it still does, the store knows.
                if !self.store.is_idle() {
                    self.flights.push(flight);
                }
                continue;
            }
            let answer = match self.process.runtime.block_on(&mut flight.task) {
                Ok(answer) => answer,
                Err(error) => breach!("{:?} panicked: {error}", flight.call),
            };
            self.trace.answer(&flight.call, &answer);
            self.model.answered(&flight, &answer)?;
            self.follow(&flight, &answer);
        }
        for flight in &mut self.flights {
            (flight.alone, flight.is_new) = (false, false);
            flight.fresh.clear();
        }
        Ok(())
    }

    /// Whoever waits for an address, and could have it from now on, if nothing but time passes in this step.
    fn served_soon(&self, op: &Op) -> Vec<u64> {
        let Op::Pass { ms: 100.. } = op else { return Vec::new() };
        let may_wait =
            |flight: &&Flight| matches!(&flight.call, Call::Add(call) if call.add.wait_s > 0);
        // Whoever is behind another one waits for it, too.
        let first = self.flights.iter().find(may_wait).filter(|flight| flight.waits.is_some());
        let could = first.filter(|flight| self.model.could_be_served(flight));
        could.map(|flight| flight.number).into_iter().collect()
    }

    /// Who stands in line, and that nobody does so in vain. `promised`: who could have been served all along.
    fn in_line(&mut self, failed: bool, promised: &[u64]) -> Check {
        let calm = !failed && self.timers.hold == 0 && self.timers.reads == 0;
        if !calm || !self.store.is_idle() || self.model.doubt {
            self.flights.iter_mut().for_each(|flight| flight.waits = None);
            return Ok(());
        }
        let mono = self.model.env.times.mono;
        for flight in &self.flights {
            let (Call::Add(call), Some(since)) = (&flight.call, flight.waits) else { continue };
            if mono >= since + call.wait_ms() {
                breach!("I12: {} waits beyond its time", call.request.attachment);
            }
            if promised.contains(&flight.number) && self.model.could_be_served(flight) {
                breach!("I6: {} waits, and what it needs is free", call.request.attachment);
            }
        }
        for nth in 0..self.flights.len() {
            let stands = self.stands_in_line(nth);
            let flight = &mut self.flights[nth];
            flight.waits = stands.then_some(flight.waits.unwrap_or(mono));
        }
        Ok(())
    }

    /// Nothing else than the lack of an address can keep this call.
    fn stands_in_line(&self, nth: usize) -> bool {
        let flight = &self.flights[nth];
        let Call::Add(call) = &flight.call else { return false };
        let request = &call.request;
        let apart = |other: &Flight| match &other.call {
            Call::Add(other) => {
                other.request.attachment != request.attachment
                    && !other.request.owner.is_same(&request.owner)
            }
            Call::Del(other) => other.attachment != request.attachment,
            _ => false,
        };
        let mut others = self.flights.iter().filter(|other| other.number != flight.number);
        let may_wait = !flight.hung_up && call.add.wait_s > 0 && call.add.wish == Wish::None;
        may_wait && call.add.ranking == Ranking::Usual && others.all(apart)
    }

    /// What happens in the world because of an answer: the main plugin sets the links.
    fn follow(&mut self, flight: &Flight, answer: &Answer) {
        if matches!((&flight.call, answer), (Call::Sweep, Answer::Sweep(Ok(_)))) && flight.alone {
            self.model.doubt = false;
            self.model.unsettled &= self.model.may_lack() || self.model.went_back;
        }
        if let (Call::Add(call), Answer::Add(Ok(_))) = (&flight.call, answer)
            && call.add.link
        {
            self.link(&call.request.attachment);
            if let (true, Answer::Add(Ok(answer)), Some(cookie)) =
                (flight.imported, answer, call.cookie)
            {
                self.link_unknown(cookie, answer);
            }
        }
    }

    /// An answer from before an import: its container uses it, whatever the store knows.
    fn link_unknown(&mut self, cookie: u64, answer: &AddAnswer) {
        for granted in answer.addresses.iter().filter(|_| self.kernel.is_alive(cookie)) {
            let pool = PLACES.iter().position(|place| place.name == granted.pool.as_str());
            let at = addresses(pool.unwrap()).find(|at| key(*at).address == granted.address.addr());
            let at = at.unwrap();
            self.kernel.set_link(cookie, key(at).address, true);
            self.model.set_link(cookie, at, true);
            self.model.lose_link(cookie, at);
        }
    }

    /// The addresses of an attachment stand on its links.
    pub fn link(&mut self, attachment: &tenure_core::lease::Attachment) {
        let Some(claim) = self.model.claims.get(attachment).cloned() else { return };
        let Some(cookie) = claim.cookie.filter(|cookie| self.kernel.is_alive(*cookie)) else {
            return;
        };
        for at in claim.addresses {
            self.kernel.set_link(cookie, key(at).address, true);
            self.model.set_link(cookie, at, true);
        }
    }

    fn check(&mut self) -> Check {
        self.model.promises()?;
        if self.process.engine.knows_what_lives() {
            self.mark = self.model.env.epoch;
        }
        let counters = self.process.engine.counters();
        if counters.breaches_i1.get() + counters.breaches_i10.get() > 0 {
            breach!("the engine itself saw a breach");
        }
        let views = self.process.engine.pools().map_err(|e| Breach(format!("no counts: {e}")))?;
        self.model.pools_left(&views)?;
        if self.flights.is_empty() && self.store.is_idle() && !self.model.doubt {
            self.model.counts_agree(&views)?;
        }
        self.trace.counts(&views);
        Ok(())
    }

    /// The daemon, and what it had in memory, is gone; another one starts.
    pub fn restart(&mut self, sent: bool, reboot: bool, back: bool) -> Check {
        self.process.end();
        self.store.crash(sent);
        self.absorb()?;
        self.flights.clear();
        self.timers.hold = 0;
        self.processes += 1;
        if reboot {
            self.boots += 1;
            self.kernel.reboot();
            self.clock.reboot();
            self.kept.clear();
            self.timers.unsure.clear();
            self.model.rebooted(boot_name(self.boots));
        }
        const ORIGINS: [u64; 3] = [1_000, 50_000_000, 0];
        self.clock.restart_process(ORIGINS[self.processes as usize % ORIGINS.len()]);
        if !matches!(self.backing, Backing::Memory) {
            let backing = self.backing.clone();
            self.store.reopen(|| open(&backing));
        }
        self.observe();
        if let Some((text, pools)) = self.exported.as_ref().filter(|_| back) {
            self.model.restoring = Some(pools.clone());
            self.store.restore(read_export(&mut &text[..]).unwrap()).unwrap();
            self.absorb()?;
        }
        let went_back = self.went_back(reboot);
        self.model.went_back = went_back.is_some();
        self.process = start(self.ports.clone(), self.boots, went_back)?;
        self.model.env.epoch = self.store.identity().epoch.0;
        // Nothing of an earlier boot lives.
        self.model.strict &= !reboot;
        self.observe();
        self.model.restarted();
        self.remembers()
    }

    /// As the daemon does it: the store is an older one than was seen in this boot, or a new one of which it was not
    /// found out yet what is alive. Then it begins a new life.
    fn went_back(&self, reboot: bool) -> Option<String> {
        let back = !reboot && self.store.identity().epoch.0 != self.mark;
        if back {
            self.process.runtime.block_on(self.store.raise_epoch()).unwrap();
        }
        back.then(|| "the store went back".to_owned())
    }

    /// What was durable is there, and what was answered is still answered for.
    fn remembers(&mut self) -> Check {
        let mut rows = Vec::new();
        let read = self.store.scan(&mut |row| rows.push(row.lease));
        read.map_err(|error| Breach(format!("the store cannot be read: {error}")))?;
        let known = self.model.rows.values().map(|known| &known.lease);
        if rows.len() != self.model.rows.len() || !known.clone().all(|lease| rows.contains(lease)) {
            breach!("I2: after a restart the store holds something else");
        }
        if self.timers.reads > 0 {
            return Ok(());
        }
        for (attachment, claim) in &self.model.claims {
            let addresses = claim.addresses.iter().map(|at| key(*at).address).collect();
            let request = tenure_engine::CheckRequest {
                attachment: attachment.clone(),
                node: None,
                addresses,
            };
            let held = self.model.held_by(attachment).count() == claim.addresses.len();
            let check = self.process.runtime.block_on(self.process.engine.check(request));
            let whole = self
                .model
                .held_by(attachment)
                .all(|(_, known)| known.lease.families.iter().count() == claim.addresses.len());
            if held && whole && check.is_err() {
                breach!("I2: {attachment} lost its addresses over a restart: {check:?}");
            }
        }
        Ok(())
    }
}

// === impl Process ===

impl Process {
    /// Dies on the spot: whatever was under way ends where it stood.
    fn end(&mut self) {
        let runtime = Builder::new_current_thread().build().unwrap();
        drop(std::mem::replace(&mut self.runtime, runtime));
    }
}

pub fn boot_name(boot: u64) -> String {
    format!("boot-{boot}")
}

fn open(backing: &Backing) -> Arc<dyn Store> {
    match backing {
        Backing::Memory => Arc::new(MemoryStore::new()),
        Backing::Redb(disk) => {
            let options = RedbOptions { cache_bytes: 1024 * 1024, ..RedbOptions::default() };
            Arc::new(RedbStore::open_on(disk.clone(), &options).unwrap())
        }
        Backing::Other(open) => open.0(),
    }
}

fn start(ports: Ports, boot: u64, went_back: Option<String>) -> Check<Process> {
    let node = NodeRef {
        name: "node".into(),
        uid: "".into(),
        agent: "agent".into(),
        boot: boot_name(boot).into(),
    };
    let options = Options { rows_kept: ROWS_KEPT, inline: true, went_back, ..Options::new(node) };
    let engine = Engine::start(ports, options);
    let engine = engine.map_err(|error| Breach(format!("the engine does not start: {error}")))?;
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    Ok(Process { engine, runtime })
}
