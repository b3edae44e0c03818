//! The objects that operators write: one schema for both modes, YAML or JSON with
//! `apiVersion: tenure.dev/v1alpha1`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::decision::Hook;
use crate::error::{Coded, Kind};
use crate::name::{Digest, NetworkName, ObjectName, PoolName, SpaceName};

/// The only version there is.
pub const API_VERSION: &str = "tenure.dev/v1alpha1";

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ObjectKind {
    /// A CIDR with usable ranges and delivery facts.
    IPPool,
    /// Addresses never handed out.
    IPReservation,
    /// A Wasm component that decides.
    IPAMPolicy,
}

/// An object of any kind.
#[expect(clippy::large_enum_variant, reason = "objects are few and live for moments")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind")]
pub enum Object {
    /// A pool.
    IPPool(Resource<PoolSpec>),
    /// A reservation.
    IPReservation(Resource<ReservationSpec>),
    /// A policy.
    IPAMPolicy(Resource<PolicySpec>),
}

/// The envelope of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resource<S> {
    /// [`API_VERSION`].
    pub api_version: String,
    /// Name and labels.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: S,
}

/// Name and labels of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// The name, unique within its kind.
    pub name: ObjectName,
    /// Labels for the reader.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations for tools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Set by the daemon when a pool is deleted whose addresses are still held: it gives nothing any more
    /// and goes when the last of them leaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<String>,
}

/// `spec` of an IPPool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PoolSpec {
    /// The subnet; its prefix length goes into each answer. Immutable.
    pub cidr: IpNet,
    /// Usable addresses, ranges `FIRST-LAST` or CIDRs; the whole CIDR by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<String>,
    /// Addresses, ranges or CIDRs taken out of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// The gateway of each answer, never handed out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Routes of each answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// DNS of each answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<Dns>,
    /// The routing domain. Immutable.
    #[serde(default)]
    pub space: SpaceName,
    /// Higher first, where nothing else decides.
    #[serde(default)]
    pub priority: i32,
    /// Gives nothing while set; what is held stays held.
    #[serde(default)]
    pub disabled: bool,
    /// CNI networks that it serves; all by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<NetworkName>,
    /// Namespaces that it serves, by label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<Selector>,
    /// Pods that it serves, by label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<Selector>,
    /// Nodes that it serves, by label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<Selector>,
    /// How long a released address rests before reuse.
    #[serde(default = "Span::default_cooldown")]
    pub cooldown: Span,
    /// How long at least where the end of the old holder is proved and the pool has nothing else.
    #[serde(default)]
    pub cooldown_floor: Span,
    /// Whether an address of a lost, unfenced node may be given away after a silent probe.
    #[serde(default)]
    pub unfenced_reclaim: UnfencedReclaim,
    /// When addresses are probed on the wire.
    #[serde(default)]
    pub probe: Probe,
    /// Bounds for what policies may say of this pool.
    #[serde(default)]
    pub limits: PoolLimits,
    /// Facts for policies, e.g. `zone: a`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A route of the CNI result. The last five fields came with CNI 1.1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Route {
    /// Destination.
    pub dst: IpNet,
    /// Next hop; the pool's gateway by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gw: Option<IpAddr>,
    /// MTU of the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Maximal segment size to advertise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advmss: Option<u32>,
    /// Priority, lower first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// Routing table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// Scope: 0 global, 253 link, 254 host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<u32>,
}

/// DNS of the CNI result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dns {
    /// Name servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// Local domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Search domains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Resolver options.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// A Kubernetes label selector. An empty one selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Selector {
    /// All must be there with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// All must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<Requirement>,
}

/// One requirement of a selector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Requirement {
    /// The label.
    pub key: String,
    /// How it compares.
    pub operator: Operator,
    /// With what; empty for `Exists` and `DoesNotExist`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// The operators of a selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    /// The value is one of them.
    In,
    /// The label is absent or its value is none of them.
    NotIn,
    /// The label is there.
    Exists,
    /// It is not.
    DoesNotExist,
}

/// Whether an address of a lost, unfenced node may be given away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnfencedReclaim {
    /// After a valid silent probe.
    #[default]
    Probe,
    /// Never.
    Never,
}

/// When addresses are probed on the wire before they are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Probe {
    /// When the end of the old holder is not proved.
    #[default]
    Unproven,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Bounds for what policies may say of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PoolLimits {
    /// Shortest grace.
    pub grace_min: Span,
    /// Longest grace.
    pub grace_max: Span,
    /// Longest retention for a sticky key.
    pub retain_max: Span,
    /// Longest cool-down.
    pub cooldown_max: Span,
}

/// `spec` of an IPReservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReservationSpec {
    /// Addresses, ranges or CIDRs.
    pub addresses: Vec<String>,
    /// The routing domain.
    #[serde(default)]
    pub space: SpaceName,
    /// Why, for the reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `spec` of an IPAMPolicy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicySpec {
    /// Where the component comes from.
    pub source: PolicySource,
    /// Its digest; when given, anything else is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Hooks that it shall serve; all that it exports by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<Hook>,
    /// Its settings, checked by its own schema and by itself.
    #[serde(default = "empty_settings")]
    pub settings: serde_json::Value,
    /// Whom it serves; everybody by default.
    #[serde(default)]
    pub scope: PolicyScope,
    /// Whether its answers count.
    #[serde(default)]
    pub mode: PolicyMode,
    /// Its budget.
    #[serde(default)]
    pub limits: PolicyLimits,
    /// What follows a fault.
    #[serde(default)]
    pub on_fault: OnFault,
    /// Place in the chain among equally specific policies: higher first.
    #[serde(default)]
    pub priority: i32,
}

/// Where a component comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum PolicySource {
    /// A component shipped in the policy folder beside the binaries, by its name.
    Bundled(String),
    /// A file on the machine of the daemon.
    File(PathBuf),
}

/// Whom a policy serves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PolicyScope {
    /// Namespaces of holders; all if empty.
    pub namespaces: Vec<String>,
    /// Pools: a `select` or `reclaim` policy is asked only where one of them is concerned; all if empty.
    pub pools: Vec<PoolName>,
}

/// Whether a policy's answers count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyMode {
    /// It decides.
    #[default]
    Active,
    /// It is asked, compared and recorded, and changes nothing.
    Shadow,
}

/// The budget of a policy. Each has a default and a maximum; more than the maximum is refused.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PolicyLimits {
    /// Fuel of a call, before the share per row of input.
    pub fuel: Option<u64>,
    /// Fuel per row of input.
    pub fuel_per_row: Option<u64>,
    /// Wall time of a call in milliseconds.
    pub deadline_ms: Option<u32>,
    /// Memory in KiB, over all memories of the component.
    pub memory_kib: Option<u32>,
    /// Log lines of a call.
    pub log_lines: Option<u32>,
    /// Look-ups of a call.
    pub lookups: Option<u32>,
}

/// What follows a fault. The ADD is answered in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnFault {
    /// The built-in strategy answers.
    #[default]
    BuiltIn,
    /// The next policy of the chain is asked, then the built-in strategy.
    Next,
}

/// A length of time, written `90s`, `2m`, `1h 30m` or `PT90S`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span(pub Duration);

/// Why a text is not an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct BadObject {
    /// Kind and name as far as they could be read, e.g. `IPPool blue-v4`.
    pub object: String,
    /// The field, e.g. `spec.ranges[1]`, empty for the whole.
    pub field: String,
    /// What is wrong with it and what would be right.
    pub message: String,
}

// === impl ObjectKind ===

impl ObjectKind {
    /// All kinds, in the order in which they are applied.
    pub const ALL: [Self; 3] = [Self::IPPool, Self::IPReservation, Self::IPAMPolicy];

    /// `IPPool`, `IPReservation` or `IPAMPolicy`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IPPool => "IPPool",
            Self::IPReservation => "IPReservation",
            Self::IPAMPolicy => "IPAMPolicy",
        }
    }
}

impl std::fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Object ===

impl Object {
    /// Reads an object, naming the field that is wrong.
    ///
    /// # Errors
    /// [`BadObject`]; nothing has been checked that needs other objects (see [`crate::pool`]).
    pub fn from_json(value: serde_json::Value) -> Result<Self, BadObject> {
        let text = |key: &str| value.get(key).and_then(|v| v.as_str()).unwrap_or("").to_owned();
        let (kind, version) = (text("kind"), text("apiVersion"));
        let name = value.pointer("/metadata/name").and_then(|v| v.as_str()).unwrap_or("");
        let object = format!("{} {name}", if kind.is_empty() { "object" } else { &kind })
            .trim_end()
            .to_owned();
        let bad = |field: &str, message: String| BadObject {
            object: object.clone(),
            field: field.to_owned(),
            message,
        };
        if version != API_VERSION {
            let message = format!("is {version:?}; this version reads {API_VERSION:?}");
            return Err(bad("apiVersion", message));
        }
        let mut body = value;
        if let Some(map) = body.as_object_mut() {
            map.remove("kind");
            map.remove("status");
        }
        match kind.as_str() {
            "IPPool" => read(body).map(Object::IPPool),
            "IPReservation" => read(body).map(Object::IPReservation),
            "IPAMPolicy" => read(body).map(Object::IPAMPolicy),
            "IPLease" => Err((
                "kind".to_owned(),
                "leases are never written by hand; see `tenure release`".to_owned(),
            )),
            _ => Err((
                "kind".to_owned(),
                format!("is {kind:?}; it must be IPPool, IPReservation or IPAMPolicy"),
            )),
        }
        .map_err(|(field, message)| bad(&field, message))
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> ObjectKind {
        match self {
            Self::IPPool(_) => ObjectKind::IPPool,
            Self::IPReservation(_) => ObjectKind::IPReservation,
            Self::IPAMPolicy(_) => ObjectKind::IPAMPolicy,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &ObjectName {
        match self {
            Self::IPPool(r) => &r.metadata.name,
            Self::IPReservation(r) => &r.metadata.name,
            Self::IPAMPolicy(r) => &r.metadata.name,
        }
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Self::from_json(value).map_err(serde::de::Error::custom)
    }
}

fn read<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, (String, String)> {
    serde_path_to_error::deserialize(value)
        .map_err(|e| (e.path().to_string(), e.inner().to_string()))
}

fn empty_settings() -> serde_json::Value {
    serde_json::Value::Object(serde_json::Map::new())
}

// === impl Resource ===

impl<S> Resource<S> {
    /// An object of this version with nothing but a name.
    pub fn new(name: ObjectName, spec: S) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            metadata: Metadata {
                name,
                labels: BTreeMap::new(),
                annotations: BTreeMap::new(),
                deletion_timestamp: None,
            },
            spec,
        }
    }
}

// === impl Selector ===

impl Selector {
    /// Whether the labels satisfy the selector.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| requirement.holds(labels))
    }
}

impl Requirement {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            Operator::In => value.is_some_and(|v| self.values.contains(v)),
            Operator::NotIn => value.is_none_or(|v| !self.values.contains(v)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

// === impl PoolLimits ===

impl Default for PoolLimits {
    /// Any grace up to a day, retention up to 30 days, cool-down up to a day.
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            grace_min: Span(Duration::ZERO),
            grace_max: Span(DAY),
            retain_max: Span(DAY.saturating_mul(30)),
            cooldown_max: Span(DAY),
        }
    }
}

// === impl Span ===

impl Span {
    /// 120 s.
    #[must_use]
    pub fn default_cooldown() -> Self {
        Self(Duration::from_secs(120))
    }

    /// Whole seconds, rounded up, saturating.
    #[must_use]
    pub fn secs_ceil(self) -> u32 {
        let whole = self.0.as_secs().saturating_add(u64::from(self.0.subsec_nanos() > 0));
        u32::try_from(whole).unwrap_or(u32::MAX)
    }
}

impl std::str::FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let rule = || format!("{text:?} is not a length of time such as `90s`, `2m` or `1h`");
        let span: jiff::SignedDuration = text.parse().map_err(|_| rule())?;
        Duration::try_from(span).map(Self).map_err(|_| format!("{text:?} is negative"))
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.0.as_secs(), self.0.subsec_millis()) {
            (secs, 0) => write!(f, "{secs}s"),
            (secs, ms) => write!(f, "{}ms", secs.saturating_mul(1000).saturating_add(ms.into())),
        }
    }
}

impl Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

// === impl BadObject ===

impl BadObject {
    fn text(&self) -> String {
        match (self.object.is_empty(), self.field.is_empty() || self.field == ".") {
            (true, true) => self.message.clone(),
            (true, false) => format!("{}: {}", self.field, self.message),
            (false, true) => format!("{}: {}", self.object, self.message),
            (false, false) => format!("{}: {}: {}", self.object, self.field, self.message),
        }
    }
}

impl Coded for BadObject {
    fn code(&self) -> &'static str {
        "BAD_OBJECT"
    }
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pool(spec: serde_json::Value) -> serde_json::Value {
        json!({"apiVersion": API_VERSION, "kind": "IPPool", "metadata": {"name": "blue-v4"}, "spec": spec})
    }

    #[test]
    fn an_unknown_field_is_named_with_its_path_and_its_neighbours() {
        let error =
            Object::from_json(pool(json!({"cidr": "10.0.0.0/24", "rangse": []}))).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("IPPool blue-v4: spec"), "{text}");
        assert!(text.contains("unknown field `rangse`") && text.contains("`ranges`"), "{text}");
    }

    #[test]
    fn spans_read_as_people_write_them_and_negative_ones_are_refused() {
        let ok = |t: &str| t.parse::<Span>().unwrap().0;
        assert_eq!(ok("120s"), Duration::from_secs(120));
        assert_eq!(ok("2m"), Duration::from_secs(120));
        assert_eq!(ok("500ms"), Duration::from_millis(500));
        assert!("-1s".parse::<Span>().is_err());
        assert!("soon".parse::<Span>().is_err());
        assert_eq!(Span(ok("1h 30m")).to_string(), "5400s");
    }

    #[test]
    fn an_object_survives_writing_and_reading() {
        let object = Object::from_json(pool(json!({
            "cidr": "10.6.0.0/16", "ranges": ["10.6.1.0/24"], "gateway": "10.6.0.1",
            "routes": [{"dst": "0.0.0.0/0", "mtu": 1400}], "cooldown": "30s",
        })))
        .unwrap();
        let text = serde_json::to_value(&object).unwrap();
        assert_eq!(text["kind"], "IPPool");
        assert_eq!(Object::from_json(text).unwrap(), object);
    }

    #[test]
    fn a_lease_cannot_be_applied() {
        let lease =
            json!({"apiVersion": API_VERSION, "kind": "IPLease", "metadata": {"name": "x"}});
        assert!(
            Object::from_json(lease).unwrap_err().to_string().contains("never written by hand")
        );
    }

    #[test]
    fn selectors_follow_kubernetes() {
        let labels = BTreeMap::from([("team".to_owned(), "red".to_owned())]);
        let select = |v| serde_json::from_value::<Selector>(v).unwrap().matches(&labels);
        assert!(select(json!({})));
        assert!(select(json!({"matchLabels": {"team": "red"}})));
        assert!(!select(json!({"matchLabels": {"team": "blue"}})));
        assert!(select(
            json!({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]})
        ));
        assert!(!select(json!({"matchExpressions": [{"key": "zone", "operator": "Exists"}]})));
    }
}
