//! One run: create all, rebuild all at once, nodes off and on, delete all; then the API server by itself.

use std::time::{Duration, Instant};

use super::counters::Counters;
use super::floor::{self, Floor};
use super::kubelet::{Kubelets, Times, Width, each};
use super::plugin::Plugin;
use super::pods::{self, Pod};
use super::report::Report;
use super::scale::{Scale, Variant};
use super::usage::{Cpu, Memory, Sampler};
use super::world::World;
use super::{Built, rooms};

/// An ADD that takes longer than this waits for an address.
const WAITS_AFTER: Duration = Duration::from_millis(250);
/// For the informers of the allocators to hear of the last pods, before a phase begins.
const SETTLE: Duration = Duration::from_secs(1);

/// In which the kernel has ended namespaces that nothing uses any more: it does so on its own time.
const ENDING: Duration = Duration::from_secs(4);

/// What was measured of one phase.
#[derive(Debug)]
pub(crate) struct Phase {
    pub(crate) name: &'static str,
    pub(crate) took: Duration,
    pub(crate) adds: Times,
    pub(crate) dels: Times,
    pub(crate) calls: Counters,
    pub(crate) cpu: Cpu,
    pub(crate) failed_tries: usize,
    pub(crate) failures: usize,
    pub(crate) said: Vec<String>,
    /// Addresses that the API records otherwise than they were answered.
    pub(crate) differing: usize,
}

/// What was measured of one run.
pub(crate) struct Run {
    pub(crate) variant: Variant,
    pub(crate) pods: usize,
    pub(crate) phases: Vec<Phase>,
    /// As many processes of the plugin as there are pods, which ask nobody.
    pub(crate) plugin: Duration,
    /// What all cores are busy for when the kernel ends as many network namespaces.
    pub(crate) ends: Duration,
    pub(crate) floor: Floor,
    /// CPU of the API server and etcd while leases are created raw.
    pub(crate) floor_cpu: Cpu,
    pub(crate) memory: Memory,
    pub(crate) held_twice: Vec<String>,
    pub(crate) complaints: Vec<(String, usize)>,
}

/// What stood on the counters when a phase began.
struct Mark {
    calls: Counters,
    cpu: Cpu,
    began: Instant,
}

/// The cluster in the middle of the story.
struct Stage<'a> {
    scale: &'a Scale,
    world: World,
    kubelets: Kubelets,
    running: Vec<Pod>,
    generation: usize,
}

/// Plays one run, and tells the report.
pub(crate) fn tell(built: &Built, scale: &Scale, variant: Variant, report: &mut Report) {
    let world = World::start(built, scale, variant);
    let plugin = Plugin::new(built.plugin.clone(), &world.agent_folders());
    let sampler = Sampler::start(world.roles());
    let kubelets = Kubelets::new(plugin);
    let mut stage = Stage { scale, world, kubelets, running: Vec::new(), generation: 0 };
    let plugin = stage.plugin_alone();
    let ends = stage.ends_alone();
    let mut phases = vec![stage.create()];
    let client = stage.world.allocator_client();
    let template = stage.world.runtime.block_on(floor::template(&client));
    phases.push(stage.rebuild());
    phases.push(stage.off_and_on(&sampler));
    phases.push(stage.delete());
    stage.world.check();
    let (memory, complaints) = (sampler.stop(), stage.world.complaints());
    stage.world.stop_ours();
    let addresses = floor::addresses(scale.pods, variant.dual);
    let mark = Mark::take(&stage.world);
    let measured = floor::measure(&client, &template, addresses, scale.width);
    let floor = stage.world.runtime.block_on(measured);
    let floor_cpu = Cpu::read(&stage.world.roles()).since(&mark.cpu);
    let held_twice = stage.kubelets.ledger.held_twice();
    let complaints = complaints.into_iter().collect();
    let pods = scale.pods;
    report.take(Run {
        variant,
        pods,
        phases,
        plugin,
        ends,
        floor,
        floor_cpu,
        memory,
        held_twice,
        complaints,
    });
}

// === impl Mark ===

impl Mark {
    fn take(world: &World) -> Self {
        let (calls, cpu) = (world.counters(), Cpu::read(&world.roles()));
        Self { calls, cpu, began: Instant::now() }
    }

    fn end(self, name: &'static str, stage: &Stage<'_>, (adds, dels): (Times, Times)) -> Phase {
        let took = self.began.elapsed();
        let cpu = Cpu::read(&stage.world.roles()).since(&self.cpu);
        let calls = stage.world.counters().since(&self.calls);
        let (failed_tries, failures, said) = stage.kubelets.take_failures();
        let differing = stage.kubelets.ledger.differs_from(&stage.world.held());
        eprintln!("    {name}: {:.2} s", took.as_secs_f64());
        Phase { name, took, adds, dels, calls, cpu, failed_tries, failures, said, differing }
    }
}

// === impl Stage ===

impl Stage<'_> {
    fn strict(&self) -> Width {
        Width { at_once: self.scale.width, waits_after: None }
    }

    fn plugin_alone(&self) -> Duration {
        let calls = vec![(); self.scale.pods];
        each(&calls, self.strict(), |()| self.kubelets.plugin.version()).1
    }

    fn ends_alone(&self) -> Duration {
        let names: Vec<_> = (0..self.scale.pods).map(|number| format!("end-{number}")).collect();
        let roles = self.world.roles();
        let busy_while = |act: &dyn Fn()| {
            let before = Cpu::read(&roles);
            act();
            std::thread::sleep(ENDING);
            Cpu::read(&roles).since(&before).machine
        };
        rooms::make(names.iter().map(String::as_str));
        std::thread::sleep(SETTLE);
        let idle = busy_while(&|| ());
        let busy = busy_while(&|| names.iter().for_each(|name| rooms::end(name)));
        Duration::from_secs_f64((busy - idle).max(0.0) / cores())
    }

    /// The next pods, in random order, with or without the namespaces of their containers.
    fn next_pods(&mut self, with_rooms: bool) -> Vec<Pod> {
        let (client, runtime) = (self.world.client(), &self.world.runtime);
        let making = pods::make(&client, self.generation, self.scale.pods, &self.world.nodes);
        let mut made = runtime.block_on(making);
        self.generation += 1;
        shuffle(&mut made);
        if with_rooms {
            rooms::make(made.iter().map(|pod| pod.container.as_str()));
        }
        std::thread::sleep(SETTLE);
        made
    }

    /// What became of starts: who runs now, and how long each took.
    fn note_started(&mut self, started: Vec<Option<(Pod, Duration)>>) -> Times {
        let (running, times): (Vec<_>, Vec<_>) = started.into_iter().flatten().unzip();
        self.running = running;
        times.into_iter().collect()
    }

    fn create(&mut self) -> Phase {
        let new = self.next_pods(true);
        let mark = Mark::take(&self.world);
        let (started, _) = each(&new, self.strict(), |pod| self.kubelets.start(pod));
        let adds = self.note_started(started);
        mark.end("create all", self, (adds, Times::default()))
    }

    /// Old and new pods at once: an ADD finds the pool full until some DEL has come.
    fn rebuild(&mut self) -> Phase {
        let new = self.next_pods(true);
        let mut old = std::mem::take(&mut self.running);
        shuffle(&mut old);
        let client = self.world.client();
        self.world.runtime.block_on(pods::terminate(&client, &old));
        let half = self.scale.width.div_ceil(2);
        let stops = Width { at_once: half, waits_after: None };
        let starts = Width { at_once: half, waits_after: Some(WAITS_AFTER) };
        let mark = Mark::take(&self.world);
        let (started, stopped) = std::thread::scope(|scope| {
            let kubelets = &self.kubelets;
            let stopping = scope.spawn(|| each(&old, stops, |pod| kubelets.stop(pod)).0);
            let started = each(&new, starts, |pod| kubelets.start(pod)).0;
            (started, stopping.join().unwrap())
        });
        let adds = self.note_started(started);
        let phase =
            mark.end("rebuild all at once", self, (adds, stopped.into_iter().flatten().collect()));
        self.world.runtime.block_on(pods::remove(&client, &old));
        phase
    }

    /// Power is lost and comes back: no DEL comes for what ran, and other pods want all addresses.
    fn off_and_on(&mut self, sampler: &Sampler) -> Phase {
        let new = self.next_pods(false);
        let old = std::mem::take(&mut self.running);
        self.world.power_off();
        old.iter().for_each(|pod| rooms::end(&pod.container));
        self.kubelets.ledger.all_died();
        let client = self.world.client();
        self.world.runtime.block_on(pods::remove(&client, &old));
        rooms::make(new.iter().map(|pod| pod.container.as_str()));
        let mark = Mark::take(&self.world);
        self.world.power_on();
        sampler.follow(self.world.roles());
        let starts = Width { at_once: self.scale.width, waits_after: Some(WAITS_AFTER) };
        let (started, _) = each(&new, starts, |pod| self.kubelets.start(pod));
        let adds = self.note_started(started);
        mark.end("nodes off and on", self, (adds, Times::default()))
    }

    fn delete(&mut self) -> Phase {
        let mut old = std::mem::take(&mut self.running);
        shuffle(&mut old);
        let client = self.world.client();
        self.world.runtime.block_on(pods::terminate(&client, &old));
        std::thread::sleep(SETTLE);
        let mark = Mark::take(&self.world);
        let (stopped, _) = each(&old, self.strict(), |pod| self.kubelets.stop(pod));
        let dels = stopped.into_iter().flatten().collect();
        let phase = mark.end("delete all", self, (Times::default(), dels));
        self.world.runtime.block_on(pods::remove(&client, &old));
        phase
    }
}

pub(crate) fn cores() -> f64 {
    std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64)
}

impl Run {
    /// What an API server, the kernel and processes that ask nobody take to create all, and to rebuild all, if whoever
    /// allocates takes nothing: a rebuild replaces each row twice, runs the plugin twice, and ends the namespaces.
    pub(crate) fn floors(&self) -> (Duration, Duration) {
        let Floor { create, replace, .. } = &self.floor;
        (*create + self.plugin, 2 * (*replace + self.plugin) + self.ends)
    }
}

fn shuffle<T>(items: &mut [T]) {
    for last in (1..items.len()).rev() {
        let other = getrandom::u64().unwrap_or_default() % (last as u64 + 1);
        items.swap(last, other as usize);
    }
}
