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
    /// The sweep and what operators are shown: they run while this engine is the one that sweeps.
    leading: Option<[AbortHandle; 2]>,
}

impl Background {
    /// Starts the sweep, what operators are shown, the watches over releases and over sets that nobody was told of, and the
    /// following of a store that others write as well.
    #[must_use]
    pub fn start(engine: &Arc<Engine>) -> Self {
        let mut background = Self::start_following(engine);
        background.sweep(true);
        background
    }

    /// The same without the sweep and what operators are shown: one of several engines over one store does both.
    #[must_use]
    pub fn start_following(engine: &Arc<Engine>) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn(engine.clone().watch_releases());
        tasks.spawn(engine.clone().watch_untold());
        tasks.spawn(engine.clone().follow());
        Self { engine: engine.clone(), tasks, leading: None }
    }

    /// Begins to sweep and to show, or leaves it. What was suspect is so for as long as this engine has seen it (I8).
    pub fn sweep(&mut self, on: bool) {
        match (on, self.leading.take()) {
            (true, None) => {
                // Nobody looked meanwhile: a series of looks that was broken off begins anew (I7).
                *self.engine.suspicions.lock() = Suspicions::default();
                let sweep = self.tasks.spawn(self.engine.clone().sweep_forever());
                let show = self.tasks.spawn(self.engine.clone().show_forever());
                self.leading = Some([sweep, show]);
            }
            (true, running) => self.leading = running,
            (false, Some(running)) => running.iter().for_each(AbortHandle::abort),
            (false, None) => {}
        }
    }

    /// Stops them and waits until they have stopped.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}
