//! Ids are most of a lease, and nearly all are hexadecimal: packed they take half the room.

use std::sync::Arc;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

/// Below this a packed form saves nothing worth the second spelling.
const SHORTEST_HEX: usize = 8;

/// Where the dashes of a UUID stand (RFC 9562, section 4).
const DASHES: [usize; 4] = [8, 13, 18, 23];

/// A text in its shortest form. Unpacking gives back exactly the text that was packed: what is spelled
/// in any other way than the usual one (upper case, odd length) stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Text<'a> {
    /// As it is.
    Plain(&'a str),
    /// Lower-case hexadecimal digits, even in number: container and machine ids.
    Hex(Vec<u8>),
    /// A UUID in lower case with dashes.
    Uuid([u8; 16]),
}

/// An agent id: a UUID and a machine id around a `/`, or any other text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum TwoPart<'a> {
    /// No `/` in it.
    One(#[serde(borrow)] Text<'a>),
    /// Before and behind the first `/`.
    Two(#[serde(borrow)] Text<'a>, #[serde(borrow)] Text<'a>),
}

// === impl Text ===

impl<'a> Text<'a> {
    pub(super) fn pack(text: &'a str) -> Self {
        if let Some(bytes) = uuid_bytes(text) {
            return Self::Uuid(bytes);
        }
        match HEXLOWER.decode(text.as_bytes()) {
            Ok(bytes) if text.len() >= SHORTEST_HEX => Self::Hex(bytes),
            _ => Self::Plain(text),
        }
    }

    pub(super) fn unpack(self) -> Arc<str> {
        match self {
            Self::Plain(text) => text.into(),
            Self::Hex(bytes) => HEXLOWER.encode(&bytes).into(),
            Self::Uuid(bytes) => {
                let mut text = HEXLOWER.encode(&bytes);
                DASHES.into_iter().for_each(|at| text.insert(at, '-'));
                text.into()
            }
        }
    }
}

fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    let bytes = text.as_bytes();
    let dashed = bytes.len() == 36 && DASHES.iter().all(|at| bytes.get(*at) == Some(&b'-'));
    // A dash in another place leaves fewer than 32 digits.
    let digits = dashed.then(|| text.replace('-', ""))?;
    HEXLOWER.decode(digits.as_bytes()).ok()?.try_into().ok()
}

// === impl TwoPart ===

impl<'a> TwoPart<'a> {
    pub(super) fn pack(text: &'a str) -> Self {
        match text.split_once('/') {
            Some((head, tail)) => Self::Two(Text::pack(head), Text::pack(tail)),
            None => Self::One(Text::pack(text)),
        }
    }

    pub(super) fn unpack(self) -> Arc<str> {
        match self {
            Self::One(text) => text.unpack(),
            Self::Two(head, tail) => format!("{}/{}", head.unpack(), tail.unpack()).into(),
        }
    }
}
