//! The network namespaces of containers, as the runtime makes them before it calls a plugin.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Where a namespace of this name is mounted.
pub(crate) fn path(name: &str) -> PathBuf {
    PathBuf::from("/run/netns").join(name)
}

/// Makes many in one process: one `ip` for each takes several times as long.
pub(crate) fn make<'a>(names: impl IntoIterator<Item = &'a str>) {
    let mut lines = String::new();
    for name in names {
        let _ = writeln!(lines, "netns add {name}");
    }
    ip_batch(&lines);
}

/// Ends one, if it is there. What still uses it would keep it alive; nothing does.
pub(crate) fn end(name: &str) {
    let path = path(name);
    let _ = rustix::mount::unmount(&path, rustix::mount::UnmountFlags::DETACH);
    let _ = std::fs::remove_file(&path);
}

/// Runs the lines as commands of `ip`.
pub(crate) fn ip_batch(lines: &str) {
    let mut ip = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    ip.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let status = ip.wait().unwrap();
    assert!(status.success(), "ip ended with {status} on:\n{lines}");
}
