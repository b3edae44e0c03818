//! Who this agent is: a random id kept in the state folder, the machine id, the boot id.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tenure_core::lease::NodeRef;

const FILE: &str = "agent.json";

/// What the state folder remembers of earlier processes of this agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Remembered {
    /// The random id.
    pub(crate) id: String,
    /// The boot in which the last process ran.
    pub(crate) boot: String,
    /// The cookie of the network namespace in which all processes of this boot ran; none once two of them ran in
    /// different ones: then ids of namespaces in leases mean nothing until the next boot.
    pub(crate) home: Option<u64>,
}

impl Remembered {
    /// What the next process shall find: this agent in this boot and namespace, after the one before.
    pub(crate) fn next(before: Option<Self>, boot: String, home: u64) -> anyhow::Result<Self> {
        let Some(before) = before else {
            return Ok(Self { id: new_id()?, boot, home: Some(home) });
        };
        let moved = before.boot == boot && before.home != Some(home);
        Ok(Self { id: before.id, boot, home: (!moved).then_some(home) })
    }
}

/// The present boot.
pub(crate) fn boot_id() -> anyhow::Result<String> {
    let text =
        fs::read_to_string("/proc/sys/kernel/random/boot_id").context("reading the boot id")?;
    Ok(text.trim().to_owned())
}

/// Reads what the folder remembers; none in a new folder.
pub(crate) fn remembered(state: &Path) -> anyhow::Result<Option<Remembered>> {
    let path = state.join(FILE);
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).with_context(|| {
            format!("{} is damaged; remove it to become a new agent (old leases then count as another machine's)", path.display())
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// Keeps it for the next process, durably.
pub(crate) fn remember(state: &Path, remembered: &Remembered) -> anyhow::Result<()> {
    let (path, fresh) = (state.join(FILE), state.join(".agent.json.new"));
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&fresh)?;
        file.write_all(&serde_json::to_vec_pretty(remembered)?)?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        File::open(state)?.sync_all()
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// A new random id.
pub(crate) fn new_id() -> anyhow::Result<String> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).context("asking the kernel for randomness")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// This node as its leases name it.
pub(crate) fn node(name: Option<&str>, remembered: &Remembered) -> NodeRef {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    NodeRef {
        name: name.map_or_else(|| std::env::var("NODE_NAME").unwrap_or(host), str::to_owned).into(),
        uid: "".into(),
        agent: format!("{}/{}", remembered.id, machine.trim()).into(),
        boot: remembered.boot.as_str().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_read_back_and_damage_is_not_guessed_at() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(remembered(folder.path()).unwrap(), None);
        let me = Remembered { id: new_id().unwrap(), boot: "b".into(), home: Some(7) };
        remember(folder.path(), &me).unwrap();
        assert_eq!(remembered(folder.path()).unwrap(), Some(me));
        fs::write(folder.path().join(FILE), "{").unwrap();
        assert!(remembered(folder.path()).unwrap_err().to_string().contains("damaged"));
    }

    #[test]
    fn an_agent_that_moved_once_does_not_trust_ids_again_in_that_boot() {
        let at =
            |before, boot: &str, home| Remembered::next(before, boot.to_owned(), home).unwrap();
        let first = at(None, "boot-1", 7);
        let moved = at(Some(first.clone()), "boot-1", 8);
        assert_eq!((moved.home, &moved.id), (None, &first.id));
        assert_eq!(
            at(Some(moved.clone()), "boot-1", 8).home,
            None,
            "leases of the first home are still there"
        );
        assert_eq!(at(Some(moved), "boot-2", 8).home, Some(8));
    }
}
