//! Objects and requests in few words.

use serde_json::{Value, json};
use tenure_core::lease::{Attachment, Owner, OwnerKind};
use tenure_core::name::{ContainerId, IfName, NetworkName, PoolName};
use tenure_core::objects::{API_VERSION, Object};

/// An IPPool with this `spec`.
pub fn pool(name: &str, spec: &Value) -> Object {
    Object::from_json(json!({
        "apiVersion": API_VERSION, "kind": "IPPool", "metadata": {"name": name}, "spec": spec,
    }))
    .unwrap()
}

/// `eth0` of a container on the network `net`.
pub fn attachment(container: &str) -> Attachment {
    Attachment {
        network: NetworkName::new("net").unwrap(),
        container: ContainerId::new(container).unwrap(),
        ifname: IfName::new("eth0").unwrap(),
    }
}

/// A pod of the namespace `shop`.
pub fn pod(name: &str, uid: &str) -> Owner {
    Owner { kind: OwnerKind::Pod, namespace: "shop".into(), name: name.into(), uid: uid.into() }
}

/// Pool names.
pub fn names(names: &[&str]) -> Vec<PoolName> {
    names.iter().map(|name| PoolName::new(name).unwrap()).collect()
}
