//! The history within a transaction and outside of one. Its entries stand in a table of their own, keyed by number.
//!
//! ```text
//! history              number -> see `format`; 0 is the horizon, the others follow each other without holes
//! meta "history"       revision and epoch up to which every write told the history, u64 each, big-endian
//! ```
//!
//! Both are written in the transaction of the rows that they tell of. Where `meta` and the store's own revision and
//! epoch differ when it is opened, a version without a history has written, or the setting was off: that is a gap.

use redb::{
    Database, ReadTransaction, ReadableTable as _, ReadableTableMetadata as _, Table,
    TableDefinition, TableError, WriteTransaction,
};
use tenure_core::history::{Entry, Gap, HORIZON, Kept};
use tenure_core::lease::LeaseKey;
use tenure_core::time::WallMs;

use super::open::failed;
use super::tables::{self, Bytes, META, Meta, READ, WRITE};
use crate::format;
use crate::gaps;
use crate::port::StoreError;

const HISTORY: TableDefinition<'static, u64, Bytes> = TableDefinition::new("history");

/// Entry of `meta`.
const TOLD: &[u8] = b"history";

/// A store that is still in it never went back in time.
const FIRST_EPOCH: u64 = 1;

/// Up to where every write told the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    revision: u64,
    epoch: u64,
}

/// The history in a transaction.
pub(super) struct Log<'t> {
    table: Table<'t, u64, Bytes>,
    bound: u64,
    /// Number of the next entry.
    next: u64,
    /// The first number that was kept, as far as known: what is below needs no look.
    first: u64,
}

// === reading ===

/// Calls `each` with the entries of one address, or all, oldest first.
pub(super) fn read(
    reading: &ReadTransaction,
    bound: u64,
    of: Option<&LeaseKey>,
    each: &mut dyn FnMut(Entry),
) -> Result<Kept, StoreError> {
    let mut kept = Kept { bound, from: None };
    let table = match reading.open_table(HISTORY) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(kept),
        table => table.map_err(failed(READ))?,
    };
    let wanted = format::Wanted::of(of).map_err(|bad| bad.at("history"))?;
    for found in table.iter().map_err(failed(READ))? {
        let (seq, value) = found.map_err(failed(READ))?;
        let (seq, value) = (seq.value(), value.value());
        if kept.from.is_none() && seq != HORIZON {
            kept.from = Some(entry(seq, value)?.at());
        }
        if wanted.is(value) {
            each(entry(seq, value)?);
        }
    }
    Ok(kept)
}

fn entry(seq: u64, value: &[u8]) -> Result<Entry, StoreError> {
    format::read_entry(seq, value).map_err(|bad| bad.at(format!("history/{seq}")))
}

fn told(reading: &ReadTransaction) -> Result<Option<Told>, StoreError> {
    let table = reading.open_table(META).map_err(failed(READ))?;
    let value = table.get(TOLD).map_err(failed(READ))?;
    value.map(|value| Told::read(value.value())).transpose()
}

// === opening ===

/// Makes the history that is found fit the store and the setting. Writes only where it does not.
pub(super) fn settle(database: &Database, meta: &Meta, bound: u64) -> Result<(), StoreError> {
    use redb::ReadableDatabase as _;
    let reading = database.begin_read().map_err(failed(READ))?;
    let (found, length) = (told(&reading)?, length(&reading)?);
    drop(reading);
    let wanted = (bound > 0).then(|| Told::all_of(meta));
    // One more for the horizon.
    let fits = length <= bound.saturating_add(u64::from(bound > 0));
    let is_new = meta.last.0 == 0 && found.is_none();
    if fits && (found == wanted || is_new) {
        return Ok(());
    }
    let writing = tables::begin(database)?;
    if bound == 0 {
        writing.delete_table(HISTORY).map_err(failed(WRITE))?;
        let mut table = writing.open_table(META).map_err(failed(WRITE))?;
        table.remove(TOLD).map_err(failed(WRITE))?;
    } else {
        let mut log = Log::open(&writing, bound)?;
        if found != wanted && !is_new {
            log.tell_of_silence(found, meta)?;
        }
        log.trim()?;
        let mut table = writing.open_table(META).map_err(failed(WRITE))?;
        set_told(&mut table, meta)?;
    }
    writing.commit().map_err(failed(WRITE))
}

fn length(reading: &ReadTransaction) -> Result<u64, StoreError> {
    match reading.open_table(HISTORY) {
        Err(TableError::TableDoesNotExist(_)) => Ok(0),
        table => table.map_err(failed(READ))?.len().map_err(failed(READ)),
    }
}

/// Every write up to this revision and epoch has told the history.
pub(super) fn set_told(table: &mut Table<'_, Bytes, Bytes>, meta: &Meta) -> Result<(), StoreError> {
    tables::put(table, TOLD, &Told::all_of(meta).bytes())
}

// === impl Told ===

impl Told {
    fn all_of(meta: &Meta) -> Self {
        Self { revision: meta.last.0, epoch: meta.epoch.0 }
    }

    fn bytes(self) -> [u8; 16] {
        (u128::from(self.revision) << 64 | u128::from(self.epoch)).to_be_bytes()
    }

    fn read(bytes: &[u8]) -> Result<Self, StoreError> {
        let number = |half: &[u8]| half.try_into().map(u64::from_be_bytes).ok();
        let halves = bytes.split_at_checked(8);
        let told = halves.and_then(|(revision, epoch)| {
            Some(Self { revision: number(revision)?, epoch: number(epoch)? })
        });
        told.ok_or_else(|| StoreError::Corrupt {
            place: "meta/history".to_owned(),
            why: "it is not two numbers".to_owned(),
        })
    }
}

// === impl Log ===

impl<'t> Log<'t> {
    pub(super) fn open(writing: &'t WriteTransaction, bound: u64) -> Result<Self, StoreError> {
        let table = writing.open_table(HISTORY).map_err(failed(WRITE))?;
        let last = table.last().map_err(failed(READ))?.map_or(HORIZON, |(seq, _)| seq.value());
        let entries = table.len().map_err(failed(READ))?;
        let next = last.saturating_add(1);
        Ok(Self { table, bound, next, first: next.saturating_sub(entries) })
    }

    /// The number of the next entry.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// When the last entry was made. One that cannot be read tells no time: it must not keep the store from opening.
    pub(super) fn last_at(&self) -> Result<Option<WallMs>, StoreError> {
        let last = self.table.last().map_err(failed(READ))?;
        Ok(last.and_then(|(seq, value)| Some(entry(seq.value(), value.value()).ok()?.at())))
    }

    /// Writes what bears the next number, or the horizon.
    pub(super) fn append(&mut self, entry: &Entry) -> Result<(), StoreError> {
        let seq = entry.seq();
        let value = format::entry_value(entry).map_err(|bad| bad.at(format!("history/{seq}")))?;
        self.table.insert(seq, value.as_slice()).map_err(failed(WRITE))?;
        self.next = self.next.max(seq.saturating_add(1));
        Ok(())
    }

    /// What was kept goes, and these take its place.
    pub(super) fn replace(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        self.table.retain(|_, _| false).map_err(failed(WRITE))?;
        self.first = entries.iter().map(Entry::seq).find(|seq| *seq != HORIZON).unwrap_or(1);
        self.next = 1;
        entries.iter().try_for_each(|entry| self.append(entry))
    }

    /// Drops the oldest beyond the bound, and keeps what they leave.
    pub(super) fn trim(&mut self) -> Result<(), StoreError> {
        let keep_from = self.next.saturating_sub(self.bound);
        if keep_from <= self.first.max(1) {
            return Ok(());
        }
        let mut horizon: Option<Gap> = None;
        let drop = |seq, value: &[u8]| {
            horizon = format::left_by(seq, value).or(horizon.take());
            false
        };
        self.table.retain_in(1..keep_from, drop).map_err(failed(WRITE))?;
        self.first = keep_from;
        horizon.map_or(Ok(()), |horizon| self.append(&Entry::Gap(horizon)))
    }

    /// There were writes that did not tell the history; `told` is none where it begins.
    fn tell_of_silence(&mut self, told: Option<Told>, meta: &Meta) -> Result<(), StoreError> {
        let epoch = told.map_or(FIRST_EPOCH, |told| told.epoch);
        let gap = gaps::after_silence(self.last_at()?, epoch == meta.epoch.0, self.next);
        self.append(&Entry::Gap(gap))
    }
}
