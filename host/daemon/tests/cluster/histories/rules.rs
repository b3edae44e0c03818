//! What must be so after each step, as it is seen in the namespaces and in the API.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::process::Command;

use serde_json::Value;

use super::run::{Container, Run};

impl Run {
    /// I1, I2 and I7; I3, I4 and I5 are checked with each answer, I6 in the end.
    pub fn check(&self) {
        self.no_address_lives_twice();
        self.who_was_told_of_an_address_has_it();
    }

    fn living(&self) -> impl Iterator<Item = &Container> {
        self.slots.iter().flatten().chain(&self.gone).filter(|container| container.lives)
    }

    /// I1, by what the kernel says: an address stands on a link that is up in one living namespace at most, those included
    /// whose DEL was answered and whose link is not gone yet.
    fn no_address_lives_twice(&self) {
        let mut seen: BTreeMap<IpAddr, &str> = BTreeMap::new();
        for container in self.living() {
            for address in on_links(&container.name) {
                if let Some(other) = seen.insert(address, &container.name) {
                    panic!("I1: {address} lives in {other} and in {}", container.name);
                }
            }
        }
    }

    /// I2 and I7: from an ADD answered to the DEL called, the address is its holder's, whatever happened in between.
    fn who_was_told_of_an_address_has_it(&self) {
        let leases = self.cluster.leases();
        let told = self.slots.iter().flatten().filter_map(|one| Some((one, one.told.as_ref()?)));
        for (container, address) in told.flat_map(|(one, told)| told.iter().map(move |a| (one, a)))
        {
            let lease = leases.get(&name(*address)).unwrap_or(&Value::Null);
            let holder = lease["attachment"]["container"].as_str();
            assert_eq!(
                (lease["state"].as_str(), holder),
                (Some("Bound"), Some(container.name.as_str())),
                "I2: {address} was given to {}: {lease}",
                container.name,
            );
            let shown = on_links(&container.name);
            assert!(shown.contains(address), "{} lost {address} from its link", container.name);
        }
    }
}

/// The name of an address's lease.
pub fn name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => address.segments().map(|group| format!("{group:x}")).join("-"),
    }
}

/// What a namespace answers for.
fn on_links(netns: &str) -> Vec<IpAddr> {
    let shown = Command::new("ip").args(["-n", netns, "-j", "address", "show", "up"]).output();
    let shown: Value = serde_json::from_slice(&shown.unwrap().stdout).unwrap();
    let links = shown.as_array().unwrap().iter();
    let addresses =
        links.flat_map(|link| link["addr_info"].as_array().cloned().unwrap_or_default());
    let pool = |address: &IpAddr| match address {
        IpAddr::V4(address) => address.octets()[0] == 10,
        IpAddr::V6(address) => address.segments()[0] == 0xfd06,
    };
    addresses.filter_map(|one| one["local"].as_str()?.parse().ok()).filter(pool).collect()
}
