use super::*;
use crate::address::Families;
use crate::lease::{AttemptId, Epoch, Netns, NodeRef, OwnerKind};
use crate::name::{ContainerId, Digest, IfName, NetworkName, PoolName};

const NOW: WallMs = WallMs(9_999);

pub(super) fn lease(container: &str, at: u64) -> Lease {
    Lease {
        address: "10.0.0.1".parse().unwrap(),
        pool: PoolName::new("p").unwrap(),
        space: SpaceName::default(),
        attachment: Attachment {
            network: NetworkName::new("net").unwrap(),
            container: ContainerId::new(container).unwrap(),
            ifname: IfName::new("eth0").unwrap(),
        },
        owner: Owner { kind: OwnerKind::Pod, uid: "uid".into(), ..Owner::default() },
        node: NodeRef { name: "node".into(), boot: "boot-1".into(), ..NodeRef::default() },
        netns: Some(Netns { cookie: 1, dev: 4, ino: 1, nsid: None }),
        attempt: AttemptId(1),
        families: Families { v4: true, v6: false },
        generation: Generation(1),
        epoch: Epoch(1),
        state: LeaseState::Bound,
        sticky: None,
        tag: 0,
        config: Digest::of(b""),
        decided_by: Vec::new(),
        bound_at: WallMs(at),
        bound_boottime_ms: 0,
        previous: Vec::new(),
    }
}

pub(super) fn quarantined(mut lease: Lease, at: u64, cause: QuarantineCause) -> Lease {
    lease.state = LeaseState::Quarantined { at: WallMs(at), cause };
    lease
}

/// What happened, when, and the containers before and after.
fn told(old: Option<&Lease>, new: Option<&Lease>) -> Option<(What, u64, String)> {
    let HistoryEvent { what, at, before, after, .. } = event(old, new, 1, NOW)?;
    let id = |holder: Option<Holder>| {
        holder.map_or("-".to_owned(), |h| h.attachment.container.to_string())
    };
    Some((what, at.0, format!("{} {}", id(before), id(after))))
}

#[test]
fn each_change_of_holder_is_told_with_who_held_before_and_after() {
    let a = lease("a", 10);
    let free = a.clone().released(WallMs(20), Proof::None, 1);
    let b = lease("b", 30);
    let moved = Lease { node: NodeRef { boot: "boot-2".into(), ..a.node.clone() }, ..b.clone() };
    let unfenced = quarantined(a.clone(), 25, QuarantineCause::Unfenced);
    let wire = quarantined(free.clone(), 26, QuarantineCause::Wire);
    let reclaimed = a.clone().released(WallMs(21), Proof::Kernel, 1);
    let by_proof = What::Reclaimed { proof: Proof::Kernel };
    let quarantine = |cause| What::Quarantined { cause };
    for (old, new, what, at, who) in [
        (None, Some(&a), What::Bound, 10, "- a"),
        (Some(&free), Some(&b), What::Bound, 30, "- b"),
        (Some(&a), Some(&free), What::Released, 20, "a -"),
        (Some(&a), Some(&reclaimed), by_proof, 21, "a -"),
        (Some(&a), Some(&b), What::TakenOver, 30, "a b"),
        (Some(&b), Some(&moved), What::Rebound, 30, "b b"),
        (Some(&a), Some(&unfenced), quarantine(QuarantineCause::Unfenced), 25, "a a"),
        (Some(&free), Some(&wire), quarantine(QuarantineCause::Wire), 26, "- -"),
        (Some(&unfenced), Some(&a), What::Returned, 9_999, "a a"),
        (Some(&unfenced), Some(&free), What::Released, 20, "a -"),
        (Some(&wire), Some(&b), What::Bound, 30, "- b"),
        (Some(&a), None, What::Forgotten, 9_999, "a -"),
    ] {
        assert_eq!(told(old, new), Some((what.clone(), at, who.to_owned())), "{what:?}");
    }
}

#[test]
fn where_the_holder_stays_nothing_is_told() {
    let a = lease("a", 10);
    let again = Lease { generation: Generation(2), attempt: AttemptId(2), ..a.clone() };
    let unseen = Lease { netns: None, ..a.clone() };
    let mut kept = a.clone().released(WallMs(20), Proof::None, 1);
    let free = kept.clone();
    if let LeaseState::Released { keep_until, .. } = &mut kept.state {
        *keep_until = Some(WallMs(90));
    }
    let unfenced = quarantined(a.clone(), 25, QuarantineCause::Unfenced);
    let later = quarantined(a.clone(), 29, QuarantineCause::Unfenced);
    for (old, new) in [
        (Some(&a), Some(&again)),
        (Some(&a), Some(&unseen)),
        (Some(&kept), Some(&free)),
        (Some(&free), None),
        (None, Some(&free)),
        (Some(&unfenced), Some(&later)),
        (None, None),
    ] {
        assert_eq!(told(old, new), None);
    }
}

#[test]
fn a_namespace_that_is_seen_for_the_first_time_is_another_home() {
    let seen = lease("a", 10);
    let blind = Lease { netns: None, ..seen.clone() };
    assert_eq!(told(Some(&blind), Some(&seen)), Some((What::Rebound, 10, "a a".to_owned())));
}

#[test]
fn an_event_survives_json() {
    let wire = quarantined(lease("a", 1), 2, QuarantineCause::Operator("cable".into()));
    let event = event(Some(&lease("a", 1)), Some(&wire), 7, NOW).unwrap();
    let text = serde_json::to_string(&event).unwrap();
    assert!(text.contains("\"what\":\"quarantined\",\"cause\":{\"operator\":\"cable\"}"), "{text}");
    assert_eq!(serde_json::from_str::<HistoryEvent>(&text).unwrap(), event);
}

// === a moment ===

/// The story of an address that `a` held from 100 to 200 and `b` from 300 on.
fn story() -> Story {
    let a = lease("a", 100);
    let free = a.clone().released(WallMs(200), Proof::None, 1);
    let mut b = lease("b", 300);
    b.previous = free.holder_as_past(WallMs(300), "add");
    let steps = [(None, &a), (Some(&a), &free), (Some(&free), &b)];
    let events = (1..).zip(steps).filter_map(|(n, (old, new))| event(old, Some(new), n, NOW));
    let entries: Vec<_> = events.map(Entry::Event).collect();
    let kept = Kept { bound: 10, from: Some(WallMs(100)) };
    Story { entries, kept, record: Some(b) }
}

pub(super) fn gap(seq: u64, from: u64, to: u64, cause: GapCause) -> Entry {
    Entry::Gap(Gap { seq, from: WallMs(from), to: WallMs(to), cause })
}

/// `held a ..200`, `nobody 200..300`, or `unknown`.
fn at(story: &Story, at: u64) -> String {
    let end = |until: Option<WallMs>| until.map_or(String::new(), |until| until.0.to_string());
    match story.held_at(WallMs(at)) {
        HeldAt::Held { holder, until } => {
            format!("held {} {}..{}", holder.attachment.container, holder.since.0, end(until))
        }
        HeldAt::Nobody { since, until, .. } => format!("nobody {}..{}", end(since), end(until)),
        HeldAt::Quarantined { since, until, .. } => {
            format!("quarantined {}..{}", since.0, end(until))
        }
        HeldAt::Unknown(_) => "unknown".to_owned(),
    }
}

#[test]
fn a_hold_begins_with_its_first_moment_and_ends_before_its_last() {
    let story = story();
    for (moment, answer) in [
        (99, "unknown"),
        (100, "held a 100..200"),
        (199, "held a 100..200"),
        (200, "nobody 200..300"),
        (299, "nobody 200..300"),
        (300, "held b 300.."),
        (u64::MAX, "held b 300.."),
    ] {
        assert_eq!(at(&story, moment), answer, "at {moment}");
    }
}

#[test]
fn what_the_bound_dropped_is_told_by_what_came_later_and_by_the_record() {
    let mut story = story();
    story.entries.remove(0);
    story.kept.from = Some(WallMs(200));
    assert_eq!(at(&story, 150), "held a 100..200", "the release tells when the hold began");
    story.entries.clear();
    story.kept.from = Some(WallMs(350));
    assert_eq!(at(&story, 400), "held b 300..", "nothing happened since, so it stood then");
    assert_eq!(at(&story, 340), "held b 300..", "the record tells when the hold began");
    assert_eq!(at(&story, 299), "unknown");
    story.record = None;
    assert_eq!(at(&story, 340), "unknown", "a deleted record is no proof that nobody held it");
    assert_eq!(at(&story, 350), "nobody ..");
}

#[test]
fn without_any_entry_only_the_record_answers() {
    let record = Some(lease("a", 100));
    let mut story = Story { entries: Vec::new(), kept: Kept::default(), record };
    assert_eq!(at(&story, 150), "held a 100..");
    assert_eq!(story.held_at(WallMs(99)), HeldAt::Unknown(Ignorance::NothingKept));
    story.record = None;
    assert_eq!(at(&story, 150), "unknown");
}

#[test]
fn of_a_time_between_an_export_and_its_import_nothing_is_believed() {
    let mut story = story();
    story.entries.push(gap(4, 400, 500, GapCause::Import));
    assert_eq!(at(&story, 399), "held b 300..400", "known to last until the export");
    assert_eq!(at(&story, 400), "unknown", "b may have left, and somebody else come");
    assert_eq!(at(&story, 499), "unknown");
    assert_eq!(at(&story, 500), "held b 300..", "the record that was imported counts again");
}

#[test]
fn of_a_time_that_was_not_recorded_the_records_still_tell() {
    let mut story = story();
    story.entries.insert(2, gap(3, 210, 400, GapCause::Unrecorded));
    story.entries.truncate(3);
    assert_eq!(at(&story, 205), "nobody 200..210", "known until the gap");
    assert_eq!(at(&story, 250), "unknown");
    assert_eq!(at(&story, 350), "held b 300..");
    story.record = Some(lease("c", 390));
    assert_eq!(at(&story, 350), "unknown");
}

#[test]
fn the_end_of_a_stretch_without_events_is_not_taken_for_nobody() {
    let mut story = story();
    story.entries = vec![gap(8, 400, 500, GapCause::Unrecorded)];
    story.kept.from = Some(WallMs(350));
    story.record = None;
    assert_eq!(at(&story, 360), "unknown", "its holder may have left in the gap");
}

#[test]
fn a_clock_that_was_set_back_is_told() {
    let mut story = story();
    for (entry, at) in story.entries.iter_mut().zip([100, 50, 60]) {
        let Entry::Event(event) = entry else { panic!() };
        event.at = WallMs(at);
    }
    assert!(story.came_twice(WallMs(80)) && !story.came_twice(WallMs(101)));
    assert_eq!(at(&story, 80), "held b 300..", "the later of both times that it was 80");
}
