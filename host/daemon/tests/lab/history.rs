//! What clients know of a history, and the checker.
//!
//! A *certain hold* lasts from the answer of an ADD to the call of the DEL. Two certain holds of one address that
//! overlap break I1.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A certain hold of an address, in ticks of one counter.
#[derive(Debug, Clone, Copy)]
pub struct Hold {
    pub address: IpAddr,
    pub from: u64,
    pub to: u64,
}

#[derive(Default)]
pub struct History {
    clock: AtomicU64,
    pub holds: Mutex<Vec<Hold>>,
    pub stop: AtomicBool,
}

impl History {
    pub fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }
}

pub fn check(holds: &[Hold]) {
    let mut by_address: HashMap<IpAddr, Vec<Hold>> = HashMap::new();
    for hold in holds {
        by_address.entry(hold.address).or_default().push(*hold);
    }
    for holds in by_address.values_mut() {
        holds.sort_by_key(|hold| hold.from);
        for pair in holds.windows(2) {
            assert!(pair[0].to < pair[1].from, "I1: held twice: {pair:?}");
        }
    }
}
