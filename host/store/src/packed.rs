//! A row in few bytes, for a store that remembers many: the form that redb has on disk, a third of the record in memory.

use tenure_core::lease::LeaseKey;

use crate::format;
use crate::port::{Revision, Row};

/// A row as bytes. Equal rows are equal bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The version that it is.
    pub revision: Revision,
    bytes: Box<[u8]>,
}

impl Packed {
    /// None for a row that no store on disk would take.
    #[must_use]
    pub fn of(row: &Row) -> Option<Self> {
        let bytes = format::lease_value(row).ok()?.into_boxed_slice();
        Some(Self { revision: row.revision, bytes })
    }

    /// The row again; `key` is its own.
    #[must_use]
    pub fn row(&self, key: &LeaseKey) -> Option<Row> {
        format::read_lease_of(key.clone(), &self.bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::arbitrary::lease;

    proptest! {
        #[test]
        fn what_was_packed_comes_out_as_it_was(lease in lease(), revision in any::<u64>()) {
            let row = Row { lease, revision: Revision(revision) };
            let packed = Packed::of(&row).unwrap();
            prop_assert_eq!(packed.revision, row.revision);
            prop_assert_eq!(packed.row(&row.lease.key()), Some(row));
        }
    }
}
