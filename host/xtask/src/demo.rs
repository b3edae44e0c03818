//! `cargo xtask demo`: a container network on this machine, from nothing to a recycled zombie address.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::{policies, reach, sandbox, tools, workspace};

/// How long a step may take before the demo gives up.
const PATIENCE: Duration = Duration::from_secs(30);

const POOL: &str = r"apiVersion: tenure.dev/v1alpha1
kind: IPPool
metadata: {name: demo-v4}
spec:
  cidr: 10.77.0.0/24
  ranges: [10.77.0.10-10.77.0.12]
  gateway: 10.77.0.1
  routes: [{dst: 0.0.0.0/0}]
---
apiVersion: tenure.dev/v1alpha1
kind: IPPool
metadata: {name: demo-v6}
spec:
  cidr: fd77::/64
  ranges: ['fd77::10-fd77::12']
  gateway: fd77::1
  routes: [{dst: '::/0'}]
";

/// Builds what is needed, then runs the demo in a sandbox.
pub(crate) fn run() -> anyhow::Result<()> {
    let built = Built::make()?;
    sandbox::enter()?;
    let folder = Folder::make()?;
    let mut demo = Demo { built, folder: folder.0.clone(), daemon: None };
    let outcome = demo.play();
    if outcome.is_err() {
        demo.show_log();
    }
    demo.stop();
    outcome?;
    println!("\nDone. The sandbox, its networks and {} are gone.", folder.0.display());
    Ok(())
}

struct Built {
    tools: PathBuf,
    bin: PathBuf,
    plugin: PathBuf,
}

struct Demo {
    built: Built,
    folder: PathBuf,
    daemon: Option<Child>,
}

/// The temporary folder; it goes with the value.
struct Folder(PathBuf);

impl Built {
    fn make() -> anyhow::Result<Self> {
        let tools = tools::install()?;
        policies::build()?;
        let bin = workspace::build_daemon("dev")?;
        let plugin = workspace::build_plugin()?;
        Ok(Self { tools, bin, plugin })
    }
}

impl Folder {
    fn make() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("tenure-demo-{}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

// === impl Demo ===

impl Demo {
    fn play(&mut self) -> anyhow::Result<()> {
        step("tenured starts on an empty folder; the pools hold 3 addresses of each family");
        self.start_daemon()?;
        std::fs::write(self.folder.join("pools.yaml"), POOL)?;
        self.tenure(&["apply", "-f", &self.path("pools.yaml")])?;
        self.tenure(&["get", "policies"])?;

        step("three containers join through the real bridge plugin, with tenure-ipam as its IPAM");
        self.write_network()?;
        for name in ["one", "two", "three"] {
            self.attach(name)?;
        }
        self.tenure(&["get", "leases"])?;
        println!("\nThey reach each other:");
        self.ping("one", "two")?;
        self.ping("three", "one")?;

        step("the pools are full: a fourth container waits in line, inside its ADD");
        ip(&["netns", "add", "four"])?;
        let mut four = self.cni_command("add", "four");
        four.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut four = four.spawn().context("running cnitool")?;
        self.until("the fourth container waits", |demo| demo.is_anybody_waiting())?;
        ensure!(four.try_wait()?.is_none(), "a full pool gave an address");
        self.tenure(&["status"])?;

        step("container two dies without a DEL: its addresses are zombies");
        let zombie = self.address("two", "inet")?;
        ip(&["netns", "del", "two"])?;
        let died = Instant::now();
        println!(
            "{zombie} is recorded as held, its holder is gone. The kernel witness will notice."
        );
        let four = four.wait_with_output()?;
        ensure!(four.status.success(), "ADD failed: {}", said(&four));
        let (got, took) = (self.address("four", "inet")?, died.elapsed());
        ensure!(got == zombie, "four has {got}, not the recycled {zombie}");
        println!(
            "\n{zombie} came back: container four has it {:.1} s after two died.",
            took.as_secs_f64()
        );
        self.tenure(&["get", "leases"])?;
        self.tenure(&["describe", "lease", zombie.split('/').next().unwrap_or(&zombie)])?;

        step(
            "a proper DEL releases; the addresses rest for their cool-down and are the last to be reused",
        );
        for name in ["one", "three", "four"] {
            let deleted = self.cni("del", name)?;
            ensure!(deleted.status.success(), "DEL failed: {}", said(&deleted));
        }
        self.tenure(&["get", "pools"])
    }

    fn start_daemon(&mut self) -> anyhow::Result<()> {
        let config = format!(
            "stateDir = \"{0}/state\"\npolicyDir = \"{1}\"\n[cni]\nsocket = \"{0}/cni.sock\"\nspool = \"{0}/spool\"\n\
             [admin]\nsocket = \"{0}/admin.sock\"\n[reclaim]\nsweep = \"2s\"\n",
            self.folder.display(),
            workspace::target().join("policies").display(),
        );
        std::fs::write(self.folder.join("tenured.toml"), config)?;
        let log = std::fs::File::create(self.folder.join("tenured.log"))?;
        let daemon = Command::new(self.built.bin.join("tenured"))
            .args(["--config", &self.path("tenured.toml")])
            .stderr(log)
            .spawn()
            .context("starting tenured")?;
        self.daemon = Some(daemon);
        self.until("tenured serves", |demo| Ok(demo.folder.join("admin.sock").exists()))
    }

    fn write_network(&self) -> anyhow::Result<()> {
        let network = format!(
            r#"{{"cniVersion": "1.1.0", "name": "demo", "plugins": [
  {{"type": "bridge", "bridge": "demo0", "isGateway": true,
   "ipam": {{"type": "tenure-ipam", "socket": "{0}/cni.sock", "spool": "{0}/spool"}}}}]}}"#,
            self.folder.display()
        );
        std::fs::create_dir(self.folder.join("net.d"))?;
        println!("{network}");
        Ok(std::fs::write(self.folder.join("net.d/demo.conflist"), network)?)
    }

    fn attach(&self, name: &str) -> anyhow::Result<()> {
        ip(&["netns", "add", name])?;
        let added = self.cni("add", name)?;
        ensure!(added.status.success(), "ADD failed: {}", said(&added));
        println!("{name:>6}: {}", self.address(name, "inet")?);
        Ok(())
    }

    fn cni(&self, verb: &str, name: &str) -> anyhow::Result<std::process::Output> {
        self.cni_command(verb, name).output().context("running cnitool")
    }

    fn cni_command(&self, verb: &str, name: &str) -> Command {
        let plugins =
            format!("{}:{}", self.built.tools.display(), parent(&self.built.plugin).display());
        let mut command = Command::new(self.built.tools.join("cnitool"));
        command
            .args([verb, "demo", &format!("/run/netns/{name}")])
            .env("CNI_PATH", plugins)
            .env("NETCONFPATH", self.folder.join("net.d"));
        command
    }

    /// The first global address of a container.
    fn address(&self, name: &str, family: &str) -> anyhow::Result<String> {
        let family = if family == "inet6" { "-6" } else { "-4" };
        let shown = Command::new("ip")
            .args([
                family, "-n", name, "-brief", "address", "show", "dev", "eth0", "scope", "global",
            ])
            .output()?;
        let text = String::from_utf8_lossy(&shown.stdout);
        let address = text.split_whitespace().nth(2).map(str::to_owned);
        address.with_context(|| format!("container {name} has no address"))
    }

    fn ping(&self, from: &str, to: &str) -> anyhow::Result<()> {
        let address = self.address(to, if from == "three" { "inet6" } else { "inet" })?;
        let bare = address.split('/').next().unwrap_or(&address);
        if tools::require("ping", "").is_err() {
            return reach::from_to(from, to, bare);
        }
        // A new IPv6 address answers once its duplicate address detection is over.
        self.until("ping answers", |_| {
            let args = ["netns", "exec", from, "ping", "-c", "1", "-W", "1", bare];
            let ping = Command::new("ip").args(args).output()?;
            let text = String::from_utf8_lossy(&ping.stdout);
            if let Some(line) = text.lines().find(|line| line.contains("time=")) {
                println!("  from {from}: {line}");
            }
            Ok(ping.status.success())
        })
    }

    fn tenure(&self, args: &[&str]) -> anyhow::Result<()> {
        println!("\n$ tenure {}", args.join(" "));
        std::io::stdout().flush()?;
        let mut command = Command::new(self.built.bin.join("tenure"));
        workspace::run(command.args(args).env("TENURE_SOCKET", self.folder.join("admin.sock")))
    }

    fn is_anybody_waiting(&self) -> anyhow::Result<bool> {
        let mut status = Command::new(self.built.bin.join("tenure"));
        status.args(["status", "-o", "json"]).env("TENURE_SOCKET", self.folder.join("admin.sock"));
        let status: serde_json::Value = serde_json::from_slice(&status.output()?.stdout)?;
        let waiting = status.get("waiting").and_then(serde_json::Value::as_u64);
        Ok(waiting.is_some_and(|waiting| waiting > 0))
    }

    fn until(
        &self,
        what: &str,
        done: impl Fn(&Self) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !done(self)? {
            if Instant::now() > deadline {
                bail!("waited {} s in vain until {what}", PATIENCE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn show_log(&self) {
        if let Ok(log) = std::fs::read_to_string(self.folder.join("tenured.log")) {
            eprintln!("--- log of tenured ---\n{log}");
        }
    }

    fn stop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let pid = daemon.id().to_string();
            let _ = Command::new("kill").arg(pid).stdout(Stdio::null()).status();
            let _ = daemon.wait();
        }
    }
}

fn ip(args: &[&str]) -> anyhow::Result<()> {
    workspace::run(Command::new("ip").args(args))
}

/// What a program said, on either channel.
fn said(output: &std::process::Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text)).concat()
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn step(text: &str) {
    println!("\n=== {text}");
}
