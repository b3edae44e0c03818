//! Holders, piece by piece.

use crate::{Attribute, Holder};

/// Makes a [`Holder`]; what is not said is empty, as it is for a holder of which the host knows nothing.
///
/// ```
/// use tenure_policy::Holder;
///
/// let holder = Holder::builder().pod("shop", "db-2").controller("StatefulSet", "db").zone("a").build();
/// assert_eq!((holder.owner_kind.as_str(), holder.zone.as_str()), ("pod", "a"));
/// ```
#[derive(Debug, Clone)]
pub struct HolderBuilder(Holder);

// === impl Holder ===

impl Holder {
    /// A container of which nothing is known, to be made more of.
    #[must_use]
    pub fn builder() -> HolderBuilder {
        HolderBuilder(Self { owner_kind: "container".to_owned(), ..super::pod("", "", &[]) })
    }
}

// === impl HolderBuilder ===

impl HolderBuilder {
    /// A pod.
    #[must_use]
    pub fn pod(self, namespace: &str, name: &str) -> Self {
        self.owner("pod", namespace, name)
    }

    /// A virtual machine.
    #[must_use]
    pub fn vm(self, namespace: &str, name: &str) -> Self {
        self.owner("vm", namespace, name)
    }

    /// A claim made ahead of any container.
    #[must_use]
    pub fn claim(self, namespace: &str, name: &str) -> Self {
        self.owner("claim", namespace, name)
    }

    /// Its uid.
    #[must_use]
    pub fn uid(mut self, uid: &str) -> Self {
        uid.clone_into(&mut self.0.uid);
        self
    }

    /// The object that controls it, e.g. `StatefulSet` and its name.
    #[must_use]
    pub fn controller(mut self, kind: &str, name: &str) -> Self {
        kind.clone_into(&mut self.0.controller_kind);
        name.clone_into(&mut self.0.controller_name);
        self
    }

    /// Where it runs.
    #[must_use]
    pub fn node(mut self, node: &str) -> Self {
        node.clone_into(&mut self.0.node);
        self
    }

    /// The zone of its node.
    #[must_use]
    pub fn zone(mut self, zone: &str) -> Self {
        zone.clone_into(&mut self.0.zone);
        self
    }

    /// The CNI network and the name of the interface.
    #[must_use]
    pub fn network(mut self, network: &str, interface: &str) -> Self {
        network.clone_into(&mut self.0.network);
        interface.clone_into(&mut self.0.interface_name);
        self
    }

    /// An attribute by its whole key. A policy sees it in production only if its `attribute_keys` name it.
    #[must_use]
    pub fn attribute(mut self, key: &str, value: &str) -> Self {
        self.0.attributes.push(Attribute { key: key.to_owned(), value: value.to_owned() });
        self
    }

    /// `pod.label/KEY`.
    #[must_use]
    pub fn label(self, key: &str, value: &str) -> Self {
        self.attribute(&format!("pod.label/{key}"), value)
    }

    /// `pod.annotation/KEY`.
    #[must_use]
    pub fn annotation(self, key: &str, value: &str) -> Self {
        self.attribute(&format!("pod.annotation/{key}"), value)
    }

    /// `namespace.label/KEY`.
    #[must_use]
    pub fn namespace_label(self, key: &str, value: &str) -> Self {
        self.attribute(&format!("namespace.label/{key}"), value)
    }

    /// `cni.args/KEY`.
    #[must_use]
    pub fn cni_argument(self, key: &str, value: &str) -> Self {
        self.attribute(&format!("cni.args/{key}"), value)
    }

    /// The holder.
    #[must_use]
    pub fn build(self) -> Holder {
        self.0
    }

    fn owner(mut self, kind: &str, namespace: &str, name: &str) -> Self {
        kind.clone_into(&mut self.0.owner_kind);
        namespace.clone_into(&mut self.0.namespace);
        name.clone_into(&mut self.0.name);
        self
    }
}

impl From<HolderBuilder> for Holder {
    fn from(builder: HolderBuilder) -> Self {
        builder.build()
    }
}
