//! A real server with scripted verbs, the real plugin binary, and golden files.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tenure_cni::{Handle, Options, Service};
use tenure_core::error::{Coded, Kind};
use tenure_core::objects::{Dns, Route};
use tenure_engine::{
    AddAnswer, AddRequest, CheckRequest, DelRequest, GcAnswer, GcRequest, Granted, StatusRequest,
    Verbs,
};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// What the scripted verbs do.
#[derive(Debug, Clone)]
pub enum Script {
    Succeed,
    Fail(Kind),
    Hang,
}

/// Verbs that follow a script and remember what they were asked.
pub struct Scripted {
    pub script: Mutex<Script>,
    pub calls: Mutex<Vec<String>>,
    pub granted: Mutex<Vec<Granted>>,
    /// (verbs begun, verbs whose future is gone)
    pub seen: watch::Sender<(usize, usize)>,
}

#[derive(Debug)]
pub struct ScriptedError(Kind);

impl fmt::Display for ScriptedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "scripted failure of kind {:?}", self.0)
    }
}

impl std::error::Error for ScriptedError {}

impl Coded for ScriptedError {
    fn code(&self) -> &'static str {
        "SCRIPTED"
    }
    fn kind(&self) -> Kind {
        self.0
    }
}

/// Tells the test when the future of a verb is gone.
struct Running<'a>(&'a Scripted);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.seen.send_modify(|seen| seen.1 += 1);
    }
}

impl Scripted {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            script: Mutex::new(Script::Succeed),
            calls: Mutex::default(),
            granted: Mutex::new(vec![granted_v4(), granted_v6()]),
            seen: watch::Sender::new((0, 0)),
        })
    }

    pub fn follow(&self, script: Script) {
        *self.script.lock().unwrap() = script;
    }

    pub fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    async fn play<T>(&self, call: impl fmt::Debug, answer: T) -> Result<T, ScriptedError> {
        self.calls.lock().unwrap().push(format!("{call:#?}"));
        self.seen.send_modify(|seen| seen.0 += 1);
        let _running = Running(self);
        let script = self.script.lock().unwrap().clone();
        match script {
            Script::Succeed => Ok(answer),
            Script::Fail(kind) => Err(ScriptedError(kind)),
            Script::Hang => std::future::pending().await,
        }
    }
}

impl Verbs for Scripted {
    type Error = ScriptedError;

    async fn add(&self, request: AddRequest) -> Result<AddAnswer, ScriptedError> {
        let addresses = self.granted.lock().unwrap().clone();
        self.play(request, AddAnswer { addresses }).await
    }
    async fn del(&self, request: DelRequest) -> Result<(), ScriptedError> {
        self.play(request, ()).await
    }
    async fn check(&self, request: CheckRequest) -> Result<(), ScriptedError> {
        self.play(request, ()).await
    }
    async fn gc(&self, request: GcRequest) -> Result<GcAnswer, ScriptedError> {
        let kept = vec![("10.6.0.9".parse().unwrap(), "its namespace lives".to_owned())];
        self.play(request, GcAnswer { released: vec![], kept }).await
    }
    async fn status(&self, request: StatusRequest) -> Result<(), ScriptedError> {
        self.play(request, ()).await
    }
}

pub fn granted_v4() -> Granted {
    let route = |dst: &str| Route {
        dst: dst.parse().unwrap(),
        gw: None,
        mtu: None,
        advmss: None,
        priority: None,
        table: None,
        scope: None,
    };
    let rich = Route {
        gw: Some("10.6.0.2".parse().unwrap()),
        mtu: Some(1400),
        advmss: Some(1360),
        priority: Some(100),
        table: Some(7),
        scope: Some(253),
        ..route("10.7.0.0/16")
    };
    Granted {
        address: "10.6.0.5/16".parse().unwrap(),
        space: Default::default(),
        generation: Default::default(),
        pool: "blue-v4".parse().unwrap(),
        gateway: Some("10.6.0.1".parse().unwrap()),
        routes: vec![route("0.0.0.0/0"), rich],
        dns: Some(Dns {
            nameservers: vec!["10.6.0.53".into()],
            domain: Some("example.org".into()),
            search: vec!["a.example.org".into()],
            options: vec!["ndots:2".into()],
        }),
    }
}

pub fn granted_v6() -> Granted {
    Granted {
        address: "fd00:6::5/64".parse().unwrap(),
        space: Default::default(),
        generation: Default::default(),
        pool: "blue-v6".parse().unwrap(),
        gateway: None,
        routes: vec![],
        dns: None,
    }
}

/// A server on a socket in a folder of its own, and a spool folder beside it.
pub struct World {
    pub folder: TempDir,
    pub runtime: Runtime,
    pub verbs: Arc<Scripted>,
    pub server: Option<Handle>,
}

impl World {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Options)) -> Self {
        let mut world = Self::without_server();
        let mut options = Options::new(world.socket());
        change(&mut options);
        let _context = world.runtime.enter();
        world.server = Some(Service::bind(options, Arc::clone(&world.verbs)).unwrap().start());
        drop(_context);
        world
    }

    pub fn without_server() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self { folder, runtime, verbs: Scripted::new(), server: None }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("cni.sock")
    }

    pub fn spool(&self) -> PathBuf {
        self.folder.path().join("spool")
    }

    /// A network configuration that finds this world's socket and spool.
    pub fn config(&self, version: &str) -> serde_json::Value {
        serde_json::json!({
            "cniVersion": version, "name": "underlay", "type": "macvlan", "master": "eth1",
            "ipam": {"type": "tenure-ipam", "socket": self.socket(), "spool": self.spool()},
        })
    }

    /// Waits until so many verbs have begun and so many of their futures are gone.
    pub fn wait_for(&self, begun: usize, gone: usize) {
        let mut seen = self.verbs.seen.subscribe();
        let reached = seen.wait_for(|seen| seen.0 >= begun && seen.1 >= gone);
        self.runtime.block_on(reached).unwrap();
    }
}

/// The plugin with the environment of `command`.
pub fn plugin(command: &str) -> Command {
    let mut plugin = Command::new(env!("CARGO_BIN_EXE_tenure-ipam"));
    plugin
        .env_clear()
        .env("CNI_COMMAND", command)
        .env("CNI_CONTAINERID", "c1")
        .env("CNI_NETNS", "/run/netns/absent")
        .env("CNI_IFNAME", "eth0")
        .env("CNI_PATH", "/opt/cni/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    plugin
}

/// Runs it to its end with `stdin`.
pub fn run(mut plugin: Command, stdin: impl AsRef<[u8]>) -> Output {
    let mut child = plugin.spawn().unwrap();
    // The plugin may stop reading early, as it does at its bound.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_ref());
    child.wait_with_output().unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn code(output: &Output) -> u64 {
    let error: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    error["code"].as_u64().unwrap()
}

/// One case of a golden file.
pub fn section(title: &str, output: &Output, folder: &Path) -> String {
    let text = stdout(output).replace(folder.to_str().unwrap(), "FOLDER");
    format!("# {title}\nexit {}\n{text}\n", output.status.code().unwrap())
}

/// Compares with `tests/goldens/NAME`, or writes it when TENURE_BLESS=1.
pub fn golden(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name);
    if std::env::var_os("TENURE_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&path, found).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(wanted, found, "{name} differs; TENURE_BLESS=1 accepts the new text");
}
