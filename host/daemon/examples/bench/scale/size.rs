//! How large the test is.

use std::time::Duration;

use serde_json::{Value, json};

/// Pools of this many, each of a /19: together 81,900 addresses.
const POOLS: usize = 10;

/// Settings, from the environment.
#[derive(Debug, Clone)]
pub(crate) struct Size {
    pub(crate) nodes: usize,
    /// Leases at which it is measured, rising.
    pub(crate) levels: Vec<usize>,
    /// ADDs in a second, and as many DELs.
    pub(crate) rate: usize,
    /// How long it is measured at each level.
    pub(crate) lasts: Duration,
}

// === impl Size ===

impl Size {
    /// `TENURE_BENCH_NODES`, `_LEVELS` (with commas), `_RATE` and `_SECONDS`.
    pub(crate) fn from_env() -> Self {
        let text = |name: &str, default: &str| {
            std::env::var(format!("TENURE_BENCH_{name}")).unwrap_or_else(|_| default.to_owned())
        };
        let number = |text: &str| -> usize {
            text.trim().parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
        };
        let this = Self {
            nodes: number(&text("NODES", "100")),
            levels: text("LEVELS", "1000,10000,50000").split(',').map(number).collect(),
            rate: number(&text("RATE", "50")),
            lasts: Duration::from_secs(number(&text("SECONDS", "60")) as u64),
        };
        // A pod whose DEL comes in the same measurement has had its ADD long before.
        assert!(
            this.levels.is_sorted() && this.levels[0] >= 10 * this.rate,
            "levels rise, from ten seconds of ADDs on"
        );
        assert!((1..=250).contains(&this.nodes), "1 to 250 nodes");
        this
    }

    /// ADDs of one measurement.
    pub(crate) fn adds(&self) -> usize {
        self.rate * self.lasts.as_secs() as usize
    }

    pub(crate) fn pools() -> Vec<(String, Value)> {
        let pool = |number: usize| {
            (format!("v4-{number}"), json!({"cidr": format!("10.{}.0.0/19", 16 + number)}))
        };
        (0..POOLS).map(pool).collect()
    }
}
