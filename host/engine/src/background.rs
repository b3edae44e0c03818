//! The engine's own tasks, started and stopped together.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::Engine;

/// The running tasks. Dropping it stops them; a commit that has begun is settled in its own task.
#[derive(Debug)]
pub struct Background {
    tasks: JoinSet<()>,
}

impl Background {
    /// Starts the sweep, the watch over releases, and the following of a store that others write as well.
    #[must_use]
    pub fn start(engine: &Arc<Engine>) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn(engine.clone().sweep_forever());
        tasks.spawn(engine.clone().watch_releases());
        tasks.spawn(engine.clone().follow());
        Self { tasks }
    }

    /// Stops them and waits until they have stopped.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}
