//! What can go wrong with the host itself and with a policy that is to be loaded.

use std::path::PathBuf;

use tenure_core::decision::Hook;
use tenure_core::error::{Coded, Kind};
use tenure_core::name::{Digest, ObjectName};
use tenure_core::ports::PolicyRefusal;

use tenure_trust::{Distrust, TrustError};

use crate::fault::Fault;
use crate::limits::{COMPONENT_BYTES, SETTINGS_BYTES};

/// The stage at which a module comes from its registry; the daemon does that, for this host knows no network.
pub const FETCH: &str = "fetching the component";
/// The stage at which signatures are asked for.
pub const TRUST: &str = "checking the trust";
/// The stage at which the settings of an object are refused.
pub const SETTINGS: &str = "checking the settings";
/// The stage of a version that was taken back.
pub(crate) const TAKEN_BACK: &str = "serving on probation";

/// An act of the policy host that failed. Faults of a policy at work are no errors: they are
/// answered by the built-in strategy and counted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyHostError {
    /// wasmtime could not be set up.
    #[error("the Wasm engine cannot start: {0}; does the machine limit address space (ulimit -v)?")]
    Engine(String),
    /// No memory layout was left to try.
    #[error("the Wasm engine cannot start: no memory layout was given")]
    NoLayout,
    /// The thread that measures deadlines could not be started.
    #[error("the thread that measures the deadlines of policies cannot start")]
    Ticker(#[source] std::io::Error),
    /// The thread on which shadows are asked could not be started.
    #[error("the thread of the policies in shadow mode cannot start")]
    Thread(#[source] std::io::Error),

    /// `bundled` names no file in the policy folder.
    #[error("there is no shipped policy {name:?}; {}", shipped_hint(.folder, .shipped))]
    NotShipped {
        /// The name in the source.
        name: String,
        /// The policy folder.
        folder: PathBuf,
        /// What it holds.
        shipped: Vec<String>,
    },
    /// What an `oci:` source names is not on this machine.
    #[error("it has not been fetched from its registry")]
    NotFetched,
    /// Too few of those who must vouch for it do.
    #[error(transparent)]
    Untrusted(#[from] Box<Distrust>),
    /// Its signatures are there and cannot be read.
    #[error("{}: {source}", .path.display())]
    Signatures {
        /// The file beside the component.
        path: PathBuf,
        /// Why.
        source: TrustError,
    },
    /// The file of the component cannot be read.
    #[error("{} cannot be read; is the path right on the machine of the daemon?", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Something else than a file lies at the path; reading it might never end.
    #[error("{} is {what}, not a file; name the file of the built component", .path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What lies there.
        what: &'static str,
    },
    /// The component is larger than the host reads.
    #[error("{} is larger than {COMPONENT_BYTES} bytes; build it optimised for size and without debug information, as `tenure policy build` does", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The object asks for another digest.
    #[error(
        "it is {found}, and spec.digest asks for {wanted}; correct spec.digest or restore the file"
    )]
    Digest {
        /// What was read.
        found: Digest,
        /// What was asked for.
        wanted: Digest,
    },
    /// A limit of the object is out of bounds.
    #[error("{0}")]
    Limits(String),
    /// The file is something else.
    #[error("it is {what}, not a Wasm component; {hint}")]
    NotAComponent {
        /// What it seems to be.
        what: String,
        /// How to get a component.
        hint: &'static str,
    },
    /// It wants more of the host than a policy gets.
    #[error("it imports {}, and a policy may import only tenure:policy/host and types at 0.1; {hint}", listed(.imports))]
    Imports {
        /// All of them.
        imports: Vec<String>,
        /// How to get rid of them.
        hint: &'static str,
    },
    /// It exports nothing that the host asks for.
    #[error("it exports no {what}, only {}; name the hooks in `tenure_policy::export!`", listed(.exports))]
    NoHooks {
        /// `lifecycle` or `hook`.
        what: &'static str,
        /// What it exports.
        exports: Vec<String>,
    },
    /// It exports an interface of the contract that this host does not know.
    #[error(
        "it exports {}, and this host knows only the interfaces of tenure:policy at 0.1: use the SDK of this host",
        shown(.export)
    )]
    UnknownExport {
        /// The interface.
        export: String,
    },
    /// The object asks for a hook that the component lacks.
    #[error("spec.hooks asks for {}, but it exports only {}", .wanted.name(), hook_names(.exported))]
    HookMissing {
        /// The hook.
        wanted: Hook,
        /// What it exports.
        exported: Vec<Hook>,
    },
    /// Cranelift refused it, or took too long.
    #[error("{0}")]
    Compile(String),
    /// An interface has another shape than in the contract.
    #[error(
        "its interface `{interface}` differs from the contract: {why}; build it with the SDK of this host"
    )]
    Shape {
        /// `lifecycle`, `select`, `affinity` or `reclaim`.
        interface: &'static str,
        /// What wasmtime said.
        why: String,
    },
    /// It failed where no policy may fail.
    #[error("{} ({})", .0.message, .0.kind.as_str())]
    Faulted(FaultText),
    /// It says something unusable about itself.
    #[error("{0}")]
    Description(String),
    /// Its settings do not fit.
    #[error("spec.settings does not fit:{}", .0.iter().map(|line| format!("\n  {line}")).collect::<String>())]
    Settings(Vec<String>),
    /// Its settings are too long.
    #[error("spec.settings has {0} bytes; at most {SETTINGS_BYTES} are allowed")]
    SettingsTooLong(usize),
    /// It refused in `init` what it had just accepted.
    #[error("`init` refuses settings that its schema and `validate-settings` accept: {}; this is a defect of the policy", .0.join("; "))]
    SettingsLie(Vec<String>),
    /// The breaker took back this very version.
    #[error("{0}; it serves again when the object or its component changes")]
    TakenBack(String),
    /// A synthetic request made it fail.
    #[error("a {} request with {rows} row(s) failed: {} ({})", .hook.name(), .fault.message, .fault.kind.as_str())]
    Smoke {
        /// The hook.
        hook: Hook,
        /// Rows of the request.
        rows: usize,
        /// How it failed.
        fault: FaultText,
    },
}

/// A fault in public clothes.
#[derive(Debug)]
pub struct FaultText {
    /// The kind.
    pub kind: tenure_core::decision::FaultKind,
    /// In words.
    pub message: String,
}

// === impl PolicyHostError ===

impl PolicyHostError {
    pub(crate) fn engine(error: wasmtime::Error) -> Self {
        Self::Engine(format!("{error:#}"))
    }

    /// What the host was doing, as a gerund.
    #[must_use]
    pub fn stage(&self) -> &'static str {
        match self {
            Self::Engine(_) | Self::NoLayout | Self::Ticker(_) | Self::Thread(_) => {
                "starting the engine"
            }
            Self::NotShipped { .. }
            | Self::Read { .. }
            | Self::NotAFile { .. }
            | Self::TooLarge { .. } => "reading the component",
            Self::NotFetched => FETCH,
            Self::Untrusted(_) | Self::Signatures { .. } => TRUST,
            Self::Digest { .. } => "checking the digest",
            Self::Limits(_) => "checking the limits",
            Self::NotAComponent { .. } => "recognising the file",
            Self::Imports { .. } => "checking the imports",
            Self::NoHooks { .. } | Self::UnknownExport { .. } | Self::HookMissing { .. } => {
                "checking the exports"
            }
            Self::Compile(_) => "compiling",
            Self::Shape { .. } | Self::Faulted(_) => "making a trial instance",
            Self::Description(_) => "reading its description",
            Self::Settings(_) | Self::SettingsTooLong(_) | Self::SettingsLie(_) => SETTINGS,
            Self::Smoke { .. } => "trying its hooks",
            Self::TakenBack(_) => TAKEN_BACK,
        }
    }

    /// As the port tells it.
    #[must_use]
    pub fn refusal(&self, policy: &ObjectName) -> PolicyRefusal {
        let cause = std::error::Error::source(self).map(|c| format!(": {c}")).unwrap_or_default();
        PolicyRefusal { policy: policy.clone(), stage: self.stage(), why: format!("{self}{cause}") }
    }
}

impl Coded for PolicyHostError {
    fn code(&self) -> &'static str {
        match self {
            Self::Engine(_) | Self::NoLayout | Self::Ticker(_) | Self::Thread(_) => "POLICY_ENGINE",
            _ => "POLICY_REFUSED",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Engine(_) | Self::NoLayout | Self::Ticker(_) | Self::Thread(_) => Kind::Operator,
            _ => Kind::Invalid,
        }
    }
}

impl From<Fault> for FaultText {
    fn from(fault: Fault) -> Self {
        Self { kind: fault.kind, message: fault.message }
    }
}

impl From<Fault> for PolicyHostError {
    fn from(fault: Fault) -> Self {
        Self::Faulted(fault.into())
    }
}

fn hook_names(hooks: &[Hook]) -> String {
    hooks.iter().map(|hook| hook.name()).collect::<Vec<_>>().join(", ")
}

/// The first names of a list; a hostile component may have thousands, and each as long as it likes.
fn listed(names: &[String]) -> String {
    const MOST: usize = 20;
    let first: Vec<String> = names.iter().take(MOST).map(|name| shown(name)).collect();
    match names.len().checked_sub(MOST) {
        _ if names.is_empty() => "nothing at all".to_owned(),
        None | Some(0) => first.join(", "),
        Some(more) => format!("{} and {more} more", first.join(", ")),
    }
}

/// A name out of a component, for a terminal.
fn shown(name: &str) -> String {
    const BYTES: usize = 128;
    crate::guest::cut(name, BYTES).replace(char::is_control, " ")
}

fn shipped_hint(folder: &std::path::Path, shipped: &[String]) -> String {
    let folder = folder.display();
    if shipped.is_empty() {
        return format!("{folder} holds none at all: is the policy folder set right?");
    }
    format!("{folder} holds {}", shipped.join(", "))
}
