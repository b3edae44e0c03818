//! Fill to a level, measure there, go on to the next; at the last one restart the allocator that leads.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use tenure_lab::Daemon;

use super::alone;
use super::fleet::Fleet;
use super::gauge::Memory;
use super::pace::{self, Outcome};
use super::report::Report;
use super::size::Size;
use crate::cluster::Built;
use crate::cluster::counters::Counters;
use crate::cluster::floor;
use crate::cluster::pods::{self, Pod};
use crate::cluster::process::post;
use crate::cluster::usage::{Cpu, Roles};
use crate::cluster::world::World;

/// ADDs at once while a level is filled: as the API server likes it best.
const FILL_WIDTH: usize = 64;
/// Pods that are made in one go.
const BATCH: usize = 5_000;
/// Before a measurement begins: what follows a DEL is over after 5 s.
const SETTLE: Duration = Duration::from_secs(8);
/// At least one of the regular sweeps lies in it.
pub(super) const IDLE: Duration = Duration::from_secs(30);
/// So often the API server is asked for both lists, once nobody else asks it.
const LISTS: usize = 3;
const LOOK: Duration = Duration::from_millis(2);

/// What was measured at one level.
pub(crate) struct Level {
    pub(crate) leases: usize,
    pub(crate) pods: usize,
    pub(crate) took: Duration,
    pub(crate) adds: Outcome,
    pub(crate) dels: Outcome,
    pub(crate) cpu: Cpu,
    /// The same without a verb.
    pub(crate) idle: Cpu,
    pub(crate) calls: Counters,
    pub(crate) memory: BTreeMap<&'static str, Memory>,
    /// A sweep that was asked for, with the list of suspects that follows it.
    pub(crate) sweep: Duration,
}

/// What a restart took.
pub(crate) struct Restart {
    /// From the start of the process until its port is open.
    pub(crate) ready: Duration,
    /// Until all agents speak with it.
    pub(crate) connected: Duration,
    /// Until it was ready: of itself, and of the API server.
    pub(crate) cpu: Cpu,
    pub(crate) memory: Memory,
}

/// What the API server takes by itself.
pub(crate) struct Alone {
    pub(crate) leases: usize,
    pub(crate) creates: Outcome,
    pub(crate) replaces: Outcome,
    /// All leases and all pods: the median of some tries.
    pub(crate) lists: Duration,
}

struct Stage<'a> {
    size: &'a Size,
    world: World,
    fleet: Arc<Fleet>,
    running: Vec<Pod>,
    batches: usize,
}

/// Plays it, and tells the report.
pub(crate) fn tell(built: &Built, size: &Size, report: &mut Report) {
    let world = World::without_agents(built, size.nodes, Size::pools());
    let fleet = Arc::new(Fleet::start(&world));
    world.keep_node_leases();
    eprintln!(
        "  {} agents are connected; their code, TLS and tokens are real, the kernels of their nodes, kubelets and plugin processes are played",
        size.nodes
    );
    let mut stage = Stage { size, world, fleet, running: Vec::new(), batches: 0 };
    for leases in &size.levels {
        stage.fill(*leases);
        let level = stage.measure();
        stage.world.check();
        report.take_level(level, size);
    }
    let restart = stage.restart_leader();
    report.take_restart(&restart, stage.running.len());
    report.take_complaints(stage.world.complaints());
    report.take_alone(&stage.alone(), &restart, size);
}

// === impl Stage ===

impl Stage<'_> {
    fn next_pods(&mut self, mut count: usize) -> Vec<Pod> {
        let (client, mut made) = (self.world.client(), Vec::new());
        while count > 0 {
            let batch = count.min(BATCH);
            let making = pods::make(&client, self.batches, batch, &self.world.nodes);
            made.extend(self.world.runtime.block_on(making));
            self.batches += 1;
            count -= batch;
        }
        made
    }

    fn fill(&mut self, leases: usize) {
        let began = Instant::now();
        let new = self.next_pods(leases.saturating_sub(self.running.len()));
        let made = began.elapsed();
        let adds = stream::iter(&new).map(|pod| self.fleet.add(pod));
        let answers: Vec<_> =
            self.world.runtime.block_on(adds.buffer_unordered(FILL_WIDTH).collect());
        for answer in answers {
            answer.unwrap();
        }
        eprintln!(
            "  {leases} leases: {} pods made in {:.0} s, bound in {:.0} s",
            new.len(),
            made.as_secs_f64(),
            (began.elapsed() - made).as_secs_f64()
        );
        self.running.extend(new);
    }

    /// As many ADDs as DELs, each at its instant, those of one kind between those of the other.
    fn measure(&mut self) -> Level {
        let (leases, count) = (self.running.len(), self.size.adds());
        let coming = self.next_pods(count);
        shuffle(&mut self.running);
        self.running.extend(coming.iter().cloned());
        let going: Vec<_> = self.running.drain(..count).collect();
        std::thread::sleep(SETTLE);
        let roles = self.roles();
        let before = Cpu::read(&roles);
        std::thread::sleep(IDLE);
        let idle = Cpu::read(&roles).since(&before);
        let (calls, cpu, began) = (self.world.counters(), Cpu::read(&roles), Instant::now());
        let (adds, dels) = self.streams(&coming, &going);
        let took = began.elapsed();
        let cpu = Cpu::read(&roles).since(&cpu);
        let calls = self.world.counters().since(&calls);
        let pids = |role| roles.get(role).and_then(|pids| pids.first()).copied().unwrap();
        let memory =
            ["leader", "follower"].map(|role| (role, Memory::of(pids(role)))).into_iter().collect();
        let sweep = self.sweep();
        let pods = leases + count;
        Level { leases, pods, took, adds, dels, cpu, idle, calls, memory, sweep }
    }

    fn streams(&self, coming: &[Pod], going: &[Pod]) -> (Outcome, Outcome) {
        let apart = Duration::from_secs(1) / self.size.rate as u32;
        let (fleet, adds, dels) = (&self.fleet, coming.to_vec(), going.to_vec());
        let client = self.world.client();
        self.world.runtime.block_on(async {
            let begin = tokio::time::Instant::now() + apart;
            let adds = adds.into_iter().map(|pod| {
                let fleet = fleet.clone();
                async move { fleet.add(&pod).await }
            });
            let dels = dels.into_iter().map(|pod| {
                let (fleet, client) = (fleet.clone(), client.clone());
                async move {
                    let answer = fleet.del(&pod).await;
                    // As its kubelet does when all of it has ended; nobody waits for that.
                    tokio::spawn(async move { pods::remove_one(client, pod).await });
                    answer
                }
            });
            tokio::join!(
                pace::stream(begin, apart, adds),
                pace::stream(begin + apart / 2, apart, dels)
            )
        })
    }

    /// The number of the allocator that leads.
    fn leader(&self) -> usize {
        let port = self.fleet.leader().unwrap().to_string();
        self.world.allocators.iter().position(|allocator| allocator.port() == port).unwrap()
    }

    fn roles(&self) -> Roles {
        let leader = self.leader();
        let pid = |number: usize| {
            let daemon = self.world.allocators.get(number).and_then(|a| a.daemon.as_ref());
            daemon.map(Daemon::pid).into_iter().collect::<Vec<_>>()
        };
        let mut roles = self.world.roles();
        roles.insert("leader", pid(leader));
        roles.insert("follower", pid(1 - leader));
        roles.remove("allocators");
        roles.remove("agents");
        roles
    }

    fn sweep(&self) -> Duration {
        let socket = self.world.allocators[self.leader()].folder.join("admin.sock");
        let began = Instant::now();
        let answer = post(&socket, "/v1/reclaim");
        let took = began.elapsed();
        assert!(answer["reclaimed"].is_array(), "{answer}");
        took
    }

    /// Creates and replaces straight at the API server, once all of ours are gone.
    fn alone(self) -> Alone {
        let Self { size, mut world, fleet, running, .. } = self;
        let client = world.allocator_client();
        let template = world.runtime.block_on(floor::template(&client));
        {
            let _inside = world.runtime.enter();
            drop(fleet);
        }
        world.stop_ours();
        std::thread::sleep(SETTLE);
        let mut lists = [(); LISTS].map(|()| world.runtime.block_on(alone::lists(&client)));
        lists.sort_unstable();
        let (creates, replaces) =
            world.runtime.block_on(alone::measure(&client, &template, size.rate));
        Alone { leases: running.len(), creates, replaces, lists: lists[LISTS / 2] }
    }

    /// The leader is killed, and starts again.
    fn restart_leader(&mut self) -> Restart {
        let number = self.leader();
        let allocator = &mut self.world.allocators[number];
        let port: u16 = allocator.port().parse().unwrap();
        allocator.daemon = None;
        let _ = std::fs::remove_file(allocator.folder.join("admin.sock"));
        let before = Cpu::read(&self.world.roles());
        let allocator = &mut self.world.allocators[number];
        let began = Instant::now();
        allocator.launch();
        until(&allocator.folder, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        let ready = began.elapsed();
        let mut roles = self.world.roles();
        let started = self.world.allocators[number].daemon.as_ref().map(Daemon::pid);
        roles.insert("started", started.into_iter().collect());
        let cpu = Cpu::read(&roles).since(&before);
        self.fleet.until_connected(false);
        let connected = began.elapsed();
        std::thread::sleep(SETTLE);
        let allocator = &self.world.allocators[number];
        allocator.check();
        let memory = Memory::of(allocator.daemon.as_ref().map(Daemon::pid).unwrap());
        Restart { ready, connected, cpu, memory }
    }
}

fn until(folder: &Path, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !done() {
        assert!(Instant::now() < deadline, "{} does not get ready", folder.display());
        std::thread::sleep(LOOK);
    }
}

fn shuffle<T>(items: &mut [T]) {
    for last in (1..items.len()).rev() {
        let other = getrandom::u64().unwrap_or_default() % (last as u64 + 1);
        items.swap(last, other as usize);
    }
}
