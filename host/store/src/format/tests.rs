//! The format against its golden file, and there and back for everything the domain admits.

use data_encoding::HEXLOWER;
use proptest::prelude::*;
use tenure_core::lease::Lease;
use tenure_core::name::Digest;

use super::*;
use crate::arbitrary;
use crate::contract::samples::{all_states, key, lease, pool};

/// Key and value of [`known`], as version 1 wrote them. There is nothing to bless: a change of these bytes
/// is a new format with a file of its own.
const GOLDEN: &str = include_str!("../../golden/lease-v1.hex");

fn known() -> Row {
    let mut lease = all_states().into_iter().nth(2).unwrap();
    lease.space = SpaceName::new("red").unwrap();
    Row { lease, revision: Revision(300) }
}

fn golden() -> (Vec<u8>, Vec<u8>) {
    let mut lines = GOLDEN.lines().filter(|line| !line.starts_with('#'));
    let mut next = || HEXLOWER.decode(lines.next().unwrap().as_bytes()).unwrap();
    (next(), next())
}

#[test]
fn the_golden_lease_of_format_1_reads_as_the_lease_that_was_written() {
    let (key, value) = golden();
    assert_eq!(read_lease(&key, &value).unwrap(), known());
}

#[test]
fn format_1_still_writes_the_golden_bytes() {
    let row = known();
    let written = (lease_key(&row.lease.key()), lease_value(&row).unwrap());
    let shown = |(key, value): &(Vec<u8>, Vec<u8>)| {
        format!("{}\n{}", HEXLOWER.encode(key), HEXLOWER.encode(value))
    };
    assert_eq!(shown(&written), shown(&golden()));
}

#[test]
fn a_pod_lease_takes_less_than_300_bytes() {
    let row = |lease: Lease| Row { lease, revision: Revision(1_000_000) };
    let size = |lease| lease_value(&row(lease)).unwrap().len();
    let plain = size(lease("10.6.0.1"));
    assert!(plain < 300, "{plain} bytes");
    let mut decided = lease("10.6.0.1");
    decided.decided_by = [b"a", b"b", b"c"].map(|name| Digest::of(name)).to_vec();
    assert_eq!(size(decided), plain + 96, "a digest takes 32 bytes");
}

#[test]
fn keys_sort_by_space_then_family_then_address() {
    let mut sorted = Vec::new();
    for space in ["a", "a-b", "ab", "b"] {
        for address in ["0.0.0.1", "10.0.0.2", "10.0.0.10", "255.0.0.0", "::1", "fd00::"] {
            let space = SpaceName::new(space).unwrap();
            sorted.push(LeaseKey { space, ..key(address) });
        }
    }
    let keys: Vec<_> = sorted.iter().map(lease_key).collect();
    assert!(keys.is_sorted());
}

#[test]
fn a_newer_value_is_told_from_a_damaged_one() {
    let row = known();
    let key = lease_key(&row.lease.key());
    let mut value = lease_value(&row).unwrap();
    value[0] = 2;
    assert_eq!(read_lease(&key, &value).unwrap_err(), BadValue::Newer(2));
    value[0] = 0;
    assert!(matches!(read_lease(&key, &value).unwrap_err(), BadValue::Damaged(_)));
    assert!(matches!(read_lease(&key, &[]).unwrap_err(), BadValue::Damaged(_)));
}

#[test]
fn a_value_that_is_cut_or_longer_is_damaged() {
    let row = known();
    let key = lease_key(&row.lease.key());
    let value = lease_value(&row).unwrap();
    for length in 0..value.len() {
        assert!(read_lease(&key, &value[..length]).is_err(), "{length} bytes");
    }
    let longer = [&value[..], &[0]].concat();
    assert!(read_lease(&key, &longer).unwrap_err().to_string().contains("too many"));
}

#[test]
fn an_object_under_a_foreign_key_is_damaged() {
    let blue = pool("blue", "10.6.0.0/16");
    let value = object_value(&blue, Revision(3)).unwrap();
    assert_eq!(read_object(&object_key(blue.kind(), blue.name()), &value).unwrap(), blue);
    let foreign = object_key(ObjectKind::IPReservation, blue.name());
    assert!(read_object(&foreign, &value).is_err());
}

proptest! {
    #[test]
    fn every_lease_reads_back_as_it_was_written(lease in arbitrary::lease(), revision: u64) {
        let row = Row { lease, revision: Revision(revision) };
        let (key, value) = (lease_key(&row.lease.key()), lease_value(&row).unwrap());
        prop_assert_eq!(read_lease(&key, &value).unwrap(), row);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(key: Vec<u8>, mut value: Vec<u8>) {
        value.insert(0, VALUE_V1);
        let _ = read_lease(&key, &value);
        let _ = read_lease(&lease_key(&known().lease.key()), &value);
        let _ = read_object(&key, &value);
    }
}
