//! A laboratory for one test: a network and mount namespace of its own, the built daemon in it, the shipped
//! plugin and the real CNI plugins. Everything ends with the test's thread and its children.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

pub mod conformance;
pub mod history;
pub mod modules;
pub mod runtime;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tenure_cni::frame::{Request, Response};

use runtime::Runtime;

/// How long a condition may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Lab {
    pub folder: tempfile::TempDir,
    pub config: String,
    pub manifests: String,
    pub policies: PathBuf,
    /// More environment for the daemon.
    pub env: Vec<(String, String)>,
    daemon: Option<Child>,
    /// Last: everything of this test has ended when the next one begins.
    _alone: Alone,
}

/// One laboratory at a time: a daemon looks at all namespaces of the machine for addresses of its pools, and those of
/// another test would be real ones to it.
struct Alone;

static BUSY: Mutex<bool> = Mutex::new(false);
static FREED: Condvar = Condvar::new();

/// What a plugin answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub exit: i32,
    pub body: Value,
}

impl Lab {
    /// Enters fresh namespaces with this thread: threads and children that it starts are in them too.
    pub fn enter() -> Self {
        let alone = Alone::wait();
        enter_namespaces();
        std::fs::create_dir_all("/run/netns").unwrap();
        ip(&["link", "set", "lo", "up"]);
        let folder = tempfile::tempdir().unwrap();
        Self {
            folder,
            config: String::new(),
            manifests: String::new(),
            policies: policies(),
            env: Vec::new(),
            daemon: None,
            _alone: alone,
        }
    }

    /// More lines for the configuration of the daemon.
    pub fn configure(mut self, lines: &str) -> Self {
        self.config.push_str(lines);
        self
    }

    /// Without Wasm policies: the built-in strategies decide, and a restart takes milliseconds.
    pub fn without_policies(mut self) -> Self {
        self.policies = self.folder.path().join("no-policies");
        std::fs::create_dir_all(&self.policies).unwrap();
        self
    }

    pub fn pool(mut self, name: &str, spec: Value) -> Self {
        self.object("IPPool", name, spec);
        self
    }

    pub fn object(&mut self, kind: &str, name: &str, spec: Value) {
        let object = json!({"apiVersion": "tenure.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
        self.manifests.push_str(&format!("{object}\n---\n"));
    }

    /// Starts the daemon and waits until it serves.
    pub fn start(mut self) -> Self {
        self.launch();
        self
    }

    pub fn launch(&mut self) {
        assert!(self.daemon.is_none(), "one daemon at a time");
        let folder = self.folder.path();
        std::fs::create_dir_all(folder.join("manifests")).unwrap();
        std::fs::write(folder.join("manifests/objects.yaml"), &self.manifests).unwrap();
        std::fs::write(folder.join("tenured.toml"), self.toml()).unwrap();
        let log =
            std::fs::File::options().append(true).create(true).open(folder.join("log")).unwrap();
        let mut daemon = Command::new(env!("CARGO_BIN_EXE_tenured"))
            .arg("--config")
            .arg(folder.join("tenured.toml"))
            .arg("--manifests")
            .arg(folder.join("manifests"))
            .envs(self.env.iter().cloned())
            .stderr(log)
            .spawn()
            .unwrap();
        until("the daemon serves", || {
            assert!(daemon.try_wait().unwrap().is_none(), "the daemon ended:\n{}", self.log());
            let serves = |socket| UnixStream::connect(folder.join(socket)).is_ok();
            serves("cni.sock") && serves("admin.sock")
        });
        self.daemon = Some(daemon);
    }

    fn toml(&self) -> String {
        let folder = self.folder.path().display();
        format!(
            "stateDir = \"{folder}/state\"\npolicyDir = \"{}\"\n{}\n[cni]\nsocket = \"{folder}/cni.sock\"\n\
             spool = \"{folder}/spool\"\n[admin]\nsocket = \"{folder}/admin.sock\"\n",
            self.policies.display(),
            self.config,
        )
    }

    /// SIGKILL: as a crash.
    pub fn kill(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }

    /// SIGTERM: answers whether it ended cleanly.
    pub fn stop(&mut self) -> bool {
        let mut daemon = self.daemon.take().unwrap();
        signal_term(&daemon);
        daemon.wait().unwrap().success()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The container runtime of this machine.
    pub fn runtime(&self) -> Runtime {
        Runtime {
            folder: self.folder.path().to_owned(),
            socket: self.path("cni.sock"),
            spool: self.path("spool"),
        }
    }

    /// A network configuration with tenure-ipam for this main plugin. An ADD on a full pool is told so at once.
    pub fn network(&self, version: &str, main: &str, extra: Value) -> Value {
        self.runtime().network(version, main, extra)
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Runs the shipped plugin as a runtime would.
    pub fn plugin(&self, verb: &str, container: &str, config: &Value) -> Answer {
        self.runtime().plugin(verb, container, config)
    }

    /// Runs cnitool on a configuration that is kept as `net.d/NAME`.
    pub fn cnitool(&self, verb: &str, config: &Value, netns: &str) -> Answer {
        self.runtime().cnitool(verb, config, netns)
    }

    /// One request to the admin API: status and body.
    pub fn http(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        http(&self.folder.path().join("admin.sock"), method, path, body)
    }

    /// One request straight to the daemon's socket, as the plugin sends it; none if the daemon went away.
    pub fn frame(&self, verb: &str, container: &str, config: &Value) -> Option<Answer> {
        call(&self.folder.path().join("cni.sock"), verb, container, container, config)
    }
}

/// Runs a plugin as a runtime would.
pub fn run_plugin(
    program: &Path,
    verb: &str,
    container: &str,
    config: &Value,
    env: &BTreeMap<&str, String>,
) -> Answer {
    let plugin = start_plugin(program, verb, container, config, env);
    Answer::from(&plugin.wait_with_output().unwrap())
}

/// Begins a call of a plugin.
pub fn start_plugin(
    program: &Path,
    verb: &str,
    container: &str,
    config: &Value,
    env: &BTreeMap<&str, String>,
) -> Child {
    use std::io::Write as _;
    let mut child = Command::new(program)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("CNI_COMMAND", verb)
        .env("CNI_CONTAINERID", container)
        .env("CNI_PATH", cni_path())
        .envs(env)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(config.to_string().as_bytes()).unwrap();
    child
}

/// One request to the admin API behind a socket: status and body.
pub fn http(socket: &Path, method: &str, path: &str, body: &str) -> (u16, String) {
    try_http(socket, method, path, body).unwrap()
}

/// None if the daemon went away.
pub fn try_http(socket: &Path, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    use std::io::{Read as _, Write as _};
    let mut stream = UnixStream::connect(socket).ok()?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
    // The answers of these tests come in one chunk or with a length; the frame of a chunk is not JSON.
    let body = match head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        true => body
            .lines()
            .filter(|l| u64::from_str_radix(l.trim(), 16).is_err())
            .collect::<Vec<_>>()
            .join("\n"),
        false => body.to_owned(),
    };
    Some((status, body))
}

impl Alone {
    fn wait() -> Self {
        let mut busy = FREED.wait_while(BUSY.lock().unwrap(), |busy| *busy).unwrap();
        *busy = true;
        Self
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        // What the next daemon could still see of this test.
        for entry in std::fs::read_dir("/run/netns").into_iter().flatten().flatten() {
            let _ = rustix::mount::unmount(entry.path(), rustix::mount::UnmountFlags::DETACH);
        }
        *BUSY.lock().unwrap() = false;
        FREED.notify_one();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
            if std::thread::panicking() {
                eprintln!("--- log of the daemon ---\n{}", self.log());
            }
        }
    }
}

impl Answer {
    fn from(output: &Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout);
        let body = serde_json::from_str(&text).unwrap_or_else(|_| {
            let error = String::from_utf8_lossy(&output.stderr);
            json!({"text": text, "stderr": error})
        });
        let body =
            if text.trim().is_empty() && output.status.success() { Value::Null } else { body };
        Self { exit: output.status.code().unwrap_or(-1), body }
    }

    pub fn ok(&self) -> &Self {
        assert_eq!(self.exit, 0, "{self:?}");
        self
    }

    pub fn code(&self) -> u64 {
        assert_ne!(self.exit, 0, "{self:?}");
        self.body["code"].as_u64().unwrap_or_else(|| panic!("{self:?}"))
    }

    /// Addresses of a result from 0.3.0 on, without prefix lengths.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let ips = self.ok().body["ips"].as_array().unwrap_or_else(|| panic!("{self:?}"));
        let bare = |ip: &Value| {
            ip["address"].as_str().unwrap().split('/').next().unwrap().parse().unwrap()
        };
        ips.iter().map(bare).collect()
    }
}

/// One request over the socket; none if the daemon went away before it answered.
pub fn call(
    socket: &Path,
    verb: &str,
    container: &str,
    netns: &str,
    config: &Value,
) -> Option<Answer> {
    use std::os::unix::fs::MetadataExt as _;
    let path = format!("/run/netns/{netns}");
    let file = std::fs::metadata(&path).ok().map(|m| (m.dev(), m.ino()));
    let request = Request {
        command: verb.into(),
        container: container.into(),
        netns: Some(path.into_bytes()),
        ifname: b"eth0".to_vec(),
        netns_file: file,
        deadline_ms: 60_000,
        stdin: config.to_string().into_bytes(),
        ..Request::default()
    };
    let mut stream = UnixStream::connect(socket).ok()?;
    std::io::Write::write_all(&mut stream, &request.encode().unwrap()).ok()?;
    let response = Response::read(&mut stream).ok()?;
    let body = serde_json::from_slice(&response.stdout).unwrap_or(Value::Null);
    Some(Answer { exit: response.exit.into(), body })
}

pub fn ip(args: &[&str]) {
    let output = Command::new("ip").args(args).output().unwrap();
    assert!(output.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

pub fn netns(name: &str) {
    ip(&["netns", "add", name]);
}

/// Waits for a condition; a test never sleeps for a fixed time in its place.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

pub fn target() -> PathBuf {
    // target/debug/tenured
    Path::new(env!("CARGO_BIN_EXE_tenured")).ancestors().nth(2).unwrap().to_owned()
}

pub fn plugin() -> PathBuf {
    needed(
        std::env::var_os("TENURE_PLUGIN")
            .map_or_else(|| target().join("plugin/tenure-ipam"), PathBuf::from),
    )
}

pub fn tools() -> PathBuf {
    needed(
        std::env::var_os("TENURE_TOOLS").map_or_else(|| target().join("tools/bin"), PathBuf::from),
    )
}

pub fn policies() -> PathBuf {
    needed(
        std::env::var_os("TENURE_TEST_POLICIES")
            .map_or_else(|| target().join("policies"), PathBuf::from),
    )
}

fn needed(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is missing: run the tests by `cargo xtask test`", path.display());
    path
}

fn cni_path() -> String {
    format!("{}:{}", tools().display(), plugin().parent().unwrap().display())
}

#[expect(
    unsafe_code,
    reason = "rustix marks unshare unsafe because of CLONE_FILES, which is not used here"
)]
fn enter_namespaces() {
    use rustix::thread::UnshareFlags;
    // SAFETY: neither flag changes which descriptors this thread shares with others.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET | UnshareFlags::NEWNS) }.expect(
        "tests of real networks need root; `cargo xtask test` makes a user namespace otherwise",
    );
    let mount =
        |args: &[&str]| assert!(Command::new("mount").args(args).status().unwrap().success());
    mount(&["--make-rprivate", "/"]);
    // `/run/netns` for the namespaces, `/var/lib/cni` for the results that libcni keeps.
    mount(&["-t", "tmpfs", "tmpfs", "/run"]);
    mount(&["-t", "tmpfs", "tmpfs", "/var/lib"]);
}

fn signal_term(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
}
