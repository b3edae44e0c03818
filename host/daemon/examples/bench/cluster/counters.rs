//! What the API server counted: requests and bytes, by resource and verb.

use std::collections::BTreeMap;

/// Metrics that are read, and what a key of [`Counters`] calls them.
const READ: [(&str, Kind); 5] = [
    ("apiserver_flowcontrol_request_wait_duration_seconds_sum{", Kind::Waited),
    ("apiserver_flowcontrol_request_wait_duration_seconds_count{", Kind::Queued),
    ("apiserver_request_total{", Kind::Requests),
    ("apiserver_request_body_size_bytes_sum{", Kind::BytesIn),
    ("apiserver_response_sizes_sum{", Kind::BytesOut),
];

/// What is counted. Of answers only those to reads are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Requests,
    BytesIn,
    BytesOut,
    /// Seconds in the queues of priority and fairness, by flow schema in place of a resource.
    Waited,
    /// Requests that went through those queues.
    Queued,
}

/// Resource (with its subresource) and verb of what was counted.
type Key = (Kind, String, String);

/// A reading, or the difference of two.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters(BTreeMap<Key, f64>);

// === impl Counters ===

impl Counters {
    /// Reads the text of `/metrics`.
    pub(crate) fn parse(text: &str) -> Self {
        let mut counted = BTreeMap::new();
        for line in text.lines() {
            let Some((_, kind)) = READ.iter().find(|(name, _)| line.starts_with(name)) else {
                continue;
            };
            let Some((labels, value)) = line.rsplit_once("} ") else { continue };
            let label = |name: &str| {
                let (_, rest) = labels.split_once(&format!("{name}=\""))?;
                rest.split('"').next()
            };
            // `resource="` stands in `subresource="`, too: the comma tells them apart.
            let resource = label(",resource").or_else(|| label("{resource"));
            let resource = resource.or_else(|| label("flow_schema")).unwrap_or_default();
            let part = label("subresource").filter(|part| !part.is_empty());
            let resource =
                part.map_or_else(|| resource.to_owned(), |part| format!("{resource}/{part}"));
            let verb = label("verb").unwrap_or_default().to_uppercase();
            *counted.entry((*kind, resource, verb)).or_default() +=
                value.parse::<f64>().unwrap_or_default();
        }
        Self(counted)
    }

    /// What was counted since an earlier reading.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let grown = |(key, now): (&Key, &f64)| {
            let grown = now - earlier.0.get(key).copied().unwrap_or_default();
            (grown > 0.0).then(|| (key.clone(), grown))
        };
        Self(self.0.iter().filter_map(grown).collect())
    }

    /// How many of this kind, of resources and verbs that are wanted.
    pub(crate) fn sum(&self, kind: Kind, wanted: impl Fn(&str, &str) -> bool) -> f64 {
        let is_it = |((k, resource, verb), _): &(&Key, &f64)| *k == kind && wanted(resource, verb);
        self.0.iter().filter(is_it).map(|(_, count)| count).sum()
    }

    /// Requests one by one, of resources that are wanted.
    pub(crate) fn requests(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let is_it = |((kind, resource, _), _): &(&Key, &f64)| {
            *kind == Kind::Requests && !resource.is_empty() && wanted(resource)
        };
        let text =
            |((_, resource, verb), count): (&Key, &f64)| format!("{verb} {resource} {count}");
        self.0.iter().filter(is_it).map(text).collect()
    }
}

/// Verbs that change something.
pub(crate) fn is_write(verb: &str) -> bool {
    matches!(verb, "POST" | "PUT" | "PATCH" | "DELETE" | "DELETECOLLECTION" | "APPLY")
}
