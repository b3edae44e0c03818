//! What is known of one kind. Written only by the task that follows the kind; read by anybody, without waiting for I/O.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use tenure_core::time::{Clock, Moment};
use tokio::sync::watch;

use super::strip::{Slim, SlimMeta};
use super::texts::Words;

/// A kind of object, and what is kept of it.
pub(super) trait Kind: 'static {
    /// What is read of an object.
    type Slim: Slim;
    /// What is kept of it.
    type Facts: PartialEq + Send + Sync;

    /// Where the API has them.
    const PATH: &'static str;
    /// What they are called in the log.
    const WHAT: &'static str;

    /// What is kept, after what was known of the object of this name before.
    fn strip(
        slim: &Self::Slim,
        before: Option<&Self::Facts>,
        words: &mut Words,
        now: Moment,
    ) -> Self::Facts;

    /// Whether a sweep should hear of the change.
    fn matters(before: Option<&Self::Facts>, now: Option<&Self::Facts>) -> bool;
}

/// What is known of one kind.
pub(super) struct View<K: Kind> {
    rows: RwLock<Rows<K::Facts>>,
    clock: Arc<dyn Clock>,
    /// Counts the changes that matter; all kinds share it.
    changes: watch::Sender<u64>,
    /// Once true it stays so: there was a full view.
    is_complete: watch::Sender<bool>,
    /// A list or a watch is answered.
    is_fresh: AtomicBool,
}

struct Rows<F> {
    by_key: HashMap<Arc<str>, Row<F>>,
    /// Which list is the last that began.
    round: u32,
    words: Words,
}

struct Row<F> {
    facts: Arc<F>,
    /// The last list that named it, or was the last one when it was heard of.
    round: u32,
}

// === impl View ===

impl<K: Kind> View<K> {
    pub(super) fn new(clock: Arc<dyn Clock>, changes: watch::Sender<u64>) -> Self {
        let rows = Rows { by_key: HashMap::new(), round: 0, words: Words::default() };
        let is_complete = watch::Sender::new(false);
        Self { rows: RwLock::new(rows), clock, changes, is_complete, is_fresh: false.into() }
    }

    pub(super) fn get(&self, key: &str) -> Option<Arc<K::Facts>> {
        self.rows.read().by_key.get(key).map(|row| row.facts.clone())
    }

    pub(super) fn all(&self) -> Vec<(Arc<str>, Arc<K::Facts>)> {
        let rows = self.rows.read();
        rows.by_key.iter().map(|(key, row)| (key.clone(), row.facts.clone())).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.rows.read().by_key.len()
    }

    /// Waits for the first full view.
    pub(super) async fn complete(&self) {
        // It cannot fail: the sender lives as long as the view.
        let _ = self.is_complete.subscribe().wait_for(|is_complete| *is_complete).await;
    }

    /// Whether it was complete once, and changes are heard.
    pub(super) fn is_current(&self) -> bool {
        *self.is_complete.borrow() && self.is_fresh.load(Ordering::Acquire)
    }

    /// A list begins: what it does not name is gone when it ends.
    pub(super) fn list_begins(&self) {
        let mut rows = self.rows.write();
        rows.round = rows.round.wrapping_add(1);
    }

    pub(super) fn list_ends(&self) {
        let mut matters = false;
        {
            let mut rows = self.rows.write();
            let round = rows.round;
            rows.by_key.retain(|_, row| {
                let stays = row.round == round;
                matters |= !stays && K::matters(Some(&row.facts), None);
                stays
            });
        }
        self.heard(true);
        self.is_complete.send_replace(true);
        if matters {
            self.tell();
        }
    }

    /// Whether what changes is heard now.
    pub(super) fn heard(&self, is_fresh: bool) {
        self.is_fresh.store(is_fresh, Ordering::Release);
    }

    /// These stand so now.
    pub(super) fn put(&self, objects: impl IntoIterator<Item = K::Slim>) {
        let now = self.clock.now();
        let mut matters = false;
        {
            let mut rows = self.rows.write();
            let Rows { by_key, round, words } = &mut *rows;
            for slim in objects {
                let key = key_of(slim.meta());
                let before = by_key.get(&*key);
                let facts = K::strip(&slim, before.map(|row| &*row.facts), words, now);
                matters |= K::matters(before.map(|row| &*row.facts), Some(&facts));
                match by_key.get_mut(&*key) {
                    Some(row) if *row.facts == facts => row.round = *round,
                    Some(row) => *row = Row { facts: Arc::new(facts), round: *round },
                    None => {
                        by_key.insert(key.into(), Row { facts: Arc::new(facts), round: *round });
                    }
                }
            }
        }
        if matters {
            self.tell();
        }
    }

    /// This one is no more.
    pub(super) fn gone(&self, slim: &K::Slim) {
        let before = self.rows.write().by_key.remove(&*key_of(slim.meta()));
        if before.is_some_and(|row| K::matters(Some(&row.facts), None)) {
            self.tell();
        }
    }

    fn tell(&self) {
        self.changes.send_modify(|changes| *changes = changes.wrapping_add(1));
    }
}

/// Its name, in its namespace where it has one.
fn key_of(meta: &SlimMeta) -> String {
    key(&meta.namespace, &meta.name)
}

pub(super) fn key(namespace: &str, name: &str) -> String {
    match namespace {
        "" => name.to_owned(),
        _ => format!("{namespace}/{name}"),
    }
}
