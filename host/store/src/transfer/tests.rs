//! What is no whole export is refused, and its line named.

use std::io;

use data_encoding::HEXLOWER;
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use tenure_core::history::{self, Entry};
use tenure_core::time::WallMs;

use super::*;
use crate::arbitrary;
use crate::contract::samples::{lease, nth, pool};
use crate::memory::MemoryStore;
use crate::port::{Contents, History, ImportMode, Revision, Store as _, StoreError, Write};

/// Exports of formats 1 and 2 as they were written. There is nothing to bless: later versions must read these bytes.
const GOLDEN: &str = include_str!("../../golden/export-v1.jsonl");
const GOLDEN_2: &str = include_str!("../../golden/export-v2.jsonl");

const AT: WallMs = WallMs(1_780_000_000_000);

fn on_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

/// One pool and two leases.
fn store() -> MemoryStore {
    let store = MemoryStore::new();
    on_runtime(async {
        store.put_objects(vec![pool("blue", "10.6.0.0/16")]).await.unwrap();
        store.commit(vec![Write::Create(nth(1)), Write::Create(nth(2))]).await.unwrap();
    });
    store
}

/// An export of one pool and two leases: a header, three records and a trailer.
fn text() -> String {
    let mut text = Vec::new();
    let exported = export(&store(), AT, ExportFormat::WithoutHistory, &mut text).unwrap();
    assert_eq!(exported, Exported { objects: 1, leases: 2, events: 0 });
    String::from_utf8(text).unwrap()
}

/// The same with a history of two events behind the leases.
fn whole() -> Vec<String> {
    let mut text = Vec::new();
    let exported = export(&store(), AT, ExportFormat::Whole, &mut text).unwrap();
    assert_eq!(exported, Exported { objects: 1, leases: 2, events: 2 });
    String::from_utf8(text).unwrap().lines().map(|line| format!("{line}\n")).collect()
}

fn lines() -> Vec<String> {
    text().lines().map(|line| format!("{line}\n")).collect()
}

/// The lines with a trailer that is right for them.
fn sealed(lines: &[String], objects: u64, leases: u64) -> String {
    sealed_with(lines, objects, leases, None)
}

fn sealed_with(lines: &[String], objects: u64, leases: u64, events: Option<u64>) -> String {
    let body = lines.concat();
    let sha256 = HEXLOWER.encode(&Sha256::digest(body.as_bytes()));
    let trailer = Trailer { kind: TRAILER.to_owned(), objects, leases, events, sha256 };
    format!("{body}{}\n", serde_json::to_string(&trailer).unwrap())
}

/// Line and reason of the refusal.
fn refusal(text: &str) -> (u64, String) {
    match read_export(&mut text.as_bytes()) {
        Err(StoreError::BadExport { line, why }) => (line, why),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_golden_export_of_format_1_reads_as_what_was_exported() {
    let contents = read_export(&mut GOLDEN.as_bytes()).unwrap();
    assert_eq!(contents.objects, [pool("blue", "10.6.0.0/16")]);
    assert_eq!(contents.leases, [lease("10.6.0.1")]);
    assert_eq!((contents.epoch, contents.revision), (Epoch(1), Revision(2)));
    assert_eq!(contents.history, None);
}

/// What the golden export of format 2 holds.
fn known() -> Contents {
    let released = lease("10.6.0.1").released(AT, tenure_core::lease::Proof::Kernel, 120);
    let event = history::event(Some(&lease("10.6.0.1")), Some(&released), 7, AT).unwrap();
    let gap =
        history::Gap { seq: 8, from: AT, to: AT.plus_secs(60), cause: history::GapCause::NewEpoch };
    Contents {
        epoch: Epoch(2),
        revision: Revision(3),
        objects: vec![pool("blue", "10.6.0.0/16")],
        leases: vec![released],
        history: Some(History { entries: vec![Entry::Event(event), Entry::Gap(gap)], until: AT }),
    }
}

#[test]
fn the_golden_export_of_format_2_reads_as_what_was_exported() {
    assert_eq!(read_export(&mut GOLDEN_2.as_bytes()).unwrap(), known());
}

#[test]
fn the_history_of_the_golden_export_is_still_written_so() {
    for entry in known().history.unwrap().entries {
        let line = serde_json::to_string(&writing::EntryOut { kind: HISTORY, entry: &entry });
        assert!(GOLDEN_2.contains(&format!("{}\n", line.unwrap())), "{entry:?}");
    }
}

#[test]
fn an_event_of_the_history_out_of_turn_is_refused_though_the_checksum_is_right() {
    for (moved, to) in [(4, 6), (5, 4)] {
        let mut lines = whole();
        lines.pop();
        let line = lines.remove(moved);
        lines.insert(to.min(lines.len()), line);
        let (_, why) = refusal(&sealed_with(&lines, 1, 2, Some(2)));
        assert!(why.contains("is out of turn"), "{why}");
    }
}

#[test]
fn a_history_that_is_not_counted_is_refused_and_format_1_has_none() {
    let mut lines = whole();
    lines.pop();
    for events in [None, Some(1), Some(3)] {
        let (_, why) = refusal(&sealed_with(&lines, 1, 2, events));
        assert_eq!(why, "it counts other lines than there are", "{events:?}");
    }
    lines[0] = lines[0].replace("\"format\":2", "\"format\":1");
    assert_eq!(refusal(&sealed(&lines, 1, 2)), (5, "format 1 has no history".to_owned()));
}

#[test]
fn a_history_without_the_time_of_its_export_is_refused() {
    let mut lines = whole();
    lines[0] = lines[0].replace("2026-05-28T20:26:40Z", "lately");
    assert_eq!(refusal(&lines.concat()), (1, "exportedAt is \"lately\"".to_owned()));
}

#[test]
fn the_header_tells_format_store_epoch_revision_and_time() {
    assert_eq!(
        lines()[0],
        "{\"kind\":\"TenureExport\",\"format\":1,\"storeId\":\"memory\",\"epoch\":1,\"revision\":3,\
         \"exportedAt\":\"2026-05-28T20:26:40Z\"}\n"
    );
}

#[test]
fn a_changed_character_is_found_by_the_checksum() {
    let text = text().replacen("checkout", "checkin!", 1);
    assert_eq!(refusal(&text), (5, "the checksum is that of another text".to_owned()));
}

#[test]
fn an_export_cut_anywhere_is_refused() {
    let text = text();
    for length in (0..text.len()).step_by(7).chain([text.len() - 1]) {
        assert!(read_export(&mut &text.as_bytes()[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn a_missing_line_is_found() {
    for missing in 1..4 {
        let mut lines = lines();
        lines.remove(missing);
        assert_eq!(refusal(&lines.concat()).0, 4, "without line {}", missing + 1);
    }
}

#[test]
fn a_newer_format_is_refused_before_anything_else_is_read() {
    let text = text().replace("\"format\":1", "\"format\":3,\"new\":{}");
    let (line, why) = refusal(&text);
    assert!(line == 1 && why.contains("format 3 is newer than 2"), "{why}");
}

#[test]
fn a_line_of_an_unknown_kind_is_refused_though_the_checksum_is_right() {
    let mut lines = lines();
    lines.pop();
    lines.push("{\"kind\":\"IPDream\",\"apiVersion\":\"tenure.dev/v1alpha1\"}\n".to_owned());
    assert_eq!(refusal(&sealed(&lines, 2, 2)).0, 5);
}

#[test]
fn two_records_of_one_address_are_refused() {
    let mut lines = lines();
    lines[3] = lines[2].clone();
    lines.pop();
    let (line, why) = refusal(&sealed(&lines, 1, 2));
    assert!(line == 4 && why.contains("has a lease already"), "{why}");
}

#[test]
fn two_objects_of_one_name_are_refused() {
    let mut lines = lines();
    lines.insert(1, lines[1].clone());
    lines.pop();
    let (line, why) = refusal(&sealed(&lines, 2, 2));
    assert!(line == 3 && why.contains("IPPool blue came already"), "{why}");
}

#[test]
fn something_behind_the_end_is_refused() {
    assert_eq!(refusal(&format!("{}\n", text())), (5, "something follows the end".to_owned()));
}

#[test]
fn wrong_counts_are_refused_though_the_checksum_is_right() {
    let mut lines = lines();
    lines.pop();
    assert_eq!(refusal(&sealed(&lines, 0, 2)).1, "it counts other lines than there are");
}

#[test]
fn a_text_that_is_no_export_is_refused_at_its_first_line() {
    for text in ["", "\n", "hello\n", "{}\n", "{\"kind\":\"IPPool\"}\n"] {
        assert_eq!(refusal(text).0, 1, "{text:?}");
    }
}

#[test]
fn a_line_without_end_is_read_only_to_the_bound() {
    let mut endless = io::BufReader::new(io::repeat(b'x'));
    match read_export(&mut endless) {
        Err(StoreError::BadExport { line: 1, why }) => assert_eq!(why, "it is too long"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_failing_writer_is_reported_as_such() {
    struct Full;
    impl io::Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let failed = export(&MemoryStore::new(), AT, ExportFormat::Whole, &mut Full);
    assert!(matches!(failed, Err(StoreError::Io { .. })), "{failed:?}");
}

proptest! {
    #[test]
    fn every_lease_survives_export_and_import(lease in arbitrary::lease()) {
        let (from, to) = (MemoryStore::new(), MemoryStore::new());
        on_runtime(from.commit(vec![Write::Create(lease.clone())])).unwrap();
        let mut text = Vec::new();
        export(&from, AT, ExportFormat::Whole, &mut text).unwrap();
        let contents = read_export(&mut text.as_slice()).unwrap();
        on_runtime(to.import(contents, ImportMode::IntoEmpty)).unwrap();
        let row = on_runtime(to.get(&lease.key())).unwrap().unwrap();
        prop_assert_eq!(row.lease, lease);
    }
    #[test]
    fn every_entry_of_the_history_survives_export_and_import(entry in arbitrary::entry()) {
        let line = serde_json::to_string(&writing::EntryOut { kind: HISTORY, entry: &entry });
        let lines = [whole().remove(0), format!("{}\n", line.unwrap())];
        let text = sealed_with(&lines, 0, 0, Some(1));
        let contents = read_export(&mut text.as_bytes()).unwrap();
        prop_assert_eq!(contents.history.unwrap().entries, [entry]);
    }
}
