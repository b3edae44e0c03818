//! How a call failed, told by type and by what the host itself remembers, never by the text of an
//! error.

use tenure_core::decision::FaultKind;
use wasmtime::{FrameInfo, Trap, WasmBacktrace};

use crate::guest::Guest;

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    pub(crate) message: String,
    /// The functions it was in, the innermost first; empty unless the engine keeps them.
    pub(crate) stack: Vec<String>,
}

/// A limit of ours, raised from a host function so that it ends the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Limit {
    #[error("more than {0} log lines")]
    LogLines(u32),
    #[error("more than {0} bytes of log")]
    LogBytes(usize),
    #[error("more than {0} look-ups")]
    Lookups(u32),
}

// === impl Fault ===

impl Fault {
    pub(crate) fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), stack: Vec::new() }
    }

    pub(crate) fn bad_output(message: impl Into<String>) -> Self {
        Self::new(FaultKind::BadOutput, message)
    }

    /// What `error`, raised while `act`, means.
    pub(crate) fn of(error: &wasmtime::Error, guest: &Guest, act: &str) -> Self {
        let (kind, what) = classify(error, guest);
        let said = guest.last_line().map(|line| format!("; it said: {line}")).unwrap_or_default();
        Self { stack: stack(error), ..Self::new(kind, format!("while {act}: {what}{said}")) }
    }
}

fn stack(error: &wasmtime::Error) -> Vec<String> {
    let Some(trace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    let name = |frame: &FrameInfo| match frame.func_name() {
        Some(name) => name.to_owned(),
        None => format!("function {}", frame.func_index()),
    };
    trace.frames().iter().map(name).collect()
}

fn classify(error: &wasmtime::Error, guest: &Guest) -> (FaultKind, String) {
    if let Some(limit) = error.downcast_ref::<Limit>() {
        let kind = match limit {
            Limit::LogLines(_) | Limit::LogBytes(_) => FaultKind::Logs,
            Limit::Lookups(_) => FaultKind::Lookups,
        };
        return (kind, limit.to_string());
    }
    let Some(trap) = error.downcast_ref::<Trap>() else {
        // Neither a trap nor ours: the answer could not be read (too long, not UTF-8, ...).
        // wasmtime has no public type for these.
        return (FaultKind::BadOutput, format!("{error:#}"));
    };
    match trap {
        Trap::OutOfFuel => (FaultKind::Fuel, "its fuel is used up".to_owned()),
        Trap::Interrupt => (FaultKind::Deadline, "its time is used up".to_owned()),
        Trap::StackOverflow => (FaultKind::Stack, "its stack ran over".to_owned()),
        // The guest's own stack lies at the bottom of its memory and grows down.
        Trap::MemoryOutOfBounds => {
            (FaultKind::Stack, "it went out of its memory: in Rust, its stack ran over".to_owned())
        }
        // A refused growth ends as the guest's own abort; only the meter knows why.
        Trap::UnreachableCodeReached if guest.wanted_memory() => {
            (FaultKind::Memory, "it wanted more memory than allowed".to_owned())
        }
        other => (FaultKind::Trap, other.to_string()),
    }
}
