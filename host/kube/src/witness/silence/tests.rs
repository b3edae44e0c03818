//! How silence is counted, by short lists of what happens. Time is in seconds.

use super::*;

const RULES: Rules = Rules { lost: Duration::from_secs(40), close: Duration::from_secs(15) };

/// What happens at a second.
#[derive(Clone, Copy)]
enum At {
    /// A read shows this version; it takes no time.
    Read(u64, u32),
    /// A read shows that there is no lease.
    Absent(u64),
    Heard(u64),
}
use At::{Absent, Heard, Read};

fn lease(version: u32) -> LeaseSeen {
    LeaseSeen::Is { uid: "u".into(), renewed: "t".into(), version: version.to_string() }
}

fn at(second: u64) -> Moment {
    Moment(second * 1000)
}

fn after(events: impl IntoIterator<Item = At>) -> Silence {
    let mut silence = Silence::default();
    let instant = |second| Span { began: at(second), ended: at(second) };
    for event in events {
        match event {
            Read(second, version) => silence.read(lease(version), instant(second), RULES),
            Absent(second) => silence.read(LeaseSeen::Absent, instant(second), RULES),
            Heard(second) => silence.heard(at(second)),
        }
    }
    silence
}

fn state(events: impl IntoIterator<Item = At>, now: u64) -> Quiet {
    after(events).state(at(now), RULES)
}

/// Reads of one version, every five seconds.
fn same(from: u64, to: u64) -> impl Iterator<Item = At> {
    (from..=to).step_by(5).map(|second| Read(second, 1))
}

#[test]
fn who_was_never_read_and_never_heard_is_unclear() {
    assert_eq!(state([], 1000), Quiet::Unclear);
}

#[test]
fn an_agent_is_heard_for_the_lost_time_and_not_longer() {
    assert_eq!(state([Heard(10)], 49), Quiet::Heard);
    assert_eq!(state([Heard(10)], 50), Quiet::Unclear);
}

#[test]
fn both_are_silent_after_the_lost_time_and_not_sooner() {
    assert_eq!(state(same(0, 35), 35), Quiet::Unclear);
    assert_eq!(state(same(0, 40), 40), Quiet::Both);
}

#[test]
fn an_absent_lease_is_as_silent_as_one_that_is_not_renewed() {
    assert_eq!(state((0..=8).map(|n| Absent(n * 5)), 40), Quiet::Both);
    let vanished = same(0, 20).chain((5..=11).map(|n| Absent(n * 5)));
    assert_eq!(state(vanished, 55), Quiet::Agent);
}

#[test]
fn a_lease_that_changes_is_not_silent_whatever_changed() {
    let renewing = (0..=8).map(|n| Read(n * 5, n as u32));
    assert_eq!(state(renewing, 40), Quiet::Agent);
    for changed in [
        LeaseSeen::Is { uid: "v".into(), renewed: "t".into(), version: "1".into() },
        LeaseSeen::Is { uid: "u".into(), renewed: "s".into(), version: "1".into() },
        LeaseSeen::Absent,
    ] {
        let mut silence = after(same(0, 40));
        silence.read(changed, Span { began: at(45), ended: at(45) }, RULES);
        assert_eq!(silence.state(at(45), RULES), Quiet::Agent);
    }
}

#[test]
fn time_between_reads_that_are_far_apart_counts_for_nothing_and_breaks_nothing() {
    let gap = |apart: u64| same(0, 20).chain(same(20 + apart, 40 + apart));
    assert_eq!(state(gap(15), 55), Quiet::Both);
    assert_eq!(state(gap(16), 56), Quiet::Both, "20 and 20 seconds that count");
    assert_eq!(state(gap(16).take(8), 51), Quiet::Unclear);
    assert_eq!(state([Read(0, 1), Read(1000, 1)], 1000), Quiet::Unclear);
}

#[test]
fn a_change_that_shows_after_a_gap_is_a_change() {
    let events = same(0, 40).chain([Read(500, 2)]);
    assert_eq!(state(events, 500), Quiet::Agent);
}

#[test]
fn an_agent_counts_as_silent_only_since_it_was_last_heard() {
    assert_eq!(state(same(0, 60).chain([Heard(60)]), 61), Quiet::Heard);
    let since = |to| same(0, 20).chain([Heard(22)]).chain(same(25, to));
    assert_eq!(state(since(60), 62), Quiet::Unclear, "38 seconds");
    assert_eq!(state(since(65), 65), Quiet::Both);
}

#[test]
fn what_was_established_lapses_when_nothing_is_read_any_more() {
    assert_eq!(state(same(0, 40), 55), Quiet::Both);
    assert_eq!(state(same(0, 40), 56), Quiet::Unclear);
    assert_eq!(state(same(0, 40).chain([Read(60, 1)]), 60), Quiet::Both, "it was not broken");
}

#[test]
fn the_time_that_reads_take_counts_for_nobody() {
    let slow = |second: u64| Span { began: at(second), ended: at(second + 4) };
    let mut silence = Silence::default();
    for n in 0..=8 {
        silence.read(lease(1), slow(n * 5), RULES);
    }
    assert!(silence.both_for(Duration::from_secs(8)));
    assert!(!silence.both_for(Duration::from_secs(9)));
}

#[test]
fn overlapping_reads_count_no_time_twice() {
    let span = |began, ended| Span { began: at(began), ended: at(ended) };
    let mut silence = Silence::default();
    for span in [span(0, 1), span(5, 6), span(4, 7), span(3, 4), span(10, 11)] {
        silence.read(lease(1), span, RULES);
    }
    assert!(silence.both_for(Duration::from_secs(8)));
    assert!(!silence.both_for(Duration::from_secs(9)));
}
