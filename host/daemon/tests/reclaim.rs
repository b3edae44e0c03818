//! Reclaim on the real kernel: what keeps a namespace keeps its address, what is gone comes back quickly.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod lab;

use std::collections::HashSet;
use std::net::{IpAddr, UdpSocket};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lab::{Answer, Lab, call, ip, netns, until};
use serde_json::{Value, json};

const MANY: usize = 1000;

fn config(lab: &Lab) -> Value {
    lab.network("1.1.0", "bridge", json!({}))
}

/// The same, ready to wait as long as a runtime is unless told otherwise.
fn patient(lab: &Lab) -> Value {
    let mut config = config(lab);
    config["ipam"].as_object_mut().unwrap().remove("waitSeconds");
    config
}

fn exactly(count: usize) -> Value {
    let last = 256 + count;
    json!({"cidr": "10.9.0.0/16", "ranges": [format!("10.9.1.1-10.9.{}.{}", last / 256, last % 256)]})
}

/// Waits inside a namespace for its test to end.
struct Keeper(std::process::Child);

impl Keeper {
    fn process_in(name: &str) -> Self {
        let child = Command::new("ip").args(["netns", "exec", name, "sleep", "1000"]).spawn();
        let keeper = Self(child.unwrap());
        let inode = |path: String| std::fs::metadata(path).map(|m| m.ino()).ok();
        until("the keeper runs in the namespace", || {
            inode(format!("/proc/{}/ns/net", keeper.0.id())) == inode(format!("/run/netns/{name}"))
        });
        keeper
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A socket of this process in a namespace that no thread of it is in.
fn socket_in(name: &str) -> UdpSocket {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    use std::os::fd::AsFd as _;
    let path = format!("/run/netns/{name}");
    let made = std::thread::spawn(move || {
        let file = std::fs::File::open(path).unwrap();
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        UdpSocket::bind("0.0.0.0:0").unwrap()
    });
    made.join().unwrap()
}

#[test]
fn a_namespace_without_a_path_is_kept_by_a_process_a_descriptor_or_a_socket() {
    let lab = Lab::enter().pool("p", exactly(4)).configure("[reclaim]\nsweep = \"1s\"\n").start();
    let config = config(&lab);
    let names = ["process", "descriptor", "socket", "nothing"];
    let mut held = Vec::new();
    for name in names {
        netns(name);
        held.push(lab.plugin("ADD", name, &config).addresses()[0]);
    }
    let process = Keeper::process_in("process");
    let descriptor = std::fs::File::open("/run/netns/descriptor").unwrap();
    let socket = socket_in("socket");
    for name in names {
        ip(&["netns", "del", name]);
    }
    let mut given = Vec::new();
    let mut next = |what: &str| {
        let name = format!("next-{}", given.len());
        netns(&name);
        until(what, || lab.plugin("ADD", &name, &config).exit == 0);
        given.push(lab.plugin("ADD", &name, &config).addresses()[0]);
        given.clone()
    };
    assert_eq!(next("what nothing keeps comes back"), [held[3]]);
    netns("late");
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        assert_eq!(lab.plugin("ADD", "late", &config).code(), 11, "a kept one was given away");
        std::thread::sleep(Duration::from_millis(200));
    }
    drop(socket);
    assert_eq!(next("the end of the socket frees it")[1..], [held[2]]);
    drop(descriptor);
    assert_eq!(next("the end of the descriptor frees it")[2..], [held[1]]);
    drop(process);
    assert_eq!(next("the end of the process frees it")[3..], [held[0]]);
}

#[test]
fn a_new_namespace_with_the_inode_of_the_old_one_is_another_one() {
    let lab = Lab::enter().pool("p", exactly(1)).start();
    let inode = |name: &str| std::fs::metadata(format!("/run/netns/{name}")).unwrap().ino();
    netns("old");
    let (config, before) = (config(&lab), inode("old"));
    let held = lab.plugin("ADD", "old", &config).addresses();
    ip(&["netns", "del", "old"]);
    until("the kernel gives the same inode number again", || {
        netns("new");
        let same = inode("new") == before;
        if !same {
            ip(&["netns", "del", "new"]);
        }
        same
    });
    assert_eq!(lab.plugin("ADD", "new", &patient(&lab)).addresses(), held);
}

#[test]
fn a_container_whose_plugin_was_missing_at_its_deletion_comes_back() {
    let lab = Lab::enter().pool("p", exactly(1)).start();
    netns("old");
    netns("new");
    let held = lab.cnitool("add", &config(&lab), "old").addresses();
    let folder = lab.folder.path().join("net.d");
    let deleted = Command::new(lab::tools().join("cnitool"))
        .args(["del", "net", "/run/netns/old"])
        .env("NETCONFPATH", folder)
        .env("CNI_PATH", lab::tools())
        .status()
        .unwrap();
    assert!(!deleted.success(), "the IPAM plugin is not in that folder");
    ip(&["netns", "del", "old"]);
    assert_eq!(lab.plugin("ADD", "new", &patient(&lab)).addresses(), held);
}

#[test]
fn five_hundred_deletions_while_the_daemon_is_down_are_done_when_it_is_back() {
    const DELETIONS: usize = 500;
    let mut lab = Lab::enter().pool("p", exactly(DELETIONS)).start();
    let config = config(&lab);
    for n in 0..DELETIONS {
        netns(&format!("c{n}"));
    }
    let socket = lab.folder.path().join("cni.sock");
    at_once(DELETIONS, |n| add(&socket, &format!("c{n}"), &config));
    lab.kill();
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let one = || loop {
            let n = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if n >= DELETIONS {
                return;
            }
            lab.plugin("DEL", &format!("c{n}"), &config).ok();
            ip(&["netns", "del", &format!("c{n}")]);
        };
        for _ in 0..128 {
            scope.spawn(one);
        }
    });
    lab.launch();
    for n in 0..DELETIONS {
        netns(&format!("n{n}"));
    }
    let given = at_once(DELETIONS, |n| add(&socket, &format!("n{n}"), &patient(&lab)));
    assert_eq!(given.into_iter().collect::<HashSet<_>>().len(), DELETIONS);
    let left = std::fs::read_dir(lab.folder.path().join("spool")).unwrap().count();
    assert_eq!(left, 0, "the spool is empty");
}

#[test]
fn a_store_deleted_under_two_hundred_live_holders_gives_none_of_them_away() {
    const HOLDERS: usize = 200;
    let mut lab = Lab::enter().pool("p", exactly(2 * HOLDERS)).start();
    let config = config(&lab);
    let mut held = HashSet::new();
    for n in 0..HOLDERS {
        let name = format!("c{n}");
        netns(&name);
        let address = add(&lab.folder.path().join("cni.sock"), &name, &config);
        ip(&["-n", &name, "link", "add", "eth0", "type", "veth", "peer", "name", "far"]);
        ip(&["-n", &name, "addr", "add", &format!("{address}/16"), "dev", "eth0"]);
        held.insert(address);
    }
    lab.kill();
    std::fs::remove_dir_all(lab.folder.path().join("state")).unwrap();
    lab.launch();
    for n in 0..HOLDERS {
        let name = format!("n{n}");
        netns(&name);
        let address = add(&lab.folder.path().join("cni.sock"), &name, &config);
        assert!(held.insert(address), "{address} is live and was given away");
    }
    netns("late");
    assert_eq!(lab.plugin("ADD", "late", &config).code(), 11, "the others are in quarantine");
    let (_, pools) = lab.http("GET", "/v1/pools/p", "");
    let pool: Value = serde_json::from_str(&pools).unwrap();
    assert_eq!(pool["status"]["quarantined"], HOLDERS, "{pool}");
    // The end of one that was found is proved as that of any other.
    ip(&["netns", "del", "c0"]);
    assert!(lab.plugin("ADD", "late", &patient(&lab)).exit == 0);
}

/// The exactly sized pool, all of its holders dead at once without a DEL, and as many new ones at the door.
#[test]
fn a_thousand_holders_that_die_without_a_del_make_room_for_a_thousand_new_ones() {
    let lab = Lab::enter().pool("p", exactly(MANY)).start();
    let before = populate(&lab);
    let config = patient(&lab);
    let socket = lab.folder.path().join("cni.sock");
    let died = kill_all();
    let given = at_once(MANY, |n| add(&socket, &format!("new{n}"), &config));
    let took = died.elapsed();
    println!(
        "lost DELs: {MANY} of {MANY} addresses given again {:.2} s after the last death",
        took.as_secs_f64()
    );
    assert_eq!(given.into_iter().collect::<HashSet<_>>(), before);
}

/// Another boot id: nothing of the old boot lives.
#[test]
fn after_a_restart_of_the_machine_a_thousand_leases_come_back_at_once() {
    let mut lab = Lab::enter().pool("p", exactly(MANY)).start();
    let before = populate(&lab);
    lab.kill();
    let id = lab.folder.path().join("boot_id");
    std::fs::write(&id, "11111111-2222-3333-4444-555555555555\n").unwrap();
    let mounted = Command::new("mount")
        .args(["--bind", id.to_str().unwrap(), "/proc/sys/kernel/random/boot_id"])
        .status()
        .unwrap();
    assert!(mounted.success());
    kill_all();
    lab.launch();
    let began = Instant::now();
    let (socket, config) = (lab.folder.path().join("cni.sock"), patient(&lab));
    let given = at_once(MANY, |n| add(&socket, &format!("new{n}"), &config));
    println!(
        "restart: {MANY} leases of the old boot given again in {:.2} s",
        began.elapsed().as_secs_f64()
    );
    assert_eq!(given.into_iter().collect::<HashSet<_>>(), before);
}

/// From the last proof of death to a new holder, by how the old one ended.
#[test]
fn a_time_table_from_death_to_reuse() {
    let lab = Lab::enter().pool("p", exactly(1)).start();
    let socket = lab.folder.path().join("cni.sock");
    let config = patient(&lab);
    let mut holder = 0;
    let mut replaced = |how: &str, end: &dyn Fn(&str)| {
        let (old, new) = (format!("h{holder}"), format!("h{}", holder + 1));
        holder += 1;
        netns(&new);
        if holder == 1 {
            netns(&old);
            add(&socket, &old, &config);
        }
        let waiting = {
            let (socket, config, new) = (socket.clone(), config.clone(), new.clone());
            std::thread::spawn(move || add(&socket, &new, &config))
        };
        until("the new one waits", || is_anybody_waiting(&lab));
        let died = Instant::now();
        end(&old);
        waiting.join().unwrap();
        println!("{how:<52} {:>6.2} s", died.elapsed().as_secs_f64());
    };
    replaced("namespace ends, no DEL", &|old| ip(&["netns", "del", old]));
    replaced("DEL, then the namespace ends", &|old| {
        del(&socket, old, &config);
        ip(&["netns", "del", old]);
    });
    replaced("DEL, the namespace stays, never seen on a link", &|old| del(&socket, old, &config));
    replaced("SIGKILL of the only process, no path, no DEL", &|old| {
        let keeper = Keeper::process_in(old);
        ip(&["netns", "del", old]);
        drop(keeper);
    });
}

/// A machine that nobody knows of has the first address of the pool.
#[test]
fn a_duplicate_on_the_wire_is_quarantined_and_another_address_given() {
    let pool = json!({
        "cidr": "10.9.0.0/16", "ranges": ["10.9.1.1-10.9.1.4"], "gateway": "10.9.0.1", "probe": "always",
    });
    let lab = Lab::enter().pool("p", pool).start();
    for name in ["foreign", "router", "c1"] {
        netns(name);
    }
    ip(&["link", "add", "up0", "type", "veth", "peer", "name", "up1", "netns", "foreign"]);
    ip(&["link", "set", "up0", "up"]);
    ip(&[
        "link", "add", "gw", "link", "up0", "netns", "router", "type", "macvlan", "mode", "bridge",
    ]);
    for (name, link, address) in
        [("foreign", "up1", "10.9.1.1/16"), ("router", "gw", "10.9.0.1/16")]
    {
        ip(&["-n", name, "addr", "add", address, "dev", link]);
        ip(&["-n", name, "link", "set", link, "up"]);
    }
    let config = lab.network("1.1.0", "macvlan", json!({"master": "up0"}));
    let given = lab.cnitool("add", &config, "c1").addresses();
    assert_eq!(given, ["10.9.1.2".parse::<IpAddr>().unwrap()]);
    let (_, lease) = lab.http("GET", "/v1/leases/10.9.1.1", "");
    let lease: Value = serde_json::from_str(&lease).unwrap();
    assert_eq!(lease["view"], "quarantined", "{lease}");
}

fn is_anybody_waiting(lab: &Lab) -> bool {
    let (_, status) = lab.http("GET", "/v1/status", "");
    serde_json::from_str::<Value>(&status).unwrap()["waiting"].as_u64() > Some(0)
}

/// A thousand holders, and a thousand namespaces for those that come after them.
fn populate(lab: &Lab) -> HashSet<IpAddr> {
    for n in 0..MANY {
        netns(&format!("old{n}"));
        netns(&format!("new{n}"));
    }
    let (socket, config) = (lab.folder.path().join("cni.sock"), config(lab));
    let held: HashSet<_> =
        at_once(MANY, |n| add(&socket, &format!("old{n}"), &config)).into_iter().collect();
    assert_eq!(held.len(), MANY);
    held
}

/// Answers when the last one died.
fn kill_all() -> Instant {
    let names: Vec<PathBuf> = (0..MANY).map(|n| format!("/run/netns/old{n}").into()).collect();
    for path in names {
        rustix::mount::unmount(&path, rustix::mount::UnmountFlags::DETACH).unwrap();
        std::fs::remove_file(path).unwrap();
    }
    Instant::now()
}

/// All at the same moment, each on a thread of its own.
fn at_once<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = Arc::new(std::sync::Barrier::new(count));
    std::thread::scope(|scope| {
        let one = |n: usize| {
            let (start, work) = (start.clone(), &work);
            let run = move || {
                start.wait();
                work(n)
            };
            std::thread::Builder::new().stack_size(256 << 10).spawn_scoped(scope, run).unwrap()
        };
        let threads: Vec<_> = (0..count).map(one).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// An ADD by a runtime that tries again while it is told to.
fn add(socket: &Path, name: &str, config: &Value) -> IpAddr {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = call(socket, "ADD", name, name, config);
        match answer {
            Some(answer) if answer.exit == 0 => return first(&answer),
            Some(answer) => assert_eq!(answer.code(), 11, "{answer:?}"),
            None => {}
        }
        assert!(Instant::now() < deadline, "{name} waits in vain");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn del(socket: &Path, name: &str, config: &Value) {
    call(socket, "DEL", name, name, config).unwrap().ok();
}

fn first(answer: &Answer) -> IpAddr {
    answer.addresses()[0]
}
