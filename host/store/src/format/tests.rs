//! The format against its golden file, and there and back for everything the domain admits.

use data_encoding::HEXLOWER;
use proptest::prelude::*;
use tenure_core::history::{self, Entry, Gap, GapCause};
use tenure_core::lease::{Lease, LeaseState};
use tenure_core::name::Digest;

use super::*;
use crate::arbitrary;
use crate::contract::samples::{all_states, key, lease, pool};

/// Key and value of [`known`], as version 1 wrote them. There is nothing to bless: a change of these bytes
/// is a new format with a file of its own.
const GOLDEN: &str = include_str!("../../golden/lease-v1.hex");

/// Values of [`known_entries`], as version 1 wrote them.
const GOLDEN_HISTORY: &str = include_str!("../../golden/history-v1.hex");

/// One of each kind of event, and a gap.
fn known_entries() -> Vec<Entry> {
    let [bound, del, reclaimed] = [0, 1, 2].map(|n| all_states().into_iter().nth(n).unwrap());
    let held = |lease: &Lease| Lease { state: LeaseState::Bound, ..lease.clone() };
    let quarantined = all_states().into_iter().nth(7).unwrap();
    let mut other = held(&bound);
    other.attachment.container = tenure_core::name::ContainerId::new("sandbox-2").unwrap();
    other.space = SpaceName::new("red").unwrap();
    let mut moved = Lease { bound_at: bound.bound_at.plus_secs(9), ..bound.clone() };
    moved.node.boot = "another".into();
    let steps = [
        (None, Some(&bound)),
        (Some(&bound), Some(&moved)),
        (Some(&bound), Some(&other)),
        (Some(&held(&del)), Some(&del)),
        (Some(&held(&reclaimed)), Some(&reclaimed)),
        (Some(&held(&quarantined)), Some(&quarantined)),
        (Some(&quarantined), Some(&held(&quarantined))),
        (Some(&bound), None),
    ];
    let now = tenure_core::time::WallMs(1_780_000_200_000);
    let events = steps.into_iter().map(|(old, new)| history::event(old, new, 300, now).unwrap());
    let gap = Gap { seq: 300, from: now, to: now.plus_secs(1), cause: GapCause::Unrecorded };
    events.map(Entry::Event).chain([Entry::Gap(gap)]).collect()
}

fn known() -> Row {
    let mut lease = all_states().into_iter().nth(2).unwrap();
    lease.space = SpaceName::new("red").unwrap();
    Row { lease, revision: Revision(300) }
}

fn bytes_of(golden: &str) -> Vec<Vec<u8>> {
    let lines = golden.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| HEXLOWER.decode(line.as_bytes()).unwrap()).collect()
}

fn golden() -> (Vec<u8>, Vec<u8>) {
    let mut bytes = bytes_of(GOLDEN).into_iter();
    (bytes.next().unwrap(), bytes.next().unwrap())
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
fn the_golden_history_of_format_1_reads_and_is_still_written_so() {
    let golden = bytes_of(GOLDEN_HISTORY);
    let read: Vec<_> = golden.iter().map(|value| read_entry(300, value).unwrap()).collect();
    assert_eq!(read, known_entries());
    let written: Vec<_> = read.iter().map(|e| HEXLOWER.encode(&entry_value(e).unwrap())).collect();
    assert_eq!(written, golden.iter().map(|value| HEXLOWER.encode(value)).collect::<Vec<_>>());
}

#[test]
fn an_event_takes_less_than_200_bytes_and_one_that_keeps_the_holder_no_more() {
    for entry in known_entries() {
        let size = entry_value(&entry).unwrap().len();
        let two_holders = matches!(&entry, Entry::Event(event) if event.before != event.after
            && event.before.is_some() && event.after.is_some());
        assert!(size < if two_holders { 300 } else { 200 }, "{size} bytes: {entry:?}");
    }
}

#[test]
fn an_address_is_told_from_others_without_reading_them() {
    for entry in known_entries() {
        let value = entry_value(&entry).unwrap();
        let Entry::Event(event) = &entry else {
            assert!(Wanted::of(Some(&key("10.6.0.9"))).unwrap().is(&value), "a gap concerns all");
            continue;
        };
        assert!(
            Wanted::of(None).unwrap().is(&value)
                && Wanted::of(Some(&event.key())).unwrap().is(&value)
        );
        let longer = LeaseKey { space: SpaceName::new("defaults").unwrap(), ..event.key() };
        for other in [key("10.6.0.9"), longer] {
            assert!(!Wanted::of(Some(&other)).unwrap().is(&value), "{other}");
        }
    }
}

#[test]
fn a_newer_entry_is_told_from_a_damaged_one_and_no_question_passes_it_over() {
    let mut value = entry_value(&known_entries()[0]).unwrap();
    value[0] = 2;
    assert_eq!(read_entry(1, &value).unwrap_err(), BadValue::Newer(2));
    assert!(Wanted::of(Some(&key("10.6.0.9"))).unwrap().is(&value));
    value[..2].copy_from_slice(&[1, 9]);
    assert_eq!(read_entry(1, &value).unwrap_err().to_string(), "9 is no kind of entry");
}

#[test]
fn an_entry_that_is_cut_or_longer_is_damaged() {
    for entry in known_entries() {
        let value = entry_value(&entry).unwrap();
        for length in 0..value.len() {
            assert!(read_entry(1, &value[..length]).is_err(), "{length} bytes of {entry:?}");
        }
        let longer = [&value[..], &[0]].concat();
        assert!(read_entry(1, &longer).unwrap_err().to_string().contains("too many"));
    }
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
    fn every_entry_reads_back_as_it_was_written(entry in arbitrary::entry()) {
        prop_assert_eq!(read_entry(entry.seq(), &entry_value(&entry).unwrap()).unwrap(), entry);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(key: Vec<u8>, mut value: Vec<u8>) {
        value.insert(0, VALUE_V1);
        let _ = read_lease(&key, &value);
        let _ = read_lease(&lease_key(&known().lease.key()), &value);
        let _ = read_object(&key, &value);
        let _ = read_entry(1, &value);
        value.splice(1..1, [0, 26].into_iter().chain(lease_key(&known().lease.key())));
        let _ = read_entry(1, &value);
    }
}
