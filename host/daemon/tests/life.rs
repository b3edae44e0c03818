//! The life of the daemon: one writer, restart, spool, shutdown, and holders that outlive their DEL.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod lab;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use lab::{Lab, ip, netns, plugin, until};
use serde_json::{Value, json};

fn small() -> Lab {
    Lab::enter().pool("p", json!({"cidr": "10.6.0.0/30", "ranges": ["10.6.0.1"]}))
}

fn config(lab: &Lab) -> Value {
    lab.network("1.1.0", "macvlan", json!({"master": "up0"}))
}

#[test]
fn a_second_daemon_on_the_same_store_is_refused_and_touches_nothing() {
    let lab = small().start();
    let state = lab.folder.path().join("state/tenure.redb");
    let before = std::fs::metadata(&state).unwrap().modified().unwrap();
    let second = Command::new(env!("CARGO_BIN_EXE_tenured"))
        .args(["--config", &lab.path("tenured.toml")])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success());
    assert!(text.contains("in use by another process"), "{text}");
    assert_eq!(std::fs::metadata(&state).unwrap().modified().unwrap(), before);
    netns("c1");
    lab.plugin("ADD", "c1", &config(&lab)).ok();
}

#[test]
fn a_bad_configuration_is_refused_with_line_and_key() {
    let lab = small();
    let file = lab.folder.path().join("bad.toml");
    std::fs::write(&file, "[cni]\nsokcet = \"/x\"\n").unwrap();
    let run =
        Command::new(env!("CARGO_BIN_EXE_tenured")).arg("--config").arg(&file).output().unwrap();
    let text = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(!run.status.success());
    assert!(text.contains("line 2") && text.contains("sokcet"), "{text}");
}

#[test]
fn an_answered_add_survives_a_kill_and_a_clean_stop() {
    let mut lab = small().start();
    netns("c1");
    netns("c2");
    let config = config(&lab);
    let first = lab.plugin("ADD", "c1", &config).addresses();
    lab.kill();
    lab.launch();
    assert_eq!(lab.plugin("ADD", "c1", &config).addresses(), first);
    assert!(lab.stop(), "a clean stop ends with success");
    assert!(!lab.folder.path().join("cni.sock").exists(), "the socket goes with the daemon");
    lab.launch();
    assert_eq!(lab.plugin("ADD", "c1", &config).addresses(), first);
    assert_eq!(lab.plugin("ADD", "c2", &config).code(), 11);
}

#[test]
fn a_del_while_the_daemon_is_down_succeeds_and_is_done_at_its_start() {
    let mut lab = small().start();
    netns("c1");
    let config = config(&lab);
    lab.plugin("ADD", "c1", &config).ok();
    lab.kill();
    lab.plugin("DEL", "c1", &config).ok();
    assert_eq!(lab.plugin("ADD", "c1", &config).code(), 11, "an ADD is not spooled");
    lab.launch();
    ip(&["netns", "del", "c1"]);
    netns("c2");
    until("the spooled DEL is done and the address is free", || {
        lab.plugin("ADD", "c2", &config).exit == 0
    });
    let left = std::fs::read_dir(lab.folder.path().join("spool")).unwrap().count();
    assert_eq!(left, 0, "the spool is empty");
}

#[test]
fn a_zombie_comes_back_and_a_live_holder_does_not() {
    let lab = Lab::enter()
        .pool("p", json!({"cidr": "10.6.0.0/29", "ranges": ["10.6.0.1-10.6.0.2"]}))
        .configure("[reclaim]\nsweep = \"1s\"\n")
        .start();
    for name in ["dead", "alive", "next"] {
        netns(name);
    }
    let config = config(&lab);
    let dead = lab.plugin("ADD", "dead", &config).addresses();
    let alive = lab.plugin("ADD", "alive", &config).addresses();
    // The name goes, a process keeps the namespace: its holder lives.
    let mut keeper =
        Command::new("ip").args(["netns", "exec", "alive", "sleep", "1000"]).spawn().unwrap();
    until("the keeper runs in the namespace", || in_namespace(keeper.id(), "alive"));
    ip(&["netns", "del", "alive"]);
    ip(&["netns", "del", "dead"]);
    until("the zombie's address is given to the next one", || {
        lab.plugin("ADD", "next", &config).exit == 0
    });
    assert_eq!(lab.plugin("ADD", "next", &config).addresses(), dead);
    netns("late");
    let deadline = Instant::now() + Duration::from_secs(6);
    while Instant::now() < deadline {
        let answer = lab.plugin("ADD", "late", &config);
        assert_eq!(answer.code(), 11, "{alive:?} is live: {answer:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
    keeper.kill().unwrap();
    keeper.wait().unwrap();
    until("the keeper's end frees it", || lab.plugin("ADD", "late", &config).exit == 0);
}

fn in_namespace(pid: u32, name: &str) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let inode = |path: String| std::fs::metadata(path).map(|m| m.ino()).ok();
    inode(format!("/proc/{pid}/ns/net")) == inode(format!("/run/netns/{name}"))
}

/// macvlan that stops right after the IPAM DEL: the address is released, its link is still up.
#[test]
fn a_released_address_is_not_given_while_its_link_is_up() {
    let lab = small().configure("[reclaim]\nsweep = \"1s\"\n").start();
    ip(&["link", "add", "up0", "type", "veth", "peer", "name", "up1"]);
    ip(&["link", "set", "up0", "up"]);
    netns("old");
    netns("new");
    let config = config(&lab);
    let env = BTreeMap::from([
        ("CNI_IFNAME", "eth0".to_owned()),
        ("CNI_NETNS", "/run/netns/old".to_owned()),
    ]);
    let macvlan = lab::tools().join("macvlan");
    let address = lab::run_plugin(&macvlan, "ADD", "old", &config, &env).addresses();
    // The parent plugin got as far as the IPAM DEL and died.
    lab.plugin("DEL", "old", &config).ok();
    let deadline = Instant::now() + Duration::from_secs(8);
    while Instant::now() < deadline {
        let answer = lab.plugin("ADD", "new", &config);
        assert_eq!(answer.code(), 11, "given while the old link is up: {answer:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
    ip(&["-n", "old", "link", "del", "eth0"]);
    until("the address is off the link and free", || lab.plugin("ADD", "new", &config).exit == 0);
    assert_eq!(lab.plugin("ADD", "new", &config).addresses(), address);
}

#[test]
fn where_the_kernel_never_saw_the_address_the_floor_holds() {
    let lab = small().configure("[reclaim]\nsweep = \"1s\"\n").start();
    netns("old");
    netns("new");
    let config = config(&lab);
    lab.plugin("ADD", "old", &config).ok();
    lab.plugin("DEL", "old", &config).ok();
    let released = Instant::now();
    until("the floor has passed", || lab.plugin("ADD", "new", &config).exit == 0);
    assert!(released.elapsed() >= Duration::from_secs(5), "given after {:?}", released.elapsed());
}

#[test]
fn the_plugin_is_small_and_the_socket_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let lab = small().start();
    assert!(std::fs::metadata(plugin()).unwrap().len() < 1 << 20);
    let mode = std::fs::metadata(lab.folder.path().join("cni.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn the_service_supervisor_is_told_when_it_serves_and_when_it_stops() {
    let mut lab = small();
    let socket = std::os::unix::net::UnixDatagram::bind(lab.path("notify.sock")).unwrap();
    socket.set_read_timeout(Some(lab::PATIENCE)).unwrap();
    lab.env.push(("NOTIFY_SOCKET".to_owned(), lab.path("notify.sock")));
    lab.launch();
    let told = || {
        let mut bytes = [0; 256];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    assert!(told().contains("READY=1"));
    assert!(lab.stop());
    assert!(told().contains("STOPPING=1"));
}

#[test]
fn the_log_can_be_json() {
    let lab = small().configure("[log]\nformat = \"json\"\n").start();
    let first: Value = serde_json::from_str(lab.log().lines().next().unwrap()).unwrap();
    assert!(first["level"].is_string() && first["timestamp"].is_string(), "{first}");
}
