//! What `kubectl get` shows: the first questions of an operator. Columns of priority 1 come with `-o wide`.

use serde_json::{Value, json};

/// A printer column.
pub(super) struct Column {
    name: &'static str,
    kind: &'static str,
    path: &'static str,
    is_wide: bool,
}

// === impl Column ===

impl Column {
    const fn new(name: &'static str, path: &'static str) -> Self {
        Self { name, kind: "string", path, is_wide: false }
    }

    /// An age: how long ago that was.
    const fn age(name: &'static str, path: &'static str) -> Self {
        Self { name, kind: "date", path, is_wide: false }
    }

    const fn wide(self) -> Self {
        Self { is_wide: true, ..self }
    }

    pub(super) fn to_json(&self) -> Value {
        let Self { name, kind, path, is_wide } = self;
        json!({"name": name, "type": kind, "jsonPath": path, "priority": i32::from(*is_wide)})
    }
}

const CREATED: Column = Column::age("Age", ".metadata.creationTimestamp");
const ACCEPTED: Column =
    Column::new("Accepted", ".status.conditions[?(@.type==\"Accepted\")].status");
const WHY: Column =
    Column::new("Reason", ".status.conditions[?(@.type==\"Accepted\")].reason").wide();

/// Is it in use, and how full is it?
pub(super) const POOL: &[Column] = &[
    Column::new("CIDR", ".spec.cidr"),
    Column::new("Size", ".status.size"),
    Column::new("Held", ".status.held"),
    Column::new("Free", ".status.free"),
    Column::new("Resting", ".status.resting"),
    Column::new("Quarantined", ".status.quarantined"),
    ACCEPTED,
    CREATED,
    Column::new("Space", ".spec.space").wide(),
    Column::new("Gateway", ".spec.gateway").wide(),
    Column::new("Disabled", ".spec.disabled").wide(),
    WHY,
];

/// What is never given, and why?
pub(super) const RESERVATION: &[Column] = &[
    Column::new("Addresses", ".spec.addresses"),
    Column::new("Space", ".spec.space"),
    Column::new("Reason", ".spec.reason"),
    CREATED,
];

/// Does it decide, and does it fail?
pub(super) const POLICY: &[Column] = &[
    Column::new("Mode", ".spec.mode"),
    Column::new("Component", ".status.component"),
    Column::new("Version", ".status.version"),
    ACCEPTED,
    Column::new("Breaker", ".status.breakerOpen"),
    CREATED,
    Column::new("Hooks", ".status.hooks").wide(),
    Column::new("Digest", ".status.digest").wide(),
    WHY,
];

/// Who has the address, where, and since when?
pub(super) const LEASE: &[Column] = &[
    Column::new("State", ".spec.state"),
    Column::new("Namespace", ".spec.owner.namespace"),
    Column::new("Owner", ".spec.owner.name"),
    Column::new("Node", ".spec.node.name"),
    Column::new("Pool", ".spec.pool"),
    Column::age("Bound", ".spec.boundAt"),
    Column::new("Address", ".spec.address").wide(),
    Column::new("Interface", ".spec.attachment.ifname").wide(),
    Column::new("Network", ".spec.attachment.network").wide(),
    Column::new("Container", ".spec.attachment.container").wide(),
    Column::new("Generation", ".spec.generation").wide(),
    Column::new("Proof", ".spec.released.proof").wide(),
    Column::new("Cause", ".spec.quarantined.cause").wide(),
];
