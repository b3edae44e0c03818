//! Fixed addresses that a runtime asks for, and what else it tells in `args.cni`.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde_json::Value;
use tenure_core::address::Family;
use tenure_engine::FixedAddress;

use crate::args::CniArgs;
use crate::config::NetworkConfig;
use crate::error::Error;
use crate::fields::Fields;

/// How an attribute from the arguments is named in the policy contract.
const ATTRIBUTE: &str = "cni.args/";
/// Attributes are kept with each decision in the ring: many or long ones would push the others out.
const MAX_ATTRIBUTES: usize = 64;
/// So many bytes a value has at most.
const MAX_VALUE_BYTES: usize = 4096;
/// So many bytes the name of an attribute has at most.
const MAX_KEY_BYTES: usize = 253;

/// The addresses asked for, IPv4 first: `runtimeConfig.ips`, and `args.cni.ips` or else CNI_ARGS `IP`.
///
/// # Errors
/// Code 2 for `runtimeConfig.ipRanges`; 7 (or 4, from the environment) for what is no address; 7 for two
/// addresses of one family.
pub(crate) fn addresses(
    config: &NetworkConfig,
    args: &CniArgs,
) -> Result<Vec<FixedAddress>, Error> {
    let mut asked = Vec::new();
    if let Some(runtime) = section(config, "runtimeConfig")? {
        if let Some(ranges) = runtime.get("ipRanges") {
            let why = "ranges belong into IPPool objects; drop the capability `ipRanges`";
            return Err(Error::unsupported("runtimeConfig.ipRanges", ranges, why));
        }
        asked.extend(listed(runtime)?);
    }
    let given = match arguments(config)? {
        Some(cni) => listed(cni)?,
        None => Vec::new(),
    };
    if given.is_empty()
        && let Some(text) = args.get("IP")
    {
        let why = || Error::environment("CNI_ARGS", format!("IP={text} is not an address"));
        asked.push(("CNI_ARGS IP".to_owned(), address(text).ok_or_else(why)?));
    }
    asked.extend(given);
    one_per_family(asked)
}

/// Attributes for policies: the texts and the labels of `args.cni`, and the pairs of CNI_ARGS that say something about the holder.
/// Where a key comes twice, the direct entry of `args.cni` counts, then the label.
///
/// # Errors
/// Code 6 when `args.cni` or its labels are not what CNI's conventions say; 7 (or 4, from the environment) for too many of
/// them, and for one that is too long or has control characters.
pub(crate) fn attributes(
    config: &NetworkConfig,
    args: &CniArgs,
) -> Result<BTreeMap<String, String>, Error> {
    let mut attributes = BTreeMap::new();
    for (key, value) in args.attributes() {
        let bad = |why| Error::environment("CNI_ARGS", format!("{}: {why}", cut(key)));
        put(&mut attributes, key, value).map_err(bad)?;
    }
    let Some(cni) = arguments(config)? else { return Ok(attributes) };
    for (index, label) in cni.list("labels")?.into_iter().flatten().enumerate() {
        let path = format!("args.cni.labels[{index}]");
        let label = Fields::of(&path, label)?;
        let (key, value) = (label.text("key")?, label.text("value")?);
        let key = key.ok_or_else(|| Error::decode(label.path("key"), "it is missing"))?;
        put(&mut attributes, key, value.unwrap_or_default())
            .map_err(|why| Error::config(&path, why))?;
    }
    for (key, value) in cni.iter() {
        if let Value::String(value) = value {
            put(&mut attributes, key, value)
                .map_err(|why| Error::config(cni.path(&cut(key)), why))?;
        }
    }
    Ok(attributes)
}

/// Adds an attribute, or says which bound it breaks.
fn put(attributes: &mut BTreeMap<String, String>, key: &str, value: &str) -> Result<(), String> {
    for (what, text, most) in [("key", key, MAX_KEY_BYTES), ("value", value, MAX_VALUE_BYTES)] {
        if text.len() > most {
            return Err(format!(
                "the {what} has {} bytes; at most {most} are possible",
                text.len()
            ));
        }
        if text.chars().any(char::is_control) {
            return Err(format!("the {what} has control characters"));
        }
    }
    attributes.insert(format!("{ATTRIBUTE}{key}"), value.to_owned());
    if attributes.len() > MAX_ATTRIBUTES {
        return Err(format!("CNI_ARGS and args.cni have more than {MAX_ATTRIBUTES} attributes"));
    }
    Ok(())
}

/// A key as a message shows it.
fn cut(key: &str) -> String {
    key.chars().take(64).collect()
}

fn section<'a>(config: &'a NetworkConfig, key: &'a str) -> Result<Option<Fields<'a>>, Error> {
    config.top()?.get(key).map(|value| Fields::of(key, value)).transpose()
}

fn arguments(config: &NetworkConfig) -> Result<Option<Fields<'_>>, Error> {
    let Some(args) = section(config, "args")? else { return Ok(None) };
    args.get("cni").map(|value| Fields::of("args.cni", value)).transpose()
}

fn listed(fields: Fields<'_>) -> Result<Vec<(String, FixedAddress)>, Error> {
    let read = |(path, text): (String, &str)| match address(text) {
        Some(address) => Ok((path, address)),
        None => Err(Error::config(path, format!("{text:?} is not an address"))),
    };
    fields.texts("ips")?.into_iter().map(read).collect()
}

/// An address, with or without a prefix length.
fn address(text: &str) -> Option<FixedAddress> {
    if let Ok(address) = text.parse() {
        return Some(FixedAddress { address, prefix: None });
    }
    let net: IpNet = text.parse().ok()?;
    Some(FixedAddress { address: net.addr(), prefix: Some(net.prefix_len()) })
}

fn one_per_family(asked: Vec<(String, FixedAddress)>) -> Result<Vec<FixedAddress>, Error> {
    let mut chosen: Vec<(String, FixedAddress)> = Vec::new();
    for (path, wish) in asked {
        let family = Family::of(wish.address);
        let same = chosen.iter().find(|(_, other)| Family::of(other.address) == family);
        match same {
            Some((_, other)) if other.address == wish.address => {}
            Some((first, other)) => {
                let why = format!(
                    "{} and {first} = {} are both {family}; one is possible",
                    wish.address, other.address
                );
                return Err(Error::config(path, why));
            }
            None => chosen.push((path, wish)),
        }
    }
    let mut addresses: Vec<FixedAddress> = chosen.into_iter().map(|(_, wish)| wish).collect();
    addresses.sort_unstable();
    Ok(addresses)
}
