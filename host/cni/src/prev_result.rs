//! `prevResult` of any version: the result of the whole chain, with interfaces and whatever later plugins
//! added. Only its addresses matter here.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use crate::error::Error;
use crate::fields::Fields;

const PATH: &str = "prevResult";

/// The addresses, in their order. Both shapes are read, whatever version the result claims.
///
/// # Errors
/// Code 6 for a wrong type, 7 for an address that is none; each names its field.
pub(crate) fn addresses(result: &Value) -> Result<Vec<IpAddr>, Error> {
    let fields = Fields::of(PATH, result)?;
    let mut addresses = Vec::new();
    for (index, entry) in fields.list("ips")?.into_iter().flatten().enumerate() {
        addresses.extend(address(&format!("{PATH}.ips[{index}]"), entry, "address")?);
    }
    for key in ["ip4", "ip6"] {
        if let Some(entry) = fields.get(key) {
            addresses.extend(address(&fields.path(key), entry, "ip")?);
        }
    }
    Ok(addresses)
}

fn address(path: &str, entry: &Value, key: &str) -> Result<Option<IpAddr>, Error> {
    let fields = Fields::of(path, entry)?;
    let Some(text) = fields.text(key)? else { return Ok(None) };
    let net = text.parse::<IpNet>().map(|net| net.addr());
    let address = net.or_else(|_| text.parse::<IpAddr>());
    let why = |_| Error::config(fields.path(key), format!("{text:?} is not an address"));
    address.map(Some).map_err(why)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_result_of_a_whole_chain_is_read_in_every_shape() {
        let two: Vec<IpAddr> = vec!["10.6.0.5".parse().unwrap(), "fd00::5".parse().unwrap()];
        let newest = json!({
            "cniVersion": "1.1.0", "interfaces": [{"name": "eth0", "mac": "0a:00:00:00:00:01", "sandbox": "/n"}],
            "ips": [{"address": "10.6.0.5/16", "interface": 0, "gateway": "10.6.0.1"}, {"address": "fd00::5/64"}],
            "routes": [{"dst": "0.0.0.0/0"}], "dns": {},
        });
        assert_eq!(addresses(&newest).unwrap(), two);
        let middle = json!({"ips": [{"version": "4", "address": "10.6.0.5/16"}, {"version": "6", "address": "fd00::5/64"}]});
        assert_eq!(addresses(&middle).unwrap(), two);
        let oldest = json!({"ip4": {"ip": "10.6.0.5/16"}, "ip6": {"ip": "fd00::5/64"}, "dns": {}});
        assert_eq!(addresses(&oldest).unwrap(), two);
        assert_eq!(addresses(&json!({})).unwrap(), Vec::<IpAddr>::new());
    }

    #[test]
    fn an_error_names_the_field() {
        let error = |value| addresses(&value).unwrap_err().to_string();
        assert!(
            error(json!({"ips": [{"address": "ten"}]}))
                .starts_with("prevResult.ips[0].address: \"ten\"")
        );
        assert!(error(json!({"ips": {}})).starts_with("prevResult.ips: it must be a list"));
        assert!(error(json!([])).starts_with("prevResult: it must be an object"));
    }
}
