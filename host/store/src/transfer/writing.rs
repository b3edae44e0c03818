//! Export.

use std::io;

use data_encoding::HEXLOWER;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tenure_core::history::Entry;
use tenure_core::lease::Lease;
use tenure_core::time::WallMs;

use super::{ExportFormat, Exported, HEADER, HISTORY, Header, LEASE, TRAILER, Trailer};
use crate::port::{Store, StoreError};

#[derive(Serialize)]
struct LeaseOut<'a> {
    kind: &'a str,
    lease: &'a Lease,
}

#[derive(Serialize)]
pub(super) struct EntryOut<'a> {
    pub(super) kind: &'a str,
    #[serde(flatten)]
    pub(super) entry: &'a Entry,
}

/// Writes all objects and leases to `out`, and the history if `format` has one, and flushes it. Leases are of one
/// instant, which is not before `exported_at`; the revision in the header is that of the store just before, so no lease
/// of the export is unknown to who knows it.
///
/// # Errors
/// Those of the store, and [`StoreError::Io`] where `out` failed: what it got is no export then.
pub fn export(
    store: &dyn Store,
    exported_at: WallMs,
    format: ExportFormat,
    out: &mut dyn io::Write,
) -> Result<Exported, StoreError> {
    let identity = store.identity();
    let mut lines = Lines { out, sum: Sha256::new() };
    lines.write(&Header {
        kind: HEADER,
        format: format.number(),
        store_id: identity.store_id,
        epoch: identity.epoch,
        revision: identity.revision.0,
        exported_at: exported_at.to_rfc3339(),
    })?;
    let objects = store.objects()?;
    objects.iter().try_for_each(|object| lines.write(object))?;
    let leases = lines.write_leases(store)?;
    let events = match format {
        ExportFormat::WithoutHistory => None,
        ExportFormat::Whole => Some(lines.write_history(store)?),
    };
    let sha256 = HEXLOWER.encode(&lines.sum.clone().finalize());
    let objects = objects.len() as u64;
    lines.write(&Trailer { kind: TRAILER.to_owned(), objects, leases, events, sha256 })?;
    lines.out.flush().map_err(write_failed)?;
    Ok(Exported { objects, leases, events: events.unwrap_or(0) })
}

struct Lines<'a> {
    out: &'a mut dyn io::Write,
    sum: Sha256,
}

impl Lines<'_> {
    fn write(&mut self, line: &impl Serialize) -> Result<(), StoreError> {
        let mut bytes = serde_json::to_vec(line).map_err(|error| write_failed(error.into()))?;
        bytes.push(b'\n');
        self.sum.update(&bytes);
        self.out.write_all(&bytes).map_err(write_failed)
    }

    fn write_leases(&mut self, store: &dyn Store) -> Result<u64, StoreError> {
        let mut leases: u64 = 0;
        let mut written = Ok(());
        store.scan(&mut |row| {
            if written.is_ok() {
                written = self.write(&LeaseOut { kind: LEASE, lease: &row.lease });
                leases = leases.saturating_add(1);
            }
        })?;
        written.map(|()| leases)
    }

    fn write_history(&mut self, store: &dyn Store) -> Result<u64, StoreError> {
        let mut entries: u64 = 0;
        let mut written = Ok(());
        store.history(None, &mut |entry| {
            if written.is_ok() {
                written = self.write(&EntryOut { kind: HISTORY, entry: &entry });
                entries = entries.saturating_add(1);
            }
        })?;
        written.map(|()| entries)
    }
}

fn write_failed(error: io::Error) -> StoreError {
    StoreError::Io { act: "writing the export", why: error.to_string() }
}
