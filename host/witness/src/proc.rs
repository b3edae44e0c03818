//! What `/proc` shows of processes and their namespaces. Processes vanish while one reads: what cannot be
//! read is not there.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

/// A mount table is read up to this size: some 100,000 mounts.
const MOUNT_TABLE_BYTES: u64 = 16 * 1024 * 1024;

/// A namespace file that is mounted somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamespaceMount {
    /// Inode of the namespace.
    pub(crate) ino: u64,
    /// Where, as the process sees it whose table it is.
    pub(crate) path: PathBuf,
}

/// Ids of all processes, ascending.
pub(crate) fn processes() -> Vec<u32> {
    numbers_in(Path::new("/proc"))
}

/// The numbers among the names in a folder, ascending.
pub(crate) fn numbers_in(folder: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut numbers: Vec<u32> =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

/// `/proc/PID/NAME`.
pub(crate) fn path_of(pid: u32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

/// The inode of the network namespace that a link of `/proc` stands for. A zombie has none.
pub(crate) fn network_inode(link: &Path) -> Option<u64> {
    inode_in(std::fs::read_link(link).ok()?.to_str()?, "net")
}

/// The name that a process gives itself.
pub(crate) fn comm(pid: u32) -> Option<String> {
    let text = std::fs::read_to_string(path_of(pid, "comm")).ok()?;
    Some(text.trim_end().to_owned())
}

/// The first process of each mount namespace.
pub(crate) fn first_of_each_mount_namespace(pids: &[u32]) -> Vec<u32> {
    let mut seen = HashSet::new();
    let new = |pid: &u32| {
        std::fs::read_link(path_of(*pid, "ns/mnt")).is_ok_and(|namespace| seen.insert(namespace))
    };
    pids.iter().copied().filter(new).collect()
}

/// Network namespaces that are mounted where the process sees them.
pub(crate) fn network_mounts(pid: u32) -> Vec<NamespaceMount> {
    let Ok(table) = File::open(path_of(pid, "mountinfo")) else { return Vec::new() };
    let lines = BufReader::new(table.take(MOUNT_TABLE_BYTES)).lines();
    lines.map_while(Result::ok).filter_map(|line| network_mount(&line)).collect()
}

/// `ID PARENT MAJOR:MINOR ROOT PATH ...` of `proc_pid_mountinfo(5)`; the root of a namespace file is `net:[INODE]`.
fn network_mount(line: &str) -> Option<NamespaceMount> {
    let mut fields = line.split(' ').skip(3);
    let ino = inode_in(fields.next()?, "net")?;
    Some(NamespaceMount { ino, path: unescape(fields.next()?) })
}

fn inode_in(text: &str, kind: &str) -> Option<u64> {
    text.strip_prefix(kind)?.strip_prefix(":[")?.strip_suffix(']')?.parse().ok()
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(path: &str) -> PathBuf {
    let plain = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(path.to_owned(), |text, (escape, character)| text.replace(escape, character));
    PathBuf::from(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_table_line_gives_the_namespace_and_its_place() {
        let mount = network_mount(
            "204 29 0:4 net:[4026532287] /run/netns/a\\040b rw shared:9 - nsfs nsfs rw",
        );
        let path = PathBuf::from("/run/netns/a b");
        assert_eq!(mount, Some(NamespaceMount { ino: 4_026_532_287, path }));
        for other in
            ["24 29 0:22 / /proc rw - proc proc rw", "1 2 0:4 uts:[1] /x rw - nsfs nsfs rw", ""]
        {
            assert_eq!(network_mount(other), None, "{other}");
        }
    }
}
