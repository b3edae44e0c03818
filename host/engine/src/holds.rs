//! Addresses that an ADD has reserved and not yet written. Dropped on any way out, they go back.

use std::sync::Arc;

use tenure_core::ledger::{Hold, Print};

use crate::Engine;

/// What an ADD has taken so far. Dropping it gives everything back to the ledger.
pub(crate) struct Holds {
    engine: Arc<Engine>,
    held: Vec<Hold>,
    /// Sticky keys that nobody else may take meanwhile.
    keys: Vec<Print>,
}

impl Holds {
    pub(crate) fn new(engine: &Arc<Engine>) -> Self {
        Self { engine: engine.clone(), held: Vec::new(), keys: Vec::new() }
    }

    pub(crate) fn push(&mut self, hold: Hold) {
        self.held.push(hold);
    }

    /// A key that was entered as in flight; it leaves with the value.
    pub(crate) fn push_key(&mut self, key: Print) {
        self.keys.push(key);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Hold> {
        self.held.iter()
    }

    /// The write may have happened, and it could not be read whether: nobody gets the addresses until it can.
    pub(crate) fn lose_rows(&mut self) {
        let mut state = self.engine.state.lock();
        for hold in self.held.drain(..) {
            state.ledger.lose(&hold);
        }
    }

    /// The write happened, or may have: the reserved rows stay until the ledger learns what stands in the store.
    pub(crate) fn leave_rows(&mut self) {
        self.held.clear();
    }
}

impl Drop for Holds {
    fn drop(&mut self) {
        if self.held.is_empty() && self.keys.is_empty() {
            return;
        }
        let now = self.engine.now();
        let mut state = self.engine.state.lock();
        for key in self.keys.drain(..) {
            state.keys_in_flight.remove(&key);
        }
        for hold in self.held.drain(..) {
            state.ledger.cancel(hold, now);
        }
        state.waiting.wake();
    }
}
