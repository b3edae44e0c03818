//! Reclaim by the operator against the real kernel: who died is taken back, whose namespace is only kept open is not,
//! and `explain` names who keeps it. Without root it runs itself again in a user namespace of its own.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;
use support::api::Site;
use support::{Stage, run_in};
use tenure_core::lease::{Lease, NodeRef};
use tenure_core::ports::NetnsLook;
use tenure_core::time::{Clock, Moment, WallMs};
use tenure_engine::{Caller, Engine, NetnsRef, Options, Ports};
use tenure_sim::{FakeKernel, FakePolicies, FakeWire, HandClock, pod};
use tenure_store::MemoryStore;
use tenure_witness::KernelWitness;

/// The clocks of this machine.
struct RealClock(Instant);

impl Clock for RealClock {
    fn now(&self) -> Moment {
        Moment(self.0.elapsed().as_millis() as u64)
    }

    fn boottime_ms(&self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }

    fn wall(&self) -> WallMs {
        WallMs(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64)
    }
}

/// A process that does nothing until it is killed, in a network namespace of its own or with somebody else's open.
struct Idle(Child);

impl Idle {
    fn in_new_namespace() -> Self {
        Self::start(Command::new("unshare").args(["--net", "cat"]))
    }

    fn holding_open(namespace: &Path) -> Self {
        Self::start(Command::new("sh").args(["-c", "exec 9<\"$0\"; exec cat"]).arg(namespace))
    }

    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // `cat` answers only once everything before it is done.
        child.stdin.as_mut().unwrap().write_all(b"ready\n").unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self(child)
    }

    fn namespace(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.0.id()))
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The engine over this machine's kernel and clock; the site's own ones serve nothing.
fn site(kernel: Arc<KernelWitness>) -> Site {
    let (store, policies) = (Arc::new(MemoryStore::new()), Arc::new(FakePolicies::default()));
    let ports = Ports {
        store: store.clone(),
        policies: policies.clone(),
        kernel,
        wire: None,
        clock: Arc::new(RealClock(Instant::now())),
    };
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let boot = boot.trim_end().into();
    let node = NodeRef { name: "node".into(), uid: "".into(), agent: "agent".into(), boot };
    let engine = Engine::start(ports, Options::new(node)).unwrap();
    let (kernel, clock) = (Arc::new(FakeKernel::default()), Arc::new(HandClock::default()));
    let wire = Arc::new(FakeWire::default());
    Site { store, kernel, policies, clock, wire, engine }
}

async fn add(site: &Site, name: &str, holder: &Idle) -> Lease {
    let mut request = site.request(&format!("{name}aaaaaaaaaaaa"));
    request.caller =
        Caller::Here { netns: Some(NetnsRef { path: holder.namespace(), file: None }) };
    request.owner = pod(name, &format!("uid-{name}"));
    let address = site.add_as(&request).await.unwrap()[0];
    site.engine.lease("default".parse().unwrap(), address).await.unwrap().lease
}

async fn until_gone(kernel: &KernelWitness, lease: &Lease) {
    let netns = lease.netns.unwrap();
    let gone = async {
        while kernel.look().unwrap().namespace(&netns) != NetnsLook::Gone {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.unwrap();
}

async fn output(stage: &Stage, line: &str) -> String {
    let output = run_in(stage.folder.path().to_owned(), line).await;
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    format!("{text}[exit {}]", output.status.code().unwrap())
}

#[test]
fn who_died_is_taken_back_and_whose_namespace_is_kept_open_is_not() {
    let namespaces = ["--user", "--map-root-user", "--net", "--mount"];
    if rustix::process::geteuid().is_root() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        return runtime.block_on(the_real_thing());
    }
    let possible = Command::new("unshare").args(namespaces).arg("true").output();
    if !possible.is_ok_and(|done| done.status.success()) {
        return eprintln!("SKIPPED: neither root nor unprivileged user namespaces");
    }
    let test = "who_died_is_taken_back_and_whose_namespace_is_kept_open_is_not";
    let own = std::env::current_exe().unwrap();
    let again = Command::new("unshare").args(namespaces).arg(own).args(["--exact", test]).output();
    let again = again.unwrap();
    let said = String::from_utf8_lossy(&again.stdout);
    assert!(again.status.success() && said.contains("1 passed"), "{said}");
}

async fn the_real_thing() {
    let options = tenure_witness::Options { earlier_home: None };
    let kernel = Arc::new(KernelWitness::start(&options).unwrap());
    let site = site(kernel.clone());
    site.apply(&[("blue-v4", json!({"cidr": "10.6.0.0/28"}))]).await;
    site.policies.verdict.lock().grace = Duration::ZERO;
    let [dead, kept, alive] = [(); 3].map(|()| Idle::in_new_namespace());
    let of_dead = add(&site, "dead", &dead).await;
    let of_kept = add(&site, "kept", &kept).await;
    let of_alive = add(&site, "alive", &alive).await;
    let keeper = Idle::holding_open(&kept.namespace());
    // Killed, and no DEL comes.
    drop((dead, kept));
    until_gone(&kernel, &of_dead).await;

    let mut stage = Stage::new(site);
    let listed = output(&stage, "reclaim --dry-run").await;
    assert_eq!(listed.lines().count(), 3, "header, the dead one, exit code:\n{listed}");
    assert!(listed.contains(&of_dead.address.to_string()) && listed.contains("kernel gone"));
    let done = output(&stage, "reclaim").await;
    let address = of_dead.address;
    let line =
        format!("iplease/{address} reclaimed from pod shop/dead (container deadaaaaaaaaaaaa)");
    assert_eq!(done, format!("{line}\n[exit 0]"), "the other two are not even suspect");

    let told = output(&stage, &format!("explain {}", of_kept.address)).await;
    let pid = keeper.0.id();
    let by = format!("process {pid} (cat) has it open as descriptor 9");
    assert!(told.contains("the network namespace of its holder exists"), "{told}");
    assert!(told.contains(&format!("Namespace kept by:\n  {by}\n")), "{told}");
    let told = output(&stage, &format!("explain {}", of_alive.address)).await;
    assert!(told.contains("(cat) runs in it"), "{told}");
    let refused = output(&stage, &format!("release {} --generation 1", of_kept.address)).await;
    assert!(refused.ends_with("[exit 4]"), "{refused}");

    drop(keeper);
    until_gone(&kernel, &of_kept).await;
    let done = output(&stage, "reclaim -o name").await;
    assert_eq!(done, format!("iplease/{}\n[exit 0]", of_kept.address));
    stage.stop().await;
}
