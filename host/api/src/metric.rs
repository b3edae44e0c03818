//! Metrics as plain values, so that other edges can hand theirs over without knowing how they are written.

/// All samples of one name.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricFamily {
    /// The name, `tenure_...`, without `_total`: that is added to counters.
    pub name: String,
    /// What it counts, in a few words.
    pub help: String,
    /// Whether it may fall.
    pub kind: MetricKind,
    /// One entry per set of labels.
    pub samples: Vec<Sample>,
}

/// Whether a number may fall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows while the daemon runs.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// One number.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Name and value of each label.
    pub labels: Vec<(String, String)>,
    /// The number.
    pub value: MetricValue,
}

/// A number, whole where it can be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MetricValue {
    /// A count.
    Whole(u64),
    /// A time in seconds, or a count beyond 64 bits.
    Real(f64),
}

// === impl MetricFamily ===

impl MetricFamily {
    /// A counter without samples.
    #[must_use]
    pub fn counter(name: &str, help: &str) -> Self {
        Self::new(name, help, MetricKind::Counter)
    }

    /// A gauge without samples.
    #[must_use]
    pub fn gauge(name: &str, help: &str) -> Self {
        Self::new(name, help, MetricKind::Gauge)
    }

    fn new(name: &str, help: &str, kind: MetricKind) -> Self {
        Self { name: name.to_owned(), help: help.to_owned(), kind, samples: Vec::new() }
    }

    /// The family with one sample more.
    #[must_use]
    pub fn with(mut self, labels: &[(&str, &str)], value: impl Into<MetricValue>) -> Self {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        self.samples.push(Sample { labels, value: value.into() });
        self
    }
}

// === impl MetricValue ===

impl From<u64> for MetricValue {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<bool> for MetricValue {
    fn from(value: bool) -> Self {
        Self::Whole(u64::from(value))
    }
}

impl From<f64> for MetricValue {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<u128> for MetricValue {
    /// Beyond 64 bits the nearest floating-point number: all numbers are that for Prometheus.
    fn from(value: u128) -> Self {
        u64::try_from(value).map_or(Self::Real(value as f64), Self::Whole)
    }
}
