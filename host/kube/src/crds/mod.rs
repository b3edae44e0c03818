//! The custom resources: made from the types that standalone mode reads its YAML into, so that there is one schema.
//!
//! The types know nothing of Kubernetes. What a structural schema asks for is rewritten in `structural`; rules that need
//! no second object, bounds and immutable fields are laid over it by path from the tables in `rules`.

mod columns;
mod guard;
mod rules;
mod status;
mod structural;

pub(crate) use status::status_of;

use schemars::JsonSchema;
use serde_json::{Value, json};
use tenure_core::objects::{PolicySpec, PoolSpec, ReservationSpec};

use self::columns::Column;
use self::rules::Amendment;
use crate::lease::LeaseSpec;

/// The API group of all of Tenure's objects.
pub const GROUP: &str = "tenure.dev";
/// Their only version.
pub const VERSION: &str = "v1alpha1";

/// What is to be known of a kind beside its schema.
struct Names {
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
}

/// Each manifest with the name of its file in `deploy/crds`: the four custom resources, and the admission policy that
/// lets only the allocator write leases.
///
/// # Errors
/// A path in the tables of rules names no field: a bug, which the golden test finds.
pub fn manifests() -> Result<Vec<(&'static str, Value)>, String> {
    let pool = with_status(schema_of::<PoolSpec>(), schema_of::<status::PoolStatus>());
    let policy = with_status(schema_of::<PolicySpec>(), schema_of::<status::PolicyStatus>());
    let reservation = with_spec(schema_of::<ReservationSpec>());
    let lease = with_spec(schema_of::<LeaseSpec>());
    let pool_names = Names { kind: "IPPool", plural: "ippools", short: &["ipp"] };
    let policy_names = Names { kind: "IPAMPolicy", plural: "ipampolicies", short: &["ipam"] };
    let reservation_names =
        Names { kind: "IPReservation", plural: "ipreservations", short: &["ipr"] };
    let lease_names = Names { kind: "IPLease", plural: "ipleases", short: &["ipl"] };
    Ok(vec![
        ("ippools.yaml", definition(&pool_names, pool, rules::POOL, columns::POOL)?),
        (
            "ipreservations.yaml",
            definition(&reservation_names, reservation, rules::RESERVATION, columns::RESERVATION)?,
        ),
        ("ipampolicies.yaml", definition(&policy_names, policy, rules::POLICY, columns::POLICY)?),
        ("ipleases.yaml", definition(&lease_names, lease, rules::LEASE, columns::LEASE)?),
        ("lease-guard.yaml", guard::policy()),
        ("lease-guard-binding.yaml", guard::binding()),
    ])
}

fn schema_of<T: JsonSchema>() -> Value {
    structural::schema::<T>()
}

fn with_spec(spec: Value) -> Value {
    json!({"type": "object", "required": ["spec"], "properties": {"spec": spec}})
}

fn with_status(spec: Value, status: Value) -> Value {
    json!({"type": "object", "required": ["spec"], "properties": {"spec": spec, "status": status}})
}

fn definition(
    names: &Names,
    mut schema: Value,
    amendments: &[Amendment],
    columns: &[Column],
) -> Result<Value, String> {
    for amendment in amendments {
        amendment.lay_over(&mut schema)?;
    }
    let subresources = schema.pointer("/properties/status").map(|_| json!({"status": {}}));
    let Names { kind, plural, short } = names;
    let mut version = json!({
        "name": VERSION, "served": true, "storage": true,
        "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": columns.iter().map(Column::to_json).collect::<Vec<_>>(),
    });
    if let (Some(version), Some(subresources)) = (version.as_object_mut(), subresources) {
        version.insert("subresources".to_owned(), subresources);
    }
    Ok(json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{GROUP}")},
        "spec": {
            "group": GROUP,
            "scope": "Cluster",
            "names": {
                "kind": kind, "listKind": format!("{kind}List"), "plural": plural,
                "singular": kind.to_lowercase(), "shortNames": short, "categories": ["tenure"],
            },
            "versions": [version],
        },
    }))
}
