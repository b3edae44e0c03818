//! The compiler of policies is a child of the daemon, bounded in all that it could take, and without rights.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod bombs;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tenure_core::name::ObjectName;
use tenure_core::objects::PolicySpec;
use tenure_core::ports::{Policies as _, PolicyRefusal, PolicyStatus};
use tenure_core::time::{Clock, Moment, WallMs};
use tenure_policy_host::{
    CompileBounds, Compiler, EngineOptions, Layout, PolicyHost, PolicyHostOptions,
};

const MIB: u64 = 1 << 20;

struct NoTime;

impl Clock for NoTime {
    fn now(&self) -> Moment {
        Moment(0)
    }
    fn boottime_ms(&self) -> u64 {
        0
    }
    fn wall(&self) -> WallMs {
        WallMs(0)
    }
}

fn host(bounds: CompileBounds, engine: EngineOptions) -> PolicyHost {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_tenured"));
    let compiler = Compiler::Child { program, bounds };
    let options = PolicyHostOptions { compiler, engine, ..PolicyHostOptions::default() };
    PolicyHost::new(options, Arc::new(NoTime)).unwrap()
}

fn install(host: &PolicyHost, file: &Path) -> Result<PolicyStatus, PolicyRefusal> {
    let spec: PolicySpec = serde_json::from_value(json!({"source": {"file": file}})).unwrap();
    host.install(&ObjectName::new("p").unwrap(), &spec)
}

/// Has bytes compiled within bounds, and answers why not.
fn refused(bytes: &[u8], bounds: CompileBounds) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bomb.wasm");
    std::fs::write(&file, bytes).unwrap();
    let refusal = install(&host(bounds, EngineOptions::default()), &file).unwrap_err();
    assert_eq!(refusal.stage, "compiling");
    refusal.why
}

fn shipped(name: &str) -> PathBuf {
    let beside =
        || Path::new(env!("CARGO_BIN_EXE_tenured")).ancestors().nth(2).unwrap().join("policies");
    let folder = std::env::var_os("TENURE_TEST_POLICIES").map_or_else(beside, PathBuf::from);
    folder.join(name)
}

/// The processes that this thread has started and that live.
fn children_of(thread: rustix::thread::Pid) -> Vec<u32> {
    let pid = std::process::id();
    let path = format!("/proc/{pid}/task/{}/children", thread.as_raw_nonzero());
    let text = std::fs::read_to_string(path).unwrap();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

fn no_child_is_left() {
    assert_eq!(children_of(rustix::thread::gettid()), [0; 0]);
}

#[test]
fn what_a_child_compiled_serves_in_every_layout_of_memory() {
    for layout in [Layout::Pool, Layout::SmallPool, Layout::OnDemand] {
        let engine = EngineOptions { layout: Some(layout), ..EngineOptions::default() };
        let host = host(CompileBounds::default(), engine);
        let status = install(&host, &shipped("balanced.wasm")).unwrap();
        assert_eq!(status.component, "balanced", "{layout:?}");
    }
    no_child_is_left();
}

#[test]
fn a_bomb_of_memory_ends_at_the_bound() {
    let bounds = CompileBounds { memory: 256 * MIB, ..CompileBounds::default() };
    let why = refused(&bombs::of_memory(3000, 1000), bounds);
    assert!(why.contains("wanted more than 256 MiB of memory"), "{why}");
    no_child_is_left();
}

#[test]
fn a_bomb_of_time_ends_at_the_bound_of_the_processor_or_the_clock() {
    let bomb = bombs::of_time(15_000);
    let bounds = CompileBounds { cpu: Duration::from_secs(1), ..CompileBounds::default() };
    let why = refused(&bomb, bounds);
    assert!(why.contains("used up 1s of processor time"), "{why}");
    let bounds = CompileBounds { wall: Duration::from_millis(300), ..CompileBounds::default() };
    let why = refused(&bomb, bounds);
    assert!(why.contains("did not end within 300ms"), "{why}");
    no_child_is_left();
}

#[test]
fn code_beyond_the_bound_is_not_taken() {
    let bytes = std::fs::read(shipped("balanced.wasm")).unwrap();
    let why = refused(&bytes, CompileBounds { code: 1 << 10, ..CompileBounds::default() });
    assert!(why.contains("its code has more than"), "{why}");
    no_child_is_left();
}

#[test]
fn a_component_that_is_not_valid_is_told_by_the_words_of_the_compiler() {
    let mut bytes = std::fs::read(shipped("balanced.wasm")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0xff);
    let why = refused(&bytes, CompileBounds::default());
    assert!(why.starts_with("it is not valid: "), "{why}");
}

#[test]
fn a_compiler_that_cannot_be_started_is_a_refusal() {
    let compiler =
        Compiler::Child { program: "/nowhere/tenured".into(), bounds: CompileBounds::default() };
    let options = PolicyHostOptions { compiler, ..PolicyHostOptions::default() };
    let host = PolicyHost::new(options, Arc::new(NoTime)).unwrap();
    let refusal = install(&host, &shipped("balanced.wasm")).unwrap_err();
    assert_eq!(refusal.stage, "compiling");
    assert!(refusal.why.contains("no process for the compiler (/nowhere/tenured)"), "{refusal}");
}

/// What the kernel says of the child while it compiles.
#[test]
fn the_child_has_no_rights_no_environment_and_no_descriptors_of_the_daemon() {
    // One that a careless parent hands down: it does not close by itself.
    let inherited = rustix::fs::open("/", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty());
    let _inherited = inherited.unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let compiling = std::thread::spawn(move || {
        tell.send(rustix::thread::gettid()).unwrap();
        let bounds = CompileBounds { wall: Duration::from_secs(10), ..CompileBounds::default() };
        refused(&bombs::of_time(60_000), bounds)
    });
    let thread = told.recv().unwrap();
    let deadline = Instant::now() + Duration::from_secs(9);
    let read = |pid: u32, what: &str| {
        std::fs::read_to_string(format!("/proc/{pid}/{what}")).unwrap_or_default()
    };
    // The last thing that it gives up is the right to start others.
    let child = loop {
        assert!(Instant::now() < deadline, "it never came so far");
        let confined = |pid: &u32| {
            read(*pid, "limits").lines().any(|line| {
                line.starts_with("Max processes") && line.split_whitespace().nth(2) == Some("0")
            })
        };
        if let Some(pid) = children_of(thread).into_iter().find(confined) {
            break pid;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let status = read(child, "status");
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_once(':').unwrap().1.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        (&field("NoNewPrivs")[0], &field("CapEff")[0], &field("CapPrm")[0]),
        (&"1".to_owned(), &"0".repeat(16), &"0".repeat(16))
    );
    if rustix::process::geteuid().is_root() && maps_nobody() {
        assert_eq!(
            (field("Uid"), field("Gid")),
            (vec!["65534".to_owned(); 4], vec!["65534".to_owned(); 4])
        );
        assert_eq!(field("Groups"), [""; 0]);
    }
    assert_eq!(read(child, "environ"), "");
    let limits = read(child, "limits");
    let most = |what: &str| {
        let line = limits.lines().find(|line| line.starts_with(what)).unwrap();
        line[what.len()..].split_whitespace().next().unwrap().to_owned()
    };
    let most = ["Max open files", "Max file size", "Max core file size"].map(most);
    assert_eq!(most, ["3", "0", "0"], "it opens nothing and writes nothing");
    let mut descriptors: Vec<String> = std::fs::read_dir(format!("/proc/{child}/fd"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    descriptors.sort();
    assert_eq!(descriptors, ["0", "1", "2"]);
    assert!(compiling.join().unwrap().contains("did not end within 10s"));
}

/// Not so in a user namespace of one user.
fn maps_nobody() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
    map.split_whitespace()
        .nth(2)
        .and_then(|count| count.parse::<u64>().ok())
        .is_some_and(|count| count > 65_534)
}
