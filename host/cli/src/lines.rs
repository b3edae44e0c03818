//! Where a field stands in the text: a second reading of a document that keeps only keys and lines.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// A node of a document, without its values.
#[derive(Debug)]
pub(crate) enum Node {
    Map(Vec<(String, Spanned<Node>)>),
    Seq(Vec<Spanned<Node>>),
    Leaf,
}

/// The line of a field such as `spec.ranges[1]`, or of the nearest node above it that is there.
pub(crate) fn line_of(document: &Spanned<Node>, field: &str) -> u64 {
    let mut at = document;
    for step in field.split(['.', '[']).map(|step| step.trim_end_matches(']')) {
        let below = match &at.value {
            Node::Map(entries) => entries.iter().find(|(key, _)| key == step).map(|(_, node)| node),
            Node::Seq(items) => step.parse::<usize>().ok().and_then(|index| items.get(index)),
            Node::Leaf => None,
        };
        let Some(below) = below else { break };
        at = below;
    }
    at.referenced.line()
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML node")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Map(entries))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Node::Seq(items))
    }
    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Leaf)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Leaf)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Leaf)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Leaf)
    }
    fn visit_str<E>(self, _: &str) -> Result<Node, E> {
        Ok(Node::Leaf)
    }
    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Leaf)
    }
    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Leaf)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Node::Leaf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_path_and_a_missing_one_by_its_parent() {
        let text = "kind: IPPool\nspec:\n  cidr: 10.0.0.0/24\n  ranges:\n  - 10.0.0.1\n  - wrong\n";
        let document: Spanned<Node> = serde_saphyr::from_str(text).unwrap();
        assert_eq!(line_of(&document, "spec.ranges[1]"), 6);
        assert_eq!(line_of(&document, "spec.cidr"), 3);
        assert_eq!(line_of(&document, "spec.gateway"), 3, "its parent begins there");
        assert_eq!(line_of(&document, ""), 1);
    }
}
