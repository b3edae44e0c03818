//! The configuration: TOML, every path a setting, unknown keys refused with their position.

mod policy;

use std::net::{Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use tenure_core::objects::Span;
use tenure_store::RedbOptions;

pub(crate) use self::policy::{PolicySettings, RegistrySettings};
use crate::args::Args;
use crate::log;

/// Where it is looked for when no option names it.
const DEFAULT_FILE: &str = "/etc/tenure/tenured.toml";
/// A sweep more often than this would only warm the machine.
const MIN_SWEEP: Duration = Duration::from_millis(200);
/// A zombie whose end nobody told is found by the next sweep only.
const MAX_SWEEP: Duration = Duration::from_secs(3600);
/// Below two heartbeats a single one that is late would count.
const MIN_LOST: Duration = Duration::from_secs(10);
/// A node that is off would keep its addresses for longer than any rebuild takes.
const MAX_LOST: Duration = Duration::from_secs(3600);
/// Where allocators listen for agents.
const AGENTS_PORT: u16 = 7417;
/// `sun_path` of a socket address has 108 bytes, the last of them NUL.
const MAX_SOCKET_BYTES: usize = 107;
/// 64 GiB: more than any store of ours is large.
const MAX_CACHE_MIB: usize = 65_536;
/// With fewer, what is known of addresses that rest would be written over and over.
const MIN_ROWS_KEPT: usize = 1000;
/// With fewer, a single rebuild of a machine would push out all that was before it.
const MIN_HISTORY_EVENTS: u64 = 1000;
/// Some 250 MB of file, and a quarter of a second for each question.
const MAX_HISTORY_EVENTS: u64 = 1_000_000;

/// All settings.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Folder of the store, the agent id, compiled policies and those that served last.
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
    pub(crate) policy: PolicySettings,
    pub(crate) cluster: Cluster,
    pub(crate) agent: AgentSettings,
    pub(crate) allocator: AllocatorSettings,
    pub(crate) nodes: Nodes,
}

/// The Kubernetes cluster, for agents and allocators.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Cluster {
    /// The namespace of Tenure.
    pub(crate) namespace: String,
    /// How to reach the API server; by default as Kubernetes tells every pod.
    pub(crate) kubeconfig: Option<PathBuf>,
}

/// The agent of a node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct AgentSettings {
    /// Where the allocators are; by default the endpoints of their Service.
    pub(crate) allocators: Vec<SocketAddr>,
    /// The token that says which node the agent is of, for the audience `tenure-allocator`.
    pub(crate) token: PathBuf,
    /// CAs of the allocators in PEM; by default their ConfigMap.
    pub(crate) ca: Option<PathBuf>,
}

/// An allocator.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct AllocatorSettings {
    /// Where agents connect.
    pub(crate) listen: SocketAddr,
    /// Its name among the replicas; by default that of its pod, or the host name.
    pub(crate) name: Option<String>,
    /// Certificate and key, in PEM, that somebody else keeps (cert-manager); by default Tenure has a CA of its own.
    pub(crate) certificate: Option<PathBuf>,
    /// Its key.
    pub(crate) key: Option<PathBuf>,
}

/// The nodes of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Nodes {
    /// A node whose agent and node lease are silent for so long is lost.
    pub(crate) lost_after: Span,
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
    /// So many changes of holders are kept, of all addresses together; 0: none.
    pub(crate) history_events: u64,
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
            policy: PolicySettings::default(),
            cluster: Cluster::default(),
            agent: AgentSettings::default(),
            allocator: AllocatorSettings::default(),
            nodes: Nodes::default(),
        }
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self { namespace: "tenure-system".to_owned(), kubeconfig: None }
    }
}

impl Default for AgentSettings {
    fn default() -> Self {
        let token = "/var/run/secrets/tenure/token".into();
        Self { allocators: Vec::new(), token, ca: None }
    }
}

impl Default for AllocatorSettings {
    fn default() -> Self {
        let listen = SocketAddr::from((Ipv6Addr::UNSPECIFIED, AGENTS_PORT));
        Self { listen, name: None, certificate: None, key: None }
    }
}

impl Default for Nodes {
    fn default() -> Self {
        Self { lost_after: Span(tenure_core::defaults::LOST) }
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
        Self { sweep: Span(tenure_core::defaults::SWEEP) }
    }
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            cache_mib: RedbOptions::default().cache_bytes >> 20,
            rows_kept: 100_000,
            history_events: tenure_core::history::EVENTS_KEPT,
        }
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
            // Relative to the folder where the command is typed; a path of the file has no such folder.
            if let Some(path) = given {
                *setting = std::path::absolute(path)
                    .with_context(|| format!("reading the argument {}", path.display()))?;
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

    /// The name of an allocator among the replicas.
    pub(crate) fn allocator_name(&self) -> String {
        let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        let pod = || std::env::var("POD_NAME").ok();
        self.allocator.name.clone().or_else(pod).unwrap_or_else(host)
    }

    /// Every setting that can be judged without starting anything; the error names its key.
    fn check(&self) -> anyhow::Result<()> {
        log::filter(&self.log.level)?;
        self.policy.trust()?;
        self.check_cluster()?;
        self.check_folders()?;
        self.check_sockets()?;
        self.check_figures()
    }

    fn check_cluster(&self) -> anyhow::Result<()> {
        if self.allocator.certificate.is_some() != self.allocator.key.is_some() {
            bail!("allocator.certificate and allocator.key belong together; set both or neither");
        }
        let lost = self.nodes.lost_after;
        if !(MIN_LOST..=MAX_LOST).contains(&lost.0) {
            bail!("nodes.lostAfter is {lost}; it must be from 10s to 1h");
        }
        Ok(())
    }

    fn check_folders(&self) -> anyhow::Result<()> {
        for (key, folder) in [("stateDir", &self.state_dir), ("cni.spool", &self.cni.spool)] {
            if folder.as_os_str().is_empty() {
                bail!("{key} is empty; it must name a folder");
            }
        }
        match &self.policy_dir {
            Some(folder) if !folder.is_dir() => bail!(
                "policyDir is {}, and there is no such folder; without the setting the folder `policies` beside the binary is used",
                folder.display()
            ),
            _ => Ok(()),
        }
    }

    fn check_sockets(&self) -> anyhow::Result<()> {
        for (key, path) in [("cni.socket", &self.cni.socket), ("admin.socket", &self.admin.socket)]
        {
            let shown = path.display();
            if !path.is_absolute() {
                bail!("{key} is {shown:?}; it must be an absolute path");
            }
            let bytes = path.as_os_str().as_bytes().len();
            if bytes > MAX_SOCKET_BYTES {
                bail!(
                    "{key} is {shown}, {bytes} bytes long; the path of a socket has at most {MAX_SOCKET_BYTES}"
                );
            }
        }
        if self.cni.socket == self.admin.socket {
            bail!("cni.socket and admin.socket are the same path {}", self.cni.socket.display());
        }
        Ok(())
    }

    fn check_figures(&self) -> anyhow::Result<()> {
        let StoreSettings { cache_mib, rows_kept, history_events } = self.store;
        let sweep = self.reclaim.sweep;
        if sweep.0 < MIN_SWEEP {
            bail!("reclaim.sweep is {sweep}; it must be at least 200ms");
        }
        if sweep.0 > MAX_SWEEP {
            bail!("reclaim.sweep is {sweep}; it must be at most 1h");
        }
        if self.cni.max_connections == 0 {
            bail!("cni.maxConnections is 0: nobody could call");
        }
        if !(1..=MAX_CACHE_MIB).contains(&cache_mib) {
            bail!("store.cacheMib is {cache_mib}; it must be from 1 to {MAX_CACHE_MIB}");
        }
        if rows_kept < MIN_ROWS_KEPT {
            bail!("store.rowsKept is {rows_kept}; it must be at least {MIN_ROWS_KEPT}");
        }
        if history_events != 0
            && !(MIN_HISTORY_EVENTS..=MAX_HISTORY_EVENTS).contains(&history_events)
        {
            bail!(
                "store.historyEvents is {history_events}; it must be from {MIN_HISTORY_EVENTS} to {MAX_HISTORY_EVENTS}, or 0 for no history"
            );
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
    fn settings_that_cannot_work_are_refused_by_name() {
        let long = format!("[cni]\nsocket = \"/{}\"", "x".repeat(107));
        for (text, said) in [
            ("[reclaim]\nsweep = \"1ms\"", "reclaim.sweep is 1ms; it must be at least 200ms"),
            ("[reclaim]\nsweep = \"61m\"", "it must be at most 1h"),
            ("[admin]\nsocket = \"/run/tenure/cni.sock\"", "same path"),
            (
                "[admin]\nsocket = \"admin.sock\"",
                "admin.socket is \"admin.sock\"; it must be an absolute",
            ),
            ("[cni]\nsocket = \"\"", "cni.socket is \"\"; it must be an absolute path"),
            (&long, "108 bytes long; the path of a socket has at most 107"),
            ("[cni]\nmaxConnections = 0", "cni.maxConnections is 0"),
            ("[cni]\nspool = \"\"", "cni.spool is empty"),
            ("stateDir = \"\"", "stateDir is empty"),
            (
                "policyDir = \"/no/such/folder\"",
                "policyDir is /no/such/folder, and there is no such",
            ),
            ("[log]\nlevel = \"loud\"", "log.level is \"loud\""),
            ("[store]\ncacheMib = 0", "store.cacheMib is 0; it must be from 1 to 65536"),
            ("[store]\ncacheMib = 65537", "store.cacheMib is 65537"),
            ("[store]\nrowsKept = 999", "store.rowsKept is 999; it must be at least 1000"),
            ("[nodes]\nlostAfter = \"9s\"", "nodes.lostAfter is 9s; it must be from 10s to 1h"),
            ("[allocator]\nkey = \"k.pem\"", "belong together"),
            ("[store]\nhistoryEvents = 999", "must be from 1000 to 1000000, or 0 for no history"),
            ("[store]\nhistoryEvents = 1000001", "store.historyEvents is 1000001; it must be from"),
        ] {
            let error = Config::parse(text).unwrap().check().unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn settings_at_their_limits_are_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "policyDir = \"{}\"\n[cni]\nsocket = \"/{}\"\n[reclaim]\nsweep = \"1h\"\n[store]\ncacheMib = 65536\nrowsKept = 1000\nhistoryEvents = 0",
            folder.path().display(),
            "x".repeat(106)
        );
        Config::parse(&text).unwrap().check().unwrap();
        Config::default().check().unwrap();
    }

    #[test]
    fn a_path_of_the_command_line_is_relative_to_where_it_is_typed() {
        use clap::Parser as _;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tenured.toml");
        std::fs::write(&file, "").unwrap();
        let file = file.to_str().unwrap();
        let args = Args::parse_from(["tenured", "--config", file, "--cni-socket", "./cni.sock"]);
        let wanted = std::env::current_dir().unwrap().join("cni.sock");
        assert_eq!(Config::read(&args).unwrap().cni.socket, wanted);
    }
}
