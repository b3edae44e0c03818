//! The compiler's side of the pipe: a process that reads a component, writes its code and ends.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;
use std::str::FromStr;

use super::confine;
use crate::engine::{Layout, compiling_engine};
use crate::limits::COMPONENT_BYTES;

/// What the parent tells the child: `LAYOUT:MEMORY-BYTES:CPU-SECONDS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) layout: Layout,
    pub(super) memory: u64,
    pub(super) cpu_s: u64,
}

/// The whole of `PROGRAM compile-policy ORDER`: gives up all rights, reads a component from standard input and writes its
/// code to standard output, or why there is none to standard error.
///
/// To be called first thing by `main`: it closes every descriptor but these three.
#[must_use]
pub fn compile_for_parent(order: &str) -> ExitCode {
    match order.parse().and_then(|order| serve(&order)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // Nobody is left to be told if this fails.
            let _ = io::stderr().write_all(why.as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn serve(order: &Order) -> Result<(), String> {
    confine::give_up_rights(order.memory, order.cpu_s)
        .map_err(|error| format!("the compiler cannot be confined: {error}"))?;
    let mut bytes = Vec::new();
    let read = io::stdin().lock().take(COMPONENT_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("the component was not handed over: {error}"))?;
    let engine = compiling_engine(order.layout)
        .map_err(|error| format!("the compiler cannot start: {error:#}"))?;
    let code = engine
        .precompile_component(&bytes)
        .map_err(|error| format!("it is not valid: {error:#}"))?;
    let mut out = io::stdout().lock();
    out.write_all(&code)
        .and_then(|()| out.flush())
        .map_err(|error| format!("its code was not taken: {error}"))
}

// === impl Order ===

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layout = match self.layout {
            Layout::Pool => "pool",
            Layout::SmallPool => "small-pool",
            Layout::OnDemand => "on-demand",
        };
        write!(f, "{layout}:{}:{}", self.memory, self.cpu_s)
    }
}

impl FromStr for Order {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is no order for the compiler");
        let mut parts = text.split(':');
        let layout = match parts.next() {
            Some("pool") => Layout::Pool,
            Some("small-pool") => Layout::SmallPool,
            Some("on-demand") => Layout::OnDemand,
            _ => return Err(bad()),
        };
        let mut number = || parts.next().and_then(|part| part.parse().ok()).ok_or_else(bad);
        let order = Self { layout, memory: number()?, cpu_s: number()? };
        if parts.next().is_some() { Err(bad()) } else { Ok(order) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_read_as_it_was_written() {
        for layout in [Layout::Pool, Layout::SmallPool, Layout::OnDemand] {
            let order = Order { layout, memory: 1 << 30, cpu_s: 60 };
            assert_eq!(order.to_string().parse(), Ok(order));
        }
        for bad in ["", "pool", "pool:1", "pool:1:x", "pool:1:2:3", "else:1:2"] {
            assert!(bad.parse::<Order>().is_err(), "{bad}");
        }
    }
}
