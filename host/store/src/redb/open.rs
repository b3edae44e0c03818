//! Opening: look first without touching, then open; make a store only where there is none.

use std::io;

use data_encoding::HEXLOWER;
use redb::{Builder, Database, ReadableDatabase, StorageBackend};
use tenure_core::lease::Epoch;

use super::RedbOptions;
use super::disk::Disk;
use super::history;
use super::overlay::Overlay;
use super::tables::{self, Meta};
use crate::port::{Revision, StoreError};

const OPEN: &str = "opening the store";

/// A database ready to serve.
pub(super) struct Opened {
    pub(super) database: Database,
    pub(super) meta: Meta,
    /// It holds no lease.
    pub(super) fresh: bool,
}

/// Opens the store, or makes it where there is none.
pub(super) fn open_or_create(
    disk: &impl Disk,
    options: &RedbOptions,
) -> Result<Opened, StoreError> {
    match open(disk, options)? {
        Some(opened) => Ok(opened),
        None => create(disk, options.cache_bytes),
    }
}

/// Opens the store that is there.
pub(super) fn open<D: Disk>(disk: &D, options: &RedbOptions) -> Result<Option<Opened>, StoreError> {
    let cache = options.cache_bytes;
    let at = |error| opening_failed(disk, error);
    let Some(backend) = disk.open().map_err(|e| io_failed(&e))? else { return Ok(None) };
    inspect(disk, backend, cache)?;
    let Some(backend) = disk.open().map_err(|e| io_failed(&e))? else { return Ok(None) };
    let database = builder(cache).create_with_backend(backend).map_err(at)?;
    // Nobody held the lock since the look, so once more: now it is ours.
    let reading = database.begin_read().map_err(failed(OPEN))?;
    let meta = tables::read_meta(&reading)?;
    let fresh = tables::is_fresh(&reading)?;
    drop(reading);
    history::settle(&database, &meta, options.history_events)?;
    Ok(Some(Opened { database, meta, fresh }))
}

/// Verifies every checksum and reads every record, on a copy: the file stays as it is, whatever comes out.
fn inspect<D: Disk>(disk: &D, backend: D::Backend, cache: usize) -> Result<(), StoreError> {
    let overlay = Overlay::over(backend).map_err(|e| io_failed(&e))?;
    if overlay.len().map_err(|e| io_failed(&e))? == 0 {
        let why = "the file is empty".to_owned();
        return Err(StoreError::Corrupt { place: disk.place(), why });
    }
    let database = builder(cache)
        .set_check_integrity_on_open(true)
        .create_with_backend(overlay)
        .map_err(|error| opening_failed(disk, error))?;
    let reading = database.begin_read().map_err(failed(OPEN))?;
    tables::read_meta(&reading)?;
    tables::read_all(&reading, &mut drop)?;
    Ok(())
}

fn create(disk: &impl Disk, cache: usize) -> Result<Opened, StoreError> {
    let backend = disk.create().map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => StoreError::Locked { path: disk.place() },
        _ => io_failed(&error),
    })?;
    let database =
        builder(cache).create_with_backend(backend).map_err(|error| opening_failed(disk, error))?;
    let meta = Meta { store_id: new_store_id()?, epoch: Epoch(1), last: Revision(0) };
    tables::initialise(&database, &meta)?;
    disk.publish().map_err(|e| io_failed(&e))?;
    Ok(Opened { database, meta, fresh: true })
}

fn builder(cache: usize) -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(cache);
    builder
}

/// 128 random bits: two stores never share an id.
fn new_store_id() -> Result<String, StoreError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| StoreError::Io {
        act: "drawing the id of a new store",
        why: error.to_string(),
    })?;
    Ok(HEXLOWER.encode(&bytes))
}

// === errors ===

fn opening_failed(disk: &impl Disk, error: redb::DatabaseError) -> StoreError {
    use redb::{DatabaseError, StorageError};
    let place = disk.place();
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            StoreError::Locked { path: place }
        }
        DatabaseError::Storage(StorageError::Corrupted(why)) => StoreError::Corrupt { place, why },
        DatabaseError::Storage(StorageError::Io(error)) if is_damage(&error) => {
            StoreError::Corrupt { place, why: error.to_string() }
        }
        DatabaseError::UpgradeRequired(_) => StoreError::Corrupt { place, why: error.to_string() },
        other => failed(OPEN)(other),
    }
}

/// What redb answers for a file that is no database, or ends too early.
fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

fn io_failed(error: &io::Error) -> StoreError {
    StoreError::Io { act: OPEN, why: error.to_string() }
}

/// Any error of redb: damage, or a failure of what was tried.
pub(super) fn failed<E: Into<redb::Error>>(act: &'static str) -> impl Fn(E) -> StoreError {
    move |error| match error.into() {
        redb::Error::Corrupted(why) => {
            StoreError::Corrupt { place: "the database".to_owned(), why }
        }
        redb::Error::TableDoesNotExist(table) => {
            StoreError::Corrupt { place: table, why: "the table is missing".to_owned() }
        }
        error => StoreError::Io { act, why: error.to_string() },
    }
}
