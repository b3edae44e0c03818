//! From a component to machine code: who compiles it, what that may cost, and where the code is kept.
//!
//! ```text
//! component(digest, bytes): kept code? -> MAC right? -> loaded
//!                           else: compiler (a child process, or a thread for tools) -> kept -> loaded
//! ```
//!
//! Compiled code is native code: whoever writes it rules the daemon. It is taken from two places only, the cache of this
//! node, whose files carry a MAC by a key of this node, and the pipe of the compiler that was started a moment ago; never
//! from a registry, an object or a file that somebody names. The child bounds what compiling costs, and has no
//! rights; against a defect of the compiler that makes wrong code it is no wall, for that code runs in the daemon.

mod cache;
mod child;
mod confine;
mod thread;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tenure_core::name::Digest;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::engine::Runtime;
use crate::error::PolicyHostError;

pub use worker::compile_for_parent;

use cache::CodeCache;

/// The largest code that is taken: some 15 times the largest component.
const CODE_BYTES: usize = 64 << 20;

/// Who compiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compiler {
    /// A thread of this process. For tools and tests: a compilation cannot be interrupted, and its memory is that of the
    /// process.
    Thread,
    /// A process of its own, `PROGRAM compile-policy ORDER`, which must hand the order to [`compile_for_parent`].
    Child {
        /// The program; the daemon names itself.
        program: PathBuf,
        /// What it may use.
        bounds: CompileBounds,
    },
}

/// What compiling one component may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileBounds {
    /// Address space in bytes.
    pub memory: u64,
    /// Processor time, rounded up to seconds.
    pub cpu: Duration,
    /// Time on the clock; then the process is killed.
    pub wall: Duration,
    /// Bytes of code.
    pub code: usize,
}

/// Where compiled code comes from.
pub(crate) struct Code {
    compiler: Compiler,
    cache: Option<CodeCache>,
    /// A compilation runs on a thread.
    busy: Arc<AtomicBool>,
}

impl Default for CompileBounds {
    /// Figures of a component of 4 MiB, twice over.
    fn default() -> Self {
        Self {
            memory: 1 << 30,
            cpu: Duration::from_secs(40),
            wall: Duration::from_secs(60),
            code: CODE_BYTES,
        }
    }
}

// === impl Code ===

impl Code {
    /// Code is kept below `state`, if there is such a folder; a cache that cannot be had costs time only.
    pub(crate) fn new(compiler: Compiler, state: Option<&Path>, engine: &Engine) -> Self {
        let open = |state: &Path| match CodeCache::open(state, engine) {
            Ok(cache) => Some(cache),
            Err(error) => {
                let folder = state.display();
                tracing::warn!(%folder, %error, "compiled policies are not kept; they are compiled anew at each start");
                None
            }
        };
        Self { compiler, cache: state.and_then(open), busy: Arc::default() }
    }

    /// The code of these bytes, whose digest is `digest`.
    ///
    /// # Errors
    /// [`PolicyHostError::Compile`].
    pub(crate) fn component(
        &self,
        runtime: &Runtime,
        digest: &Digest,
        bytes: &[u8],
    ) -> Result<Component, PolicyHostError> {
        if let Some(component) = self.kept(runtime, digest) {
            return Ok(component);
        }
        let code = match &self.compiler {
            Compiler::Thread => thread::compile(&runtime.engine, bytes.to_vec(), &self.busy),
            Compiler::Child { program, bounds } => {
                child::compile(program, runtime.layout, bounds, bytes)
            }
        }
        .map_err(PolicyHostError::Compile)?;
        let component = loaded(&runtime.engine, &code).map_err(|error| {
            PolicyHostError::Compile(format!("its compiled code cannot be loaded: {error:#}"))
        })?;
        if let Some(cache) = &self.cache {
            cache.put(digest, &code);
        }
        Ok(component)
    }

    fn kept(&self, runtime: &Runtime, digest: &Digest) -> Option<Component> {
        let cache = self.cache.as_ref()?;
        let code = cache.get(digest)?;
        match loaded(&runtime.engine, &code) {
            Ok(component) => Some(component),
            Err(error) => {
                cache.refuse(digest, &format!("{error:#}"));
                None
            }
        }
    }
}

/// Makes compiled code callable.
#[expect(
    unsafe_code,
    reason = "loading native code that our own cache or our own compiler has just handed over"
)]
fn loaded(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes are the output of `Engine::precompile_component` of this very program: they came over the pipe of
    // the child that this process started, from its own thread, or from the cache, which hands out only what carries the
    // MAC of this node for this digest and engine. They are in memory that nobody else can change.
    unsafe { Component::deserialize(engine, code) }
}
