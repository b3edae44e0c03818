//! The name of a lease is its address: creating the object is taking the address.

use std::net::IpAddr;

use tenure_core::lease::LeaseKey;
use tenure_core::name::SpaceName;

/// The address, IPv4 dotted, IPv6 as eight groups without leading zeros and with dashes between; outside of the default
/// space the space and `--` before it.
pub(crate) fn name(key: &LeaseKey) -> String {
    let address = match key.address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => address.segments().map(|group| format!("{group:x}")).join("-"),
    };
    if key.space == SpaceName::default() {
        return address;
    }
    format!("{}--{address}", key.space)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_name_and_a_space_is_its_prefix() {
        let named = |space: &str, address: &str| {
            let space = SpaceName::new(space).unwrap();
            name(&LeaseKey { space, address: address.parse().unwrap() })
        };
        assert_eq!(named("default", "10.6.0.1"), "10.6.0.1");
        assert_eq!(named("red", "10.6.0.1"), "red--10.6.0.1");
        assert_eq!(named("default", "fd00::1"), "fd00-0-0-0-0-0-0-1");
        assert_eq!(named("red", "FD00:0:0:0::0001"), "red--fd00-0-0-0-0-0-0-1");
        assert_eq!(named("default", "::ffff:10.6.0.1"), "0-0-0-0-0-ffff-a06-1");
    }
}
