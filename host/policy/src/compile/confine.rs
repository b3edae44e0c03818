//! What a process gives up before it looks at bytes of strangers. All of it is for good, and for the main thread of a
//! process that has started no other.

use std::io;

use rustix::process::{Gid, Resource, Rlimit, Signal, Uid, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};

/// `nobody` and `nogroup`, as the kernel has them.
const NOBODY: u32 = 65_534;
/// Descriptors that stay: standard input, output and error. It may have no others: no file and no socket is opened any more.
const KEPT_DESCRIPTORS: u32 = 3;
/// How far it steps back behind the daemon.
const NICENESS: i32 = 10;

/// Gives up other descriptors, rights, and resources beyond `memory` bytes and `cpu_s` seconds.
///
/// # Errors
/// A limit cannot be set. Rights that cannot be given up are no error where there are none.
pub(super) fn give_up_rights(memory: u64, cpu_s: u64) -> io::Result<()> {
    close_others()?;
    // The kernel that runs short of memory takes this process first. Best effort: there may be no /proc.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    let _ = rustix::process::nice(NICENESS);
    limit(Resource::Core, 0)?;
    limit(Resource::Fsize, 0)?;
    limit(Resource::Nofile, KEPT_DESCRIPTORS.into())?;
    limit(Resource::As, memory)?;
    // One second later the kernel kills without asking.
    let cpu = Rlimit { current: Some(cpu_s), maximum: Some(cpu_s.saturating_add(1)) };
    setrlimit(Resource::Cpu, cpu)?;
    become_nobody()?;
    rustix::thread::set_capabilities(None, NOTHING)?;
    rustix::thread::set_no_new_privs(true)?;
    // After the change of the user, which takes it away.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    limit(Resource::Nproc, 0)
}

const NOTHING: CapabilitySets = CapabilitySets {
    effective: CapabilitySet::empty(),
    permitted: CapabilitySet::empty(),
    inheritable: CapabilitySet::empty(),
};

/// Becomes another user, if the daemon could still kill it then: as root without CAP_KILL it could not.
fn become_nobody() -> io::Result<()> {
    let needed = CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::KILL;
    if !rustix::thread::capabilities(None)?.effective.contains(needed) {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    let changed = rustix::thread::set_thread_groups(&[])
        .and_then(|()| rustix::thread::set_thread_res_gid(gid, gid, gid))
        .and_then(|()| rustix::thread::set_thread_res_uid(uid, uid, uid));
    match changed {
        Ok(()) => Ok(()),
        // A user namespace that knows no such user; all capabilities go in any case.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::PERM) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn limit(resource: Resource, most: u64) -> io::Result<()> {
    Ok(setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?)
}

/// Closes what was inherited: the daemon opens everything so that it closes by itself, but who started the daemon may not.
#[expect(unsafe_code, reason = "closing descriptors by number; no kept crate offers close_range")]
fn close_others() -> io::Result<()> {
    let listed: Vec<u32> = match std::fs::read_dir("/proc/self/fd") {
        Ok(entries) => entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|number| *number >= KEPT_DESCRIPTORS)
            .collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    // The listing had a descriptor itself, which is closed by now.
    let is_open = |number: &u32| std::fs::read_link(format!("/proc/self/fd/{number}")).is_ok();
    for number in listed.into_iter().filter(is_open) {
        // SAFETY: it is open, and nothing in this process owns it: `main` came here first.
        unsafe { rustix::io::close(number.cast_signed()) };
    }
    Ok(())
}
