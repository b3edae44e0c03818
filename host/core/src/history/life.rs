//! Any life of an address, recorded as stores do, and whether the story of it tells what was not so.

use proptest::prelude::*;

use super::tests::{gap, lease, quarantined};
use super::*;
use crate::lease::NodeRef;

#[derive(Debug, Clone, Copy)]
enum Step {
    Add(u8),
    Repeat,
    Move,
    TakeOver(u8),
    Del,
    Reclaim,
    Quarantine,
    Wire,
    Return,
    Forget,
    /// Something happens to another address.
    Elsewhere,
    /// An older version runs from here on, or ours again.
    Recording(bool),
    Export,
    Import,
}

/// A store with one address of interest, and what truly stood there.
struct Life {
    bound: usize,
    now: u64,
    recording: bool,
    /// An import while nothing was recorded.
    missed_epoch: bool,
    boot: u32,
    record: Option<Lease>,
    entries: Vec<Entry>,
    /// When, the record, and the history if the version that exported has one.
    exported: Option<(u64, Option<Lease>, Option<Vec<Entry>>)>,
    /// From when on what truly stood there, by the records that the store had at that time.
    truth: Vec<(u64, Option<Lease>)>,
}

fn step() -> impl Strategy<Value = (Step, u64)> {
    let step = prop_oneof![
        4 => (0..5_u8).prop_map(Step::Add),
        1 => Just(Step::Repeat),
        1 => Just(Step::Move),
        1 => (0..5_u8).prop_map(Step::TakeOver),
        3 => Just(Step::Del),
        1 => Just(Step::Reclaim),
        1 => Just(Step::Quarantine),
        1 => Just(Step::Wire),
        1 => Just(Step::Return),
        1 => Just(Step::Forget),
        2 => Just(Step::Elsewhere),
        1 => any::<bool>().prop_map(Step::Recording),
        1 => Just(Step::Export),
        1 => Just(Step::Import),
    ];
    (step, 0..20_u64)
}

impl Life {
    fn new(bound: usize) -> Self {
        Self {
            bound,
            now: 1_000,
            recording: true,
            missed_epoch: false,
            boot: 1,
            record: None,
            entries: Vec::new(),
            exported: None,
            truth: vec![(0, None)],
        }
    }

    fn take(&mut self, (step, later): (Step, u64)) {
        self.now += later;
        let now = WallMs(self.now);
        let held = self.record.clone().filter(Lease::is_bound);
        let in_quarantine = self.record.clone().filter(|r| !r.is_bound() && !r.is_released());
        let free = held.is_none() && in_quarantine.is_none();
        match (step, held) {
            (Step::Add(n), None) if free => {
                let mut new = lease(&format!("c{n}"), self.now);
                new.node.boot = format!("boot-{}", self.boot).into();
                if let Some(old) = &self.record {
                    new.generation = old.generation.next();
                    new.previous = old.holder_as_past(now, "add");
                }
                self.write(Some(new));
            }
            (Step::Repeat, Some(mut held)) => {
                held.generation = held.generation.next();
                self.write(Some(held));
            }
            (Step::Move, Some(held)) => {
                self.boot += 1;
                let node =
                    NodeRef { boot: format!("boot-{}", self.boot).into(), ..held.node.clone() };
                let previous = held.holder_as_past(now, "rebind");
                self.write(Some(Lease { node, previous, bound_at: now, ..held }));
            }
            (Step::TakeOver(n), Some(held))
                if *held.attachment.container.as_str() != *format!("c{n}") =>
            {
                let previous = held.holder_as_past(now, "takeover");
                self.write(Some(Lease {
                    previous,
                    node: held.node,
                    ..lease(&format!("c{n}"), self.now)
                }));
            }
            (Step::Del, Some(held)) => self.write(Some(held.released(now, Proof::None, 1))),
            (Step::Reclaim, Some(held)) => self.write(Some(held.released(now, Proof::Kernel, 1))),
            (Step::Reclaim, None) if in_quarantine.is_some() => {
                self.write(in_quarantine.map(|row| row.released(now, Proof::Operator, 1)));
            }
            (Step::Quarantine, Some(held)) => {
                self.write(Some(quarantined(held, self.now, QuarantineCause::Unfenced)));
            }
            (Step::Wire, None) if free && self.record.is_some() => {
                let row = self.record.clone().unwrap();
                self.write(Some(quarantined(row, self.now, QuarantineCause::Wire)));
            }
            (Step::Return, None) => {
                if let Some(mut row) = in_quarantine.filter(Lease::has_holder) {
                    row.state = LeaseState::Bound;
                    self.write(Some(row));
                }
            }
            (Step::Forget, None) if free => self.write(None),
            (Step::Elsewhere, _) => {
                let mut other = lease("x", self.now);
                other.address = "10.0.0.2".parse().unwrap();
                self.append(event(None, Some(&other), 0, now));
            }
            (Step::Recording(on), _) => self.record_from_now_on(on),
            (Step::Export, _) => {
                let entries = self.recording.then(|| self.entries.clone());
                self.exported = Some((self.now, self.record.clone(), entries));
            }
            (Step::Import, _) => self.import(),
            _ => {}
        }
    }

    fn write(&mut self, new: Option<Lease>) {
        let event = event(self.record.as_ref(), new.as_ref(), 0, WallMs(self.now));
        self.append(event);
        self.record = new;
        self.truth.push((self.now, self.record.clone()));
    }

    fn append(&mut self, event: Option<HistoryEvent>) {
        let Some(mut event) = event.filter(|_| self.recording) else { return };
        event.seq = 1;
        self.keep(Entry::Event(event));
    }

    /// A version that keeps a history finds at its start that one without it has run.
    fn record_from_now_on(&mut self, on: bool) {
        if on && !self.recording {
            let last = self.entries.last().map_or(0, |entry| entry.at().0);
            let missed = match std::mem::take(&mut self.missed_epoch) {
                true => gap(1, 0, self.now, GapCause::NewEpoch),
                false => gap(1, last, self.now, GapCause::Unrecorded),
            };
            self.keep(missed);
        }
        self.recording = on;
    }

    fn import(&mut self) {
        let Some((at, record, entries)) = self.exported.clone() else { return };
        self.record = record;
        self.truth.push((self.now, self.record.clone()));
        if !self.recording {
            self.missed_epoch = true;
            return;
        }
        let from = if entries.is_some() { at } else { 0 };
        self.entries = entries.unwrap_or_default();
        self.keep(gap(1, from, self.now, GapCause::Import));
    }

    /// As a store does: the oldest go first, and leave their horizon.
    fn keep(&mut self, entry: Entry) {
        self.entries.push(entry);
        let has_horizon = self.entries.first().is_some_and(|entry| entry.seq() == HORIZON);
        while self.entries.len() > self.bound + usize::from(has_horizon) {
            let dropped = self.entries.remove(usize::from(has_horizon));
            if let Some(horizon) = dropped.leaves() {
                self.entries.splice(..usize::from(has_horizon), [Entry::Gap(horizon)]);
                return;
            }
        }
    }

    fn story(&self) -> Story {
        let from = self.entries.iter().find(|entry| entry.seq() != HORIZON).map(Entry::at);
        let ours = |entry: &&Entry| match entry {
            Entry::Event(event) => event.address == lease("a", 0).address,
            Entry::Gap(_) => true,
        };
        Story {
            entries: self.entries.iter().filter(ours).cloned().collect(),
            kept: Kept { bound: self.bound as u64, from },
            record: self.record.clone(),
        }
    }

    /// Who truly held it: container and begin of the hold.
    fn holder_at(&self, at: u64) -> Option<(String, u64)> {
        let (_, record) = self.truth.iter().rev().find(|(from, _)| *from <= at).unwrap();
        let held = record.as_ref().filter(|record| record.has_holder());
        held.map(|lease| (lease.attachment.container.to_string(), lease.bound_at.0))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_life_makes_a_story_tell_what_was_not_so(
        steps in prop::collection::vec(step(), 0..60),
        bound in 1..40_usize,
    ) {
        let mut life = Life::new(bound);
        steps.into_iter().for_each(|step| life.take(step));
        life.record_from_now_on(true);
        let story = life.story();
        for at in 990..=life.now + 1 {
            let truth = life.holder_at(at);
            let (told, until) = match story.held_at(WallMs(at)) {
                HeldAt::Held { holder, until }
                | HeldAt::Quarantined { holder: Some(holder), until, .. } => {
                    (Some((holder.attachment.container.to_string(), holder.since.0)), until)
                }
                HeldAt::Nobody { until, .. } | HeldAt::Quarantined { until, .. } => (None, until),
                HeldAt::Unknown(_) => {
                    let recorded = story.kept.from.is_some_and(|from| from.0 <= at);
                    let excused = story.gaps().next().is_some();
                    prop_assert!(!recorded || excused, "{at} was recorded");
                    continue;
                }
            };
            prop_assert_eq!(&told, &truth, "at {}", at);
            let last = until.map_or(life.now + 1, |until| until.0.saturating_sub(1)).max(at);
            for later in at..=last {
                prop_assert_eq!(&told, &life.holder_at(later), "at {}, told of {}", later, at);
            }
        }
    }
}
