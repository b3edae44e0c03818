//! The engine's own tasks, started and stopped together.

use std::sync::Arc;

use tokio::task::{AbortHandle, JoinSet};

use crate::Engine;
use crate::sweep::Suspicions;

/// The running tasks. Dropping it stops them; a commit that has begun is settled in its own task.
#[derive(Debug)]
pub struct Background {
    engine: Arc<Engine>,
    tasks: JoinSet<()>,
    /// Runs while this engine is the one that sweeps.
    sweep: Option<AbortHandle>,
}

impl Background {
    /// Starts the sweep, the watch over releases, and the following of a store that others write as well.
    #[must_use]
    pub fn start(engine: &Arc<Engine>) -> Self {
        let mut background = Self::start_following(engine);
        background.sweep(true);
        background
    }

    /// The same without the sweep: one of several engines over one store sweeps.
    #[must_use]
    pub fn start_following(engine: &Arc<Engine>) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn(engine.clone().watch_releases());
        tasks.spawn(engine.clone().follow());
        Self { engine: engine.clone(), tasks, sweep: None }
    }

    /// Begins to sweep, or leaves it. What was suspect is so for as long as this engine has seen it (I8).
    pub fn sweep(&mut self, on: bool) {
        match (on, self.sweep.take()) {
            (true, None) => {
                // Nobody looked meanwhile: a series of looks that was broken off begins anew (I7).
                *self.engine.suspicions.lock() = Suspicions::default();
                self.sweep = Some(self.tasks.spawn(self.engine.clone().sweep_forever()));
            }
            (true, running) => self.sweep = running,
            (false, Some(running)) => running.abort(),
            (false, None) => {}
        }
    }

    /// Stops them and waits until they have stopped.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}
