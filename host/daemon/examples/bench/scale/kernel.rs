//! The kernel of a node as its agent sees it: which namespaces exist, and that what was given to one stands on a link of it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use tenure_core::lease::Netns;
use tenure_core::ports::{AddressLook, Census, Kernel, NetnsLook, Question, Sight, WitnessError};

/// Namespaces by their paths. Nothing of it costs what a real kernel costs its node.
#[derive(Debug, Default)]
pub(crate) struct PlayedKernel {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    cookies: HashMap<PathBuf, u64>,
    alive: HashMap<u64, PathBuf>,
    last: u64,
}

// === impl PlayedKernel ===

impl PlayedKernel {
    /// A namespace ends.
    pub(crate) fn end(&self, path: &Path) {
        let mut state = self.state.lock();
        if let Some(cookie) = state.cookies.remove(path) {
            state.alive.remove(&cookie);
        }
    }
}

impl Kernel for PlayedKernel {
    /// One that is asked for exists from then on.
    fn identify(&self, path: &Path) -> Result<Netns, WitnessError> {
        let mut state = self.state.lock();
        let cookie = match state.cookies.get(path) {
            Some(cookie) => *cookie,
            None => {
                state.last += 1;
                let cookie = state.last;
                state.cookies.insert(path.to_owned(), cookie);
                state.alive.insert(cookie, path.to_owned());
                cookie
            }
        };
        let nsid = i32::try_from(cookie).ok();
        Ok(Netns { cookie, dev: 4, ino: 0xf000_0000 + cookie, nsid })
    }

    fn look_at(&self, questions: &[Question]) -> Vec<Sight> {
        let state = self.state.lock();
        let is_alive = |netns: &Netns| state.alive.contains_key(&netns.cookie);
        let look = |netns: &Netns| if is_alive(netns) { NetnsLook::Alive } else { NetnsLook::Gone };
        questions.iter().map(|question| question.ask(look, |_, _| AddressLook::OnLink)).collect()
    }

    fn census(&self) -> Result<Census, WitnessError> {
        Ok(Census::default())
    }
}
