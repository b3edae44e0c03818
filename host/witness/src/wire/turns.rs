//! How many ask at once.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Each probe occupies a thread and a socket for 300 ms, and each frame is heard by all of them.
pub(super) const MAX_AT_ONCE: usize = 64;
/// The time of eight full crowds before.
pub(super) const TURN_DEADLINE: Duration = Duration::from_secs(3);

/// The places; they are taken in no order.
#[derive(Debug)]
pub(super) struct Turns {
    free: Mutex<usize>,
    freed: Condvar,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a>(&'a Turns);

// === impl Turns ===

impl Turns {
    pub(super) fn new(places: usize) -> Self {
        Self { free: Mutex::new(places), freed: Condvar::new() }
    }

    /// A place, unless none comes free in time.
    pub(super) fn take(&self, patience: Duration) -> Option<Turn<'_>> {
        let deadline = Instant::now() + patience;
        let mut free = self.free.lock();
        while *free == 0 {
            if self.freed.wait_until(&mut free, deadline).timed_out() && *free == 0 {
                return None;
            }
        }
        *free -= 1;
        Some(Turn(self))
    }
}

// === impl Turn ===

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.free.lock() += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_house_refuses_and_a_place_that_comes_free_is_taken() {
        let turns = Turns::new(2);
        let (first, _second) =
            (turns.take(TURN_DEADLINE).unwrap(), turns.take(TURN_DEADLINE).unwrap());
        assert!(turns.take(Duration::from_millis(1)).is_none());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| turns.take(Duration::from_secs(60)).is_some());
            drop(first);
            assert!(waiting.join().unwrap());
        });
        assert!(turns.take(Duration::ZERO).is_some());
    }
}
