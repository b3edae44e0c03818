//! The configuration: TOML, every path a setting, unknown keys refused with their position.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::Deserialize;
use tenure_core::objects::Span;

use crate::args::Args;

/// Where it is looked for when no option names it.
const DEFAULT_FILE: &str = "/etc/tenure/tenured.toml";
/// A sweep more often than this would only warm the machine.
const MIN_SWEEP: std::time::Duration = std::time::Duration::from_millis(200);

/// All settings.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Folder of the store and the agent id.
    pub(crate) state_dir: PathBuf,
    /// Folder of the shipped policies; `policies` beside the binary by default.
    pub(crate) policy_dir: Option<PathBuf>,
    /// Name of this node; the host name by default.
    pub(crate) node: Option<String>,
    pub(crate) cni: Cni,
    pub(crate) admin: Admin,
    pub(crate) log: Log,
    pub(crate) reclaim: Reclaim,
    pub(crate) store: StoreSettings,
}

/// The side of the CNI plugin.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Cni {
    /// The socket, mode 0600.
    pub(crate) socket: PathBuf,
    /// Where the plugin leaves DELs while the daemon is away.
    pub(crate) spool: PathBuf,
    /// Users who may call besides root and the daemon's own.
    pub(crate) allowed_uids: Vec<u32>,
    /// Callers served at a time.
    pub(crate) max_connections: usize,
}

/// The admin API.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Admin {
    /// The socket, mode 0600.
    pub(crate) socket: PathBuf,
}

/// The log, on standard error.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Log {
    /// `text` or `json`.
    pub(crate) format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,tenure_engine=debug`.
    pub(crate) level: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Reclaim.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Reclaim {
    /// How long at most between two sweeps.
    pub(crate) sweep: Span,
}

/// The embedded store.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct StoreSettings {
    /// Page cache in MiB.
    pub(crate) cache_mib: usize,
    /// So many released rows are kept before the oldest ones are forgotten.
    pub(crate) rows_kept: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_dir: "/var/lib/tenure".into(),
            policy_dir: None,
            node: None,
            cni: Cni::default(),
            admin: Admin::default(),
            log: Log::default(),
            reclaim: Reclaim::default(),
            store: StoreSettings::default(),
        }
    }
}

impl Default for Cni {
    fn default() -> Self {
        Self {
            socket: "/run/tenure/cni.sock".into(),
            spool: "/var/lib/tenure/spool".into(),
            allowed_uids: Vec::new(),
            max_connections: tenure_cni::MAX_CONNECTIONS,
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { socket: "/run/tenure/admin.sock".into() }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

impl Default for Reclaim {
    fn default() -> Self {
        Self { sweep: Span(std::time::Duration::from_secs(30)) }
    }
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self { cache_mib: 32, rows_kept: 100_000 }
    }
}

impl Config {
    /// Reads the file that the arguments name, and lets the arguments have the last word.
    pub(crate) fn read(args: &Args) -> anyhow::Result<Self> {
        let mut config = match &args.config {
            Some(file) => Self::from_file(file)?,
            None if Path::new(DEFAULT_FILE).exists() => Self::from_file(Path::new(DEFAULT_FILE))?,
            None => Self::default(),
        };
        let overrides = [
            (&args.state_dir, &mut config.state_dir),
            (&args.cni_socket, &mut config.cni.socket),
            (&args.admin_socket, &mut config.admin.socket),
        ];
        for (given, setting) in overrides {
            if let Some(path) = given {
                setting.clone_from(path);
            }
        }
        if args.policy_dir.is_some() {
            config.policy_dir.clone_from(&args.policy_dir);
        }
        config.check()?;
        Ok(config)
    }

    fn from_file(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("reading the configuration {}", file.display()))?;
        Self::parse(&text).with_context(|| format!("in the configuration {}", file.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        // The message of the TOML reader shows line, column and the offending key.
        Ok(toml::from_str(text)?)
    }

    fn check(&self) -> anyhow::Result<()> {
        if self.reclaim.sweep.0 < MIN_SWEEP {
            bail!("reclaim.sweep is {}; it must be at least 200ms", self.reclaim.sweep);
        }
        if self.cni.max_connections == 0 {
            bail!("cni.maxConnections is 0: nobody could call");
        }
        if self.cni.socket == self.admin.socket {
            bail!("cni.socket and admin.socket are the same path {}", self.cni.socket.display());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_refused_with_its_position() {
        let error = format!("{:#}", Config::parse("[cni]\nsockt = \"/x\"\n").unwrap_err());
        assert!(
            error.contains("line 2") && error.contains("sockt") && error.contains("socket"),
            "{error}"
        );
    }

    #[test]
    fn an_empty_file_gives_the_documented_defaults() {
        let config = Config::parse("").unwrap();
        assert_eq!(config, Config::default());
        assert_eq!(config.cni.socket, Path::new("/run/tenure/cni.sock"));
        assert_eq!(config.reclaim.sweep.to_string(), "30s");
    }

    #[test]
    fn figures_that_cannot_work_are_refused_by_name() {
        let config = Config::parse("[reclaim]\nsweep = \"1ms\"\n").unwrap();
        assert!(config.check().unwrap_err().to_string().contains("reclaim.sweep"));
        let config = Config::parse("[admin]\nsocket = \"/run/tenure/cni.sock\"\n").unwrap();
        assert!(config.check().unwrap_err().to_string().contains("same path"));
    }
}
