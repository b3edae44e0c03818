//! The lock of Tenure, as a pure function: whether the conditions of a batch hold, and what it then changes.
//! Every engine of this crate goes through it.

use std::collections::HashMap;

use tenure_core::history::{self, HistoryEvent};
use tenure_core::lease::{Epoch, LeaseKey};

use crate::gaps::wall_now;
use crate::port::{Revision, Row, StoreError, Write};

/// What a batch whose conditions hold changes.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The end state of each address that it touches; none where the row is deleted.
    pub(crate) changes: Vec<(LeaseKey, Option<Row>)>,
    /// One per write, in order: what the caller is answered.
    pub(crate) answer: Vec<Revision>,
    /// The highest revision given, to be stored with the changes.
    pub(crate) last: Revision,
    /// What the writes tell the history, in order, to be stored with the changes.
    pub(crate) events: Vec<HistoryEvent>,
}

/// Checks all conditions before anything is changed. A write sees those before it in the batch. Events are numbered
/// from `next_event` on; there are none without it.
///
/// # Errors
/// [`StoreError::Conflict`] for the first condition that does not hold, and whatever `stored` fails with.
pub(crate) fn plan(
    writes: Vec<Write>,
    last: Revision,
    next_event: Option<u64>,
    mut stored: impl FnMut(&LeaseKey) -> Result<Option<Row>, StoreError>,
) -> Result<Plan, StoreError> {
    let mut staged: HashMap<LeaseKey, Option<Row>> = HashMap::with_capacity(writes.len());
    let mut answer = Vec::with_capacity(writes.len());
    let mut last = last;
    let mut events = Vec::new();
    let (mut next_event, now) = (next_event, wall_now());
    for (index, write) in writes.into_iter().enumerate() {
        let key = write.key();
        let current = match staged.get(&key) {
            Some(row) => row.clone(),
            None => stored(&key)?,
        };
        if !holds(&write, current.as_ref()) {
            return Err(StoreError::Conflict { index, key, current: current.map(Box::new) });
        }
        if let Some(seq) = &mut next_event {
            let before = current.as_ref().map(|row| &row.lease);
            let event = history::event(before, write.lease(), *seq, now);
            *seq = seq.saturating_add(u64::from(event.is_some()));
            events.extend(event);
        }
        let row = match write {
            Write::Create(lease) | Write::Replace { lease, .. } => {
                last = last.next();
                answer.push(last);
                Some(Row { lease, revision: last })
            }
            Write::Delete { expect, .. } => {
                answer.push(expect);
                None
            }
        };
        staged.insert(key, row);
    }
    Ok(Plan { changes: staged.into_iter().collect(), answer, last, events })
}

fn holds(write: &Write, current: Option<&Row>) -> bool {
    match write {
        Write::Create(_) => current.is_none(),
        Write::Replace { expect, .. } | Write::Delete { expect, .. } => {
            current.is_some_and(|row| row.revision == *expect)
        }
    }
}

/// The epoch after `epoch`.
pub(crate) fn epoch_after(epoch: Epoch) -> Epoch {
    Epoch(epoch.0.saturating_add(1))
}
