//! Whole processes, as a runtime pays for them: ADD and DEL through the plugin, against `host-local`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use super::Built;
use super::figures::Figure;

const HELD: [usize; 3] = [10, 1000, 10_000];
const WORKERS: [usize; 3] = [1, 8, 32];
const RUNS: usize = 3;
const SPAN: Duration = Duration::from_secs(2);

/// A running daemon with one pool; it ends with the value.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) socket: PathBuf,
}

/// One side of the comparison: a program and its configuration.
struct Side {
    program: PathBuf,
    config: String,
    next: AtomicUsize,
}

impl Daemon {
    pub(crate) fn start(built: &Built, folder: &Path, cidr: &str) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder.join("manifests"))?;
        let pool = format!(
            "apiVersion: tenure.dev/v1alpha1\nkind: IPPool\nmetadata: {{name: p}}\nspec: {{cidr: {cidr}, cooldown: 0s}}\n"
        );
        std::fs::write(folder.join("manifests/pool.yaml"), pool)?;
        let path = |name: &str| folder.join(name);
        let child = Command::new(built.bin.join("tenured"))
            .arg("--config")
            .arg(write_config(folder, built)?)
            .arg("--manifests")
            .arg(path("manifests"))
            .stderr(std::fs::File::create(path("log"))?)
            .spawn()
            .context("starting tenured")?;
        let daemon = Self { child, socket: path("cni.sock") };
        let deadline = Instant::now() + Duration::from_secs(30);
        while std::os::unix::net::UnixStream::connect(&daemon.socket).is_err() {
            ensure!(
                Instant::now() < deadline,
                "tenured did not start; see {}",
                path("log").display()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(daemon)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_config(folder: &Path, built: &Built) -> anyhow::Result<PathBuf> {
    let config = format!(
        "stateDir = \"{0}/state\"\npolicyDir = \"{1}\"\n[cni]\nsocket = \"{0}/cni.sock\"\nspool = \"{0}/spool\"\n\
         [admin]\nsocket = \"{0}/admin.sock\"\n[log]\nlevel = \"warn\"\n",
        folder.display(),
        built.policies.display(),
    );
    let file = folder.join("tenured.toml");
    std::fs::write(&file, config)?;
    Ok(file)
}

pub(super) fn run(built: &Built, folder: &Path) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for held in HELD {
        let here = folder.join(format!("process-{held}"));
        std::fs::create_dir_all(&here)?;
        let _daemon = Daemon::start(built, &here, "10.0.0.0/16")?;
        let ours = tenure(built, &here);
        let peer = host_local(built, &here, held)?;
        for n in 0..held {
            super::memory::add(&here.join("cni.sock"), &ours.config, &format!("held{n}"))?;
        }
        for workers in WORKERS {
            let (mut mine, mut theirs) = (Vec::new(), Vec::new());
            // Turn by turn, so that whatever else the machine does meets both.
            for _ in 0..RUNS {
                mine.push(ours.rate(workers)?);
                theirs.push(peer.rate(workers)?);
            }
            let case = format!("{held} held, {workers} workers");
            figures.push(Figure::new(
                "process",
                case,
                "ADD+DEL pairs/s",
                &mine,
                Some(("host-local", &theirs)),
            ));
        }
    }
    Ok(figures)
}

fn tenure(built: &Built, folder: &Path) -> Side {
    let config = format!(
        r#"{{"cniVersion":"1.1.0","name":"bench","type":"bridge","ipam":{{"type":"tenure-ipam","socket":"{0}/cni.sock","spool":"{0}/spool"}}}}"#,
        folder.display()
    );
    Side { program: built.plugin.clone(), config, next: AtomicUsize::new(0) }
}

/// host-local with `held` addresses taken: one file each, as it writes them itself.
fn host_local(built: &Built, folder: &Path, held: usize) -> anyhow::Result<Side> {
    let data = folder.join("host-local");
    std::fs::create_dir_all(data.join("bench"))?;
    for n in 0..held {
        let address = std::net::Ipv4Addr::from_bits(0x0a00_0002 + u32::try_from(n)?);
        std::fs::write(data.join("bench").join(address.to_string()), format!("held{n}\r\neth0"))?;
    }
    let config = format!(
        r#"{{"cniVersion":"1.1.0","name":"bench","type":"bridge","ipam":{{"type":"host-local","dataDir":"{}","ranges":[[{{"subnet":"10.0.0.0/16"}}]]}}}}"#,
        data.display()
    );
    Ok(Side { program: built.tools.join("host-local"), config, next: AtomicUsize::new(0) })
}

impl Side {
    /// Pairs of ADD and DEL a second.
    fn rate(&self, workers: usize) -> anyhow::Result<f64> {
        let begun = Instant::now();
        let pairs = std::thread::scope(|scope| {
            let work = || -> anyhow::Result<usize> {
                let mut pairs = 0;
                while begun.elapsed() < SPAN {
                    let container = format!("c{}", self.next.fetch_add(1, Ordering::Relaxed));
                    self.call("ADD", &container)?;
                    self.call("DEL", &container)?;
                    pairs += 1;
                }
                Ok(pairs)
            };
            let running: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
            let finished =
                running.into_iter().map(|w| w.join().unwrap_or_else(|_| bail!("a worker died")));
            finished.sum::<anyhow::Result<usize>>()
        })?;
        Ok(pairs as f64 / begun.elapsed().as_secs_f64())
    }

    fn call(&self, verb: &str, container: &str) -> anyhow::Result<()> {
        let mut child = Command::new(&self.program)
            .env_clear()
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", container)
            .env("CNI_NETNS", "/run/netns/bench")
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", "/opt/cni/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(self.config.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        ensure!(
            output.status.success(),
            "{verb} failed: {}",
            String::from_utf8_lossy(&output.stdout)
        );
        Ok(())
    }
}
