//! Export and import as JSON lines: the second line of defence and the door out.
//!
//! ```text
//! {"kind":"TenureExport","format":1,"storeId":"…","epoch":1,"revision":42,"exportedAt":"2026-…Z"}
//! {"apiVersion":"tenure.dev/v1alpha1","kind":"IPPool","metadata":{…},"spec":{…}}           any number
//! {"kind":"IPLease","lease":{"address":"10.6.1.7","pool":"blue-v4",…}}                     any number
//! {"kind":"TenureExportEnd","objects":1,"leases":1,"sha256":"…"}                           of all lines before
//! ```
//!
//! Guarantees: [`read_export`] answers a whole export or an error, so that [`Store::import`] gets all or nothing.

use std::collections::HashSet;
use std::io::{self, BufRead, Read as _};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tenure_core::lease::{Epoch, Lease, LeaseKey};
use tenure_core::name::ObjectName;
use tenure_core::objects::{Object, ObjectKind};
use tenure_core::time::WallMs;

use crate::port::{Contents, Revision, Store, StoreError};

/// The format of an export that this version writes, and the newest that it reads.
const FORMAT: u32 = 1;

/// Longest line read, in bytes. An object comes in by a frame of 1 MiB and escapes can make it longer.
const LONGEST_LINE: u64 = 8 * 1024 * 1024;

const HEADER: &str = "TenureExport";
const LEASE: &str = "IPLease";
const TRAILER: &str = "TenureExportEnd";

/// What was exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Exported {
    /// Number of objects.
    pub objects: u64,
    /// Number of leases.
    pub leases: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Header<'a> {
    kind: &'a str,
    format: u32,
    store_id: String,
    epoch: Epoch,
    revision: u64,
    exported_at: String,
}

#[derive(Serialize)]
struct LeaseOut<'a> {
    kind: &'a str,
    lease: &'a Lease,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LeaseIn {
    #[serde(rename = "kind")]
    _kind: String,
    lease: Lease,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trailer {
    kind: String,
    objects: u64,
    leases: u64,
    sha256: String,
}

/// The line as far as every version agrees on it.
#[derive(Deserialize)]
struct Kind {
    kind: String,
    format: Option<u32>,
}

// === export ===

/// Writes all objects and leases to `out` and flushes it. Leases are of one instant; the revision in the
/// header is that of the store just before, so no lease of the export is unknown to who knows it.
///
/// # Errors
/// Those of the store, and [`StoreError::Io`] where `out` failed: what it got is no export then.
pub fn export(
    store: &dyn Store,
    exported_at: WallMs,
    out: &mut dyn io::Write,
) -> Result<Exported, StoreError> {
    let identity = store.identity();
    let mut lines = Lines { out, sum: Sha256::new() };
    lines.write(&Header {
        kind: HEADER,
        format: FORMAT,
        store_id: identity.store_id,
        epoch: identity.epoch,
        revision: identity.revision.0,
        exported_at: exported_at.to_rfc3339(),
    })?;
    let objects = store.objects()?;
    objects.iter().try_for_each(|object| lines.write(object))?;
    let leases = lines.write_leases(store)?;
    let sha256 = HEXLOWER.encode(&lines.sum.clone().finalize());
    let objects = objects.len() as u64;
    lines.write(&Trailer { kind: TRAILER.to_owned(), objects, leases, sha256 })?;
    lines.out.flush().map_err(write_failed)?;
    Ok(Exported { objects, leases })
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
}

fn write_failed(error: io::Error) -> StoreError {
    StoreError::Io { act: "writing the export", why: error.to_string() }
}

// === import ===

/// Reads a whole export and checks it to its last line. Nothing is imported by it.
///
/// # Errors
/// [`StoreError::BadExport`] names the line: checksum, cut end, newer format, unknown line, two records of
/// one address. [`StoreError::Io`] where `input` failed.
pub fn read_export(input: &mut dyn BufRead) -> Result<Contents, StoreError> {
    let mut reader = Reader { input, line: 0, sum: Sha256::new() };
    let first = reader.next()?;
    let header = reader.header(&first)?;
    let mut contents = Contents {
        epoch: header.epoch,
        revision: Revision(header.revision),
        objects: Vec::new(),
        leases: Vec::new(),
    };
    let mut seen = Seen::default();
    loop {
        let before = HEXLOWER.encode(&reader.sum.clone().finalize());
        let line = reader.next()?;
        match reader.parse::<Kind>(&line)?.kind.as_str() {
            LEASE => contents.leases.push(reader.lease(&line, &mut seen)?),
            TRAILER => {
                reader.end(&line, &contents, &before)?;
                return Ok(contents);
            }
            _ => contents.objects.push(reader.object(&line, &mut seen)?),
        }
    }
}

struct Reader<'a> {
    input: &'a mut dyn BufRead,
    line: u64,
    sum: Sha256,
}

#[derive(Default)]
struct Seen {
    leases: HashSet<LeaseKey>,
    objects: HashSet<(ObjectKind, ObjectName)>,
}

impl Reader<'_> {
    /// The next line, with its end.
    fn next(&mut self) -> Result<Vec<u8>, StoreError> {
        self.line = self.line.saturating_add(1);
        let mut line = Vec::new();
        let mut bounded = (&mut *self.input).take(LONGEST_LINE);
        bounded.read_until(b'\n', &mut line).map_err(|error| StoreError::Io {
            act: "reading the export",
            why: error.to_string(),
        })?;
        if line.last() != Some(&b'\n') {
            let long = line.len() as u64 == LONGEST_LINE;
            return Err(self.bad(if long { "it is too long" } else { "the export ends here" }));
        }
        self.sum.update(&line);
        Ok(line)
    }

    fn header<'l>(&self, line: &'l [u8]) -> Result<Header<'l>, StoreError> {
        let Kind { kind, format } = self.parse(line)?;
        match (kind.as_str(), format) {
            (HEADER, Some(FORMAT)) => self.parse(line),
            (HEADER, Some(newer)) if newer > FORMAT => Err(self.bad(format!(
                "format {newer} is newer than {FORMAT}, the newest that this version reads"
            ))),
            _ => Err(self.bad(format!("an export begins with kind {HEADER:?} and its format"))),
        }
    }

    fn lease(&self, line: &[u8], seen: &mut Seen) -> Result<Lease, StoreError> {
        let LeaseIn { lease, .. } = self.parse(line)?;
        if !seen.leases.insert(lease.key()) {
            return Err(self.bad(format!("{} has a lease already", lease.key())));
        }
        Ok(lease)
    }

    fn object(&self, line: &[u8], seen: &mut Seen) -> Result<Object, StoreError> {
        let object: Object = self.parse(line)?;
        if !seen.objects.insert((object.kind(), object.name().clone())) {
            return Err(self.bad(format!("{} {} came already", object.kind(), object.name())));
        }
        Ok(object)
    }

    fn end(&mut self, line: &[u8], contents: &Contents, sum: &str) -> Result<(), StoreError> {
        let trailer: Trailer = self.parse(line)?;
        let counted = (contents.objects.len() as u64, contents.leases.len() as u64);
        if (trailer.objects, trailer.leases) != counted {
            return Err(self.bad("it counts other lines than there are"));
        }
        if trailer.sha256 != sum {
            return Err(self.bad("the checksum is that of another text"));
        }
        match self.input.fill_buf() {
            Ok([]) => Ok(()),
            _ => Err(self.bad("something follows the end")),
        }
    }

    fn parse<'l, T: Deserialize<'l>>(&self, line: &'l [u8]) -> Result<T, StoreError> {
        serde_json::from_slice(line).map_err(|error| self.bad(error))
    }

    fn bad(&self, why: impl std::fmt::Display) -> StoreError {
        StoreError::BadExport { line: self.line, why: why.to_string() }
    }
}

#[cfg(test)]
mod tests;
