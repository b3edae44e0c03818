//! What is kept of a node.

use std::sync::Arc;

use tenure_core::time::Moment;

use super::strip::SlimNode;
use super::texts::{Texts, Words};
use super::view::Kind;

/// By this taint an operator, or what fences machines, says that a node is off and will not come back by itself (KEP 2268).
pub const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// What is known of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFacts {
    /// Its uid.
    pub uid: Arc<str>,
    /// Its labels.
    pub labels: Texts,
    /// It carries the taint [`OUT_OF_SERVICE`].
    pub is_out_of_service: bool,
}

/// Nodes, for the view.
pub(super) struct Nodes;

// === impl NodeFacts ===

impl NodeFacts {
    pub(super) fn of(node: &SlimNode, before: Option<&Self>, words: &mut Words) -> Self {
        let meta = &node.metadata;
        let before = before.filter(|before| *before.uid == *meta.uid);
        Self {
            uid: before.map_or_else(|| meta.uid.as_str().into(), |before| before.uid.clone()),
            labels: words.texts(&meta.labels),
            is_out_of_service: node.spec.taints.iter().any(|taint| taint.key == OUT_OF_SERVICE),
        }
    }
}

impl Kind for Nodes {
    type Slim = SlimNode;
    type Facts = NodeFacts;

    const PATH: &'static str = "/api/v1/nodes";
    const WHAT: &'static str = "nodes";

    fn strip(
        slim: &SlimNode,
        before: Option<&NodeFacts>,
        words: &mut Words,
        _: Moment,
    ) -> NodeFacts {
        NodeFacts::of(slim, before, words)
    }

    /// The taint comes or goes, with its node or without.
    fn matters(before: Option<&NodeFacts>, now: Option<&NodeFacts>) -> bool {
        let fence = |node: Option<&NodeFacts>| {
            node.filter(|node| node.is_out_of_service).map(|node| node.uid.clone())
        };
        fence(before) != fence(now)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(uid: &str, taint: &str) -> NodeFacts {
        let slim = serde_json::from_value(json!({
            "metadata": {"name": "n1", "uid": uid, "labels": {"zone": "a"}},
            "spec": {"podCIDR": "10.0.0.0/24", "taints": [{"key": taint, "effect": "NoExecute"}]},
            "status": {"images": [{"names": ["x"]}]},
        }));
        NodeFacts::of(&slim.unwrap(), None, &mut Words::default())
    }

    #[test]
    fn only_the_one_taint_puts_a_node_out_of_service() {
        assert!(node("n", OUT_OF_SERVICE).is_out_of_service);
        assert!(!node("n", "node.kubernetes.io/unreachable").is_out_of_service);
        let bare = NodeFacts::of(&SlimNode::default(), None, &mut Words::default());
        assert!(!bare.is_out_of_service);
    }

    #[test]
    fn a_sweep_hears_when_the_taint_comes_or_goes() {
        let (up, off, other) =
            (node("n", "x"), node("n", OUT_OF_SERVICE), node("m", OUT_OF_SERVICE));
        let table = [
            (None, Some(&up), false),
            (None, Some(&off), true),
            (Some(&up), Some(&off), true),
            (Some(&off), Some(&off), false),
            (Some(&off), Some(&other), true),
            (Some(&off), Some(&up), true),
            (Some(&off), None, true),
            (Some(&up), None, false),
        ];
        for (at, (before, now, matters)) in table.into_iter().enumerate() {
            assert_eq!(Nodes::matters(before, now), matters, "row {at}");
        }
    }
}
