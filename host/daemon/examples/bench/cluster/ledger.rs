//! Who was answered what: the bench's own record, to find an address that two live containers hold.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;

/// Which container holds which address.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    held: Mutex<BTreeMap<IpAddr, String>>,
    twice: Mutex<Vec<String>>,
}

// === impl Ledger ===

impl Ledger {
    /// An ADD was answered.
    pub(crate) fn answered(&self, container: &str, addresses: &[IpAddr]) {
        let mut held = self.held.lock().unwrap();
        for address in addresses {
            let before = held.insert(*address, container.to_owned());
            if let Some(other) = before.filter(|other| other != container) {
                self.twice.lock().unwrap().push(format!("{address}: {other} and {container}"));
            }
        }
    }

    /// A DEL is about to be sent: from now on its addresses may go to others.
    pub(crate) fn leaves(&self, container: &str) {
        self.held.lock().unwrap().retain(|_, holder| holder != container);
    }

    /// Every container died.
    pub(crate) fn all_died(&self) {
        self.held.lock().unwrap().clear();
    }

    /// The addresses that two live containers held, and who.
    pub(crate) fn held_twice(&self) -> Vec<String> {
        self.twice.lock().unwrap().clone()
    }

    /// How many addresses are recorded otherwise in the API than here.
    pub(crate) fn differs_from(&self, recorded: &BTreeMap<IpAddr, String>) -> usize {
        let held = self.held.lock().unwrap();
        let unlike = |(address, holder): &(&IpAddr, &String)| recorded.get(address) != Some(holder);
        let more = recorded.keys().filter(|address| !held.contains_key(address)).count();
        held.iter().filter(unlike).count() + more
    }
}
