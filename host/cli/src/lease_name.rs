//! How a lease is named: its address, with `SPACE--` before it outside the default space.

use std::net::IpAddr;
use std::str::FromStr;

use tenure_core::lease::LeaseKey;
use tenure_core::name::SpaceName;

/// A lease on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeaseName(pub(crate) LeaseKey);

impl LeaseName {
    /// The same address in the space that an option names.
    pub(crate) fn in_space(self, space: Option<SpaceName>) -> Self {
        let LeaseKey { space: own, address } = self.0;
        Self(LeaseKey { space: space.unwrap_or(own), address })
    }

    pub(crate) fn path(&self) -> String {
        format!("/v1/leases/{}", self.0.address)
    }

    pub(crate) fn query(&self) -> [(&'static str, &str); 1] {
        [("space", self.0.space.as_str())]
    }
}

impl FromStr for LeaseName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (space, address) = match text.split_once("--") {
            Some((space, address)) => (SpaceName::new(space).map_err(|e| e.to_string())?, address),
            None => (SpaceName::default(), text),
        };
        let address: IpAddr =
            address.parse().map_err(|_| format!("{address:?} is not an IP address"))?;
        Ok(Self(LeaseKey { space, address }))
    }
}
