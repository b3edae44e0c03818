//! One process of the shipped plugin, as a runtime starts it.

use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::pods::Pod;
use super::rooms;

/// The plugin with the network configuration of each node.
pub(crate) struct Plugin {
    program: PathBuf,
    configs: Vec<String>,
}

/// How one process ended.
pub(crate) struct Answer {
    pub(crate) took: Duration,
    /// What it said in place of a result.
    pub(crate) error: Option<String>,
    pub(crate) addresses: Vec<IpAddr>,
}

// === impl Plugin ===

impl Plugin {
    /// `folders`: where the agent of each node keeps its socket and spool.
    pub(crate) fn new(program: PathBuf, folders: &[PathBuf]) -> Self {
        let config = |folder: &PathBuf| {
            let (socket, spool) = (folder.join("cni.sock"), folder.join("spool"));
            json!({
                "cniVersion": "1.1.0", "name": "net", "type": "macvlan",
                "ipam": {"type": "tenure-ipam", "socket": socket, "spool": spool},
            })
            .to_string()
        };
        Self { program, configs: folders.iter().map(config).collect() }
    }

    /// One verb for a pod, whose container is `container`.
    pub(crate) fn call(&self, verb: &str, pod: &Pod, container: &str) -> Answer {
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", container)
            .env("CNI_NETNS", rooms::path(container))
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", self.program.parent().unwrap_or(Path::new("/")))
            .env("CNI_ARGS", pod.cni_args(container));
        let (took, success, said) = run(command, &self.configs[pod.node]);
        let body: Value = serde_json::from_str(&said).unwrap_or(Value::Null);
        let address = |ip: &Value| ip["address"].as_str()?.split('/').next()?.parse().ok();
        let addresses = body["ips"].as_array().into_iter().flatten().filter_map(address).collect();
        Answer { took, error: (!success).then_some(said), addresses }
    }

    /// What a process costs that asks nobody.
    pub(crate) fn version(&self) {
        let mut command = Command::new(&self.program);
        command.env_clear().env("CNI_COMMAND", "VERSION");
        let (_, success, said) = run(command, &self.configs[0]);
        assert!(success, "VERSION failed: {said}");
    }
}

fn run(mut command: Command, config: &str) -> (Duration, bool, String) {
    let began = Instant::now();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    // One that fails at once may not read it.
    let _ = child.stdin.take().unwrap().write_all(config.as_bytes());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (began.elapsed(), output.status.success(), said)
}
