//! The result of an ADD in the shape of each CNI version.
//!
//! Never in it: `interfaces` and `ips[].interface`; those are the main plugin's. `dns` is always there, possibly
//! empty, as the reference library writes it.

use ipnet::IpNet;
use serde::Serialize;
use tenure_core::address::Family;
use tenure_core::objects::{Dns, Route};
use tenure_engine::{AddAnswer, Granted};

use crate::error::Error;
use crate::version::CniVersion;

/// The result of 0.3.0 and later.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListResult<'a> {
    cni_version: &'static str,
    ips: Vec<ListedAddress>,
    /// With their fields of 1.1: main plugins apply priority, table and scope in any version, and the reference
    /// converter drops them for 0.2.0 and older only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<&'a Route>,
    dns: Dns,
}

#[derive(Serialize)]
struct ListedAddress {
    /// `4` or `6`, up to 0.4.0.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    address: IpNet,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<std::net::IpAddr>,
}

/// The result of 0.1.0 and 0.2.0.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PairResult {
    cni_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip4: Option<FamilyResult>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip6: Option<FamilyResult>,
    dns: Dns,
}

#[derive(Serialize)]
struct FamilyResult {
    ip: IpNet,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<std::net::IpAddr>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<PlainRoute>,
}

#[derive(Serialize)]
struct PlainRoute {
    dst: IpNet,
    #[serde(skip_serializing_if = "Option::is_none")]
    gw: Option<std::net::IpAddr>,
}

/// The text of a successful ADD.
///
/// # Errors
/// [`Error::Answer`] for an answer without an address, and up to 0.2.0 for two of one family.
pub(crate) fn add_json(version: CniVersion, answer: &AddAnswer) -> Result<String, Error> {
    if answer.addresses.is_empty() {
        return Err(Error::Answer { version, why: "it has no address" });
    }
    let text = if version >= CniVersion::V0_3_0 {
        serde_json::to_string(&list_result(version, answer))
    } else {
        serde_json::to_string(&pair_result(version, answer)?)
    };
    let mut text = text.map_err(|_| Error::Answer { version, why: "it cannot be written" })?;
    text.push('\n');
    Ok(text)
}

fn list_result(version: CniVersion, answer: &AddAnswer) -> ListResult<'_> {
    let names_family = version < CniVersion::V1_0_0;
    let listed = |granted: &Granted| ListedAddress {
        version: names_family.then(|| Family::of(granted.address.addr()).number().to_string()),
        address: granted.address,
        gateway: granted.gateway,
    };
    ListResult {
        cni_version: version.as_str(),
        ips: answer.addresses.iter().map(listed).collect(),
        routes: routes(answer),
        dns: dns(answer),
    }
}

fn pair_result(version: CniVersion, answer: &AddAnswer) -> Result<PairResult, Error> {
    Ok(PairResult {
        cni_version: version.as_str(),
        ip4: family_result(version, answer, Family::V4)?,
        ip6: family_result(version, answer, Family::V6)?,
        dns: dns(answer),
    })
}

fn family_result(
    version: CniVersion,
    answer: &AddAnswer,
    family: Family,
) -> Result<Option<FamilyResult>, Error> {
    let mut of_family =
        answer.addresses.iter().filter(|granted| Family::of(granted.address.addr()) == family);
    let Some(granted) = of_family.next() else { return Ok(None) };
    if of_family.next().is_some() {
        return Err(Error::Answer { version, why: "it has two addresses of one family" });
    }
    let routes = routes(answer).into_iter().filter(|route| Family::of(route.dst.addr()) == family);
    let plain = |route: &Route| PlainRoute { dst: route.dst, gw: route.gw };
    Ok(Some(FamilyResult {
        ip: granted.address,
        gateway: granted.gateway,
        routes: routes.map(plain).collect(),
    }))
}

/// The routes of all pools; one that two pools name comes once.
fn routes(answer: &AddAnswer) -> Vec<&Route> {
    let mut routes = Vec::new();
    for route in answer.addresses.iter().flat_map(|granted| &granted.routes) {
        if !routes.contains(&route) {
            routes.push(route);
        }
    }
    routes
}

/// The DNS of all pools in one: lists are joined, of two domains the first counts.
fn dns(answer: &AddAnswer) -> Dns {
    let mut joined = Dns::default();
    for dns in answer.addresses.iter().filter_map(|granted| granted.dns.as_ref()) {
        join(&mut joined.nameservers, &dns.nameservers);
        join(&mut joined.search, &dns.search);
        join(&mut joined.options, &dns.options);
        joined.domain = joined.domain.or_else(|| dns.domain.clone());
    }
    joined
}

fn join(all: &mut Vec<String>, more: &[String]) {
    for text in more {
        if !all.contains(text) {
            all.push(text.clone());
        }
    }
}
