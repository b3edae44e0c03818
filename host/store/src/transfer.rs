//! Export and import as JSON lines: the second line of defence and the door out.
//!
//! ```text
//! {"kind":"TenureExport","format":2,"storeId":"…","epoch":1,"revision":42,"exportedAt":"2026-…Z"}
//! {"apiVersion":"tenure.dev/v1alpha1","kind":"IPPool","metadata":{…},"spec":{…}}           any number
//! {"kind":"IPLease","lease":{"address":"10.6.1.7","pool":"blue-v4",…}}                     any number
//! {"kind":"TenureHistory","event":{"seq":7,"at":1780000000000,"address":"10.6.1.7",…}}     any number, or
//! {"kind":"TenureHistory","gap":{"seq":8,"from":1780000000000,"to":1780000009000,…}}
//! {"kind":"TenureExportEnd","objects":1,"leases":1,"events":2,"sha256":"…"}                of all lines before
//! ```
//!
//! Format 1 is the same without history; whoever has an older version to import it asks for that one.
//!
//! Guarantees: [`read_export`] answers a whole export or an error, so that [`Store::import`](crate::Store::import) gets all or nothing.

mod reading;
#[cfg(test)]
mod tests;
mod writing;

use serde::{Deserialize, Serialize};
use tenure_core::lease::Epoch;

pub use reading::read_export;
pub use writing::export;

/// The newest format that this version reads.
const FORMAT: u32 = 2;

const HEADER: &str = "TenureExport";
const LEASE: &str = "IPLease";
const HISTORY: &str = "TenureHistory";
const TRAILER: &str = "TenureExportEnd";

/// What an export holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExportFormat {
    /// Objects and leases: format 1, which every version reads.
    WithoutHistory,
    /// The history, too: format 2.
    #[default]
    Whole,
}

/// What was exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Exported {
    /// Number of objects.
    pub objects: u64,
    /// Number of leases.
    pub leases: u64,
    /// Number of entries of the history.
    pub events: u64,
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

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trailer {
    kind: String,
    objects: u64,
    leases: u64,
    /// None in format 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    events: Option<u64>,
    sha256: String,
}

// === impl ExportFormat ===

impl ExportFormat {
    fn number(self) -> u32 {
        match self {
            Self::WithoutHistory => 1,
            Self::Whole => 2,
        }
    }
}
