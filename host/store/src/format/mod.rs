//! Format 1: what keys and values look like on disk. Any change here is a new format number, a new
//! module beside [`lease`], and a reader for the old one (invariant I14).
//!
//! ```text
//! lease key    space, 0x00, family (4 or 6), address as 16 bytes, big-endian   -> order by space, then address
//! lease value  1, postcard of LeaseV1 (revision first; space and address stand in the key only)
//! object key   kind (1 pool, 2 reservation, 3 policy), name
//! object value 1, revision as 8 bytes big-endian, JSON
//! entry key    number of the entry of the history
//! entry value  1, 0, length of a lease key, lease key, postcard of EventV1; or 1, 1, postcard of GapV1
//! ```
//!
//! The history was added to format 1 without a new number: a version that does not know it leaves its table as it
//! is, and one that does finds by `meta` that there were writes without it.
//!
//! The domain types are not stored as they are: their serde form is for JSON (tagged enums that postcard
//! cannot read back) and may grow without anybody thinking of old files.

mod history;
mod lease;
mod parts;
mod text;

use std::net::IpAddr;

use tenure_core::address::{Family, from_number};
use tenure_core::lease::LeaseKey;
use tenure_core::name::{ObjectName, SpaceName};
use tenure_core::objects::{Object, ObjectKind};

pub(crate) use self::history::{Wanted, entry_value, left_by, read_entry};
use crate::port::{Revision, Row, StoreError};

/// The newest format that this version reads and the one that it writes.
pub(crate) const FORMAT: u32 = 1;

/// First byte of every value of format 1.
const VALUE_V1: u8 = 1;

/// Ends the space in a key. Space names are DNS labels, so none holds it and no name is a prefix of another's key.
const END_OF_SPACE: u8 = 0;

/// Why bytes are not what they should be. The caller knows the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadValue {
    /// A later version wrote it.
    #[error("value version {0} is newer than {VALUE_V1}")]
    Newer(u8),
    /// It is damaged.
    #[error("{0}")]
    Damaged(String),
}

// === keys ===

/// The key of a lease.
pub(crate) fn lease_key(key: &LeaseKey) -> Vec<u8> {
    let space = key.space.as_str().as_bytes();
    let mut bytes = Vec::with_capacity(space.len().saturating_add(18));
    bytes.extend_from_slice(space);
    bytes.push(END_OF_SPACE);
    bytes.push(key.family().number());
    bytes.extend_from_slice(&key.number().to_be_bytes());
    bytes
}

/// The reverse of [`lease_key`].
pub(crate) fn read_lease_key(bytes: &[u8]) -> Result<LeaseKey, BadValue> {
    let damaged = || BadValue::Damaged(format!("key {bytes:02x?} is none of a lease"));
    let (space, rest) = split_at_end_of_space(bytes).ok_or_else(damaged)?;
    let (&family, number) = rest.split_first().ok_or_else(damaged)?;
    let number = u128::from_be_bytes(number.try_into().map_err(|_| damaged())?);
    let address = address(family, number).ok_or_else(damaged)?;
    let space = std::str::from_utf8(space).map_err(|_| damaged())?;
    Ok(LeaseKey { space: SpaceName::new(space).map_err(|_| damaged())?, address })
}

fn split_at_end_of_space(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == END_OF_SPACE)?;
    Some((bytes.get(..end)?, bytes.get(end.checked_add(1)?..)?))
}

fn address(family: u8, number: u128) -> Option<IpAddr> {
    match family {
        4 if number <= u128::from(u32::MAX) => Some(from_number(Family::V4, number)),
        6 => Some(from_number(Family::V6, number)),
        _ => None,
    }
}

/// The key of an object.
pub(crate) fn object_key(kind: ObjectKind, name: &ObjectName) -> Vec<u8> {
    let number = match kind {
        ObjectKind::IPPool => 1,
        ObjectKind::IPReservation => 2,
        ObjectKind::IPAMPolicy => 3,
    };
    let mut bytes = vec![number];
    bytes.extend_from_slice(name.as_str().as_bytes());
    bytes
}

// === values ===

/// The value of a lease.
pub(crate) fn lease_value(row: &Row) -> Result<Vec<u8>, BadValue> {
    let mut bytes = vec![VALUE_V1];
    lease::write(row, &mut bytes)?;
    Ok(bytes)
}

/// The reverse of [`lease_value`].
pub(crate) fn read_lease(key: &[u8], value: &[u8]) -> Result<Row, BadValue> {
    read_lease_of(read_lease_key(key)?, value)
}

/// The same where the key is known.
pub(crate) fn read_lease_of(key: LeaseKey, value: &[u8]) -> Result<Row, BadValue> {
    lease::read(key, body(value)?)
}

/// The value of an object.
pub(crate) fn object_value(object: &Object, revision: Revision) -> Result<Vec<u8>, BadValue> {
    let mut bytes = vec![VALUE_V1];
    bytes.extend_from_slice(&revision.0.to_be_bytes());
    serde_json::to_writer(&mut bytes, object).map_err(damaged)?;
    Ok(bytes)
}

/// The reverse of [`object_value`]; the key must be the object's own.
pub(crate) fn read_object(key: &[u8], value: &[u8]) -> Result<Object, BadValue> {
    let json = body(value)?
        .split_first_chunk::<8>()
        .map(|(_revision, json)| json)
        .ok_or_else(|| BadValue::Damaged("it is cut off".to_owned()))?;
    let object: Object = serde_json::from_slice(json).map_err(damaged)?;
    if object_key(object.kind(), object.name()) != key {
        return Err(BadValue::Damaged("it stands under the key of another object".to_owned()));
    }
    Ok(object)
}

fn body(value: &[u8]) -> Result<&[u8], BadValue> {
    match value.split_first() {
        Some((&VALUE_V1, body)) => Ok(body),
        Some((&newer, _)) if newer > VALUE_V1 => Err(BadValue::Newer(newer)),
        _ => Err(BadValue::Damaged("it has no version".to_owned())),
    }
}

fn damaged(why: impl std::fmt::Display) -> BadValue {
    BadValue::Damaged(why.to_string())
}

// === impl BadValue ===

impl BadValue {
    /// The error of the port, naming where the bytes stood.
    pub(crate) fn at(self, place: impl Into<String>) -> StoreError {
        match self {
            Self::Newer(found) => {
                StoreError::Newer { found: u32::from(found), known: u32::from(VALUE_V1) }
            }
            Self::Damaged(why) => StoreError::Corrupt { place: place.into(), why },
        }
    }
}

#[cfg(test)]
mod tests;
