//! What `/proc` shows of processes and their namespaces. Processes vanish while one reads: what cannot be
//! read is not there.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Error, ErrorKind, Read as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
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
    numbers_in(Path::new("/proc")).unwrap_or_default()
}

/// The numbers among the names in a folder, ascending; none in the folder of a process that vanished.
pub(crate) fn numbers_in(folder: &Path) -> std::io::Result<Vec<u32>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(why) if is_end(&why) => return Ok(Vec::new()),
        Err(why) => return Err(why),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) => {
                numbers.extend(entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()))
            }
            Err(why) if is_end(&why) => break,
            Err(why) => return Err(why),
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// `/proc/PID/NAME`.
pub(crate) fn path_of(pid: u32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

/// The inode of the network namespace that a link of `/proc` stands for. A zombie has none.
pub(crate) fn network_inode(link: &Path) -> std::io::Result<Option<u64>> {
    match std::fs::read_link(link) {
        Ok(target) => Ok(target.to_str().and_then(|target| inode_in(target, "net"))),
        Err(why) if is_end(&why) => Ok(None),
        Err(why) => Err(why),
    }
}

/// A number that tells the network namespace of the process or thread with this folder from all others. It may be
/// read where the namespace itself may not: it is the inode of a file that each namespace has of its own in `/proc`.
pub(crate) fn network_mark(folder: &Path) -> std::io::Result<Option<u64>> {
    match std::fs::metadata(folder.join("net/dev")) {
        Ok(file) => Ok(Some(file.ino())),
        Err(why) if is_end(&why) => Ok(None),
        Err(why) => Err(why),
    }
}

/// What the kernel says of processes, threads and descriptors that are no more. For one that goes at this very
/// moment it may also say that permission is lacking.
fn is_end(why: &Error) -> bool {
    why.kind() == ErrorKind::NotFound || why.raw_os_error() == Some(libc::ESRCH)
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
pub(crate) fn network_mounts(pid: u32) -> std::io::Result<Vec<NamespaceMount>> {
    let mut table = Vec::new();
    let read = File::open(path_of(pid, "mountinfo"))
        .and_then(|file| file.take(MOUNT_TABLE_BYTES).read_to_end(&mut table));
    match read {
        Ok(length) if length as u64 == MOUNT_TABLE_BYTES => {
            Err(Error::new(ErrorKind::FileTooLarge, "the table of mounts is longer than 16 MiB"))
        }
        Ok(_) => Ok(table.split(|byte| *byte == b'\n').filter_map(network_mount).collect()),
        // A process that is ending has no mounts any more, and the kernel says so by EINVAL.
        Err(why) if is_end(&why) || why.kind() == ErrorKind::InvalidInput => Ok(Vec::new()),
        Err(why) => Err(why),
    }
}

/// `ID PARENT MAJOR:MINOR ROOT PATH ...` of `proc_pid_mountinfo(5)`; the root of a namespace file is `net:[INODE]`.
fn network_mount(line: &[u8]) -> Option<NamespaceMount> {
    let mut fields = line.split(|byte| *byte == b' ').skip(3);
    let ino = inode_in(str::from_utf8(fields.next()?).ok()?, "net")?;
    Some(NamespaceMount { ino, path: unescape(fields.next()?) })
}

fn inode_in(text: &str, kind: &str) -> Option<u64> {
    text.strip_prefix(kind)?.strip_prefix(":[")?.strip_suffix(']')?.parse().ok()
}

/// The kernel writes space, tab, newline and backslash as three octal digits, and nothing else so.
fn unescape(mut path: &[u8]) -> PathBuf {
    let mut plain = Vec::with_capacity(path.len());
    while let Some((first, rest)) = path.split_first() {
        let (byte, rest) = match path {
            [b'\\', b'0', b'4', b'0', rest @ ..] => (b' ', rest),
            [b'\\', b'0', b'1', b'1', rest @ ..] => (b'\t', rest),
            [b'\\', b'0', b'1', b'2', rest @ ..] => (b'\n', rest),
            [b'\\', b'1', b'3', b'4', rest @ ..] => (b'\\', rest),
            _ => (*first, rest),
        };
        plain.push(byte);
        path = rest;
    }
    PathBuf::from(OsString::from_vec(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_table_line_gives_the_namespace_and_its_place() {
        let line =
            b"204 29 0:4 net:[4026532287] /run/netns/a\\040\\134040\xff rw shared:9 - nsfs nsfs rw";
        let path = PathBuf::from(OsString::from_vec(b"/run/netns/a \\040\xff".to_vec()));
        assert_eq!(network_mount(line), Some(NamespaceMount { ino: 4_026_532_287, path }));
        for other in
            ["24 29 0:22 / /proc rw - proc proc rw", "1 2 0:4 uts:[1] /x rw - nsfs nsfs rw", ""]
        {
            assert_eq!(network_mount(other.as_bytes()), None, "{other}");
        }
    }
}
