//! The pods of a StatefulSet get addresses in a row: `db-0` the first, `db-1` the next, and so on, in both families if both are
//! given. What a firewall or a peer list outside of the cluster wants. Pods beyond the row, and everybody else: no opinion.
//!
//! | setting | default | meaning |
//! | --- | --- | --- |
//! | `sets` | `[]` | `namespace`, `name`, `first` (the address of pod 0, one of each family) and `count` |

use std::net::IpAddr;

use serde::Deserialize;
use tenure_policy::{
    Address, Affinity, AffinityAnswer, AffinityRequest, Choice, Description, Family, FieldError,
    Fixed, Holder, IfHeld, Level, Policy, PolicyError, export, log,
};

/// Settings as an operator writes them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    sets: Vec<Set>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    namespace: String,
    name: String,
    first: Vec<IpAddr>,
    count: u32,
}

/// The policy.
pub struct OrdinalAddress(Settings);

impl Policy for OrdinalAddress {
    type Settings = Settings;

    fn describe() -> Description {
        let schema = include_str!("settings.json");
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), schema)
    }

    /// A row must not leave its family, nor name one twice.
    fn new(settings: Settings) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        for (at, set) in settings.sets.iter().enumerate() {
            let path = format!("/sets/{at}/first");
            if set.first.iter().filter(|address| address.is_ipv4()).count() > 1
                || set.first.iter().filter(|address| address.is_ipv6()).count() > 1
            {
                errors.push(FieldError::new(&path, "two addresses of one family"));
            }
            let last = set.count.saturating_sub(1);
            if let Some(address) = set.first.iter().find(|first| nth(**first, last).is_none()) {
                errors.push(FieldError::new(path, format!("{address} plus {last} is no address")));
            }
        }
        if errors.is_empty() { Ok(Self(settings)) } else { Err(errors) }
    }
}

impl Affinity for OrdinalAddress {
    fn affinity(&self, request: &AffinityRequest) -> Result<AffinityAnswer, PolicyError> {
        let Some((set, ordinal)) = self.set(&request.holder) else {
            return Ok(Choice::Abstain.into());
        };
        if ordinal >= set.count {
            log(Level::Warn, &format!("pod {ordinal} is beyond the {} of {}", set.count, set.name));
            return Ok(Choice::Abstain.into());
        }
        let family = |address: &IpAddr| if address.is_ipv4() { Family::V4 } else { Family::V6 };
        let wanted = set.first.iter().filter(|first| request.wants(family(first)));
        let addresses: Vec<Address> =
            wanted.filter_map(|first| nth(*first, ordinal)).map(Address::from).collect();
        if addresses.is_empty() {
            return Ok(Choice::Abstain.into());
        }
        // The pod that had it is on its way out: a StatefulSet never runs two of one number.
        Ok(Choice::Fixed(Fixed { addresses, if_held: IfHeld::Wait }).into())
    }
}

impl OrdinalAddress {
    fn set(&self, holder: &Holder) -> Option<(&Set, u32)> {
        if holder.controller_kind != "StatefulSet" {
            return None;
        }
        let set =
            self.0.sets.iter().find(|set| {
                set.namespace == holder.namespace && set.name == holder.controller_name
            })?;
        let number = holder.name.strip_prefix(set.name.as_str())?.strip_prefix('-')?;
        Some((set, number.parse().ok()?))
    }
}

fn nth(first: IpAddr, ordinal: u32) -> Option<IpAddr> {
    match first {
        IpAddr::V4(first) => Some(IpAddr::V4(first.to_bits().checked_add(ordinal)?.into())),
        IpAddr::V6(first) => Some(IpAddr::V6(first.to_bits().checked_add(ordinal.into())?.into())),
    }
}

export!(OrdinalAddress: affinity);

#[cfg(test)]
mod tests {
    use tenure_policy::testing::policy;

    use super::*;

    #[test]
    fn a_row_that_ends_beyond_its_family_is_refused_at_its_path() {
        let of = |first: &str| {
            let set = r#"{"namespace": "n", "name": "db", "count": 3, "first": "#;
            policy::<OrdinalAddress>(&format!(r#"{{"sets": [{set}{first}}}]}}"#))
        };
        assert!(of(r#"["255.255.255.253", "fd00::1"]"#).is_ok());
        for bad in [r#"["255.255.255.254"]"#, r#"["10.6.0.1", "10.7.0.1"]"#] {
            assert_eq!(of(bad).err().unwrap()[0].path, "/sets/0/first");
        }
    }
}
