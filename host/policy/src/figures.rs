//! What the calls of one version cost, counted without locks: fuel against the budget, and time as a histogram whose
//! buckets grow by an eighth.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tenure_core::ports::{FuelUse, Latency};

/// Buckets of each doubling of time.
const STEPS: u32 = 8;
/// From 1 us to some 67 s.
const BUCKETS: usize = 26 * STEPS as usize;

/// The cost of the calls so far. Written by every decision, read by status.
#[derive(Debug)]
pub(crate) struct Figures {
    calls: AtomicU64,
    fuel: AtomicU64,
    most_fuel: AtomicU64,
    /// In thousandths.
    most_share: AtomicU64,
    most_micros: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            calls: AtomicU64::new(0),
            fuel: AtomicU64::new(0),
            most_fuel: AtomicU64::new(0),
            most_share: AtomicU64::new(0),
            most_micros: AtomicU64::new(0),
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

// === impl Figures ===

impl Figures {
    /// Counts a call that used `fuel`, of which the hook used `share` thousandths of its budget.
    pub(crate) fn count(&self, fuel: u64, share: u64, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.fuel.fetch_add(fuel, Ordering::Relaxed);
        self.most_fuel.fetch_max(fuel, Ordering::Relaxed);
        self.most_share.fetch_max(share, Ordering::Relaxed);
        self.most_micros.fetch_max(micros, Ordering::Relaxed);
        if let Some(bucket) = self.buckets.get(bucket(micros)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// None before the first call.
    pub(crate) fn fuel(&self) -> Option<FuelUse> {
        let calls = self.calls.load(Ordering::Relaxed);
        Some(FuelUse {
            mean: self.fuel.load(Ordering::Relaxed).checked_div(calls)?,
            max: self.most_fuel.load(Ordering::Relaxed),
            max_percent: self.most_share.load(Ordering::Relaxed).div_ceil(10),
        })
    }

    /// None before the first call.
    pub(crate) fn latency(&self) -> Option<Latency> {
        let counts: Vec<u64> =
            self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let max_us = self.most_micros.load(Ordering::Relaxed);
        Some(Latency {
            p50_us: percentile(&counts, 50)?.min(max_us),
            p99_us: percentile(&counts, 99)?.min(max_us),
            max_us,
        })
    }
}

/// The bucket of a time: its doubling, and which eighth of it.
fn bucket(micros: u64) -> usize {
    let micros = micros.max(1);
    let doubling = micros.ilog2();
    let begins = 1_u64 << doubling;
    let step = (micros - begins) * u64::from(STEPS) / begins;
    let at = u64::from(doubling) * u64::from(STEPS) + step;
    usize::try_from(at).unwrap_or(usize::MAX).min(BUCKETS - 1)
}

/// The longest time of a bucket.
fn end_of(bucket: usize) -> u64 {
    let bucket = u64::try_from(bucket).unwrap_or(u64::MAX);
    let (doubling, step) = (bucket / u64::from(STEPS), bucket % u64::from(STEPS));
    let begins = 1_u64 << doubling.min(62);
    (begins + (begins * (step + 1)).div_ceil(u64::from(STEPS))).saturating_sub(1).max(begins)
}

/// The time that so many percent of the calls did not exceed; none without calls.
fn percentile(counts: &[u64], percent: u64) -> Option<u64> {
    let total: u64 = counts.iter().sum();
    let wanted = (total * percent).div_ceil(100).max(1);
    let mut seen = 0;
    let found = counts.iter().position(|count| {
        seen += count;
        seen >= wanted
    });
    found.filter(|_| total > 0).map(end_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_lies_in_a_bucket_that_ends_at_most_an_eighth_later() {
        for micros in (1..5000).chain([10_000, 123_456, 60_000_000]) {
            let end = end_of(bucket(micros));
            assert!(end >= micros && end <= micros + micros / 8 + 1, "{micros}: {end}");
        }
    }

    #[test]
    fn percentiles_are_those_of_the_calls() {
        let figures = Figures::default();
        assert_eq!((figures.fuel(), figures.latency()), (None, None));
        for micros in 1..=1000 {
            figures.count(micros, micros, Duration::from_micros(micros));
        }
        let latency = figures.latency().unwrap();
        assert!((500..=563).contains(&latency.p50_us), "{latency:?}");
        assert!((990..=1000).contains(&latency.p99_us), "{latency:?}");
        assert_eq!(latency.max_us, 1000);
        let fuel = figures.fuel().unwrap();
        assert_eq!((fuel.mean, fuel.max, fuel.max_percent), (500, 1000, 100));
    }
}
