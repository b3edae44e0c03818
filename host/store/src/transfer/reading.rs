//! Import, as far as it is reading.

use std::collections::HashSet;
use std::io::{BufRead, Read as _};

use data_encoding::HEXLOWER;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tenure_core::history::{Entry, HORIZON};
use tenure_core::lease::{Lease, LeaseKey};
use tenure_core::name::ObjectName;
use tenure_core::objects::{Object, ObjectKind};
use tenure_core::time::WallMs;

use super::{ExportFormat, FORMAT, HEADER, HISTORY, Header, LEASE, TRAILER, Trailer};
use crate::port::{Contents, History, Revision, StoreError};

/// Longest line read, in bytes. An object comes in by a frame of 1 MiB and escapes can make it longer.
const LONGEST_LINE: u64 = 8 * 1024 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LeaseIn {
    #[serde(rename = "kind")]
    _kind: String,
    lease: Lease,
}

#[derive(Deserialize)]
struct EntryIn {
    #[serde(flatten)]
    entry: Entry,
}

/// The line as far as every version agrees on it.
#[derive(Deserialize)]
struct Kind {
    kind: String,
    format: Option<u32>,
}

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
        history: reader.history(&header)?,
    };
    let mut seen = Seen::default();
    loop {
        let before = HEXLOWER.encode(&reader.sum.clone().finalize());
        let line = reader.next()?;
        match reader.parse::<Kind>(&line)?.kind.as_str() {
            LEASE => contents.leases.push(reader.lease(&line, &mut seen)?),
            HISTORY => reader.entry(&line, contents.history.as_mut())?,
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
            (HEADER, Some(1..=FORMAT)) => self.parse(line),
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

    /// The history to be filled, if the format has one.
    fn history(&self, header: &Header<'_>) -> Result<Option<History>, StoreError> {
        if header.format == ExportFormat::WithoutHistory.number() {
            return Ok(None);
        }
        let until = WallMs::from_rfc3339(&header.exported_at)
            .ok_or_else(|| self.bad(format!("exportedAt is {:?}", header.exported_at)))?;
        Ok(Some(History { entries: Vec::new(), until }))
    }

    fn entry(&self, line: &[u8], history: Option<&mut History>) -> Result<(), StoreError> {
        let EntryIn { entry } = self.parse(line)?;
        let history = history.ok_or_else(|| self.bad("format 1 has no history"))?;
        let follows = match history.entries.last() {
            // The first number after the oldest ones were dropped is any, with or without a horizon.
            None => entry.seq() != HORIZON || matches!(entry, Entry::Gap(_)),
            Some(last) if last.seq() == HORIZON => entry.seq() > HORIZON,
            Some(last) => last.seq().checked_add(1) == Some(entry.seq()),
        };
        if !follows {
            return Err(self.bad(format!("entry {} of the history is out of turn", entry.seq())));
        }
        history.entries.push(entry);
        Ok(())
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
        let entries = contents.history.as_ref().map(|history| history.entries.len() as u64);
        if (trailer.objects, trailer.leases) != counted || trailer.events != entries {
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
