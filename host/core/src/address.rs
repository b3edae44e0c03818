//! Addresses as numbers. Text is only for the border: two addresses are equal when their bits are.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A set of families, for requests and answers: `v4`, `v6` or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Families {
    /// IPv4 is in the set.
    pub v4: bool,
    /// IPv6 is in the set.
    pub v6: bool,
}

/// An inclusive range of addresses of one family, never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    family: Family,
    first: u128,
    last: u128,
}

/// Why a text is not a range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRange {
    /// Neither an address, `FIRST-LAST` nor a CIDR.
    #[error("{0:?} is neither an address, a range `FIRST-LAST` nor a CIDR")]
    Syntax(String),
    /// Two families in one range.
    #[error("{0:?} mixes IPv4 and IPv6")]
    Mixed(String),
    /// The last address comes before the first.
    #[error("{0:?} ends before it begins")]
    Backwards(String),
}

// === impl Family ===

impl Family {
    /// The family of `address`; a mapped IPv4 address counts as IPv6, because it was written so.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// 32 or 128.
    #[must_use]
    pub fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// 4 or 6, as the policy contract and CNI results count.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::V4 => 4,
            Self::V6 => 6,
        }
    }

    /// Both, IPv4 first: the order of every answer.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

// === impl Families ===

impl Families {
    /// Whether `family` is in the set.
    #[must_use]
    pub fn has(self, family: Family) -> bool {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }

    /// Adds `family`.
    pub fn insert(&mut self, family: Family) {
        match family {
            Family::V4 => self.v4 = true,
            Family::V6 => self.v6 = true,
        }
    }

    /// The members, IPv4 first.
    pub fn iter(self) -> impl Iterator<Item = Family> {
        Family::ALL.into_iter().filter(move |f| self.has(*f))
    }

    /// Bit 0 IPv4, bit 1 IPv6, as in the policy contract.
    #[must_use]
    pub fn bits(self) -> u32 {
        u32::from(self.v4) | u32::from(self.v6) << 1
    }

    /// No family at all.
    #[must_use]
    pub fn is_empty(self) -> bool {
        !self.v4 && !self.v6
    }
}

impl FromIterator<Family> for Families {
    fn from_iter<T: IntoIterator<Item = Family>>(iter: T) -> Self {
        let mut set = Self::default();
        for family in iter {
            set.insert(family);
        }
        set
    }
}

// === numbers ===

/// The address as a number within its family.
#[must_use]
pub fn to_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(a) => u128::from(a.to_bits()),
        IpAddr::V6(a) => a.to_bits(),
    }
}

/// The number as an address of `family`; for IPv4 the low 32 bits count.
#[must_use]
pub fn from_number(family: Family, number: u128) -> IpAddr {
    match family {
        #[expect(clippy::cast_possible_truncation, reason = "documented: the low 32 bits count")]
        Family::V4 => IpAddr::V4(Ipv4Addr::from_bits(number as u32)),
        Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(number)),
    }
}

// === impl Range ===

impl Range {
    /// Both ends belong to the range.
    ///
    /// # Errors
    /// [`BadRange`] when the families differ or the range ends before it begins.
    pub fn new(first: IpAddr, last: IpAddr) -> Result<Self, BadRange> {
        let shown = || format!("{first}-{last}");
        if Family::of(first) != Family::of(last) {
            return Err(BadRange::Mixed(shown()));
        }
        if to_number(first) > to_number(last) {
            return Err(BadRange::Backwards(shown()));
        }
        Ok(Self { family: Family::of(first), first: to_number(first), last: to_number(last) })
    }

    /// Parses an address, `FIRST-LAST` or a CIDR (all its addresses, host bits of the base ignored).
    ///
    /// # Errors
    /// [`BadRange`] naming the text.
    pub fn parse(text: &str) -> Result<Self, BadRange> {
        let syntax = || BadRange::Syntax(text.chars().take(100).collect());
        if let Some((first, last)) = text.split_once('-') {
            let first = first.trim().parse().map_err(|_| syntax())?;
            let last = last.trim().parse().map_err(|_| syntax())?;
            return Self::new(first, last);
        }
        if text.contains('/') {
            return text.parse::<IpNet>().map(Self::from).map_err(|_| syntax());
        }
        let only: IpAddr = text.trim().parse().map_err(|_| syntax())?;
        Self::new(only, only)
    }

    /// The family of both ends.
    #[must_use]
    pub fn family(self) -> Family {
        self.family
    }

    /// The first address as a number.
    #[must_use]
    pub fn first(self) -> u128 {
        self.first
    }

    /// The last address as a number; it belongs to the range.
    #[must_use]
    pub fn last(self) -> u128 {
        self.last
    }

    /// Whether `address` lies in the range.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        Family::of(address) == self.family && (self.first..=self.last).contains(&to_number(address))
    }

    /// Whether `other` lies in the range with both ends.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.family == other.family && self.first <= other.first && other.last <= self.last
    }

    /// Whether the two share an address.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.family == other.family && self.first <= other.last && other.first <= self.last
    }
}

impl From<IpNet> for Range {
    fn from(net: IpNet) -> Self {
        Self {
            family: Family::of(net.addr()),
            first: to_number(net.network()),
            last: to_number(net.broadcast()),
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = from_number(self.family, self.first);
        if self.first == self.last {
            return write!(f, "{first}");
        }
        write!(f, "{first}-{}", from_number(self.family, self.last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_parse_as_address_range_and_cidr() {
        let range = |t| Range::parse(t).unwrap().to_string();
        assert_eq!(range("10.0.0.7"), "10.0.0.7");
        assert_eq!(range("10.0.0.7-10.0.0.9"), "10.0.0.7-10.0.0.9");
        assert_eq!(range("10.0.0.0/30"), "10.0.0.0-10.0.0.3");
        assert_eq!(range("fd00::/126"), "fd00::-fd00::3");
        assert!(matches!(Range::parse("10.0.0.9-10.0.0.7"), Err(BadRange::Backwards(_))));
        assert!(matches!(Range::parse("10.0.0.9-fd00::1"), Err(BadRange::Mixed(_))));
        assert!(matches!(Range::parse("ten"), Err(BadRange::Syntax(_))));
    }

    #[test]
    fn numbers_and_addresses_are_two_views_of_the_same_bits() {
        for text in ["0.0.0.0", "255.255.255.255", "::", "fd00::1", "ffff::ffff"] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(from_number(Family::of(address), to_number(address)), address);
        }
    }
}
