//! What a policy may use. Each limit has a default and a maximum; an operator sets it per policy in
//! `spec.limits`, and more than the maximum, or a nonsensical zero, is refused at load.

use std::time::Duration;

use tenure_core::decision::Hook;
use tenure_core::objects::PolicyLimits;

/// Largest component that is read. Compiling costs about 2 s per MiB, so this also bounds the compiler.
pub const COMPONENT_BYTES: u64 = 4 << 20;
/// Longest settings text handed to a policy.
pub(crate) const SETTINGS_BYTES: usize = 64 << 10;
/// Bytes that one call may lift from the guest. The default of wasmtime, 128 MiB, would let a
/// policy fill the host's memory with one string.
pub(crate) const LIFTED_BYTES: usize = 256 << 10;
/// Longest log line that is kept; a longer one is cut, but counts in full.
pub(crate) const LOG_LINE_BYTES: usize = 1024;
/// Core instances of one component: 16 is ample for Rust, C and Go guests.
pub(crate) const CORE_INSTANCES: u32 = 16;
/// Linear memories of one component: a guest of Rust or Go has one, one of JavaScript three (its engine, and what stands for WASI).
pub(crate) const MEMORIES: u32 = 4;
/// Elements of one table.
pub(crate) const TABLE_ELEMENTS: usize = 10_000;
/// Native stack of a guest, in bytes. A Rust guest has its own 64 KiB stack in linear memory besides.
pub(crate) const STACK_BYTES: usize = 512 << 10;
/// Most memory that any policy may have; the pool of the engine is laid out for it.
pub(crate) const MEMORY_MAX_BYTES: usize = 64 << 20;

const MEMORY_MAX_KIB: u32 = 64 << 10;

/// The budget of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Fuel before the share per row; `init` has as much for itself.
    pub fuel: u64,
    /// Fuel per row of input.
    pub fuel_per_row: u64,
    /// Wall time of instance, `init` and hook together: the backstop for what fuel prices wrongly.
    pub deadline: Duration,
    /// Bytes over all memories of the component.
    pub memory: usize,
    /// Log lines; the bytes are limited to [`LOG_LINE_BYTES`] for each.
    pub log_lines: u32,
    /// Look-ups.
    pub lookups: u32,
}

/// One line of the table of limits.
struct Line {
    field: &'static str,
    set: Option<u64>,
    min: u64,
    max: u64,
}

// === impl Budget ===

impl Budget {
    /// The defaults of `hook`. `reclaim` is batched, so it has more time.
    #[must_use]
    pub fn default_of(hook: Hook) -> Self {
        Self {
            fuel: 5_000_000,
            fuel_per_row: 20_000,
            deadline: match hook {
                Hook::Select | Hook::Affinity => Duration::from_millis(100),
                Hook::Reclaim => Duration::from_millis(400),
            },
            memory: 16 << 20,
            log_lines: 32,
            lookups: 1024,
        }
    }

    /// The budget of `hook` under `limits`.
    ///
    /// # Errors
    /// Names the limit that is out of bounds, and the bounds.
    pub fn of(limits: &PolicyLimits, hook: Hook) -> Result<Self, String> {
        check(limits)?;
        let default = Self::default_of(hook);
        let millis = |ms: u32| Duration::from_millis(u64::from(ms));
        let kib = |k: u32| usize::try_from(k).map_or(MEMORY_MAX_BYTES, |k| k << 10);
        Ok(Self {
            fuel: limits.fuel.unwrap_or(default.fuel),
            fuel_per_row: limits.fuel_per_row.unwrap_or(default.fuel_per_row),
            deadline: limits.deadline_ms.map_or(default.deadline, millis),
            memory: limits.memory_kib.map_or(default.memory, kib),
            log_lines: limits.log_lines.unwrap_or(default.log_lines),
            lookups: limits.lookups.unwrap_or(default.lookups),
        })
    }

    /// Fuel of a hook that is given `rows` rows.
    #[must_use]
    pub fn fuel_for(&self, rows: usize) -> u64 {
        let rows = u64::try_from(rows).unwrap_or(u64::MAX);
        self.fuel.saturating_add(self.fuel_per_row.saturating_mul(rows))
    }

    /// All log bytes of a call.
    #[must_use]
    pub fn log_bytes(&self) -> usize {
        LOG_LINE_BYTES.saturating_mul(usize::try_from(self.log_lines).unwrap_or(usize::MAX))
    }
}

fn check(limits: &PolicyLimits) -> Result<(), String> {
    let line = |field, set, min, max| Line { field, set, min, max };
    let table = [
        line("fuel", limits.fuel, 100_000, 200_000_000),
        line("fuelPerRow", limits.fuel_per_row, 0, 1_000_000),
        line("deadlineMs", limits.deadline_ms.map(u64::from), 10, 2_000),
        line("memoryKib", limits.memory_kib.map(u64::from), 256, u64::from(MEMORY_MAX_KIB)),
        line("logLines", limits.log_lines.map(u64::from), 0, 256),
        line("lookups", limits.lookups.map(u64::from), 0, 8_192),
    ];
    match table.iter().find(|l| l.set.is_some_and(|v| !(l.min..=l.max).contains(&v))) {
        None => Ok(()),
        Some(Line { field, set, min, max }) => Err(format!(
            "spec.limits.{field} is {}; it must lie between {min} and {max}",
            set.unwrap_or_default()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_above_its_maximum_or_a_zero_is_refused_by_name() {
        let limits = |change: fn(&mut PolicyLimits)| {
            let mut limits = PolicyLimits::default();
            change(&mut limits);
            Budget::of(&limits, Hook::Select)
        };
        assert!(limits(|l| l.fuel = Some(0)).unwrap_err().contains("spec.limits.fuel is 0"));
        let error = limits(|l| l.memory_kib = Some(1 << 20)).unwrap_err();
        assert!(error.contains("memoryKib") && error.contains("65536"), "{error}");
        assert_eq!(limits(|l| l.memory_kib = Some(1024)).unwrap().memory, 1 << 20);
    }

    #[test]
    fn fuel_grows_with_the_rows() {
        let budget = Budget::default_of(Hook::Select);
        assert_eq!(budget.fuel_for(0), 5_000_000);
        assert_eq!(budget.fuel_for(512), 5_000_000 + 512 * 20_000);
        assert_eq!(Budget { fuel: u64::MAX, ..budget }.fuel_for(1), u64::MAX);
    }
}
