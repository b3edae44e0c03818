//! Pools in a listed order. The first of these sources that names a pool of a wanted family decides for
//! that family:
//!
//! 1. an attribute of the pod (annotation, label, or CNI argument in standalone mode),
//! 2. an attribute of its namespace,
//! 3. the CNI configuration (`ipam.pools`),
//! 4. the default pools of the settings.
//!
//! Within one source the order is that of the list, and a full pool gives way to the next; a full source
//! does not give way to another source, for a list is a wish to be in *these* pools. A list is
//! `blue, red` or `["blue", "red"]`; where it begins with `[` and is no JSON list of names the holder is refused, whatever
//! `onUnknown` says, for nobody knows which pools were meant.
//!
//! | setting | default | meaning |
//! | --- | --- | --- |
//! | `podKeys` | `["pod.annotation/tenure.dev/pools"]` | attributes that list pools; the first present one counts |
//! | `namespaceKeys` | `["namespace.annotation/tenure.dev/pools"]` | the same for the namespace |
//! | `defaultPools` | `[]` | pools where nothing else names one |
//! | `onUnknown` | `deny` | a list names only pools that do not admit the holder: `deny`, or `ignore` the list |
//!
//! Where no source names a pool of any wanted family it abstains; where one does, the families that
//! nobody names are ranked by priority, then by free addresses.

use serde::Deserialize;
use tenure_policy::{
    Candidate, Candidates, Description, Family, FieldError, Holder, Level, Policy, PolicyError,
    Select, SelectRequest, Selection, export, log, pool_by_name, rank,
};

const SCHEMA: &str = include_str!("settings.json");

/// Settings as an operator writes them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    pod_keys: Vec<String>,
    namespace_keys: Vec<String>,
    default_pools: Vec<String>,
    on_unknown: OnUnknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OnUnknown {
    Deny,
    Ignore,
}

/// The policy.
pub struct PoolOrder(Settings);

/// The pools of one source, in its order.
struct Source {
    /// What to call it in a refusal.
    name: String,
    /// The names that it lists, or its text where that is no list; for the same purpose.
    listed: String,
    is_list: bool,
    rows: Vec<Candidate>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pod_keys: vec!["pod.annotation/tenure.dev/pools".to_owned()],
            namespace_keys: vec!["namespace.annotation/tenure.dev/pools".to_owned()],
            default_pools: Vec::new(),
            on_unknown: OnUnknown::Deny,
        }
    }
}

impl Policy for PoolOrder {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), SCHEMA)
    }

    fn new(settings: Settings) -> Result<Self, Vec<FieldError>> {
        Ok(Self(settings))
    }

    fn attribute_keys(&self) -> Vec<String> {
        self.0.pod_keys.iter().chain(&self.0.namespace_keys).cloned().collect()
    }
}

impl Select for PoolOrder {
    fn select(
        &self,
        request: &SelectRequest,
        candidates: &Candidates,
    ) -> Result<Selection, PolicyError> {
        let rows: Vec<Candidate> =
            candidates.iter().filter(|row| request.wants(row.family)).collect();
        // Families that no source has named yet; once there are none, weaker sources do not matter.
        let mut open: Vec<Family> = Family::ALL.to_vec();
        open.retain(|family| rows.iter().any(|row| row.family == *family));
        let mut sources = Vec::new();
        for source in self.sources(&request.holder, &rows) {
            if open.is_empty() {
                break;
            }
            if !source.rows.is_empty() {
                open.retain(|family| !source.rows.iter().any(|row| row.family == *family));
                sources.push(source);
            } else if self.0.on_unknown == OnUnknown::Deny || !source.is_list {
                return Ok(Selection::Deny(refusal(&source)));
            } else {
                log(Level::Warn, &format!("ignored: {}", refusal(&source)));
            }
        }
        if sources.is_empty() {
            return Ok(Selection::Abstain);
        }
        Ok(rank(Family::ALL.into_iter().flat_map(|family| of_family(family, &sources, &rows))))
    }
}

impl PoolOrder {
    /// All sources that name anything, the strongest first.
    fn sources(&self, holder: &Holder, rows: &[Candidate]) -> Vec<Source> {
        let mut sources = Vec::new();
        for keys in [&self.0.pod_keys, &self.0.namespace_keys] {
            let present = keys.iter().find_map(|key| Some((key, holder.attribute(key)?)));
            let Some((key, text)) = present else { continue };
            match parse(text) {
                Some(names) if names.is_empty() => {}
                Some(names) => sources.push(source(key, &names, rows)),
                None => sources.push(Source {
                    name: key.clone(),
                    listed: text.to_owned(),
                    is_list: false,
                    rows: Vec::new(),
                }),
            }
        }
        let mut configured: Vec<Candidate> = rows.iter().copied().filter(|row| row.named).collect();
        configured.sort_by_key(|row| row.order);
        if !configured.is_empty() {
            let name = "the CNI configuration".to_owned();
            sources.push(Source { name, listed: String::new(), is_list: true, rows: configured });
        }
        // Defaults are for everybody: nobody in particular wished for them, so they refuse nobody.
        let defaults = source("defaultPools", &self.0.default_pools, rows);
        if !defaults.rows.is_empty() {
            sources.push(defaults);
        }
        sources
    }
}

/// The rows of one family: those of the first source that has any, else all by priority.
fn of_family(family: Family, sources: &[Source], rows: &[Candidate]) -> Vec<Candidate> {
    let of = |rows: &[Candidate]| -> Vec<Candidate> {
        rows.iter().copied().filter(|row| row.family == family).collect()
    };
    let named = sources.iter().map(|source| of(&source.rows)).find(|rows| !rows.is_empty());
    named.unwrap_or_else(|| {
        let mut rest = of(rows);
        rest.sort_by_key(|row| std::cmp::Reverse((row.priority, row.free)));
        rest
    })
}

fn source(name: &str, names: &[String], rows: &[Candidate]) -> Source {
    let mut found: Vec<Candidate> = Vec::new();
    for pool in names.iter().filter_map(|name| pool_by_name(name)) {
        if !found.iter().any(|row| row.pool == pool) {
            found.extend(rows.iter().filter(|row| row.pool == pool));
        }
    }
    Source { name: name.to_owned(), listed: names.join(", "), is_list: true, rows: found }
}

fn refusal(source: &Source) -> String {
    let Source { name, listed, is_list, .. } = source;
    let listed: String = listed.chars().take(200).collect();
    if *is_list {
        format!("{name} names {listed}, and none of these is a pool that admits this holder")
    } else {
        format!("{name} is {listed:?}, which is not a JSON list of pool names")
    }
}

/// The names of a list; none where it cannot be read.
fn parse(text: &str) -> Option<Vec<String>> {
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(text).ok();
    }
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    Some(names.map(str::to_owned).collect())
}

export!(PoolOrder: select);

#[cfg(test)]
mod tests {
    use tenure_policy::testing::{pod, set_pools};

    use super::*;

    const POD: &str = "pod.annotation/tenure.dev/pools";
    const NAMESPACE: &str = "namespace.annotation/tenure.dev/pools";

    fn policy(settings: &str) -> PoolOrder {
        PoolOrder::new(tenure_policy::parse_settings(settings).unwrap()).unwrap()
    }

    /// blue, red, green of IPv4 and six of IPv6; the CNI configuration names green.
    fn ask(settings: &str, families: u32, attributes: &[(&str, &str)]) -> Selection {
        set_pools(&[("blue", &[]), ("red", &[]), ("green", &[]), ("six", &[])]);
        let row = |pool, family| Candidate { pool, family, free: 9, ..Candidate::default() };
        let mut rows = vec![row(0, Family::V4), row(1, Family::V4), row(2, Family::V4)];
        rows[2].named = true;
        rows[2].order = Some(0);
        rows.push(row(3, Family::V6));
        let holder = pod("shop", "web-1", attributes);
        let request = SelectRequest { holder, families, now_ms: 0, seed: 0 };
        policy(settings).select(&request, &Candidates::of(&rows)).unwrap()
    }

    #[test]
    fn the_pod_outranks_the_namespace_and_that_the_configuration() {
        let both = [(POD, "red, blue"), (NAMESPACE, "blue")];
        assert_eq!(ask("{}", 1, &both), Selection::Ranked(vec![1, 0]));
        assert_eq!(ask("{}", 1, &both[1..]), Selection::Ranked(vec![0]));
        assert_eq!(ask("{}", 1, &[]), Selection::Ranked(vec![2]));
    }

    #[test]
    fn a_json_list_and_a_comma_list_read_alike() {
        assert_eq!(
            ask("{}", 1, &[(POD, r#"["red","blue"]"#)]),
            ask("{}", 1, &[(POD, " red ,blue,")])
        );
    }

    #[test]
    fn a_family_that_the_pod_does_not_name_falls_to_the_next_source() {
        assert_eq!(ask("{}", 3, &[(POD, "red")]), Selection::Ranked(vec![1, 3]));
        assert_eq!(ask("{}", 3, &[(POD, "six")]), Selection::Ranked(vec![2, 3]));
    }

    #[test]
    fn a_list_of_pools_that_admit_nobody_is_a_refusal_that_names_them_unless_ignored() {
        let Selection::Deny(reason) = ask("{}", 1, &[(POD, "grey")]) else { panic!("not denied") };
        assert!(reason.contains("grey") && reason.contains(POD), "{reason}");
        assert_eq!(
            ask(r#"{"onUnknown": "ignore"}"#, 1, &[(POD, "grey")]),
            Selection::Ranked(vec![2])
        );
    }

    #[test]
    fn a_list_that_cannot_be_read_is_a_refusal_that_shows_it_and_falls_to_no_other_pools() {
        let settings = r#"{"onUnknown": "ignore", "defaultPools": ["blue"]}"#;
        for settings in ["{}", settings] {
            for attribute in [(POD, "[bad"), (NAMESPACE, "[7]")] {
                let Selection::Deny(reason) = ask(settings, 1, &[attribute]) else {
                    panic!("not denied")
                };
                let said = format!("{} is {:?}", attribute.0, attribute.1);
                assert!(reason.contains(&said), "{reason}");
            }
        }
        assert_eq!(ask("{}", 1, &[(POD, "red"), (NAMESPACE, "[bad")]), Selection::Ranked(vec![1]));
    }

    #[test]
    fn a_list_that_does_not_matter_any_more_refuses_nobody() {
        let attributes = [(POD, "red"), (NAMESPACE, "grey")];
        assert_eq!(ask("{}", 1, &attributes), Selection::Ranked(vec![1]));
        assert!(matches!(ask("{}", 3, &attributes), Selection::Deny(_)), "IPv6 is still open");
    }

    #[test]
    fn settings_name_other_attributes_and_default_pools() {
        let settings = r#"{"podKeys": ["cni.args/POOLS"], "defaultPools": ["six"]}"#;
        assert_eq!(ask(settings, 1, &[("cni.args/POOLS", "blue")]), Selection::Ranked(vec![0]));
        assert_eq!(ask(settings, 2, &[]), Selection::Ranked(vec![3]));
        assert!(policy(settings).attribute_keys().contains(&"cni.args/POOLS".to_owned()));
    }
}
