//! The memory of the daemon with 100,000 leases, as the kernel counts it.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use tenure_cni::frame::{Request, Response};

use super::Built;
use super::figures::Figure;
use super::processes::Daemon;

const LEASES: usize = 100_000;
const CLIENTS: usize = 64;

pub(super) fn run(built: &Built, folder: &Path) -> anyhow::Result<Vec<Figure>> {
    let here = folder.join("memory");
    std::fs::create_dir_all(&here)?;
    let daemon = Daemon::start(built, &here, "10.0.0.0/8")?;
    let empty = mib(daemon.pid(), "VmRSS:")?;
    let config =
        r#"{"cniVersion":"1.1.0","name":"bench","type":"bridge","ipam":{"type":"tenure-ipam"}}"#;
    std::thread::scope(|scope| {
        let fill = |client: usize| {
            let socket = &daemon.socket;
            move || {
                (client..LEASES)
                    .step_by(CLIENTS)
                    .try_for_each(|n| add(socket, config, &container(n)))
            }
        };
        let clients: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(fill(client))).collect();
        clients.into_iter().try_for_each(|c| c.join().unwrap_or_else(|_| bail!("a client died")))
    })?;
    let full = mib(daemon.pid(), "VmRSS:")?;
    // The rest is the program itself, in pages of its file that the kernel shares and takes back at will.
    let private = mib(daemon.pid(), "RssAnon:")?;
    let with = format!("daemon with {LEASES} leases");
    let figure =
        |case: &str, mib| Figure::new("memory", case.to_owned(), "MiB resident", &[mib], None);
    Ok(vec![
        figure("daemon without leases", empty),
        figure(&with, full),
        figure(&format!("{with}, of which its own"), private),
    ])
}

/// As long as those of containerd.
fn container(n: usize) -> String {
    format!("{n:064x}")
}

/// One ADD straight to the daemon's socket.
pub(super) fn add(socket: &Path, config: &str, container: &str) -> anyhow::Result<()> {
    let request = Request {
        command: b"ADD".to_vec(),
        container: container.as_bytes().to_vec(),
        netns: Some(b"/run/netns/bench".to_vec()),
        ifname: b"eth0".to_vec(),
        deadline_ms: 60_000,
        stdin: config.as_bytes().to_vec(),
        ..Request::default()
    };
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(&request.encode()?).context("sending a frame")?;
    let response = Response::read(&mut stream).context("reading a frame")?;
    ensure!(response.exit == 0, "ADD failed: {}", String::from_utf8_lossy(&response.stdout));
    Ok(())
}

fn mib(pid: u32, field: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.split_whitespace().next());
    let kib = kib.with_context(|| format!("no {field} in the status of the daemon"))?;
    Ok(kib.parse::<f64>()? / 1024.0)
}
