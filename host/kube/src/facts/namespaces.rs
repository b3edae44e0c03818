//! What is kept of a namespace.

use std::sync::Arc;

use tenure_core::time::Moment;

use super::strip::SlimNamespace;
use super::texts::{Texts, Words};
use super::view::Kind;

/// Annotations that are kept: nobody else's.
const KEPT: &str = "tenure.dev/";

/// What is known of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceFacts {
    /// Its uid.
    pub uid: Arc<str>,
    /// Its labels.
    pub labels: Texts,
    /// Its annotations below `tenure.dev/`. Whoever may write these is an administrator, so that they are not cut.
    pub annotations: Texts,
}

/// Namespaces, for the view.
pub(super) struct Namespaces;

impl Kind for Namespaces {
    type Slim = SlimNamespace;
    type Facts = NamespaceFacts;

    const PATH: &'static str = "/api/v1/namespaces";
    const WHAT: &'static str = "namespaces";

    fn strip(
        slim: &SlimNamespace,
        before: Option<&NamespaceFacts>,
        words: &mut Words,
        _: Moment,
    ) -> NamespaceFacts {
        let meta = &slim.metadata;
        let before = before.filter(|before| *before.uid == *meta.uid);
        let kept = meta.annotations.iter().filter(|(key, _)| key.starts_with(KEPT));
        let kept = kept.map(|(key, text)| (key.clone(), text.clone())).collect();
        NamespaceFacts {
            uid: before.map_or_else(|| meta.uid.as_str().into(), |before| before.uid.clone()),
            labels: words.texts(&meta.labels),
            annotations: words.texts(&kept),
        }
    }

    /// Never: the pods of a namespace that ends are told one by one.
    fn matters(_: Option<&NamespaceFacts>, _: Option<&NamespaceFacts>) -> bool {
        false
    }
}
