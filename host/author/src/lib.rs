//! What policy authors do, as a library: make a crate, build it to a component, look into one, play its fixtures, measure it,
//! replay what a daemon has recorded. `tenure policy` shows what comes of it.
//!
//! What it is not: it talks to no daemon and to no registry, and it prints nothing.
//!
//! ```text
//! a crate:      scaffold.rs (new) -> project.rs, toolchain.rs (cargo) -> component.rs (module -> component) -> FILE.wasm
//! a core module of another language: foreign.rs -> FILE.wasm
//! a component:  face.rs (imports, exports, sizes: nothing of it runs)
//! runs it:      bench.rs over trial.rs: the engine and the limits of the daemon, one policy
//!               cases.rs (fixtures), measure.rs, replay.rs, explain.rs, difference.rs
//! ```
//!
//! Invariant: whatever says how a policy behaves or what it costs runs it in `tenure-policy-host` under the limits that the
//! daemon would use. There is no second engine and no second set of limits.

mod component;
mod error;
mod face;
mod foreign;
mod json;
mod project;
mod scaffold;
mod toolchain;

#[cfg(feature = "run")]
mod cases;
#[cfg(feature = "run")]
mod clock;
#[cfg(feature = "run")]
mod difference;
#[cfg(feature = "run")]
mod explain;
#[cfg(feature = "run")]
mod fixture_file;
#[cfg(feature = "run")]
mod measure;
#[cfg(feature = "run")]
mod noise;
#[cfg(feature = "run")]
mod replay;
#[cfg(feature = "run")]
mod trial;

pub use component::{Metadata, componentize, with_metadata, without_names};
pub use error::AuthorError;
pub use face::{Face, Import, Section};
pub use foreign::{Wasi, adapt};
pub use project::Project;
pub use scaffold::{HOOKS, Scaffold, Written};
pub use toolchain::{TARGET, Toolchain};

#[cfg(feature = "run")]
pub use cases::{Case, CaseOptions, Outcome, Suite, Verdict};
#[cfg(feature = "run")]
pub use difference::{Behaviour, Declared, Difference, Level};
#[cfg(feature = "run")]
pub use explain::{Explained, FunctionFuel, explain};
#[cfg(feature = "run")]
pub use fixture_file::FixtureFile;
#[cfg(feature = "run")]
pub use measure::{Comparison, Figure, Figures, Spread, compare, measure};
#[cfg(feature = "run")]
pub use noise::{Ratio, Verdict as NoiseVerdict};
#[cfg(feature = "run")]
pub use replay::{Change, Replayed, Ring, replay};
#[cfg(feature = "run")]
pub use tenure_policy_host::SETTINGS;
#[cfg(feature = "run")]
pub use trial::{Checked, Terms, Told, Trial, check};
