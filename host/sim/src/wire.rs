//! The wire: foreign machines that answer, and a witness that may be blind.

use std::collections::BTreeSet;
use std::net::IpAddr;

use parking_lot::Mutex;
use tenure_core::ports::{Wire, WireLook, WireQuestion};

/// Answers as the test says.
#[derive(Default)]
pub struct FakeWire(Mutex<State>);

#[derive(Default)]
struct State {
    meanwhile: Option<Box<dyn FnOnce() + Send>>,
    foreign: BTreeSet<IpAddr>,
    blind: bool,
    asked: Vec<IpAddr>,
}

// === impl FakeWire ===

impl FakeWire {
    /// A foreign machine has the address from now on, or no longer.
    pub fn set_foreign(&self, address: IpAddr, answers: bool) {
        let mut state = self.0.lock();
        match answers {
            true => state.foreign.insert(address),
            false => state.foreign.remove(&address),
        };
    }

    /// Exactly these addresses are answered for from now on.
    pub fn set_all(&self, addresses: BTreeSet<IpAddr>) {
        self.0.lock().foreign = addresses;
    }

    /// Nothing is heard any more.
    pub fn be_blind(&self, blind: bool) {
        self.0.lock().blind = blind;
    }

    /// Happens while the next question is under way.
    pub fn during_next(&self, meanwhile: impl FnOnce() + Send + 'static) {
        self.0.lock().meanwhile = Some(Box::new(meanwhile));
    }

    /// The addresses that were asked for, in order.
    pub fn asked(&self) -> Vec<IpAddr> {
        self.0.lock().asked.clone()
    }
}

impl std::fmt::Debug for FakeWire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeWire").finish_non_exhaustive()
    }
}

impl Wire for FakeWire {
    fn probe(&self, question: &WireQuestion) -> WireLook {
        let meanwhile = self.0.lock().meanwhile.take();
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        let mut state = self.0.lock();
        state.asked.push(question.address);
        if state.blind {
            return WireLook::Blind { why: "told so".into() };
        }
        match state.foreign.contains(&question.address) {
            true => WireLook::Answered { mac: [2, 0, 0, 0, 0, 1] },
            false => WireLook::Silent,
        }
    }
}
