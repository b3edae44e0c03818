//! The policy host: Wasm components decide which pool, which address and how long to wait, and
//! nothing that they do can break a rule, exceed a budget or leave a request unanswered.
//!
//! What it is not: it knows no store, no ledger and no network; whether an address is free and a
//! lease may be taken is for the engine to say. It has no async code: calls take tens of
//! microseconds, on threads where blocking is allowed.
//!
//! ```text
//! install(spec): source -> trust -> outline -> load (compile, trial instance, settings) -> smoke -> swap
//! select(request): chain -> decide -> session (fresh instance, limits) -> convert, check -> ring
//!                    |        `- fault -> breaker, builtin
//!                    `- most specific first; the built-in strategy ends it
//! ```
//!
//! Invariants kept here:
//! - I11 *contained*: each call runs on an instance of its own, within fuel, wall time, memory,
//!   stack, log, look-ups and lifted bytes; on any error the instance is dropped. An answer that
//!   breaks a rule is a fault. A fault is counted by kind and answered by the built-in strategy, for
//!   `reclaim` by the longest grace.
//! - I12 *bounded*: instances at once, the ring by records and bytes, one compilation at a time.
//! - A policy is a pure function of its digest, its settings and the recorded request: decisions
//!   replay, fuel included.
//! - An install that fails changes nothing, and says at which stage and why.

#[cfg(test)]
mod agreement;
mod bindings;
mod breaker;
mod builtin;
mod chain;
mod check;
mod compile;
mod convert;
mod decide;
mod engine;
mod error;
mod fault;
mod figures;
mod fixture;
mod guest;
mod host;
mod install;
mod kept;
mod limits;
mod load;
mod lowered;
mod outline;
mod private;
mod profile;
mod question;
mod reclaim;
mod ring;
pub mod sample;
mod session;
mod settings;
mod shadow;
mod smoke;
mod source;
mod tools;
mod trust;

pub use builtin::{COOLDOWN, LONG_GRACE, SHORT_GRACE};
pub use check::checks;
pub use compile::{CompileBounds, Compiler, compile_for_parent};
pub use engine::{EngineOptions, Layout};
pub use error::{FETCH, FaultText, PolicyHostError, SETTINGS, TRUST};
pub use fixture::{Ceilings, Fixture, Played};
pub use host::{PolicyHost, PolicyHostOptions, ShadowCount};
pub use limits::{Budget, COMPONENT_BYTES};
pub use profile::{Profile, Share};
pub use question::Question;
pub use ring::RingOptions;
pub use tools::About;
/// Levels of what policies log.
pub use tracing::Level as LogLevel;
