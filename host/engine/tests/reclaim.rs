//! Zombies come back, live addresses never do: I6 to I9, the proof after DEL, GC and the operator's hand.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::net::IpAddr;
use std::time::Duration;

use serde_json::json;
use tenure_core::decision::Verdict;
use tenure_core::error::{Coded as _, Kind};
use tenure_core::lease::{Lease, LeaseState, NodeRef, QuarantineCause};
use tenure_engine::{GcRequest, ReleaseRequest};
use tenure_sim::{Gate, Site, attachment, until};
use tenure_store::{Store as _, Write};

async fn one() -> Site {
    Site::new(&[("p", json!({"cidr": "10.0.0.0/32"}))]).await
}

fn only() -> IpAddr {
    "10.0.0.0".parse().unwrap()
}

async fn view(site: &Site) -> String {
    site.engine.lease("default".parse().unwrap(), only()).await.unwrap().view
}

#[tokio::test]
async fn a_holder_that_died_without_a_del_is_taken_back_after_two_looks_and_the_grace() {
    let site = one().await;
    site.add("c1").await.unwrap();
    site.kernel.end("c1");
    let first = site.engine.sweep().await.unwrap();
    assert!(first.reclaimed.is_empty());
    assert_eq!(first.next, Some(Duration::from_secs(2)));
    site.clock.pass(Duration::from_millis(1_999));
    assert!(site.engine.sweep().await.unwrap().reclaimed.is_empty());
    site.clock.pass(Duration::from_secs(1));
    assert_eq!(site.engine.sweep().await.unwrap().reclaimed.len(), 1);
    assert_eq!(site.add("c2").await.unwrap(), [only()], "proved: the floor of 0 s");
}

#[tokio::test]
async fn a_living_namespace_is_never_taken_back_whatever_the_clock_says() {
    let site = one().await;
    site.add("c1").await.unwrap();
    for _ in 0..10 {
        site.clock.pass(Duration::from_secs(86_400));
        assert_eq!(site.reclaim().await, 0);
    }
}

#[tokio::test]
async fn a_jump_of_the_wall_clock_shortens_no_grace() {
    let site = one().await;
    site.add("c1").await.unwrap();
    site.kernel.end("c1");
    site.engine.sweep().await.unwrap();
    site.clock.jump_wall(3_600_000);
    assert!(site.engine.sweep().await.unwrap().reclaimed.is_empty());
    site.clock.jump_wall(-7_200_000);
    site.clock.pass(Duration::from_secs(3));
    assert_eq!(site.engine.sweep().await.unwrap().reclaimed.len(), 1);
}

#[tokio::test]
async fn a_holder_of_which_the_witness_cannot_tell_is_kept() {
    let site = one().await;
    site.add("c1").await.unwrap();
    let cookie = site.kernel.cookie("c1").unwrap();
    site.kernel.end("c1");
    site.kernel.be_unsure(cookie, true);
    assert_eq!(site.reclaim().await, 0);
    assert_eq!(site.engine.counters().sweeps_silent.get(), 0, "it speaks of all others");
    site.kernel.be_unsure(cookie, false);
    assert_eq!(site.reclaim().await, 1);
}

#[tokio::test]
async fn a_lease_of_another_machine_is_not_judged_by_the_kernel_of_this_one() {
    let mut site = one().await;
    site.add("c1").await.unwrap();
    let lease = site.engine.lease("default".parse().unwrap(), only()).await.unwrap().lease;
    for (n, boot) in ["boot-0", "boot-1"].into_iter().enumerate() {
        let key = lease.key();
        let row = site.store.get(&key).await.unwrap().unwrap();
        let node = NodeRef { agent: "another".into(), boot: boot.into(), ..lease.node.clone() };
        let write = Write::Replace { lease: Lease { node, ..row.lease }, expect: row.revision };
        site.store.commit(vec![write]).await.unwrap();
        site.restart("boot-1");
        if n == 0 {
            site.kernel.end("c1");
        }
        assert_eq!(site.reclaim().await, 0, "{boot}");
    }
}

#[tokio::test]
async fn a_silent_witness_keeps_everything_and_begins_the_grace_anew() {
    let site = one().await;
    site.add("c1").await.unwrap();
    site.kernel.end("c1");
    site.engine.sweep().await.unwrap();
    site.clock.pass(Duration::from_secs(60));
    site.kernel.be_silent(true);
    assert!(site.engine.sweep().await.unwrap().reclaimed.is_empty());
    site.kernel.be_silent(false);
    site.clock.pass(Duration::from_secs(60));
    assert!(site.engine.sweep().await.unwrap().reclaimed.is_empty(), "the series was broken");
    site.clock.pass(Duration::from_secs(60));
    assert_eq!(site.engine.sweep().await.unwrap().reclaimed.len(), 1);
}

#[tokio::test]
async fn a_blind_lease_is_never_reclaimed_in_its_boot_and_is_after_the_next() {
    let mut site = one().await;
    let request = site.request("c1");
    site.kernel.be_silent(true);
    site.add_as(&request).await.unwrap();
    site.kernel.be_silent(false);
    site.kernel.end("c1");
    assert_eq!(site.reclaim().await, 0);
    site.restart("boot-2");
    assert_eq!(site.reclaim().await, 1);
}

#[tokio::test]
async fn a_restart_of_the_daemon_lengthens_a_grace_and_never_shortens_it() {
    let mut site = one().await;
    site.add("c1").await.unwrap();
    site.kernel.end("c1");
    site.engine.sweep().await.unwrap();
    site.clock.pass(Duration::from_secs(60));
    site.restart("boot-1");
    assert!(site.engine.sweep().await.unwrap().reclaimed.is_empty());
    site.clock.pass(Duration::from_secs(2));
    assert_eq!(site.engine.sweep().await.unwrap().reclaimed.len(), 1);
}

#[tokio::test]
async fn a_lease_that_moved_meanwhile_is_not_the_one_that_was_judged() {
    let site = one().await;
    site.add("c1").await.unwrap();
    site.kernel.end("c1");
    site.engine.sweep().await.unwrap();
    site.add("c1").await.unwrap();
    site.clock.pass(Duration::from_secs(60));
    assert_eq!(site.reclaim().await, 0);
}

#[tokio::test]
async fn the_grace_of_the_policy_is_kept_within_the_limits_of_the_pool() {
    let site =
        Site::new(&[("p", json!({"cidr": "10.0.0.0/32", "limits": {"graceMin": "10s"}}))]).await;
    let verdict = *site.policies.verdict.lock();
    *site.policies.verdict.lock() = Verdict { grace: Duration::ZERO, ..verdict };
    site.add("c1").await.unwrap();
    site.kernel.end("c1");
    assert_eq!(site.engine.sweep().await.unwrap().next, Some(Duration::from_secs(10)));
    assert!(site.engine.counters().clamped.get() > 0);
}

#[tokio::test]
async fn a_policy_does_not_cut_a_rest_below_the_floor_of_the_pool() {
    let site = Site::new(&[("p", json!({"cidr": "10.0.0.0/32", "cooldownFloor": "10s"}))]).await;
    let verdict = *site.policies.verdict.lock();
    *site.policies.verdict.lock() = Verdict { cooldown: Duration::ZERO, ..verdict };
    site.add("c1").await.unwrap();
    site.kernel.end("c1");
    assert_eq!(site.reclaim().await, 1);
    assert_eq!(site.add("c2").await.unwrap_err().kind(), Kind::Retry);
    site.clock.pass(Duration::from_secs(10));
    assert_eq!(site.add("c2").await.unwrap(), [only()]);
}

#[tokio::test]
async fn a_holder_that_outlives_its_del_keeps_others_away_until_it_is_off_the_link() {
    let site = one().await;
    site.add("c1").await.unwrap();
    site.kernel.put_on_link("c1", only());
    site.engine.sweep().await.unwrap();
    site.del("c1").await;
    site.clock.pass(Duration::from_secs(1000));
    assert_eq!(site.add("c2").await.unwrap_err().kind(), Kind::Retry, "one more look before reuse");
    assert_eq!(view(&site).await, "lingering");
    site.clock.pass(Duration::from_secs(100_000));
    assert_eq!(site.add("c2").await.unwrap_err().kind(), Kind::Retry);
    site.kernel.take_off_link("c1", only());
    site.engine.sweep().await.unwrap();
    assert_eq!(
        site.add("c2").await.unwrap(),
        [only()],
        "seen on a link before, on none now: proved"
    );
}

#[tokio::test]
async fn an_address_never_seen_on_a_link_needs_the_floor_where_the_namespace_lives() {
    let site = one().await;
    site.add("c1").await.unwrap();
    site.del("c1").await;
    site.engine.sweep().await.unwrap();
    assert_eq!(site.add("c2").await.unwrap_err().kind(), Kind::Retry);
    site.clock.pass(Duration::from_secs(5));
    assert_eq!(site.add("c2").await.unwrap(), [only()]);
}

#[tokio::test]
async fn a_cool_down_holds_across_a_restart() {
    let mut site =
        Site::new(&[("p", json!({"cidr": "10.0.0.0/31", "cooldownFloor": "120s"}))]).await;
    site.add("c1").await.unwrap();
    site.add("c2").await.unwrap();
    for container in ["c1", "c2"] {
        site.del(container).await;
        site.kernel.end(container);
    }
    site.clock.pass(Duration::from_secs(119));
    site.restart("boot-1");
    site.clock.pass(Duration::from_secs(119));
    assert!(site.add("c3").await.is_err());
    site.clock.pass(Duration::from_secs(1));
    assert!(site.add("c3").await.is_ok());
}

fn gc(valid: &[&str], allow_empty: bool) -> GcRequest {
    GcRequest {
        node: None,
        network: attachment("c1").network,
        valid: valid.iter().map(|c| (attachment(c).container, attachment(c).ifname)).collect(),
        allow_empty,
    }
}

#[tokio::test]
async fn gc_frees_what_is_unlisted_old_and_proved_gone_and_reports_the_rest() {
    let site = Site::new(&[("p", json!({"cidr": "10.0.0.0/24"}))]).await;
    for container in ["listed", "alive", "dead"] {
        site.add(container).await.unwrap();
    }
    site.clock.pass(Duration::from_secs(60));
    site.add("young").await.unwrap();
    site.kernel.end("dead");
    site.kernel.end("young");
    let clock = site.clock.clone();
    let passing = tokio::spawn(async move {
        loop {
            clock.pass(Duration::from_millis(20));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let answer = site.engine.gc(gc(&["listed"], false)).await.unwrap();
    passing.abort();
    assert_eq!(answer.released, ["10.0.0.3".parse::<IpAddr>().unwrap()]);
    assert_eq!(answer.kept.len(), 1);
    assert!(answer.kept[0].1.contains("still exists"), "{answer:?}");
    assert_eq!(site.held().await, 3);
}

#[tokio::test]
async fn gc_with_an_empty_list_needs_the_explicit_allowance() {
    let site = one().await;
    assert_eq!(site.engine.gc(gc(&[], false)).await.unwrap_err().code(), "GC_REFUSED");
    site.engine.gc(gc(&[], true)).await.unwrap();
}

fn release(generation: u64, even_if_live: bool) -> ReleaseRequest {
    ReleaseRequest {
        address: only(),
        space: "default".parse().unwrap(),
        generation,
        even_if_live,
        reason: "test".into(),
    }
}

#[tokio::test]
async fn an_operator_cannot_free_a_live_address_by_mistake() {
    let site = one().await;
    site.add("c1").await.unwrap();
    let error = site.engine.release_by_hand(release(2, true), "root").await.unwrap_err();
    assert!(error.to_string().contains("generation 1"), "{error}");
    assert_eq!(view(&site).await, "held");
    let error = site.engine.release_by_hand(release(1, false), "root").await.unwrap_err();
    assert!(error.to_string().contains("--even-if-live"), "{error}");
    site.engine.release_by_hand(release(1, true), "root").await.unwrap();
    assert_eq!(view(&site).await, "quarantined");
    assert!(site.add("c2").await.is_err());
    site.engine.release_by_hand(release(1, true), "root").await.unwrap();
    assert_ne!(view(&site).await, "quarantined");
}

#[tokio::test]
async fn a_live_holder_that_was_let_go_by_hand_keeps_others_away_until_it_is_off_the_link() {
    let site = one().await;
    site.add("c1").await.unwrap();
    site.kernel.put_on_link("c1", only());
    for _ in 0..2 {
        site.engine.release_by_hand(release(1, true), "root").await.unwrap();
    }
    site.clock.pass(Duration::from_secs(100_000));
    assert_eq!(site.add("c2").await.unwrap_err().kind(), Kind::Retry);
    assert_eq!(view(&site).await, "lingering");
    site.kernel.end("c1");
    site.settle().await;
    assert_eq!(site.add("c2").await.unwrap(), [only()]);
    let past = site.engine.lease("default".parse().unwrap(), only()).await.unwrap().lease.previous;
    assert_eq!(&*past[0].ended_by, "operator");
}

#[tokio::test]
async fn a_release_of_a_holder_of_whom_nothing_is_known_ends_in_quarantine_with_who_and_why() {
    let mut site = one().await;
    let request = site.request("c1");
    site.kernel.be_silent(true);
    site.add_as(&request).await.unwrap();
    site.kernel.be_silent(false);
    let quarantined = site.engine.release_by_hand(release(1, false), "uid 7").await.unwrap();
    let cause = QuarantineCause::Operator("uid 7: test".into());
    assert!(
        matches!(&quarantined.lease.state, LeaseState::Quarantined { cause: c, .. } if *c == cause)
    );
    site.clock.pass(Duration::from_secs(100_000));
    assert!(site.add("c2").await.is_err(), "time is no proof");
    site.restart("boot-2");
    assert_eq!(site.reclaim().await, 1, "nothing of an earlier boot lives");
    assert_eq!(site.add("c2").await.unwrap(), [only()]);
}

#[tokio::test]
async fn a_second_release_lets_a_blind_holder_go_on_the_word_of_the_operator() {
    let site = one().await;
    let request = site.request("c1");
    site.kernel.be_silent(true);
    site.add_as(&request).await.unwrap();
    for expected in ["quarantined", "resting"] {
        let view = site.engine.release_by_hand(release(1, false), "root").await.unwrap();
        assert_eq!(view.view, expected);
    }
    assert_eq!(site.add("c2").await.unwrap(), [only()], "his word counts where nobody sees");
}

#[tokio::test]
async fn a_release_of_a_dead_holder_needs_no_quarantine() {
    let site = one().await;
    site.add("c1").await.unwrap();
    site.kernel.end("c1");
    let view = site.engine.release_by_hand(release(1, false), "root").await.unwrap();
    assert_eq!((view.view.as_str(), view.proved), ("resting", false), "the links settle first");
    site.settle().await;
    assert_eq!(site.add("c2").await.unwrap(), [only()]);
}

#[tokio::test]
async fn a_reason_that_is_no_reason_but_a_book_is_refused() {
    let site = one().await;
    site.add("c1").await.unwrap();
    let long = ReleaseRequest { reason: "x".repeat(513), ..release(1, true) };
    let error = site.engine.release_by_hand(long, "root").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert_eq!(view(&site).await, "held");
}

#[tokio::test]
async fn of_more_suspects_than_are_listed_those_with_evidence_come_first_and_the_rest_is_counted() {
    let mut site = Site::new(&[("p", json!({"cidr": "10.0.0.0/16"}))]).await;
    let address = site.add("c1").await.unwrap()[0];
    let lease = site.engine.lease("default".parse().unwrap(), address).await.unwrap().lease;
    let at = |n: u32| IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0100 + n));
    let blind = (0..10_001).map(|n| Lease { address: at(n), netns: None, ..lease.clone() });
    let zombie = Lease { address: at(20_000), ..lease.clone() };
    let writes = blind.chain([zombie]).map(Write::Create).collect();
    site.store.commit(writes).await.unwrap();
    site.restart("boot-1");
    site.kernel.end("c1");
    let suspects = site.engine.suspects().await.unwrap();
    assert_eq!((suspects.listed.len(), suspects.unlisted), (10_000, 3));
    let dead: Vec<_> = suspects.listed.iter().filter(|one| one.grace_s.is_some()).collect();
    assert_eq!(dead.iter().map(|one| one.address).collect::<Vec<_>>(), [address, at(20_000)]);
}

#[tokio::test]
async fn records_of_suspects_are_read_sixteen_at_once_where_the_store_remembers_none() {
    let site = Site::new(&[("p", json!({"cidr": "10.0.0.0/24"}))]).await;
    for n in 0..100 {
        site.add(&format!("c{n}")).await.unwrap();
        site.kernel.end(&format!("c{n}"));
    }
    let store = site.held_store();
    let engine = site.engine_over(store.clone(), "boot-1");
    store.set_gate(Gate::Reads);
    let sweep = tokio::spawn(async move { engine.sweep().await });
    until(|| store.reads_waiting() >= 16).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.reads_waiting(), 16, "I12");
    store.set_gate(Gate::Open);
    assert_eq!(sweep.await.unwrap().unwrap().looked_at, 100);
}

#[tokio::test]
async fn two_thousand_zombies_come_back_in_two_sweeps() {
    let site = Site::new(&[("p", json!({"cidr": "10.0.0.0/16"}))]).await;
    for n in 0..2_000 {
        site.add(&format!("c{n}")).await.unwrap();
        site.kernel.end(&format!("c{n}"));
    }
    assert_eq!(site.reclaim().await, 2_000);
    assert_eq!(site.held().await, 0);
}
