//! Fixed addresses by annotation, stable addresses by workload identity. The first that applies:
//!
//! 1. An attribute names addresses (`10.6.0.7`, `10.6.0.7, fd00::7` or a JSON list): the holder gets exactly these.
//! 2. The settings name attributes that make an identity, and the holder has all of them.
//! 3. The holder is a pod of a StatefulSet (`web-0` stays `web-0`), or a virtual machine.
//!
//! A named address is a wish that nothing replaces: where the text cannot be read (`ten`, two addresses of a family) the ADD
//! is refused. The contract has no refusal in this hook, so the policy fixes the unspecified address (`0.0.0.0`, `::`), which
//! no pool has; the ADD's error names that, and a line at level `error` names the attribute and its text.
//!
//! A stable address is chosen like any other at first and comes back to the next holder of the same
//! identity, for as long as it is kept after a release.
//!
//! | setting | default | meaning |
//! | --- | --- | --- |
//! | `fixedKeys` | `["pod.annotation/tenure.dev/ips"]` | attributes that name addresses; the first present one counts |
//! | `fixedIfHeld` | `wait` | another live holder has it: `wait`, take an`other`, or `fail` |
//! | `identityKeys` | `[]` | attributes whose values together, within the namespace, are an identity; `/` and `%` in them read `%2F` and `%25` |
//! | `statefulSets` | `true` | pods of StatefulSets keep their address by name |
//! | `virtualMachines` | `true` | virtual machines do |
//! | `retainSeconds` | `3600` | how long the address stays kept after its release |
//! | `ifHeld` | `wait` | another live holder of the identity has it |
//!
//! In standalone mode name CNI arguments, e.g. `"identityKeys": ["cni.args/K8S_POD_NAMESPACE",
//! "cni.args/K8S_POD_NAME"]`. Anybody else: no opinion.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Deserialize;
use tenure_policy::{
    Address, Affinity, AffinityAnswer, AffinityRequest, Choice, Description, Family, FieldError,
    Fixed, Holder, IfHeld, Level, Policy, PolicyError, Sticky, export, log,
};

const SCHEMA: &str = include_str!("settings.json");
/// The contract's bound for a key.
const KEY_BYTES: usize = 253;
/// So much of a text that cannot be read is shown; a line of the log has at most 1 KiB.
const SHOWN_CHARS: usize = 200;

/// Settings as an operator writes them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    fixed_keys: Vec<String>,
    fixed_if_held: Held,
    identity_keys: Vec<String>,
    stateful_sets: bool,
    virtual_machines: bool,
    retain_seconds: u32,
    if_held: Held,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Held {
    Wait,
    Other,
    Fail,
}

/// The policy.
pub struct StickyIdentity(Settings);

impl Default for Settings {
    fn default() -> Self {
        Self {
            fixed_keys: vec!["pod.annotation/tenure.dev/ips".to_owned()],
            fixed_if_held: Held::Wait,
            identity_keys: Vec::new(),
            stateful_sets: true,
            virtual_machines: true,
            retain_seconds: 3600,
            if_held: Held::Wait,
        }
    }
}

impl From<Held> for IfHeld {
    fn from(held: Held) -> Self {
        match held {
            Held::Wait => Self::Wait,
            Held::Other => Self::Other,
            Held::Fail => Self::Fail,
        }
    }
}

impl Policy for StickyIdentity {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), SCHEMA)
    }

    fn new(settings: Settings) -> Result<Self, Vec<FieldError>> {
        Ok(Self(settings))
    }

    fn attribute_keys(&self) -> Vec<String> {
        self.0.fixed_keys.iter().chain(&self.0.identity_keys).cloned().collect()
    }
}

impl Affinity for StickyIdentity {
    fn affinity(&self, request: &AffinityRequest) -> Result<AffinityAnswer, PolicyError> {
        match self.fixed(request) {
            Ok(None) => {}
            Ok(Some(addresses)) => {
                let if_held = self.0.fixed_if_held.into();
                return Ok(Choice::Fixed(Fixed { addresses, if_held }).into());
            }
            Err(why) => {
                log(Level::Error, &format!("the ADD is refused: {why}"));
                return Ok(unfulfillable(request).into());
            }
        }
        let Some(key) = self.identity(&request.holder) else {
            return Ok(Choice::Abstain.into());
        };
        if key.len() > KEY_BYTES {
            log(Level::Warn, &format!("an identity of {} bytes is too long to be kept", key.len()));
            return Ok(Choice::Abstain.into());
        }
        Ok(Choice::Sticky(Sticky {
            key,
            if_held: self.0.if_held.into(),
            retain_s: self.0.retain_seconds,
            preferred: Vec::new(),
        })
        .into())
    }
}

impl StickyIdentity {
    /// The addresses that the holder names, of the families that it wants; or why its text cannot be read.
    fn fixed(&self, request: &AffinityRequest) -> Result<Option<Vec<Address>>, String> {
        let present =
            self.0.fixed_keys.iter().find_map(|key| Some((key, request.holder.attribute(key)?)));
        let Some((key, text)) = present else { return Ok(None) };
        let unreadable = |why: String| {
            let shown: String = text.chars().take(SHOWN_CHARS).collect();
            format!("{key} is {shown:?}: {why}")
        };
        let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) =
            parse(text).map_err(unreadable)?.into_iter().partition(IpAddr::is_ipv4);
        let mut addresses = Vec::new();
        for (family, of_family) in [(Family::V4, v4), (Family::V6, v6)] {
            if of_family.len() > 1 {
                return Err(unreadable("it names more than one address of a family".to_owned()));
            }
            match of_family.first() {
                Some(address) if request.wants(family) => addresses.push((*address).into()),
                Some(address) => log(Level::Warn, &format!("{address}: its family is not wanted")),
                None => {}
            }
        }
        Ok(if addresses.is_empty() { None } else { Some(addresses) })
    }

    /// What the holder stays itself by. The first part keeps the kinds apart.
    fn identity(&self, holder: &Holder) -> Option<String> {
        let Holder { namespace, name, .. } = holder;
        if let Some(values) = self.named_identity(holder) {
            let parts = ["id", namespace.as_str()];
            return Some(joined(parts.into_iter().chain(values)));
        }
        if self.0.virtual_machines && holder.owner_kind == "vm" && !name.is_empty() {
            return Some(joined(["vm", namespace, name]));
        }
        let set = &holder.controller_name;
        let ordinal = name.strip_prefix(set.as_str()).and_then(|rest| rest.strip_prefix('-'));
        let is_ordinal = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let stateful = self.0.stateful_sets
            && holder.controller_kind == "StatefulSet"
            && ordinal.is_some_and(is_ordinal);
        stateful.then(|| joined(["statefulset", namespace, name]))
    }

    fn named_identity<'a>(&self, holder: &'a Holder) -> Option<Vec<&'a str>> {
        let value = |key: &String| holder.attribute(key).filter(|value| !value.is_empty());
        let values: Option<Vec<&str>> = self.0.identity_keys.iter().map(value).collect();
        values.filter(|values| !values.is_empty())
    }
}

/// Parts with `/` between them; a `/` inside of a part is escaped, so that no two lists of parts read alike. So is what the
/// contract forbids in a key: the value of an annotation may hold control characters.
fn joined<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let escaped = parts.into_iter().map(|part| part.chars().map(escaped).collect::<String>());
    escaped.collect::<Vec<String>>().join("/")
}

fn escaped(c: char) -> String {
    match c {
        '%' | '/' => format!("%{:02X}", u32::from(c)),
        c if c.is_control() => format!("%{:02X}", u32::from(c)),
        c => c.to_string(),
    }
}

/// A wish that the host must refuse. An error would be answered by the built-in strategy, with any address.
fn unfulfillable(request: &AffinityRequest) -> Choice {
    let unspecified = [
        (Family::V4, IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        (Family::V6, IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
    ];
    let wanted = unspecified.into_iter().filter(|(family, _)| request.wants(*family));
    let addresses = wanted.map(|(_, address)| address.into()).collect();
    Choice::Fixed(Fixed { addresses, if_held: IfHeld::Fail })
}

fn parse(text: &str) -> Result<Vec<IpAddr>, String> {
    let listed: Vec<String> = if text.trim_start().starts_with('[') {
        serde_json::from_str(text).map_err(|error| format!("it is not a JSON list: {error}"))?
    } else {
        text.split(',').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect()
    };
    let address = |one: &String| {
        let shown: String = one.chars().take(SHOWN_CHARS).collect();
        one.parse().map_err(|_| format!("{shown:?} is not an address"))
    };
    listed.iter().map(address).collect()
}

export!(StickyIdentity: affinity);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tenure_policy::testing::{check_affinity, pod, policy, strategies, take_log};

    use super::*;

    const IPS: &str = "pod.annotation/tenure.dev/ips";

    fn ask(settings: &str, families: u32, holder: Holder) -> Result<Choice, PolicyError> {
        let policy: StickyIdentity = policy(settings).unwrap();
        let request =
            AffinityRequest { holder, families, previous: Vec::new(), now_ms: 0, seed: 0 };
        policy.affinity(&request).map(|answer| answer.choice)
    }

    fn key(choice: Result<Choice, PolicyError>) -> Option<String> {
        match choice.unwrap() {
            Choice::Sticky(sticky) => Some(sticky.key),
            Choice::Abstain => None,
            other => panic!("{other:?}"),
        }
    }

    fn of_set(name: &str, kind: &str) -> Holder {
        let mut holder = pod("shop", name, &[]);
        holder.controller_kind = kind.to_owned();
        holder.controller_name = "web".to_owned();
        holder
    }

    proptest! {
        /// Whatever stands in the annotations: a key with a control character would be a fault.
        #[test]
        fn every_answer_keeps_the_contract(request in strategies::affinity(&[IPS, "cni.args/A"])) {
            let policy: StickyIdentity = policy(r#"{"identityKeys": ["cni.args/A"]}"#).unwrap();
            let answer = policy.affinity(&request).unwrap();
            prop_assert_eq!(check_affinity(&request, &answer), Ok(()));
        }
    }

    #[test]
    fn a_pod_of_a_stateful_set_keeps_its_address_by_name_and_no_other_pod_does() {
        assert_eq!(
            key(ask("{}", 1, of_set("web-0", "StatefulSet"))).unwrap(),
            "statefulset/shop/web-0"
        );
        assert_eq!(key(ask("{}", 1, of_set("web-x7f", "StatefulSet"))), None);
        assert_eq!(key(ask("{}", 1, of_set("web-0", "ReplicaSet"))), None);
        assert_eq!(key(ask(r#"{"statefulSets": false}"#, 1, of_set("web-0", "StatefulSet"))), None);
    }

    #[test]
    fn a_virtual_machine_keeps_its_address() {
        let mut holder = pod("shop", "db", &[]);
        holder.owner_kind = "vm".to_owned();
        assert_eq!(key(ask("{}", 1, holder)).unwrap(), "vm/shop/db");
    }

    #[test]
    fn an_identity_of_attributes_needs_all_of_them() {
        let settings = r#"{"identityKeys": ["cni.args/A", "cni.args/B"]}"#;
        let whole = pod("shop", "x", &[("cni.args/A", "1"), ("cni.args/B", "2")]);
        assert_eq!(key(ask(settings, 1, whole)).unwrap(), "id/shop/1/2");
        assert_eq!(key(ask(settings, 1, pod("shop", "x", &[("cni.args/A", "1")]))), None);
    }

    #[test]
    fn identities_of_different_parts_never_read_alike() {
        let settings = r#"{"identityKeys": ["cni.args/A", "cni.args/B"]}"#;
        let of = |namespace: &str, a: &str, b: &str| {
            let holder = pod(namespace, "x", &[("cni.args/A", a), ("cni.args/B", b)]);
            key(ask(settings, 1, holder)).unwrap()
        };
        assert_eq!(of("shop", "1/2", "3"), "id/shop/1%2F2/3");
        let all = [
            of("shop", "1/2", "3"),
            of("shop", "1", "2/3"),
            of("shop", "1%2F2", "3"),
            of("shop/1", "2", "3"),
            of("shop", "1", "2"),
        ];
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len(), "{all:?}");
    }

    #[test]
    fn fixed_addresses_come_first_one_of_each_wanted_family() {
        let mut holder = of_set("web-0", "StatefulSet");
        holder.attributes = pod("", "", &[(IPS, "fd00::7, 10.6.0.7")]).attributes;
        let Choice::Fixed(fixed) = ask("{}", 3, holder.clone()).unwrap() else {
            panic!("not fixed")
        };
        let addresses: Vec<IpAddr> = fixed.addresses.into_iter().map(IpAddr::from).collect();
        assert_eq!(addresses, ["10.6.0.7".parse::<IpAddr>().unwrap(), "fd00::7".parse().unwrap()]);
        let Choice::Fixed(fixed) = ask("{}", 1, holder).unwrap() else { panic!("not fixed") };
        assert_eq!(fixed.addresses.len(), 1);
        assert!(take_log().iter().any(|(_, line)| line.contains("fd00::7")));
    }

    #[test]
    fn a_text_that_cannot_be_read_asks_for_what_no_pool_has_and_the_log_says_why() {
        for (text, said) in [
            ("10.6.0.7, ten", "\"ten\" is not an address"),
            ("[10.6.0.7", "not a JSON list"),
            ("10.6.0.7,10.6.0.8", "more than one address of a family"),
        ] {
            for (families, wanted) in [(1, "0.0.0.0"), (2, "::"), (3, "0.0.0.0 ::")] {
                let settings = r#"{"fixedIfHeld": "other"}"#;
                let choice = ask(settings, families, pod("shop", "x", &[(IPS, text)])).unwrap();
                let Choice::Fixed(Fixed { addresses, if_held: IfHeld::Fail }) = choice else {
                    panic!("{choice:?}")
                };
                let shown: Vec<String> =
                    addresses.into_iter().map(|one| IpAddr::from(one).to_string()).collect();
                assert_eq!(shown.join(" "), wanted);
                let (level, line) = take_log().pop().unwrap();
                assert_eq!(level, Level::Error);
                assert!(
                    line.contains(IPS)
                        && line.contains(&format!("{text:?}: "))
                        && line.contains(said),
                    "{line}"
                );
            }
        }
    }

    #[test]
    fn an_identity_that_is_too_long_is_left_alone() {
        let holder = pod(&"n".repeat(200), "x", &[("cni.args/A", &"v".repeat(100))]);
        assert_eq!(key(ask(r#"{"identityKeys": ["cni.args/A"]}"#, 1, holder)), None);
        assert!(take_log().iter().any(|(_, line)| line.contains("too long")));
    }
}
