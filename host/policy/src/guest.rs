//! The host's side of one instance: what it may look up, what it logged, what it was refused.

use std::sync::Arc;

use tenure_core::decision::{Catalogue, Holder, Lookup, ReclaimRequest};
use tenure_core::name::{ObjectName, PoolName};
use wasmtime::{ResourceLimiter, Result};

use crate::bindings::host::{self, Level};
use crate::bindings::types;
use crate::convert;
use crate::fault::Limit;
use crate::limits::{Budget, CORE_INSTANCES, LOG_LINE_BYTES, MEMORIES, TABLE_ELEMENTS};

/// Longest text of a look-up that is recorded: a label key of Kubernetes has at most 317 bytes.
const LOOKUP_TEXT_BYTES: usize = 320;

/// What look-ups of one call see.
#[derive(Clone, Default)]
pub(crate) struct View {
    pub(crate) catalogue: Arc<Catalogue>,
    /// Attributes that the policy asked for.
    pub(crate) keys: Arc<[String]>,
    /// In `reclaim`: the rows that the policy was given, as positions in the request.
    pub(crate) leases: Option<(Arc<ReclaimRequest>, Arc<[usize]>)>,
}

/// What wasmtime keeps beside an instance.
pub(crate) struct Guest {
    policy: ObjectName,
    view: View,
    level: Level,
    budget: Budget,
    memory: usize,
    refused_memory: bool,
    lines: u32,
    bytes: usize,
    log: Vec<String>,
    lookups: Vec<Looked>,
}

/// A look-up as it was made. It becomes text only when the record is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Looked {
    Level(Level),
    PoolName(u32, Option<PoolName>),
    PoolByName(String, Option<u32>),
    PoolLabel(u32, String, Option<String>),
    LeaseHolder(u32, bool),
}

// === impl Guest ===

impl Guest {
    pub(crate) fn new(policy: ObjectName, view: View, level: Level, budget: Budget) -> Self {
        Self {
            policy,
            view,
            level,
            budget,
            memory: 0,
            refused_memory: false,
            lines: 0,
            bytes: 0,
            log: Vec::new(),
            lookups: Vec::new(),
        }
    }

    /// Whether it was refused memory: a guest sees that as an allocation that failed, and aborts.
    pub(crate) fn wanted_memory(&self) -> bool {
        self.refused_memory
    }

    /// Bytes over all its memories.
    pub(crate) fn memory(&self) -> usize {
        self.memory
    }

    pub(crate) fn last_line(&self) -> Option<&str> {
        self.log.last().map(String::as_str)
    }

    /// Log lines and look-ups, for the record.
    pub(crate) fn into_traces(self) -> (Vec<String>, Vec<Looked>) {
        (self.log, self.lookups)
    }

    fn look(&mut self, looked: Looked) -> Result<()> {
        if self.lookups.len() >= usize::try_from(self.budget.lookups).unwrap_or(usize::MAX) {
            return Err(wasmtime::Error::new(Limit::Lookups(self.budget.lookups)));
        }
        self.lookups.push(looked);
        Ok(())
    }

    fn holder(&self, row: u32) -> Option<&Holder> {
        let (request, rows) = self.view.leases.as_ref()?;
        let at = rows.get(usize::try_from(row).ok()?)?;
        request.leases.get(*at).map(|lease| &lease.holder)
    }

    fn report(&self, level: Level, line: &str) {
        let policy = self.policy.as_str();
        match level {
            Level::Trace => tracing::trace!(policy, "{line}"),
            Level::Debug => tracing::debug!(policy, "{line}"),
            Level::Info => tracing::info!(policy, "{line}"),
            Level::Warn => tracing::warn!(policy, "{line}"),
            Level::Error => tracing::error!(policy, "{line}"),
        }
    }
}

impl types::Host for Guest {}

impl host::Host for Guest {
    /// A line below the level is dropped but counted: fuel does not see what the host copies.
    fn log(&mut self, level: Level, message: String) -> Result<()> {
        self.lines = self.lines.saturating_add(1);
        self.bytes = self.bytes.saturating_add(message.len());
        if self.lines > self.budget.log_lines {
            return Err(wasmtime::Error::new(Limit::LogLines(self.budget.log_lines)));
        }
        if self.bytes > self.budget.log_bytes() {
            return Err(wasmtime::Error::new(Limit::LogBytes(self.budget.log_bytes())));
        }
        if level as u8 >= self.level as u8 {
            let line = cut(&message, LOG_LINE_BYTES);
            self.report(level, &line);
            self.log.push(line);
        }
        Ok(())
    }

    fn log_level(&mut self) -> Result<Level> {
        self.look(Looked::Level(self.level))?;
        Ok(self.level)
    }

    fn pool_name(&mut self, pool: u32) -> Result<Option<String>> {
        let name = fact(&self.view.catalogue, pool).map(|facts| facts.name.clone());
        self.look(Looked::PoolName(pool, name.clone()))?;
        Ok(name.map(String::from))
    }

    fn pool_by_name(&mut self, name: String) -> Result<Option<u32>> {
        let found = self.view.catalogue.pools.iter().position(|p| p.name.as_str() == name);
        let found = found.and_then(|at| u32::try_from(at).ok());
        self.look(Looked::PoolByName(cut(&name, LOOKUP_TEXT_BYTES), found))?;
        Ok(found)
    }

    fn pool_label(&mut self, pool: u32, key: String) -> Result<Option<String>> {
        let label = fact(&self.view.catalogue, pool).and_then(|f| f.labels.get(&key)).cloned();
        self.look(Looked::PoolLabel(pool, cut(&key, LOOKUP_TEXT_BYTES), label.clone()))?;
        Ok(label)
    }

    fn lease_holder(&mut self, row: u32) -> Result<Option<types::Holder>> {
        let holder = self.holder(row).map(|holder| convert::holder(holder, &self.view.keys));
        self.look(Looked::LeaseHolder(row, holder.is_some()))?;
        Ok(holder)
    }
}

/// Sums over the component: a limit per memory would be multiplied by their number.
impl ResourceLimiter for Guest {
    fn memory_growing(&mut self, now: usize, wanted: usize, _: Option<usize>) -> Result<bool> {
        let total = self.memory.saturating_sub(now).saturating_add(wanted);
        if total > self.budget.memory {
            self.refused_memory = true;
            return Ok(false);
        }
        self.memory = total;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, wanted: usize, _: Option<usize>) -> Result<bool> {
        Ok(wanted <= TABLE_ELEMENTS)
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES as usize
    }

    fn tables(&self) -> usize {
        CORE_INSTANCES as usize
    }

    fn memories(&self) -> usize {
        MEMORIES as usize
    }
}

fn fact(catalogue: &Catalogue, pool: u32) -> Option<&tenure_core::decision::PoolFacts> {
    catalogue.pools.get(usize::try_from(pool).ok()?)
}

/// The first `max` bytes of `text`, ending at a character.
pub(crate) fn cut(text: &str, max: usize) -> String {
    text.get(..text.floor_char_boundary(max)).unwrap_or_default().to_owned()
}

// === impl Looked ===

impl Looked {
    pub(crate) fn to_lookup(&self) -> Lookup {
        let or_none = |answer: Option<String>| answer.unwrap_or_else(|| "none".to_owned());
        let (call, answer) = match self {
            Self::Level(level) => ("log-level()".to_owned(), format!("{level:?}").to_lowercase()),
            Self::PoolName(pool, name) => {
                (format!("pool-name({pool})"), or_none(name.as_ref().map(|n| format!("{n:?}"))))
            }
            Self::PoolByName(name, pool) => {
                (format!("pool-by-name({name:?})"), or_none(pool.map(|p| p.to_string())))
            }
            Self::PoolLabel(pool, key, label) => {
                let answer = or_none(label.as_ref().map(|l| format!("{l:?}")));
                (format!("pool-label({pool}, {key:?})"), answer)
            }
            Self::LeaseHolder(row, found) => {
                let answer = if *found { "the holder of that row" } else { "none" };
                (format!("lease-holder({row})"), answer.to_owned())
            }
        };
        Lookup { call, answer }
    }
}
