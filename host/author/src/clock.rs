//! The clock of tools: it stands still. What is played once is played the same again, and no breaker comes or goes by time.

use tenure_core::time::{Clock, Moment, WallMs};

/// 2026-01-01T00:00:00Z.
const WALL: WallMs = WallMs(1_767_225_600_000);

pub(crate) struct Still;

impl Clock for Still {
    fn now(&self) -> Moment {
        Moment(0)
    }
    fn boottime_ms(&self) -> u64 {
        0
    }
    fn wall(&self) -> WallMs {
        WALL
    }
}
