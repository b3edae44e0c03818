//! A pool as it is served: the checked form of an [`IPPool`](crate::objects::PoolSpec), with its usable
//! addresses as an interval set.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::address::{Family, Range, to_number};
use crate::interval::IntervalSet;
use crate::name::{NetworkName, PoolName, SpaceName};
use crate::objects::{BadObject, Operator, PoolSpec, ReservationSpec, Selector};

/// The widest pool, in bits of host part: counts of one space still fit 128 bits.
const MIN_PREFIX: u8 = 8;
/// The smallest MTU of IPv4 (RFC 791).
const MIN_MTU: u32 = 68;

/// A checked pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: PoolName,
    /// What the operator wrote.
    pub spec: PoolSpec,
    /// What it may hand out, reservations not yet taken out.
    usable: IntervalSet,
    /// Addresses that rules took out, with the rule, for `describe`.
    withheld: Vec<(IpAddr, &'static str)>,
}

/// A checked reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The routing domain that it speaks of.
    pub space: SpaceName,
    /// What is never handed out.
    pub ranges: Vec<Range>,
}

/// Who asks, as far as pool selectors care.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// The CNI network.
    pub network: &'a NetworkName,
    /// The holder's namespace, empty if it has none.
    pub namespace: &'a str,
    /// Its labels, where they are known.
    pub namespace_labels: Option<&'a BTreeMap<String, String>>,
    /// Labels of the pod, where they are known.
    pub pod_labels: Option<&'a BTreeMap<String, String>>,
    /// Labels of the node, where they are known.
    pub node_labels: Option<&'a BTreeMap<String, String>>,
}

// === impl Pool ===

impl Pool {
    /// Checks a specification.
    ///
    /// # Errors
    /// [`BadObject`] naming the field.
    pub fn new(name: PoolName, spec: PoolSpec) -> Result<Self, BadObject> {
        let bad = |field: &str, message: String| BadObject {
            object: format!("IPPool {name}"),
            field: field.to_owned(),
            message,
        };
        check_cidr(&spec).map_err(|m| bad("spec.cidr", m))?;
        check_spans(&spec).map_err(|(field, m)| bad(field, m))?;
        check_delivery(&spec).map_err(|(field, m)| bad(&field, m))?;
        check_selectors(&spec).map_err(|(field, m)| bad(&field, m))?;
        let whole = Range::from(spec.cidr);
        let mut usable = IntervalSet::new();
        for (at, range) in parse_all(&spec.ranges, whole).enumerate() {
            let range = range.map_err(|m| bad(&format!("spec.ranges[{at}]"), m))?;
            usable.insert(range.first(), range.last());
        }
        if spec.ranges.is_empty() {
            usable.insert(whole.first(), whole.last());
        }
        for (at, range) in parse_all(&spec.exclude, whole).enumerate() {
            let range = range.map_err(|m| bad(&format!("spec.exclude[{at}]"), m))?;
            usable.remove(range.first(), range.last());
        }
        let withheld: Vec<_> = withheld(&spec)
            .into_iter()
            .filter(|(address, _)| usable.contains(to_number(*address)))
            .collect();
        for (address, _) in &withheld {
            usable.remove(to_number(*address), to_number(*address));
        }
        if usable.is_empty() {
            let message = format!(
                "no usable address is left in {} after ranges, exclude, gateway and the subnet's own addresses",
                spec.cidr
            );
            return Err(bad("spec", message));
        }
        Ok(Self { name, spec, usable, withheld })
    }

    /// The family of its addresses.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(self.spec.cidr.addr())
    }

    /// What it may hand out, without the reserved addresses.
    #[must_use]
    pub fn usable(&self, reservations: &[Reservation]) -> IntervalSet {
        let mut usable = self.usable.clone();
        let here = reservations.iter().filter(|r| r.space == self.spec.space);
        for range in here.flat_map(|r| &r.ranges).filter(|r| r.family() == self.family()) {
            usable.remove(range.first(), range.last());
        }
        usable
    }

    /// Addresses that a rule took out although the ranges hold them, with the rule.
    #[must_use]
    pub fn withheld(&self) -> &[(IpAddr, &'static str)] {
        &self.withheld
    }

    /// Why the pool does not hand out this address of its CIDR, in words after "it is not handed out:"; none if it
    /// does, as far as reservations allow it.
    #[must_use]
    pub fn why_withheld(&self, address: IpAddr) -> Option<String> {
        if self.usable.contains(to_number(address)) {
            return None;
        }
        if let Some((_, what)) = self.withheld.iter().find(|(withheld, _)| *withheld == address) {
            return Some(format!("it is {what}"));
        }
        let excludes = |text: &&String| Range::parse(text).is_ok_and(|r| r.contains(address));
        Some(match self.spec.exclude.iter().find(excludes) {
            Some(text) => format!("spec.exclude has {text}"),
            None => "it is in none of spec.ranges".to_owned(),
        })
    }

    /// The address with the prefix length of the pool, as CNI results carry it.
    #[must_use]
    pub fn with_prefix(&self, address: IpAddr) -> IpNet {
        // A prefix length of the pool's own CIDR always fits an address of its family.
        IpNet::new(address, self.spec.cidr.prefix_len()).unwrap_or_else(|_| IpNet::from(address))
    }

    /// Why the pool does not serve this holder; none if it does.
    ///
    /// A selector about labels that are not known admits nobody: unknown is not a match. In standalone
    /// mode a namespace has one known label, `kubernetes.io/metadata.name`.
    #[must_use]
    pub fn refuses(&self, asker: Asker<'_>) -> Option<&'static str> {
        let spec = &self.spec;
        let by_name = || [("kubernetes.io/metadata.name".to_owned(), asker.namespace.to_owned())];
        let namespace = asker.namespace_labels.cloned().unwrap_or_else(|| by_name().into());
        let selects = |selector: &Option<Selector>, labels: Option<&BTreeMap<String, String>>| {
            selector.as_ref().is_none_or(|s| labels.is_some_and(|labels| s.matches(labels)))
        };
        if spec.disabled {
            return Some("is disabled or being deleted");
        }
        if !spec.networks.is_empty() && !spec.networks.contains(asker.network) {
            return Some("does not serve this network");
        }
        if !selects(&spec.namespace_selector, Some(&namespace)) {
            return Some(
                "has a namespaceSelector that does not match (standalone mode knows the name of a namespace only)",
            );
        }
        if !selects(&spec.pod_selector, asker.pod_labels) {
            return Some(
                "has a podSelector that does not match, or labels of pods are not known here",
            );
        }
        if !selects(&spec.node_selector, asker.node_labels) {
            return Some(
                "has a nodeSelector that does not match, or labels of nodes are not known here",
            );
        }
        None
    }

    /// Whether the pool admits only by an explicit selector.
    #[must_use]
    pub fn is_selective(&self) -> bool {
        let spec = &self.spec;
        spec.namespace_selector.is_some()
            || spec.pod_selector.is_some()
            || spec.node_selector.is_some()
    }

    /// The first address range that both pools cover, if they are of one space.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.spec.space == other.spec.space
            && Range::from(self.spec.cidr).overlaps(Range::from(other.spec.cidr))
    }
}

// === impl Reservation ===

impl Reservation {
    /// Checks a specification.
    ///
    /// # Errors
    /// [`BadObject`] naming the field.
    pub fn new(name: &str, spec: &ReservationSpec) -> Result<Self, BadObject> {
        let bad = |field: String, message: String| BadObject {
            object: format!("IPReservation {name}"),
            field,
            message,
        };
        if spec.addresses.is_empty() {
            return Err(bad("spec.addresses".into(), "names no address".into()));
        }
        let ranges = spec
            .addresses
            .iter()
            .enumerate()
            .map(|(at, text)| {
                Range::parse(text).map_err(|e| bad(format!("spec.addresses[{at}]"), e.to_string()))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { space: spec.space.clone(), ranges })
    }
}

// === checks ===

fn check_cidr(spec: &PoolSpec) -> Result<(), String> {
    let cidr = spec.cidr;
    if cidr.addr() != cidr.network() {
        return Err(format!("{cidr} has host bits set; did you mean {}?", cidr.trunc()));
    }
    if cidr.prefix_len() < MIN_PREFIX {
        return Err(format!("{cidr} is wider than /{MIN_PREFIX}"));
    }
    match unusable(cidr.addr()) {
        Some(what) => Err(format!("{cidr} holds {what}, which no container can have")),
        None => Ok(()),
    }
}

fn unusable(address: IpAddr) -> Option<&'static str> {
    match address {
        _ if address.is_multicast() => Some("multicast addresses"),
        _ if address.is_loopback() => Some("loopback addresses"),
        IpAddr::V4(a) if a.octets().first() == Some(&0) => Some("addresses of \"this network\""),
        IpAddr::V6(a) if a.is_unicast_link_local() => {
            Some("link-local addresses, which the kernel gives")
        }
        IpAddr::V6(a) if a.to_ipv4_mapped().is_some() => Some("IPv4 addresses written as IPv6"),
        _ => None,
    }
}

fn check_spans(spec: &PoolSpec) -> Result<(), (&'static str, String)> {
    let limits = &spec.limits;
    if spec.cooldown_floor > spec.cooldown {
        let message = format!("{} is longer than cooldown {}", spec.cooldown_floor, spec.cooldown);
        return Err(("spec.cooldownFloor", message));
    }
    if spec.cooldown > limits.cooldown_max {
        let message =
            format!("{} is longer than limits.cooldownMax {}", spec.cooldown, limits.cooldown_max);
        return Err(("spec.cooldown", message));
    }
    if limits.grace_min > limits.grace_max {
        let message = format!("{} is longer than graceMax {}", limits.grace_min, limits.grace_max);
        return Err(("spec.limits.graceMin", message));
    }
    Ok(())
}

fn check_delivery(spec: &PoolSpec) -> Result<(), (String, String)> {
    let family = Family::of(spec.cidr.addr());
    if let Some(gateway) = spec.gateway {
        check_hop(spec, gateway).map_err(|m| ("spec.gateway".to_owned(), m))?;
    }
    for (at, route) in spec.routes.iter().enumerate() {
        let field = |part: &str| format!("spec.routes[{at}].{part}");
        if Family::of(route.dst.addr()) != family {
            return Err((
                field("dst"),
                format!("{} is not {family} like {}", route.dst, spec.cidr),
            ));
        }
        if route.dst != route.dst.trunc() {
            let meant = route.dst.trunc();
            return Err((
                field("dst"),
                format!("{} has host bits set; did you mean {meant}?", route.dst),
            ));
        }
        if let Some(gw) = route.gw {
            check_hop(spec, gw).map_err(|m| (field("gw"), m))?;
        }
        if let Some(scope) = route.scope.filter(|scope| *scope > u32::from(u8::MAX)) {
            return Err((field("scope"), format!("{scope} is more than 255")));
        }
        if let Some(mtu) = route.mtu.filter(|mtu| *mtu < MIN_MTU) {
            return Err((field("mtu"), format!("{mtu} is less than {MIN_MTU} (RFC 791)")));
        }
    }
    let servers = spec.dns.iter().flat_map(|dns| dns.nameservers.iter().enumerate());
    match servers.into_iter().find(|(_, server)| server.parse::<IpAddr>().is_err()) {
        Some((at, server)) => {
            Err((format!("spec.dns.nameservers[{at}]"), format!("{server:?} is not an address")))
        }
        None => Ok(()),
    }
}

/// A next hop: on the subnet, and none of the subnet's own addresses. A single-address pool has its gateway
/// on the link but outside the "subnet".
fn check_hop(spec: &PoolSpec, hop: IpAddr) -> Result<(), String> {
    let (cidr, family) = (spec.cidr, Family::of(spec.cidr.addr()));
    if Family::of(hop) != family {
        return Err(format!("{hop} is not {family} like {cidr}"));
    }
    if cidr.prefix_len() == family.bits() {
        return Ok(());
    }
    if !cidr.contains(&hop) {
        return Err(format!("{hop} lies outside {cidr}"));
    }
    let own = own_addresses(spec).into_iter().find(|(address, _)| *address == hop);
    own.map_or(Ok(()), |(_, what)| Err(format!("{hop} is {what} of {cidr}")))
}

fn check_selectors(spec: &PoolSpec) -> Result<(), (String, String)> {
    let named = [
        ("namespaceSelector", &spec.namespace_selector),
        ("podSelector", &spec.pod_selector),
        ("nodeSelector", &spec.node_selector),
    ];
    for (name, selector) in named {
        if let Some(selector) = selector {
            check_selector(selector)
                .map_err(|(at, m)| (format!("spec.{name}.matchExpressions[{at}]"), m))?;
        }
    }
    Ok(())
}

fn check_selector(selector: &Selector) -> Result<(), (usize, String)> {
    for (at, requirement) in selector.match_expressions.iter().enumerate() {
        let wants_values = matches!(requirement.operator, Operator::In | Operator::NotIn);
        if wants_values == requirement.values.is_empty() {
            let message = if wants_values { "needs values" } else { "takes no values" };
            return Err((at, format!("operator {:?} {message}", requirement.operator)));
        }
    }
    Ok(())
}

fn parse_all(texts: &[String], whole: Range) -> impl Iterator<Item = Result<Range, String>> + '_ {
    texts.iter().map(move |text| {
        let range = Range::parse(text).map_err(|e| e.to_string())?;
        if whole.covers(range) {
            return Ok(range);
        }
        Err(format!("{text} lies outside the CIDR ({whole})"))
    })
}

/// What is never handed out: the gateway, and the subnet's own addresses.
fn withheld(spec: &PoolSpec) -> Vec<(IpAddr, &'static str)> {
    let gateway = spec.gateway.iter().map(|gateway| (*gateway, "the gateway"));
    gateway.chain(own_addresses(spec)).collect()
}

/// The subnet's own addresses, except in /31, /32 (RFC 3021), /127 and /128 (RFC 6164).
fn own_addresses(spec: &PoolSpec) -> Vec<(IpAddr, &'static str)> {
    let family = Family::of(spec.cidr.addr());
    let (first, last) = (spec.cidr.network(), spec.cidr.broadcast());
    match family {
        _ if family.bits().saturating_sub(spec.cidr.prefix_len()) <= 1 => Vec::new(),
        Family::V4 => vec![(first, "the network address"), (last, "the broadcast address")],
        Family::V6 => vec![(first, "the subnet-router anycast address (RFC 4291)")],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pool(spec: serde_json::Value) -> Result<Pool, BadObject> {
        Pool::new(PoolName::new("p").unwrap(), serde_json::from_value(spec).unwrap())
    }

    fn size(spec: serde_json::Value) -> u128 {
        pool(spec).unwrap().usable(&[]).len()
    }

    #[test]
    fn the_subnets_own_addresses_are_withheld_except_in_the_smallest_subnets() {
        assert_eq!(size(json!({"cidr": "10.0.0.0/30"})), 2);
        assert_eq!(size(json!({"cidr": "10.0.0.0/31"})), 2, "RFC 3021");
        assert_eq!(size(json!({"cidr": "10.0.0.0/32"})), 1);
        assert_eq!(size(json!({"cidr": "fd00::/126"})), 3, "no broadcast in IPv6");
        assert_eq!(size(json!({"cidr": "fd00::/127"})), 2, "RFC 6164");
        assert_eq!(size(json!({"cidr": "fd00::/128"})), 1);
        assert_eq!(size(json!({"cidr": "fd00::/64"})), (1 << 64) - 1);
        assert_eq!(size(json!({"cidr": "fd00::/32"})), (1 << 96) - 1);
        assert_eq!(size(json!({"cidr": "10.0.0.0/8", "gateway": "10.0.0.1"})), (1 << 24) - 3);
    }

    #[test]
    fn each_address_that_is_not_handed_out_has_its_rule() {
        let pool = pool(json!({
            "cidr": "10.0.0.0/28", "gateway": "10.0.0.1", "ranges": ["10.0.0.0-10.0.0.7", "10.0.0.15"],
            "exclude": ["10.0.0.4-10.0.0.5", "10.0.0.7"],
        }))
        .unwrap();
        let why = |address: &str| pool.why_withheld(address.parse().unwrap());
        assert_eq!(why("10.0.0.2"), None);
        assert_eq!(why("10.0.0.0").unwrap(), "it is the network address");
        assert_eq!(why("10.0.0.1").unwrap(), "it is the gateway");
        assert_eq!(why("10.0.0.15").unwrap(), "it is the broadcast address");
        assert_eq!(why("10.0.0.5").unwrap(), "spec.exclude has 10.0.0.4-10.0.0.5");
        assert_eq!(why("10.0.0.9").unwrap(), "it is in none of spec.ranges");
    }

    #[test]
    fn a_wide_pool_costs_as_few_intervals_as_a_narrow_one() {
        assert_eq!(pool(json!({"cidr": "fd00::/32"})).unwrap().usable(&[]).spans(), 1);
    }

    #[test]
    fn bad_specifications_name_the_field() {
        let field = |spec| pool(spec).unwrap_err().field;
        assert_eq!(field(json!({"cidr": "10.0.0.5/24"})), "spec.cidr");
        assert_eq!(
            field(json!({"cidr": "10.0.0.0/24", "ranges": ["10.0.0.1", "10.0.1.0/24"]})),
            "spec.ranges[1]"
        );
        assert_eq!(
            field(json!({"cidr": "10.0.0.0/24", "exclude": ["fd00::1"]})),
            "spec.exclude[0]"
        );
        assert_eq!(field(json!({"cidr": "10.0.0.0/24", "gateway": "fd00::1"})), "spec.gateway");
        assert_eq!(field(json!({"cidr": "10.0.0.0/24", "gateway": "10.0.1.1"})), "spec.gateway");
        assert_eq!(
            field(json!({"cidr": "10.0.0.0/24", "routes": [{"dst": "::/0"}]})),
            "spec.routes[0].dst"
        );
        assert_eq!(field(json!({"cidr": "10.0.0.0/24", "exclude": ["10.0.0.0/24"]})), "spec");
        for cidr in [
            "0.0.0.0/0",
            "224.0.0.0/24",
            "127.0.0.0/24",
            "0.0.0.0/24",
            "fe80::/64",
            "::ffff:10.0.0.0/120",
        ] {
            assert_eq!(field(json!({"cidr": cidr})), "spec.cidr", "{cidr}");
        }
        assert_eq!(field(json!({"cidr": "10.0.0.0/24", "gateway": "10.0.0.255"})), "spec.gateway");
        let route = |route| field(json!({"cidr": "10.0.0.0/24", "routes": [route]}));
        assert_eq!(route(json!({"dst": "10.0.0.5/8"})), "spec.routes[0].dst");
        assert_eq!(route(json!({"dst": "0.0.0.0/0", "gw": "1.2.3.4"})), "spec.routes[0].gw");
        assert_eq!(route(json!({"dst": "0.0.0.0/0", "scope": 999})), "spec.routes[0].scope");
        assert_eq!(route(json!({"dst": "0.0.0.0/0", "mtu": 1})), "spec.routes[0].mtu");
        let dns = json!({"cidr": "10.0.0.0/24", "dns": {"nameservers": ["ns"]}});
        assert_eq!(field(dns), "spec.dns.nameservers[0]");
        let floor = json!({"cidr": "10.0.0.0/24", "cooldown": "10s", "cooldownFloor": "60s"});
        assert_eq!(field(floor), "spec.cooldownFloor");
        let grace = json!({"cidr": "10.0.0.0/24", "limits": {"graceMin": "60s", "graceMax": "1s"}});
        assert_eq!(field(grace), "spec.limits.graceMin");
        let long = json!({"cidr": "10.0.0.0/24", "cooldown": "48h"});
        assert_eq!(field(long), "spec.cooldown");
    }

    #[test]
    fn reservations_count_in_their_own_space_only() {
        let pool = pool(json!({"cidr": "10.0.0.0/29"})).unwrap();
        let reserve = |space| Reservation {
            space: SpaceName::new(space).unwrap(),
            ranges: vec![Range::parse("10.0.0.2").unwrap()],
        };
        assert_eq!(pool.usable(&[reserve("default")]).len(), 5);
        assert_eq!(pool.usable(&[reserve("blue")]).len(), 6);
    }

    #[test]
    fn a_selector_on_unknown_labels_admits_nobody() {
        let network = NetworkName::new("net").unwrap();
        let asker = Asker {
            network: &network,
            namespace: "shop",
            namespace_labels: None,
            pod_labels: None,
            node_labels: None,
        };
        let admits = |spec| pool(spec).unwrap().refuses(asker).is_none();
        assert!(admits(json!({"cidr": "10.0.0.0/24"})));
        assert!(!admits(
            json!({"cidr": "10.0.0.0/24", "podSelector": {"matchLabels": {"a": "b"}}})
        ));
        assert!(!admits(json!({"cidr": "10.0.0.0/24", "networks": ["other"]})));
        assert!(!admits(json!({"cidr": "10.0.0.0/24", "disabled": true})));
        let by_name = json!({"matchLabels": {"kubernetes.io/metadata.name": "shop"}});
        assert!(admits(json!({"cidr": "10.0.0.0/24", "namespaceSelector": by_name})));
    }
}
