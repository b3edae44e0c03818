//! The kernel: network namespaces with addresses on their links, and the witness that looks at them.
//!
//! Cookies are never reused within a boot and begin anew with the next; inodes and ids are reused at once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use tenure_core::lease::Netns;
use tenure_core::ports::{
    AddressLook, Census, Kernel, NetnsLook, Place, Question, Sight, Sighting, WitnessError,
};

/// Namespaces made and ended by the test, and the witness that sees them.
#[derive(Debug, Default)]
pub struct FakeKernel {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Path -> cookie of the namespace behind it.
    paths: BTreeMap<PathBuf, u64>,
    /// Living namespaces -> the addresses on their links.
    alive: BTreeMap<u64, BTreeSet<IpAddr>>,
    /// Namespaces of which the witness cannot tell.
    unsure: BTreeSet<u64>,
    silent: bool,
    last_cookie: u64,
}

// === impl FakeKernel ===

impl FakeKernel {
    /// The namespace of this name, made if it does not exist.
    pub fn make(&self, path: &str) -> u64 {
        self.with(|state| {
            if let Some(cookie) = state.paths.get(Path::new(path)) {
                return *cookie;
            }
            state.last_cookie += 1;
            let cookie = state.last_cookie;
            state.paths.insert(path.into(), cookie);
            state.alive.insert(cookie, BTreeSet::new());
            cookie
        })
    }

    /// The namespace behind a path.
    pub fn cookie(&self, path: &str) -> Option<u64> {
        self.state.lock().paths.get(Path::new(path)).copied()
    }

    /// It ends, with all its links.
    pub fn end(&self, path: &str) {
        let cookie = self.leave(path).unwrap();
        self.end_cookie(cookie);
    }

    /// The path goes, the namespace stays: a socket or a process keeps it.
    pub fn leave(&self, path: &str) -> Option<u64> {
        self.with(|state| state.paths.remove(Path::new(path)))
    }

    /// The namespace ends, with all its links.
    pub fn end_cookie(&self, cookie: u64) {
        self.with(|state| {
            state.alive.remove(&cookie);
            state.paths.retain(|_, c| *c != cookie);
        });
    }

    /// The address stands on a link from now on.
    pub fn put_on_link(&self, path: &str, address: IpAddr) {
        let cookie = self.cookie(path).unwrap();
        self.set_link(cookie, address, true);
    }

    /// It stands on none any more.
    pub fn take_off_link(&self, path: &str, address: IpAddr) {
        let cookie = self.cookie(path).unwrap();
        self.set_link(cookie, address, false);
    }

    /// The same by cookie; nothing happens to what has ended.
    pub fn set_link(&self, cookie: u64, address: IpAddr, up: bool) {
        self.with(|state| match state.alive.get_mut(&cookie) {
            Some(links) if up => drop(links.insert(address)),
            Some(links) => drop(links.remove(&address)),
            None => {}
        });
    }

    /// Whether the namespace exists.
    pub fn is_alive(&self, cookie: u64) -> bool {
        self.state.lock().alive.contains_key(&cookie)
    }

    /// Whether the address stands on a link of the namespace.
    pub fn is_on_link(&self, cookie: u64, address: IpAddr) -> bool {
        self.state.lock().alive.get(&cookie).is_some_and(|links| links.contains(&address))
    }

    /// The machine reboots: nothing lives any more.
    pub fn reboot(&self) {
        self.with(|state| *state = State { silent: state.silent, ..State::default() });
    }

    /// The witness says nothing at all.
    pub fn be_silent(&self, silent: bool) {
        self.with(|state| state.silent = silent);
    }

    /// Whether it says nothing.
    pub fn is_silent(&self) -> bool {
        self.state.lock().silent
    }

    /// The witness cannot tell whether this namespace exists.
    pub fn be_unsure(&self, cookie: u64, unsure: bool) {
        self.with(|state| match unsure {
            true => state.unsure.insert(cookie),
            false => state.unsure.remove(&cookie),
        });
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock())
    }
}

impl Kernel for FakeKernel {
    fn identify(&self, path: &Path) -> Result<Netns, WitnessError> {
        let state = self.state.lock();
        if state.silent {
            return Err(WitnessError::Off { why: "silenced".into() });
        }
        let cookie = state.paths.get(path);
        let cookie = *cookie.ok_or_else(|| WitnessError::NoSuchNamespace { path: path.into() })?;
        Ok(netns(cookie))
    }

    fn look_at(&self, questions: &[Question]) -> Vec<Sight> {
        let state = self.state.lock();
        let see = |question: &Question| match state.silent {
            true => Sight::SILENT,
            false => question.ask(|n| state.namespace(n), |n, address| state.address(n, address)),
        };
        questions.iter().map(see).collect()
    }

    fn set_down(&self, netns: &Netns, address: IpAddr) -> Result<usize, WitnessError> {
        let was_up = self.is_on_link(netns.cookie, address);
        self.set_link(netns.cookie, address, false);
        Ok(usize::from(was_up))
    }

    fn silence(&self) -> Option<String> {
        self.is_silent().then(|| "silenced".to_owned())
    }

    fn census(&self) -> Result<Census, WitnessError> {
        let state = self.state.lock();
        if state.silent {
            return Err(WitnessError::Off { why: "silenced".into() });
        }
        let mut census = Census::default();
        for (cookie, links) in &state.alive {
            if state.unsure.contains(cookie) {
                census.incomplete = Some("one namespace could not be entered".into());
                continue;
            }
            census.sightings.extend(links.iter().map(|address| Sighting {
                node: None,
                place: Place::Netns(netns(*cookie)),
                ifname: "eth0".into(),
                address: *address,
            }));
        }
        Ok(census)
    }
}

fn netns(cookie: u64) -> Netns {
    Netns { cookie, dev: 4, ino: cookie % 3, nsid: Some((cookie % 5) as i32) }
}

impl State {
    fn namespace(&self, netns: &Netns) -> NetnsLook {
        if self.unsure.contains(&netns.cookie) {
            return NetnsLook::Unknown;
        }
        match self.alive.contains_key(&netns.cookie) {
            true => NetnsLook::Alive,
            false => NetnsLook::Gone,
        }
    }

    fn address(&self, netns: &Netns, address: IpAddr) -> AddressLook {
        if self.unsure.contains(&netns.cookie) {
            return AddressLook::Unknown;
        }
        match self.alive.get(&netns.cookie) {
            None => AddressLook::NamespaceGone,
            Some(links) if links.contains(&address) => AddressLook::OnLink,
            Some(_) => AddressLook::OnNone,
        }
    }
}
