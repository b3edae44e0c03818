//! The clocks: monotonic, boot time and wall. They stand still until the test moves them.

use std::time::Duration;

use parking_lot::Mutex;
use tenure_core::time::{Clock, Moment, WallMs};

/// What the clocks show, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Times {
    /// Time as it really passes: never shown to anybody, never jumps.
    pub real: u64,
    /// `CLOCK_MONOTONIC`, since an origin that differs from process to process.
    pub mono: u64,
    /// `CLOCK_BOOTTIME`.
    pub boottime: u64,
    /// The wall clock.
    pub wall: u64,
}

/// Clocks moved by hand.
#[derive(Debug)]
pub struct HandClock(Mutex<Times>);

impl Default for HandClock {
    fn default() -> Self {
        const START: u64 = 1_000_000;
        let wall = 1_700_000_000_000 + START;
        Self(Mutex::new(Times { real: 0, mono: START, boottime: START, wall }))
    }
}

impl HandClock {
    /// What they show.
    pub fn times(&self) -> Times {
        *self.0.lock()
    }

    /// Time passes on all clocks.
    pub fn pass(&self, time: Duration) {
        let ms = time.as_millis() as u64;
        let mut times = self.0.lock();
        times.real += ms;
        times.mono += ms;
        times.boottime += ms;
        times.wall += ms;
    }

    /// The machine sleeps: the monotonic clock stands still.
    pub fn suspend(&self, time: Duration) {
        let ms = time.as_millis() as u64;
        let mut times = self.0.lock();
        times.real += ms;
        times.boottime += ms;
        times.wall += ms;
    }

    /// Somebody sets the wall clock, forward or back.
    pub fn jump_wall(&self, by_ms: i64) {
        let mut times = self.0.lock();
        times.wall = times.wall.saturating_add_signed(by_ms);
    }

    /// Another process counts monotonic time from another origin.
    pub fn restart_process(&self, origin: u64) {
        self.0.lock().mono = origin;
    }

    /// The machine boots: boot time begins anew.
    pub fn reboot(&self) {
        const BOOTED: u64 = 20_000;
        self.0.lock().boottime = BOOTED;
    }
}

impl Clock for HandClock {
    fn now(&self) -> Moment {
        Moment(self.0.lock().mono)
    }

    fn boottime_ms(&self) -> u64 {
        self.0.lock().boottime
    }

    fn wall(&self) -> WallMs {
        WallMs(self.0.lock().wall)
    }
}
