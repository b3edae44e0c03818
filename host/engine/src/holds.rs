//! Addresses that an ADD has reserved and not yet written. Dropped on any way out, they go back.

use std::sync::Arc;

use tenure_core::ledger::Hold;

use crate::Engine;

/// What an ADD has taken so far. Dropping it gives everything back to the ledger.
pub(crate) struct Holds {
    engine: Arc<Engine>,
    held: Vec<Hold>,
}

impl Holds {
    pub(crate) fn new(engine: &Arc<Engine>) -> Self {
        Self { engine: engine.clone(), held: Vec::new() }
    }

    pub(crate) fn push(&mut self, hold: Hold) {
        self.held.push(hold);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Hold> {
        self.held.iter()
    }

    /// The write happened: the ledger learns it from the rows themselves.
    pub(crate) fn written(mut self) {
        self.held.clear();
    }
}

impl Drop for Holds {
    fn drop(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let now = self.engine.now();
        let mut state = self.engine.state.lock();
        for hold in self.held.drain(..) {
            state.ledger.cancel(hold, now);
        }
    }
}
