//! For native tests: stand-ins for the host, builders of requests, the host's checks of an answer and, with the
//! feature `proptest`, strategies of whole requests.
//!
//! ```
//! use tenure_policy::testing::{candidate, check_selection, set_pools};
//! use tenure_policy::{Candidate, Candidates, Family, Holder, SelectRequest, pool_by_name, rank};
//!
//! // The stand-ins belong to the thread, so to the test.
//! set_pools(&[("blue", &[("zone", "a")]), ("red", &[])]);
//! assert_eq!(pool_by_name("red"), Some(1));
//!
//! let request = SelectRequest::builder()
//!     .holder(Holder::builder().pod("shop", "web-0").annotation("tenure.dev/pools", "red"))
//!     .families(&Family::ALL)
//!     .build();
//! let candidates = Candidates::of(&[candidate(0, 9), Candidate { in_zone: true, ..candidate(1, 0) }]);
//! // Nobody offers IPv6, so IPv4 alone will do.
//! assert_eq!(check_selection(&request, &candidates, &rank(candidates.iter())), Ok(()));
//! ```

#[cfg(not(target_arch = "wasm32"))]
mod contract;
#[cfg(not(target_arch = "wasm32"))]
mod holders;
#[cfg(not(target_arch = "wasm32"))]
mod requests;
#[cfg(all(feature = "proptest", not(target_arch = "wasm32")))]
pub mod strategies;

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::{Attribute, Holder, Level};

#[cfg(not(target_arch = "wasm32"))]
pub use contract::{check_affinity, check_selection, check_verdicts};
#[cfg(not(target_arch = "wasm32"))]
pub use holders::HolderBuilder;
#[cfg(not(target_arch = "wasm32"))]
pub use requests::{
    AffinityRequestBuilder, ReclaimRequestBuilder, SelectRequestBuilder, candidate, policy,
};

#[derive(Default)]
struct Host {
    log: Vec<(Level, String)>,
    pools: Vec<(String, BTreeMap<String, String>)>,
    holders: BTreeMap<u32, Holder>,
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::default();
}

/// Sets the pools, each with its labels; the position is the index.
pub fn set_pools(pools: &[(&str, &[(&str, &str)])]) {
    let labels = |labels: &[(&str, &str)]| {
        labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let pools = pools.iter().map(|(name, of)| ((*name).to_owned(), labels(of))).collect();
    HOST.with_borrow_mut(|host| host.pools = pools);
}

/// Sets who holds the lease of a row.
pub fn set_lease_holder(row: u32, holder: Holder) {
    HOST.with_borrow_mut(|host| host.holders.insert(row, holder));
}

/// The lines logged so far, and forgets them.
#[must_use]
pub fn take_log() -> Vec<(Level, String)> {
    HOST.with_borrow_mut(|host| std::mem::take(&mut host.log))
}

/// A pod with attributes, all else empty.
#[must_use]
pub fn pod(namespace: &str, name: &str, attributes: &[(&str, &str)]) -> Holder {
    let attribute = |(key, value): &(&str, &str)| Attribute {
        key: (*key).to_owned(),
        value: (*value).to_owned(),
    };
    Holder {
        owner_kind: "pod".to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        uid: String::new(),
        controller_kind: String::new(),
        controller_name: String::new(),
        node: String::new(),
        zone: String::new(),
        network: String::new(),
        interface_name: "eth0".to_owned(),
        attributes: attributes.iter().map(attribute).collect(),
    }
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn log(level: Level, message: &str) {
    HOST.with_borrow_mut(|host| host.log.push((level, message.to_owned())));
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn log_level() -> Level {
    Level::Trace
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn pool_name(pool: u32) -> Option<String> {
    HOST.with_borrow(|host| host.pools.get(pool as usize).map(|(name, _)| name.clone()))
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn pool_by_name(name: &str) -> Option<u32> {
    let found = HOST.with_borrow(|host| host.pools.iter().position(|(pool, _)| pool == name));
    found.and_then(|at| u32::try_from(at).ok())
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn pool_label(pool: u32, key: &str) -> Option<String> {
    HOST.with_borrow(|host| host.pools.get(pool as usize)?.1.get(key).cloned())
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn lease_holder(row: u32) -> Option<Holder> {
    HOST.with_borrow(|host| host.holders.get(&row).cloned())
}
