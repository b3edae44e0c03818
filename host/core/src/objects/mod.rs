//! The objects that operators write: one schema for both modes, YAML or JSON with
//! `apiVersion: tenure.dev/v1alpha1`.

mod policy;
mod pool;
mod selector;
mod span;

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use policy::{OnFault, PolicyLimits, PolicyMode, PolicyScope, PolicySource, PolicySpec};
pub use pool::{Dns, PoolLimits, PoolSpec, Probe, ReservationSpec, Route, UnfencedReclaim};
pub use selector::{Operator, Requirement, Selector};
pub use span::Span;

use crate::error::{Coded, Kind};
use crate::name::ObjectName;

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
}
