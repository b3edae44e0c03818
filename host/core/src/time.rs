//! Two clocks that are never compared with each other (invariant I8).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point of the monotonic clock of this process, in milliseconds since an origin that only this
/// process knows. Grace and cool-down are counted in it. It does not survive a restart: a rest that
/// a dead process had begun begins again, which can only lengthen it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(pub u64);

/// Wall-clock milliseconds since the Unix epoch, for humans and for retention, never for safety.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct WallMs(pub u64);

// === impl Moment ===

impl Moment {
    /// The moment `after` later, saturating at the end of time.
    #[must_use]
    pub fn plus(self, after: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(after.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

// === impl WallMs ===

impl WallMs {
    /// RFC 3339 in UTC, with whole seconds.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        self.shown("%Y-%m-%dT%H:%M:%SZ")
    }

    /// RFC 3339 in UTC, with milliseconds: what reads back as the same time.
    #[must_use]
    pub fn to_rfc3339_ms(self) -> String {
        self.shown("%Y-%m-%dT%H:%M:%S%.3fZ")
    }

    /// Reads RFC 3339; none for any other text, and for times before 1970.
    #[must_use]
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let at: jiff::Timestamp = text.parse().ok()?;
        u64::try_from(at.as_millisecond()).ok().map(Self)
    }

    fn shown(self, format: &str) -> String {
        let at =
            i64::try_from(self.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        at.map_or_else(|| format!("{}ms", self.0), |at| at.strftime(format).to_string())
    }

    /// `seconds` later, saturating.
    #[must_use]
    pub fn plus_secs(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1000)))
    }
}

/// The clocks, as a port: the daemon brings the real ones, tests bring theirs.
pub trait Clock: Send + Sync {
    /// The monotonic clock (`CLOCK_MONOTONIC`: it stands still in suspend, which only lengthens).
    fn now(&self) -> Moment;
    /// `CLOCK_BOOTTIME` in milliseconds, comparable between processes of one boot only.
    fn boottime_ms(&self) -> u64;
    /// The wall clock.
    fn wall(&self) -> WallMs;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_with_milliseconds_reads_back_as_the_same() {
        let at = WallMs(1_780_000_000_007);
        assert_eq!(at.to_rfc3339_ms(), "2026-05-28T20:26:40.007Z");
        assert_eq!(WallMs::from_rfc3339(&at.to_rfc3339_ms()), Some(at));
        assert_eq!(
            WallMs::from_rfc3339("2026-05-28T22:26:40+02:00"),
            Some(WallMs(1_780_000_000_000))
        );
        assert_eq!(WallMs::from_rfc3339("1969-12-31T23:59:59Z"), None);
        assert_eq!(WallMs::from_rfc3339("yesterday"), None);
    }
}
