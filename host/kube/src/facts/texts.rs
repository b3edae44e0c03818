//! Labels and annotations in little memory: what repeats in a cluster is kept once.
//!
//! Tens of thousands of pods share some hundred label keys, and the pods of one workload mostly all their labels. So words
//! and whole sets are shared. What nobody uses any more is forgotten when a table has doubled.

use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

/// A table this small is never looked through.
const SMALL: usize = 1024;

/// Labels or annotations, by key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Texts(Arc<[(Arc<str>, Arc<str>)]>);

/// Words and sets that are in use.
#[derive(Debug, Default)]
pub(super) struct Words {
    words: Shared<str>,
    sets: Shared<[(Arc<str>, Arc<str>)]>,
}

#[derive(Debug)]
struct Shared<T: ?Sized + Hash + Eq> {
    table: HashSet<Arc<T>>,
    /// How many it may hold before it is looked through.
    until: usize,
}

// === impl Texts ===

impl Texts {
    /// The text of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(known, _)| (**known).cmp(key)).ok()?;
        self.0.get(at).map(|(_, text)| &**text)
    }

    /// All of them, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, text)| (&**key, &**text))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A copy as selectors read it.
    #[must_use]
    pub fn to_map(&self) -> BTreeMap<String, String> {
        self.iter().map(|(key, text)| (key.to_owned(), text.to_owned())).collect()
    }
}

// === impl Words ===

impl Words {
    pub(super) fn word(&mut self, word: &str) -> Arc<str> {
        self.words.get(word)
    }

    /// A set; a map goes by key, as [`Texts`] do.
    pub(super) fn texts(&mut self, texts: &BTreeMap<String, String>) -> Texts {
        let set: Vec<_> =
            texts.iter().map(|(key, text)| (self.word(key), self.word(text))).collect();
        Texts(self.sets.get(&set))
    }
}

// === impl Shared ===

impl<T: ?Sized + Hash + Eq> Default for Shared<T> {
    fn default() -> Self {
        Self { table: HashSet::new(), until: SMALL }
    }
}

impl<T: ?Sized + Hash + Eq> Shared<T>
where
    for<'a> Arc<T>: From<&'a T>,
{
    fn get(&mut self, wanted: &T) -> Arc<T> {
        if let Some(known) = self.table.get(wanted) {
            return known.clone();
        }
        if self.table.len() >= self.until {
            self.table.retain(|known| Arc::strong_count(known) > 1);
            self.until = self.table.len().saturating_mul(2).max(SMALL);
        }
        let made: Arc<T> = wanted.into();
        self.table.insert(made.clone());
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn equal_sets_and_words_are_kept_once() {
        let mut words = Words::default();
        let labels = map(&[("tier", "web"), ("app", "shop")]);
        let (one, two) = (words.texts(&labels), words.texts(&labels));
        assert!(Arc::ptr_eq(&one.0, &two.0));
        assert_eq!(
            (one.get("app"), one.get("tier"), one.get("ap")),
            (Some("shop"), Some("web"), None)
        );
        assert_eq!(one.to_map(), labels);
        assert!(Arc::ptr_eq(&words.word("web"), &words.word("web")));
    }

    #[test]
    fn words_that_nobody_uses_are_forgotten() {
        let mut words = Words::default();
        let kept = words.texts(&map(&[("app", "shop")]));
        for n in 0..100 * SMALL {
            words.texts(&map(&[("job", &n.to_string())]));
        }
        assert!(words.words.table.len() <= 2 * SMALL, "{}", words.words.table.len());
        assert!(words.sets.table.len() <= 2 * SMALL, "{}", words.sets.table.len());
        assert!(Arc::ptr_eq(&kept.0, &words.texts(&map(&[("app", "shop")])).0));
    }
}
