//! Policies made by chance: core modules of `wasm-smith` with the exports of a policy, components of `wasm-smith`, and good
//! components with some bytes changed. Whatever they are, the host neither crashes nor hangs nor grows.
//!
//! 10,000 unless `TENURE_GENERATED` says another number; `TENURE_GENERATED_SEED` begins elsewhere.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    unreachable_pub,
    dead_code,
    reason = "the parts that tests share, which clippy.toml frees only inside test functions"
)]

#[path = "../hostile/forge.rs"]
mod forge;
mod make;
#[path = "../suite/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::json;
use tenure_core::ports::Policies;

use make::Makers;
use world::*;

const COUNT: u64 = 10_000;
const THREADS: usize = 2;
/// After so many the allocator and the caches of the engine are as large as they get.
const WARM: u64 = 1_000;
/// Growth beyond that is a leak: 9,000 policies that left 8 KiB each would be seen.
const GROWTH: u64 = 64 << 20;
/// No single one may take longer: the machine of the test may be busy.
const IN_TIME: Duration = Duration::from_secs(20);

/// How often each stage was where it ended.
type Ends = BTreeMap<(&'static str, &'static str), u64>;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

/// Pages of this process that are in memory.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[test]
fn ten_thousand_policies_made_by_chance_neither_crash_nor_hang_nor_grow_the_host() {
    let (count, first) = (number("TENURE_GENERATED", COUNT), number("TENURE_GENERATED_SEED", 0));
    let (next, ends) = (AtomicU64::new(0), Mutex::new(Ends::new()));
    let warm = Mutex::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let (world, makers) = (World::new(), Makers::new());
                let folder = tempfile::tempdir().unwrap();
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count {
                        break;
                    }
                    if at == WARM {
                        *warm.lock() = resident();
                    }
                    let (kind, end) = one(&world, &makers, folder.path(), first + at);
                    *ends.lock().entry((kind, end)).or_default() += 1;
                }
            });
        }
    });
    let (ends, warm, now) = (ends.into_inner(), warm.into_inner(), resident());
    println!("{} MiB resident after {WARM}, {} MiB at the end", warm >> 20, now >> 20);
    for ((kind, end), count) in &ends {
        println!("{count:>6}  {kind:<20} {end}");
    }
    if count > WARM {
        assert!(now < warm + GROWTH, "it grew from {} to {} MiB", warm >> 20, now >> 20);
    }
    if count >= COUNT {
        // Else most of them would only show that the parser works.
        let reached =
            |end: &str| ends.iter().filter(|((_, of), _)| *of == end).map(|(_, n)| n).sum::<u64>();
        let deep =
            ["making a trial instance", "reading its description", "trying its hooks", TAKEN];
        let deep: u64 = deep.into_iter().map(reached).sum();
        assert!(deep > COUNT / 4, "only {deep} got as far as an instance");
        assert!(reached(TAKEN) > 0, "not one was taken");
    }
}

const TAKEN: &str = "taken";

/// Installs the policy of that seed, asks it if it was taken, and says how far it came.
fn one(
    world: &World,
    makers: &Makers,
    folder: &std::path::Path,
    seed: u64,
) -> (&'static str, &'static str) {
    let (kind, bytes) = makers.make(seed);
    let path = folder.join("policy.wasm");
    std::fs::write(&path, bytes).unwrap();
    let begun = Instant::now();
    let end = match world.install("generated", json!({"source": {"file": path}})) {
        Err(refusal) => {
            assert!(refusal.why.len() <= 16 << 10, "seed {seed}: {} bytes", refusal.why.len());
            if std::env::var_os("TENURE_GENERATED_WHY").is_some() {
                println!("{seed} {kind}: {refusal}");
            }
            refusal.stage
        }
        Ok(_) => {
            // Any answer will do, as long as there is one.
            world.host.select(&select(""));
            world.host.affinity(&affinity(""));
            world.host.reclaim(&reclaim("", 3));
            TAKEN
        }
    };
    world.host.remove(&name("generated"));
    let took = begun.elapsed();
    assert!(took < IN_TIME, "seed {seed} ({kind}) took {took:?}");
    (kind, end)
}
