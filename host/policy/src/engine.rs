//! The wasmtime engine: its settings, its pool of instances, and the one thread that makes time
//! pass for it.

use std::num::NonZeroUsize;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::bindings::imports::PolicyImports;
use crate::error::PolicyHostError;
use crate::guest::Guest;
use crate::limits::{CORE_INSTANCES, MEMORIES, MEMORY_MAX_BYTES, STACK_BYTES, TABLE_ELEMENTS};

/// Every so often the epoch grows. A deadline is exact to one tick.
const TICK: Duration = Duration::from_millis(10);
/// How long a decision waits for a free slot; calls take tens of microseconds, so a longer wait
/// means that the machine is starved.
const SLOT_WAIT: Duration = Duration::from_secs(1);
/// Memory of a slot that stays resident between two instances: more than the 192 KiB of a small
/// Rust guest, so that none of its pages is faulted in again (measured: 24 us without, 15 us with).
const KEEP_RESIDENT: usize = 256 << 10;

/// Functions of a trap that are told, where any are.
const STACK_FRAMES: usize = 64;

/// How instances get their memory, best first. The next is tried where address space is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// A pool with 4 GiB of address space per memory: no bounds checks in compiled code.
    Pool,
    /// A pool with as much address space as a policy may have memory: 12 % slower code.
    SmallPool,
    /// Memory is mapped for each instance: about 30 us more per decision.
    OnDemand,
}

/// Settings of the engine.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Decisions that run at once; more wait.
    pub slots: u32,
    /// A layout to use instead of the best that works.
    pub layout: Option<Layout>,
    /// Traps tell which functions they were in. For tools: it makes faults slower.
    pub stacks: bool,
}

/// The engine and what it needs to run.
pub(crate) struct Runtime {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<Guest>,
    pub(crate) layout: Layout,
    slots: Slots,
    _ticker: Ticker,
}

/// Counts the instances that live. The pool has room for so many; without the count, one more
/// would be a fault of a policy that did nothing wrong.
struct Slots {
    free: Mutex<u32>,
    freed: Condvar,
}

/// A place in the pool, given back on drop.
pub(crate) struct Slot<'a>(&'a Slots);

/// The thread that makes epochs grow. It ends when the value is dropped.
struct Ticker {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { slots: 64, layout: None, stacks: false }
    }
}

// === impl Runtime ===

impl Runtime {
    pub(crate) fn new(options: &EngineOptions) -> Result<Self, PolicyHostError> {
        let slots = options.slots.clamp(1, 1024);
        let (engine, layout) = best_engine(slots, options)?;
        let mut linker = Linker::new(&engine);
        PolicyImports::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest)
            .map_err(PolicyHostError::engine)?;
        let ticker = Ticker::start(&engine).map_err(PolicyHostError::Ticker)?;
        let slots = Slots { free: Mutex::new(slots), freed: Condvar::new() };
        Ok(Self { engine, linker, layout, slots, _ticker: ticker })
    }

    /// A place for one instance, or none if none came free in time.
    pub(crate) fn slot(&self) -> Option<Slot<'_>> {
        let until = Instant::now() + SLOT_WAIT;
        let mut free = self.slots.free.lock();
        while *free == 0 {
            if self.slots.freed.wait_until(&mut free, until).timed_out() {
                return None;
            }
        }
        *free -= 1;
        Some(Slot(&self.slots))
    }

    /// A deadline in ticks, rounded up, and one more because the present tick has begun already.
    pub(crate) fn ticks(deadline: Duration) -> u64 {
        u64::try_from(deadline.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u64::MAX - 1) + 1
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        *self.0.free.lock() += 1;
        self.0.freed.notify_one();
    }
}

fn best_engine(slots: u32, options: &EngineOptions) -> Result<(Engine, Layout), PolicyHostError> {
    let all = [Layout::Pool, Layout::SmallPool, Layout::OnDemand];
    let layouts = options.layout.map_or_else(|| all.to_vec(), |one| vec![one]);
    let mut last = None;
    for layout in layouts {
        let mut config = config(slots, layout);
        config.wasm_backtrace_max_frames(NonZeroUsize::new(if options.stacks {
            STACK_FRAMES
        } else {
            0
        }));
        match Engine::new(&config) {
            Ok(engine) => return Ok((engine, layout)),
            Err(error) => {
                tracing::warn!(?layout, %error, "no engine with this memory layout, trying the next");
                last = Some(error);
            }
        }
    }
    Err(last.map_or(PolicyHostError::NoLayout, PolicyHostError::engine))
}

/// An engine that compiles for others of this layout and holds no memory for instances.
pub(crate) fn compiling_engine(layout: Layout) -> wasmtime::Result<Engine> {
    let mut config = config(1, layout);
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    Engine::new(&config)
}

fn config(slots: u32, layout: Layout) -> Config {
    let mut config = Config::new();
    config.wasm_component_model(true);
    // Nothing here is async, and without it a call costs a third.
    config.concurrency_support(false);
    config.consume_fuel(true);
    config.epoch_interruption(true);
    config.max_wasm_stack(STACK_BYTES);
    // Replays must be exact: no NaN bits and no relaxed operations that differ between machines.
    config.cranelift_nan_canonicalization(true);
    config.wasm_relaxed_simd(false);
    config.wasm_memory64(false);
    // What components call between each other copies from memory to memory: without it the compiler panics on any that do.
    config.wasm_multi_memory(true);
    match layout {
        Layout::Pool | Layout::OnDemand => {
            config.memory_reservation(4 << 30).memory_guard_size(32 << 20)
        }
        Layout::SmallPool => {
            config.memory_reservation(MEMORY_MAX_BYTES as u64).memory_guard_size(64 << 10)
        }
    };
    if layout != Layout::OnDemand {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(slots)));
    }
    config
}

fn pool(slots: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(CORE_INSTANCES))
        .total_memories(slots.saturating_mul(MEMORIES))
        .total_tables(slots.saturating_mul(CORE_INSTANCES))
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(CORE_INSTANCES)
        .max_memory_size(MEMORY_MAX_BYTES)
        .table_elements(TABLE_ELEMENTS)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(64 << 10)
        // Only what an instance has touched is set back, where the kernel can tell (Linux 6.7).
        .pagemap_scan(Enabled::Auto)
        .max_unused_warm_slots(slots);
    pool
}

// === impl Ticker ===

impl Ticker {
    fn start(engine: &Engine) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        // Weak: the thread alone must not keep compiled code and the pool alive.
        let engine = engine.weak();
        let tick = move || {
            while stopped.recv_timeout(TICK) == Err(mpsc::RecvTimeoutError::Timeout) {
                let Some(engine) = engine.upgrade() else { return };
                engine.increment_epoch();
            }
        };
        let thread = std::thread::Builder::new().name("policy-epoch".into()).spawn(tick)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the ticker was already reported by the panic hook.
            let _ = thread.join();
        }
    }
}
