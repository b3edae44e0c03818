//! The tables and what is done to them within one transaction.
//!
//! ```text
//! meta     "format" u32, "store-id" text, "epoch" u64, "revision" u64 (highest given)     big-endian
//! leases   see `format`
//! objects  see `format`
//! history  see `history.rs`
//! ```
//!
//! The entry `format` of `meta` is for ever: each version must be able to read it in the files of any other.

use redb::{
    Database, ReadOnlyTable, ReadTransaction, ReadableTable, ReadableTableMetadata, Table,
    TableDefinition, WriteTransaction,
};
use tenure_core::history::Entry;
use tenure_core::lease::{Epoch, LeaseKey};
use tenure_core::name::ObjectName;
use tenure_core::objects::{Object, ObjectKind};

use crate::conditions::{epoch_after, plan};
use crate::format::{self, FORMAT};
use crate::gaps;
use crate::port::{Contents, ImportMode, Revision, Row, StoreError, Write};

use super::history::{self, Log};
use super::open::failed;

pub(super) type Bytes = &'static [u8];
pub(super) const META: TableDefinition<'static, Bytes, Bytes> = TableDefinition::new("meta");
const LEASES: TableDefinition<'static, Bytes, Bytes> = TableDefinition::new("leases");
const OBJECTS: TableDefinition<'static, Bytes, Bytes> = TableDefinition::new("objects");

const FORMAT_KEY: &[u8] = b"format";
const STORE_ID: &[u8] = b"store-id";
const EPOCH: &[u8] = b"epoch";
const REVISION: &[u8] = b"revision";

pub(super) const READ: &str = "reading the store";
pub(super) const WRITE: &str = "writing to the store";

/// What the store says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) store_id: String,
    pub(super) epoch: Epoch,
    pub(super) last: Revision,
}

/// One transaction that many jobs write to, each seeing those before it.
pub(super) struct Batch<'t> {
    meta_table: Table<'t, Bytes, Bytes>,
    leases: Table<'t, Bytes, Bytes>,
    objects: Table<'t, Bytes, Bytes>,
    /// None where no history is kept.
    log: Option<Log<'t>>,
    before: Meta,
    meta: Meta,
    changed: bool,
}

// === reading ===

/// What `meta` says, or why this version must keep its hands off.
pub(super) fn read_meta(reading: &ReadTransaction) -> Result<Meta, StoreError> {
    let table = reading.open_table(META).map_err(failed(READ))?;
    let entry = |key: &'static [u8]| {
        let value = table.get(key).map_err(failed(READ))?;
        value.map(|value| value.value().to_vec()).ok_or_else(|| damaged_meta(key))
    };
    let found = entry(FORMAT_KEY)?.try_into().map(u32::from_be_bytes);
    match found.map_err(|_| damaged_meta(FORMAT_KEY))? {
        FORMAT => {}
        newer if newer > FORMAT => return Err(StoreError::Newer { found: newer, known: FORMAT }),
        _ => return Err(damaged_meta(FORMAT_KEY)),
    }
    let number =
        |key| entry(key)?.try_into().map(u64::from_be_bytes).map_err(|_| damaged_meta(key));
    Ok(Meta {
        store_id: String::from_utf8(entry(STORE_ID)?).map_err(|_| damaged_meta(STORE_ID))?,
        epoch: Epoch(number(EPOCH)?),
        last: Revision(number(REVISION)?),
    })
}

fn damaged_meta(key: &[u8]) -> StoreError {
    let place = format!("meta/{}", String::from_utf8_lossy(key));
    StoreError::Corrupt { place, why: "it is missing or unreadable".to_owned() }
}

/// Reads every row and object: damage is found before anything is served.
pub(super) fn read_all(
    reading: &ReadTransaction,
    each: &mut dyn FnMut(Row),
) -> Result<Vec<Object>, StoreError> {
    scan(reading, each)?;
    objects(reading)
}

pub(super) fn scan(reading: &ReadTransaction, each: &mut dyn FnMut(Row)) -> Result<(), StoreError> {
    let table = open(reading, LEASES)?;
    for entry in table.iter().map_err(failed(READ))? {
        let (key, value) = entry.map_err(failed(READ))?;
        each(lease(key.value(), value.value())?);
    }
    Ok(())
}

pub(super) fn get(reading: &ReadTransaction, key: &LeaseKey) -> Result<Option<Row>, StoreError> {
    row(&open(reading, LEASES)?, key)
}

pub(super) fn objects(reading: &ReadTransaction) -> Result<Vec<Object>, StoreError> {
    let table = open(reading, OBJECTS)?;
    let entries = table.iter().map_err(failed(READ))?;
    entries
        .map(|entry| {
            let (key, value) = entry.map_err(failed(READ))?;
            let place = || format!("objects/{}", String::from_utf8_lossy(key.value()));
            format::read_object(key.value(), value.value()).map_err(|bad| bad.at(place()))
        })
        .collect()
}

/// Whether it holds no lease.
pub(super) fn is_fresh(reading: &ReadTransaction) -> Result<bool, StoreError> {
    open(reading, LEASES)?.is_empty().map_err(failed(READ))
}

fn open(
    reading: &ReadTransaction,
    table: TableDefinition<'static, Bytes, Bytes>,
) -> Result<ReadOnlyTable<Bytes, Bytes>, StoreError> {
    reading.open_table(table).map_err(failed(READ))
}

fn row(
    table: &impl ReadableTable<Bytes, Bytes>,
    key: &LeaseKey,
) -> Result<Option<Row>, StoreError> {
    let key = format::lease_key(key);
    let value = table.get(key.as_slice()).map_err(failed(READ))?;
    value.map(|value| lease(&key, value.value())).transpose()
}

fn lease(key: &[u8], value: &[u8]) -> Result<Row, StoreError> {
    format::read_lease(key, value).map_err(|bad| bad.at(lease_place(key)))
}

fn lease_place(key: &[u8]) -> String {
    match format::read_lease_key(key) {
        Ok(key) => format!("leases/{key}"),
        Err(_) => format!("leases/{key:02x?}"),
    }
}

// === writing ===

/// The first transaction of a store: its identity and empty tables, whole or not at all.
pub(super) fn initialise(database: &Database, meta: &Meta) -> Result<(), StoreError> {
    let writing = begin(database)?;
    {
        let mut table = writing.open_table(META).map_err(failed(WRITE))?;
        put(&mut table, FORMAT_KEY, &FORMAT.to_be_bytes())?;
        put(&mut table, STORE_ID, meta.store_id.as_bytes())?;
        put(&mut table, EPOCH, &meta.epoch.0.to_be_bytes())?;
        put(&mut table, REVISION, &meta.last.0.to_be_bytes())?;
        writing.open_table(LEASES).map_err(failed(WRITE))?;
        writing.open_table(OBJECTS).map_err(failed(WRITE))?;
    }
    writing.commit().map_err(failed(WRITE))
}

/// A transaction that is durable once committed. Two phases: the new root is written only when all it
/// leads to is on disk, so no torn page can pass for a commit by its checksum.
pub(super) fn begin(database: &Database) -> Result<WriteTransaction, StoreError> {
    let mut writing = database.begin_write().map_err(failed(WRITE))?;
    writing.set_two_phase_commit(true);
    Ok(writing)
}

pub(super) fn put(
    table: &mut Table<'_, Bytes, Bytes>,
    key: &[u8],
    value: &[u8],
) -> Result<(), StoreError> {
    table.insert(key, value).map_err(failed(WRITE))?;
    Ok(())
}

// === impl Batch ===

impl<'t> Batch<'t> {
    /// With so many entries of the history at most; 0: none.
    pub(super) fn open(
        writing: &'t WriteTransaction,
        meta: Meta,
        history_events: u64,
    ) -> Result<Self, StoreError> {
        let log = (history_events > 0).then(|| Log::open(writing, history_events)).transpose()?;
        Ok(Self {
            meta_table: writing.open_table(META).map_err(failed(WRITE))?,
            leases: writing.open_table(LEASES).map_err(failed(WRITE))?,
            objects: writing.open_table(OBJECTS).map_err(failed(WRITE))?,
            log,
            before: meta.clone(),
            meta,
            changed: false,
        })
    }

    /// Writes the counters if they moved; answers them if anything at all has changed.
    pub(super) fn finish(mut self) -> Result<Option<Meta>, StoreError> {
        if let Some(log) = &mut self.log
            && self.changed
        {
            log.trim()?;
            history::set_told(&mut self.meta_table, &self.meta)?;
        }
        if self.meta.last != self.before.last {
            put(&mut self.meta_table, REVISION, &self.meta.last.0.to_be_bytes())?;
        }
        if self.meta.epoch != self.before.epoch {
            put(&mut self.meta_table, EPOCH, &self.meta.epoch.0.to_be_bytes())?;
        }
        Ok(self.changed.then_some(self.meta))
    }

    /// All writes or none.
    pub(super) fn commit(&mut self, writes: Vec<Write>) -> Result<Vec<Revision>, StoreError> {
        let next_event = self.log.as_ref().map(Log::next);
        let plan = plan(writes, self.meta.last, next_event, |key| row(&self.leases, key))?;
        for (key, row) in plan.changes {
            self.set_lease(&key, row.as_ref())?;
        }
        if let Some(log) = &mut self.log {
            plan.events.into_iter().try_for_each(|event| log.append(&Entry::Event(event)))?;
        }
        self.meta.last = plan.last;
        Ok(plan.answer)
    }

    fn set_lease(&mut self, key: &LeaseKey, row: Option<&Row>) -> Result<(), StoreError> {
        self.changed = true;
        let bytes = format::lease_key(key);
        let Some(row) = row else {
            self.leases.remove(bytes.as_slice()).map_err(failed(WRITE))?;
            return Ok(());
        };
        let value = format::lease_value(row).map_err(|bad| bad.at(lease_place(&bytes)))?;
        put(&mut self.leases, &bytes, &value)
    }

    pub(super) fn put_objects(&mut self, objects: &[Object]) -> Result<(), StoreError> {
        for object in objects {
            self.changed = true;
            self.meta.last = self.meta.last.next();
            let value = format::object_value(object, self.meta.last)
                .map_err(|bad| bad.at(format!("objects/{}", object.name())))?;
            put(&mut self.objects, &format::object_key(object.kind(), object.name()), &value)?;
        }
        Ok(())
    }

    pub(super) fn delete_object(
        &mut self,
        kind: ObjectKind,
        name: &ObjectName,
    ) -> Result<bool, StoreError> {
        let key = format::object_key(kind, name);
        let was_there = self.objects.remove(key.as_slice()).map_err(failed(WRITE))?.is_some();
        self.changed |= was_there;
        Ok(was_there)
    }

    /// A new life of the store, which went back in time.
    pub(super) fn raise_epoch(&mut self) -> Result<Epoch, StoreError> {
        if let Some(log) = &mut self.log {
            log.append(&Entry::Gap(gaps::after_going_back(log.last_at()?, log.next())))?;
        }
        Ok(self.next_epoch())
    }

    fn next_epoch(&mut self) -> Epoch {
        self.changed = true;
        self.meta.epoch = epoch_after(self.meta.epoch);
        self.meta.epoch
    }

    /// Everything is replaced, or nothing.
    pub(super) fn import(
        &mut self,
        contents: Contents,
        mode: ImportMode,
    ) -> Result<(), StoreError> {
        let leases = self.leases.len().map_err(failed(READ))?;
        let objects = self.objects.len().map_err(failed(READ))?;
        if mode == ImportMode::IntoEmpty && (leases, objects) != (0, 0) {
            return Err(StoreError::NotEmpty { leases, objects });
        }
        self.leases.retain(|_, _| false).map_err(failed(WRITE))?;
        self.objects.retain(|_, _| false).map_err(failed(WRITE))?;
        self.meta.epoch = self.meta.epoch.max(contents.epoch);
        self.meta.last = self.meta.last.max(contents.revision);
        self.next_epoch();
        if let Some(log) = &mut self.log {
            let history = contents.history.as_ref();
            log.replace(history.map_or(&[][..], |history| &history.entries))?;
            log.append(&Entry::Gap(gaps::after_import(history, log.next())))?;
        }
        self.put_objects(&contents.objects)?;
        for lease in contents.leases {
            self.meta.last = self.meta.last.next();
            self.set_lease(&lease.key(), Some(&Row { lease, revision: self.meta.last }))?;
        }
        Ok(())
    }
}
