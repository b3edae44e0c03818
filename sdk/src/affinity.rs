//! The hook `affinity`: its words are those of the contract, with addresses that read as such.

use std::net::{IpAddr, Ipv6Addr};

use crate::bindings::affinity::exports::tenure::policy::affinity as raw;
use crate::{Address, Family};

pub use raw::{
    Answer as AffinityAnswer, Choice, Fixed, IfHeld, Previous, Request as AffinityRequest, Sticky,
};

// === impl AffinityRequest ===

impl AffinityRequest {
    /// Whether an address of that family is wanted.
    #[must_use]
    pub fn wants(&self, family: Family) -> bool {
        crate::select::wants(self.families, family)
    }
}

// === impl Previous ===

impl Previous {
    /// The same uid held it.
    #[must_use]
    pub fn same_uid(&self) -> bool {
        self.bits & 1 != 0
    }

    /// The same namespace and name held it.
    #[must_use]
    pub fn same_name(&self) -> bool {
        self.bits & 2 != 0
    }

    /// It is kept for a sticky key.
    #[must_use]
    pub fn retained(&self) -> bool {
        self.bits & 4 != 0
    }

    /// It still rests.
    #[must_use]
    pub fn resting(&self) -> bool {
        self.bits & 8 != 0
    }
}

// === impl AffinityAnswer ===

impl From<Choice> for AffinityAnswer {
    /// Without a mark.
    fn from(choice: Choice) -> Self {
        Self { choice, tag: 0 }
    }
}

// === impl Address ===

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        let bits = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        Self { hi: (bits >> 64) as u64, lo: bits as u64 }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        Ipv6Addr::from_bits(u128::from(address.hi) << 64 | u128::from(address.lo)).to_canonical()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_way_through_two_numbers() {
        for text in ["10.6.0.1", "fd00::1", "255.255.255.255", "::"] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(IpAddr::from(Address::from(address)), address);
        }
    }
}
