use std::collections::BTreeSet;
use std::net::IpAddr;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::address::Families;
use crate::lease::{
    Attachment, AttemptId, Epoch, LeaseState, Netns, NodeRef, Owner, Proof, StickyKey,
};
use crate::name::{ContainerId, Digest, IfName, NetworkName};
use crate::time::WallMs;

fn node(agent: &str, boot: &str) -> NodeRef {
    NodeRef { agent: agent.into(), boot: boot.into(), ..NodeRef::default() }
}

/// A ledger to which the agent of this machine has spoken.
fn heard() -> Ledger {
    let mut ledger = Ledger::new(None);
    ledger.note_agent(&node("agent", "boot-1"), at(0));
    ledger
}

pub(super) fn at(ms: u64) -> Now {
    Now { moment: Moment(ms), wall: WallMs(1_000_000_000_000 + ms) }
}

fn pool(name: &str, spec: serde_json::Value) -> Pool {
    Pool::new(PoolName::new(name).unwrap(), serde_json::from_value(spec).unwrap()).unwrap()
}

fn ledger(specs: &[(&str, serde_json::Value)]) -> Ledger {
    let mut ledger = heard();
    let pools = specs.iter().map(|(name, spec)| pool(name, spec.clone())).collect();
    ledger.configure(pools, &[], at(0));
    ledger
}

pub(super) fn four() -> Ledger {
    ledger(&[("p", json!({"cidr": "10.0.0.0/29", "ranges": ["10.0.0.1-10.0.0.4"]}))])
}

pub(super) fn lease(key: &LeaseKey, container: &str, generation: u64) -> Lease {
    Lease {
        address: key.address,
        pool: PoolName::new("p").unwrap(),
        space: key.space.clone(),
        attachment: Attachment {
            network: NetworkName::new("net").unwrap(),
            container: ContainerId::new(container).unwrap(),
            ifname: IfName::new("eth0").unwrap(),
        },
        owner: Owner::default(),
        node: node("agent", "boot-1"),
        netns: None,
        attempt: AttemptId(1),
        families: Families { v4: true, v6: false },
        generation: Generation(generation),
        epoch: Epoch(1),
        state: LeaseState::Bound,
        sticky: None,
        tag: 0,
        config: Digest::of(b""),
        decided_by: Vec::new(),
        bound_at: WallMs(0),
        bound_boottime_ms: 0,
        previous: Vec::new(),
    }
}

/// Takes the next address and binds it, as an ADD does.
fn bind(ledger: &mut Ledger, want: Want, now: Now) -> Result<Lease, Unavailable> {
    let hold = ledger.reserve(0, want, now)?;
    let generation = hold.prior.map_or(1, |p| p.generation.0 + 1);
    let lease = lease(&hold.key, "c1", generation);
    ledger.apply(&lease, 1, now);
    Ok(lease)
}

fn release(ledger: &mut Ledger, lease: &Lease, rest_s: u32, now: Now) {
    let released = lease.clone().released(now.wall, Proof::None, rest_s);
    ledger.apply(&released, 2, now);
}

#[test]
fn unused_addresses_come_first_and_the_longest_released_next() {
    let mut ledger = four();
    let all: Vec<_> = (0..4).map(|_| bind(&mut ledger, Want::Rested, at(0)).unwrap()).collect();
    let order: Vec<_> = all.iter().map(|l| l.address.to_string()).collect();
    assert_eq!(order, ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]);
    release(&mut ledger, &all[2], 0, at(10));
    release(&mut ledger, &all[0], 0, at(20));
    assert_eq!(bind(&mut ledger, Want::Rested, at(30)).unwrap().address, all[2].address);
    assert_eq!(bind(&mut ledger, Want::Rested, at(30)).unwrap().address, all[0].address);
    assert!(matches!(bind(&mut ledger, Want::Pressed, at(30)), Err(Unavailable::Exhausted { .. })));
}

#[test]
fn a_freed_address_is_the_last_to_be_reused() {
    let mut ledger = four();
    let first = bind(&mut ledger, Want::Rested, at(0)).unwrap();
    release(&mut ledger, &first, 0, at(1));
    for _ in 0..3 {
        assert_ne!(bind(&mut ledger, Want::Rested, at(2)).unwrap().address, first.address);
    }
    assert_eq!(bind(&mut ledger, Want::Rested, at(2)).unwrap().address, first.address);
}

#[test]
fn a_resting_address_is_given_only_under_pressure_and_after_its_floor() {
    let mut ledger = ledger(&[("p", json!({"cidr": "10.0.0.0/32"}))]);
    let only = bind(&mut ledger, Want::Rested, at(0)).unwrap();
    release(&mut ledger, &only, 120, at(1000));
    let reserve = |ledger: &mut Ledger, want, now| {
        ledger.reserve(0, want, at(now)).map(|h| ledger.cancel(h, at(now)))
    };
    assert!(reserve(&mut ledger, Want::Rested, 100_000).is_err());
    let due = |ms| Err(Unavailable::Exhausted { due: Some(Duration::from_millis(ms)) });
    assert_eq!(reserve(&mut ledger, Want::Pressed, 5_999), due(1), "unproved: 5 s");
    assert!(reserve(&mut ledger, Want::Pressed, 6_000).is_ok());
    ledger.note_released(&only.key(), only.generation, AfterRelease::OffLink, at(2_000));
    assert!(reserve(&mut ledger, Want::Pressed, 2_000).is_ok(), "proved: the pool's floor, 0 s");
    assert!(reserve(&mut ledger, Want::Rested, 121_000).is_ok());
}

#[test]
fn a_lingering_address_rests_whatever_the_clock_says() {
    let mut ledger = ledger(&[("p", json!({"cidr": "10.0.0.0/32"}))]);
    let only = bind(&mut ledger, Want::Rested, at(0)).unwrap();
    release(&mut ledger, &only, 1, at(0));
    ledger.note_released(&only.key(), only.generation, AfterRelease::Lingers, at(10));
    let day = 86_400_000;
    assert!(ledger.reserve(0, Want::Pressed, at(day)).is_err());
    assert!(ledger.reserve_exact(&only.key(), For::Policy, at(day)).is_err());
    assert_eq!(ledger.counts(0, at(day)).lingering, 1);
    ledger.note_released(&only.key(), only.generation, AfterRelease::OffLink, at(day));
    assert!(ledger.reserve(0, Want::Pressed, at(day)).is_ok());
}

#[test]
fn an_address_whose_namespace_just_ended_settles_before_it_is_given() {
    let mut ledger = ledger(&[("p", json!({"cidr": "10.0.0.0/32"}))]);
    let only = bind(&mut ledger, Want::Rested, at(0)).unwrap();
    release(&mut ledger, &only, 1, at(0));
    ledger.note_released(&only.key(), only.generation, AfterRelease::Gone, at(5_000));
    assert!(ledger.reserve(0, Want::Pressed, at(5_999)).is_err(), "its links may still answer");
    ledger.note_released(&only.key(), only.generation, AfterRelease::Gone, at(5_500));
    assert!(
        ledger.reserve(0, Want::Pressed, at(6_000)).is_ok(),
        "a second look does not lengthen it"
    );
}

#[test]
fn a_proof_about_an_earlier_hold_says_nothing_of_the_present_one() {
    let mut ledger = ledger(&[("p", json!({"cidr": "10.0.0.0/32"}))]);
    let first = bind(&mut ledger, Want::Rested, at(0)).unwrap();
    release(&mut ledger, &first, 0, at(0));
    let second = bind(&mut ledger, Want::Rested, at(1)).unwrap();
    release(&mut ledger, &second, 120, at(2));
    ledger.note_released(&first.key(), first.generation, AfterRelease::OffLink, at(3));
    assert!(ledger.reserve(0, Want::Pressed, at(4)).is_err(), "the floor without proof holds");
    ledger.note_released(&first.key(), second.generation, AfterRelease::OffLink, at(5));
    assert!(ledger.reserve(0, Want::Pressed, at(6)).is_ok());
}

#[test]
fn a_retained_address_goes_only_to_its_key_or_by_policy() {
    let mut ledger = ledger(&[("p", json!({"cidr": "10.0.0.0/32"}))]);
    let mut only = bind(&mut ledger, Want::Rested, at(0)).unwrap();
    only.sticky = Some(StickyKey { key: "web-0".into(), retain_s: 60 });
    release(&mut ledger, &only, 0, at(0));
    let key = Print::sticky(&only.attachment, Family::V4, "web-0");
    let other = Print::sticky(&only.attachment, Family::V4, "web-1");
    let exact = |ledger: &mut Ledger, whom, ms| {
        ledger.reserve_exact(&only.key(), whom, at(ms)).map(|h| ledger.cancel(h, at(ms)))
    };
    assert!(ledger.reserve(0, Want::Pressed, at(30_000)).is_err());
    assert_eq!(exact(&mut ledger, For::Anyone, 30_000), Err(Unavailable::Retained));
    assert_eq!(exact(&mut ledger, For::Key(other), 30_000), Err(Unavailable::Retained));
    assert!(exact(&mut ledger, For::Key(key), 30_000).is_ok());
    assert_eq!(ledger.of_sticky(key).len(), 1);
    assert!(ledger.reserve(0, Want::Rested, at(60_001)).is_ok(), "retention has ended");
}

#[test]
fn a_cancelled_reservation_leaves_no_trace() {
    let mut ledger = four();
    let first = bind(&mut ledger, Want::Rested, at(0)).unwrap();
    release(&mut ledger, &first, 120, at(0));
    let before = (ledger.counts(0, at(1)), ledger.slot(&first.key()));
    let hold = ledger.reserve_exact(&first.key(), For::Anyone, at(6_000)).unwrap();
    assert_eq!(ledger.counts(0, at(6_000)).held, 1);
    ledger.cancel(hold, at(6_000));
    assert_eq!((ledger.counts(0, at(1)), ledger.slot(&first.key())), before);
}

#[test]
fn a_hold_of_an_earlier_ledger_changes_nothing_in_the_next() {
    let mut before = four();
    let hold = before.reserve(0, Want::Rested, at(0)).unwrap();
    let mut after = Ledger::new(Some(&before));
    let pools = before.pools().cloned().collect();
    after.configure(pools, &[], at(0));
    let bound = bind(&mut after, Want::Rested, at(0)).unwrap();
    assert_eq!(bound.address, hold.key.address);
    after.cancel(hold, at(1));
    assert!(after.slot(&bound.key()).unwrap().is_bound());
}

#[test]
fn a_restart_begins_every_rest_anew() {
    let mut ledger = four();
    let first = bind(&mut ledger, Want::Rested, at(0)).unwrap();
    let released = first.released(at(0).wall, Proof::None, 120);
    let mut again = four();
    again.apply(&released, 2, at(50_000_000));
    assert_eq!(again.counts(0, at(50_000_000)).resting, 1, "wall time does not shorten a rest");
}

#[test]
fn nothing_of_an_earlier_boot_needs_more_proof() {
    let mut ledger = ledger(&[("p", json!({"cidr": "10.0.0.0/32"}))]);
    let mut old = lease(
        &LeaseKey { space: SpaceName::default(), address: "10.0.0.0".parse().unwrap() },
        "c",
        1,
    );
    old.node.boot = "boot-0".into();
    ledger.apply(&old.released(at(0).wall, Proof::None, 120), 1, at(0));
    assert!(ledger.reserve(0, Want::Pressed, at(1)).is_ok());
}

#[test]
fn an_operators_word_is_proof_where_this_kernel_cannot_see_for_itself() {
    let proved = |change: fn(&mut Lease)| {
        let mut ledger = four();
        let mut lease = bind(&mut ledger, Want::Rested, at(0)).unwrap();
        lease.netns = Some(Netns { cookie: 1, dev: 4, ino: 1, nsid: Some(1) });
        change(&mut lease);
        ledger.apply(&lease.clone().released(at(1).wall, Proof::Operator, 120), 2, at(1));
        let slot = ledger.slot(&lease.key()).unwrap();
        matches!(slot.status, Status::Released { proved: Some(_), .. })
    };
    assert!(!proved(|_| ()), "it can: the holder may still be on its link");
    assert!(proved(|lease| lease.netns = None));
    assert!(proved(|lease| lease.node.agent = "another".into()));
    assert!(proved(|lease| lease.node.boot = "boot-0".into()));
}

#[test]
fn a_shrunk_pool_counts_its_held_addresses_apart() {
    let mut ledger = four();
    let held = bind(&mut ledger, Want::Rested, at(0)).unwrap();
    let shrunk = pool("p", json!({"cidr": "10.0.0.0/29", "ranges": ["10.0.0.3-10.0.0.4"]}));
    ledger.configure(vec![shrunk], &[], at(1));
    let counts = ledger.counts(0, at(1));
    assert_eq!((counts.size, counts.free, counts.held, counts.out_of_range), (2, 2, 0, 1));
    release(&mut ledger, &held, 0, at(2));
    assert_eq!(ledger.counts(0, at(2)).out_of_range, 0);
    assert_eq!(ledger.counts(0, at(2)).free, 2, "it does not come back into the pool");
}

#[test]
fn rows_that_no_pool_has_any_more_are_forgotten_after_their_rest() {
    let mut ledger = four();
    let lease = bind(&mut ledger, Want::Rested, at(0)).unwrap();
    release(&mut ledger, &lease, 0, at(0));
    ledger.configure(Vec::new(), &[], at(1));
    let hour = Duration::from_secs(3600);
    assert!(ledger.forgettable(100, hour, Moment(1_000)).is_empty());
    assert_eq!(ledger.forgettable(100, hour, Moment(4_000_000)).len(), 1);
}

#[test]
fn a_hold_that_was_overtaken_is_not_given_back() {
    let mut ledger = four();
    let hold = ledger.reserve(0, Want::Rested, at(0)).unwrap();
    ledger.forget(&hold.key);
    let other = ledger.reserve_exact(&hold.key, For::Anyone, at(0)).unwrap();
    let bound = lease(&other.key, "c2", 1);
    ledger.apply(&bound, 9, at(0));
    ledger.cancel(hold, at(1));
    assert!(ledger.slot(&bound.key()).unwrap().is_bound());
}

#[test]
fn the_same_address_in_two_spaces_is_two_addresses() {
    let mut ledger = ledger(&[
        ("p", json!({"cidr": "10.0.0.0/32"})),
        ("q", json!({"cidr": "10.0.0.0/32", "space": "blue"})),
    ]);
    let a = ledger.reserve(0, Want::Rested, at(0)).unwrap();
    let b = ledger.reserve(1, Want::Rested, at(0)).unwrap();
    assert_eq!(a.key.address, b.key.address);
    assert_ne!(a.key, b.key);
    assert_eq!(ledger.pool_of(&b.key), Some(1));
}

#[test]
fn only_long_rested_rows_above_the_bound_may_be_forgotten() {
    let mut ledger = four();
    let all: Vec<_> = (0..4).map(|_| bind(&mut ledger, Want::Rested, at(0)).unwrap()).collect();
    for (n, lease) in all.iter().enumerate().take(3) {
        release(&mut ledger, lease, 0, at(n as u64));
    }
    let hour = Duration::from_secs(3600);
    ledger.counts(0, at(4_000_000));
    let forgettable = ledger.forgettable(2, hour, Moment(4_000_000));
    assert_eq!(forgettable.iter().map(|(k, _)| k.address).collect::<Vec<_>>(), [all[0].address]);
    assert!(ledger.forgettable(2, hour, Moment(1_000)).is_empty());
}

#[derive(Debug, Clone)]
enum Op {
    Add { pressed: bool },
    AddAndFail,
    Del(usize),
    Prove(usize),
    Linger(usize),
    Silence(usize),
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => any::<bool>().prop_map(|pressed| Op::Add { pressed }),
        1 => Just(Op::AddAndFail),
        3 => any::<usize>().prop_map(Op::Del),
        1 => any::<usize>().prop_map(Op::Prove),
        1 => any::<usize>().prop_map(Op::Linger),
        1 => any::<usize>().prop_map(Op::Silence),
        2 => (1u64..40_000).prop_map(Op::Wait),
    ]
}

proptest! {
    /// I1, I9 and I10 against a naive model, over any history.
    #[test]
    fn no_history_breaks_exclusiveness_rest_or_conservation(ops in proptest::collection::vec(op(), 1..200)) {
        const REST_S: u32 = 30;
        let mut ledger = four();
        let mut now = 0u64;
        let mut held: Vec<Lease> = Vec::new();
        // address -> (released at, proved, lingering)
        let mut resting: std::collections::BTreeMap<IpAddr, (Lease, u64, bool, bool)> = Default::default();
        for op in ops {
            match op {
                Op::Wait(ms) => now += ms,
                Op::Add { pressed } => {
                    let want = if pressed { Want::Pressed } else { Want::Rested };
                    if let Ok(lease) = bind(&mut ledger, want, at(now)) {
                        prop_assert!(held.iter().all(|h| h.address != lease.address), "I1");
                        if let Some((_, since, proved, lingering)) = resting.remove(&lease.address) {
                            let rested = now - since >= u64::from(REST_S) * 1000;
                            let floor = pressed && (proved || now - since >= 5_000);
                            prop_assert!(!lingering && (rested || floor), "I9");
                        }
                        held.push(lease);
                    }
                }
                Op::AddAndFail => {
                    if let Ok(hold) = ledger.reserve(0, Want::Rested, at(now)) {
                        ledger.cancel(hold, at(now));
                    }
                }
                Op::Del(n) if !held.is_empty() => {
                    let lease = held.swap_remove(n % held.len());
                    release(&mut ledger, &lease, REST_S, at(now));
                    resting.insert(lease.address, (lease, now, false, false));
                }
                Op::Prove(n) | Op::Linger(n) | Op::Silence(n) if !resting.is_empty() => {
                    let nth = n % resting.len();
                    let Some((lease, _, proved, lingering)) = resting.values_mut().nth(nth) else { continue };
                    let found = match op {
                        Op::Prove(_) => AfterRelease::OffLink,
                        Op::Linger(_) => AfterRelease::Lingers,
                        _ => AfterRelease::Silent,
                    };
                    match found {
                        AfterRelease::OffLink | AfterRelease::Gone => (*proved, *lingering) = (true, false),
                        AfterRelease::Lingers => *lingering = !*proved,
                        AfterRelease::Silent => {}
                    }
                    ledger.note_released(&lease.key(), lease.generation, found, at(now));
                }
                _ => {}
            }
            let counts = ledger.counts(0, at(now));
            prop_assert!(counts.add_up(), "I10: {counts:?}");
            prop_assert_eq!(counts.held, held.len() as u128);
            let lingering = resting.values().filter(|r| r.3).count() as u128;
            prop_assert_eq!(counts.lingering, lingering);
            let distinct: BTreeSet<_> = held.iter().map(|l| l.address).collect();
            prop_assert_eq!(distinct.len(), held.len(), "I1");
        }
    }
}

#[test]
fn what_an_agent_holds_is_known_from_its_first_word_on() {
    let mut ledger = four();
    let key = ledger.reserve(0, Want::Rested, at(0)).unwrap().key;
    let mut stranger = lease(&key, "c1", 1);
    stranger.node = node("another", "boot-7");
    ledger.apply(&stranger, 1, at(0));
    let home = |ledger: &Ledger| ledger.slot(&key).unwrap().home;
    assert_eq!(home(&ledger), Home::Elsewhere);
    ledger.note_agent(&node("another", "boot-7"), at(1));
    assert_eq!(home(&ledger), Home::Here);
    assert_eq!(*ledger.node(&ledger.slot(&key).unwrap()), stranger.node);
    ledger.note_agent(&node("another", "boot-8"), at(2));
    assert_eq!(home(&ledger), Home::EarlierBoot);
    ledger.note_agent(&node("another", "boot-7"), at(3));
    assert_eq!(home(&ledger), Home::Here, "a namespace of a boot that speaks is asked for");
}

#[test]
fn another_boot_of_an_agent_proves_what_it_has_released() {
    let mut ledger = four();
    let first = bind(&mut ledger, Want::Rested, at(0)).unwrap();
    release(&mut ledger, &first, 0, at(0));
    let early = |ledger: &mut Ledger| {
        let taken = ledger.reserve_exact(&first.key(), For::Anyone, at(1_000));
        taken.map(|hold| ledger.cancel(hold, at(1_000))).is_ok()
    };
    let is_proved = |ledger: &Ledger| {
        matches!(
            ledger.slot(&first.key()).unwrap().status,
            Status::Released { proved: Some(_), .. }
        )
    };
    assert!(!is_proved(&ledger));
    let before = ledger.counts(0, at(1_000));
    ledger.note_agent(&node("agent", "boot-2"), at(1_000));
    assert!(is_proved(&ledger) && early(&mut ledger));
    assert_eq!(ledger.counts(0, at(1_000)), before, "no address came or went");
}

#[test]
fn controls_of_a_probe_are_of_all_nodes_and_of_the_doubtful_one_last() {
    let mut ledger =
        ledger(&[("p", json!({"cidr": "10.0.0.0/28", "ranges": ["10.0.0.1-10.0.0.9"]}))]);
    let mut held = |agent: &str, is_seen: bool| {
        let hold = ledger.reserve(0, Want::Rested, at(0)).unwrap();
        let lease = Lease { node: node(agent, "boot-1"), ..lease(&hold.key, "c1", 1) };
        ledger.apply(&lease, 1, at(0));
        if is_seen {
            ledger.note_seen(&hold.key, Generation(1));
        }
        hold.key
    };
    let away: Vec<_> = (0..3).map(|_| held("away", true)).collect();
    let _near: Vec<_> = [true, true, false].map(|is_seen| held("near", is_seen)).into();
    held("far", true);
    let asked = ledger.slot(&away[0]);
    let controls = |last: Option<&Slot>, limit| {
        let texts = ledger.controls(0, last, limit).into_iter().map(|one| one.to_string());
        texts.collect::<BTreeSet<_>>()
    };
    let set = |last: &[u8]| last.iter().map(|n| format!("10.0.0.{n}")).collect::<BTreeSet<_>>();
    let two = controls(asked.as_ref(), 2);
    assert!(two.contains("10.0.0.7") && two.is_disjoint(&set(&[1, 2, 3])), "{two:?}");
    assert_eq!(controls(asked.as_ref(), 3).len(), 3);
    assert_eq!(controls(None, 9), set(&[1, 2, 3, 4, 5, 7]), "all that were seen, and no other");
}
