//! How large the test is, and in which variants it runs.

use std::fmt;

/// Settings, from the environment.
#[derive(Debug, Clone)]
pub(crate) struct Scale {
    pub(crate) pods: usize,
    pub(crate) nodes: usize,
    pub(crate) runs: usize,
    /// Plugin processes at once.
    pub(crate) width: usize,
    only: Option<String>,
}

/// Which addresses, out of how many pools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Variant {
    pub(crate) dual: bool,
    pub(crate) pools: usize,
}

const VARIANTS: [Variant; 4] = [
    Variant { dual: false, pools: 1 },
    Variant { dual: false, pools: 10 },
    Variant { dual: true, pools: 1 },
    Variant { dual: true, pools: 10 },
];

// === impl Scale ===

impl Scale {
    /// `TENURE_BENCH_PODS`, `_NODES`, `_RUNS`, `_WIDTH` and `_ONLY` (a variant as it is printed).
    pub(crate) fn from_env() -> Self {
        let text = |name: &str| std::env::var(format!("TENURE_BENCH_{name}")).ok();
        let number = |name, default| match text(name) {
            Some(text) => text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, no number")),
            None => default,
        };
        let this = Self {
            pods: number("PODS", 1000),
            nodes: number("NODES", 10),
            runs: number("RUNS", 1),
            width: number("WIDTH", 32),
            only: text("ONLY"),
        };
        assert!(this.variants().next().is_some(), "no variant is called {:?}", this.only);
        assert!(
            this.pods >= 10 && this.pods.is_multiple_of(10) && (1..=200).contains(&this.nodes),
            "pods in tens, and 1 to 200 nodes"
        );
        this
    }

    pub(crate) fn variants(&self) -> impl Iterator<Item = Variant> {
        let is_wanted =
            |variant: &Variant| self.only.as_ref().is_none_or(|only| *only == variant.to_string());
        VARIANTS.into_iter().filter(is_wanted)
    }
}

// === impl Variant ===

impl Variant {
    /// Addresses of one pod.
    pub(crate) fn families(self) -> usize {
        if self.dual { 2 } else { 1 }
    }

    /// Name and spec of each pool: together exactly as many addresses of each family as there are pods.
    pub(crate) fn specs(self, pods: usize) -> Vec<(String, serde_json::Value)> {
        let each = pods / self.pools;
        let v4 = |number: usize| {
            let first = u32::from(std::net::Ipv4Addr::new(10, 16 + number as u8, 0, 1));
            let last = std::net::Ipv4Addr::from(first + each as u32 - 1);
            let (cidr, first) =
                (format!("10.{}.0.0/16", 16 + number), std::net::Ipv4Addr::from(first));
            (
                format!("v4-{number}"),
                serde_json::json!({"cidr": cidr, "ranges": [format!("{first}-{last}")]}),
            )
        };
        let v6 = |number: usize| {
            let (cidr, last) = (format!("fd16:0:0:{number:x}::/64"), 0x1000 + each - 1);
            let range = format!("fd16:0:0:{number:x}::1000-fd16:0:0:{number:x}::{last:x}");
            (format!("v6-{number}"), serde_json::json!({"cidr": cidr, "ranges": [range]}))
        };
        let six = if self.dual { self.pools } else { 0 };
        (0..self.pools).map(v4).chain((0..six).map(v6)).collect()
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = if self.dual { "dual stack" } else { "IPv4" };
        let pools = if self.pools == 1 { "pool" } else { "pools" };
        write!(f, "{family}, {} {pools}", self.pools)
    }
}
