//! How a lease is named: its address, with `SPACE--` before it outside the default space.

use std::net::IpAddr;
use std::str::FromStr;

use tenure_core::lease::LeaseKey;
use tenure_core::name::SpaceName;

use crate::error::CliError;

/// A lease on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeaseName {
    pub(crate) key: LeaseKey,
    /// The text names the space, and not only the default.
    names_space: bool,
}

impl LeaseName {
    /// The same address in the space that an option names.
    ///
    /// # Errors
    /// The address names another space.
    pub(crate) fn in_space(self, space: Option<SpaceName>) -> Result<Self, CliError> {
        let LeaseKey { space: own, address } = self.key;
        let space = match space {
            Some(space) if self.names_space && space != own => {
                let why =
                    format!("{own}--{address} is not in space {space}; leave out one of them");
                return Err(CliError::Usage { why });
            }
            space => space.unwrap_or(own),
        };
        Ok(Self { key: LeaseKey { space, address }, ..self })
    }

    pub(crate) fn path(&self) -> String {
        format!("/v1/leases/{}", self.key.address)
    }

    pub(crate) fn query(&self) -> [(&'static str, &str); 1] {
        [("space", self.key.space.as_str())]
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
        let names_space = text.contains("--");
        Ok(Self { key: LeaseKey { space, address }, names_space })
    }
}
