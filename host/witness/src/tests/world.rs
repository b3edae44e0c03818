//! Namespaces and those who hold them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use crate::self_test::move_into_new_namespace;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Runs `body` here if we are root, else the test `path` again as root of a new user namespace.
pub(crate) fn as_root(path: &str, body: impl FnOnce()) {
    if rustix::process::geteuid().is_root() {
        return body();
    }
    let namespaces = ["--user", "--map-root-user", "--net", "--mount"];
    let possible = Command::new("unshare").args(namespaces).arg("true").output();
    if !possible.is_ok_and(|done| done.status.success()) {
        eprintln!("SKIPPED {path}: neither root nor unprivileged user namespaces");
        return;
    }
    let test = path.split_once("::").unwrap().1;
    let again = Command::new("unshare")
        .args(namespaces)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&again.stdout) + String::from_utf8_lossy(&again.stderr);
    assert!(again.status.success() && said.contains("1 passed"), "{said}");
}

pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// `ip` inside a namespace: what it says.
pub(crate) fn ip_in(namespace: &Path, arguments: &str) -> String {
    let seen_by_others =
        namespace.display().to_string().replace("self", &std::process::id().to_string());
    let done = Command::new("nsenter")
        .args([&format!("--net={seen_by_others}"), "ip"])
        .args(arguments.split(' '))
        .output()
        .unwrap();
    assert!(done.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// Runs `body` in a thread that is in a network namespace of its own, so that nobody else gives ids or ends
/// namespaces there.
pub(crate) fn in_own_home<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            move_into_new_namespace().unwrap();
            body()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A child process that does nothing until it is dropped.
pub(crate) struct Idle(Child);

impl Idle {
    /// A process in a new namespace.
    pub(crate) fn in_new_namespace() -> Self {
        Self::start(Command::new("unshare").args(["--net", "cat"]))
    }

    /// A process of our own namespace that holds `path` open.
    pub(crate) fn holding_open(path: &Path) -> Self {
        Self::start(Command::new("sh").args(["-c", "exec 9<\"$0\"; exec cat"]).arg(path))
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

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.pid()))
    }

    /// Ends the process and leaves a zombie until this is dropped.
    pub(crate) fn become_zombie(&mut self) {
        self.0.kill().unwrap();
        let stat = format!("/proc/{}/stat", self.pid());
        wait_for("the zombie", || std::fs::read_to_string(&stat).unwrap().contains(") Z "));
    }

    /// `ip` inside the namespace of the process: what it says.
    pub(crate) fn ip(&self, arguments: &str) -> String {
        ip_in(&self.path(), arguments)
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A namespace in which a thread of the test sits. Cheaper than a process.
pub(crate) struct Room {
    path: PathBuf,
    stay: Option<Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Room {
    pub(crate) fn new() -> Self {
        let (stay, stayed) = channel::<()>();
        let (entered, told) = channel();
        let thread = std::thread::spawn(move || {
            move_into_new_namespace().unwrap();
            entered.send(rustix::thread::gettid()).unwrap();
            let _ = stayed.recv();
        });
        let path = format!("/proc/self/task/{}/ns/net", told.recv().unwrap());
        Self { path: path.into(), stay: Some(stay), thread: Some(thread) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        drop(self.stay.take());
        let _ = self.thread.take().unwrap().join();
    }
}

/// A namespace that only a socket keeps alive, once the thread that made it, told by the answer's path, is let go.
pub(crate) fn socket_in_new_namespace<T>(meet: impl FnOnce(&Path) -> T) -> (UdpSocket, T) {
    let (made, socket) = channel();
    let (stay, stayed) = channel::<()>();
    let thread = std::thread::spawn(move || {
        move_into_new_namespace().unwrap();
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        made.send((rustix::thread::gettid(), socket)).unwrap();
        let _ = stayed.recv();
    });
    let (task, socket) = socket.recv().unwrap();
    let met = meet(Path::new(&format!("/proc/self/task/{task}/ns/net")));
    drop(stay);
    thread.join().unwrap();
    wait_for("the thread to leave its namespace", || {
        !Path::new(&format!("/proc/self/task/{task}")).exists()
    });
    (socket, met)
}

/// A bind mount, undone at the end.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    pub(crate) fn new(namespace: &Path, at: PathBuf) -> Self {
        std::fs::write(&at, "").unwrap();
        rustix::mount::mount_bind(namespace, &at).unwrap();
        Self(at)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}
