//! ADD, DEL, CHECK and their repetition: I1 to I5.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tenure_core::decision::{Affinity, IfHeld};
use tenure_core::error::{Coded as _, Kind};
use tenure_core::name::{Digest, NetworkName};
use tenure_engine::{
    Caller, CheckRequest, DelRequest, EngineError, FixedAddress, NetnsRef, SpoolInstant,
};
use tenure_sim::{Site, attachment, names, pod};
use tenure_store::{Fault, Store as _};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

async fn dual(v4: &str, v6: &str) -> Site {
    Site::new(&[("a-v4", json!({"cidr": v4})), ("b-v6", json!({"cidr": v6}))]).await
}

#[tokio::test]
async fn both_families_are_answered_ipv4_first() {
    let site = dual("10.0.0.0/24", "fd00::/64").await;
    assert_eq!(site.add("c1").await.unwrap(), [ip("10.0.0.1"), ip("fd00::1")]);
}

#[tokio::test]
async fn the_same_add_gets_the_same_answer_and_no_second_lease() {
    let site = dual("10.0.0.0/24", "fd00::/64").await;
    let first = site.add("c1").await.unwrap();
    assert_eq!(site.add("c1").await.unwrap(), first);
    assert_eq!(site.held().await, 2);
    assert_eq!(site.engine.counters().adds_repeated.get(), 1);
}

#[tokio::test]
async fn sixteen_equal_adds_at_once_get_one_answer() {
    let site = Arc::new(dual("10.0.0.0/24", "fd00::/64").await);
    site.request("c1");
    let adds: Vec<_> = (0..14)
        .map(|_| {
            let site = site.clone();
            tokio::spawn(async move { site.add("c1").await.unwrap() })
        })
        .collect();
    let mut answers = BTreeSet::new();
    for add in adds {
        answers.insert(add.await.unwrap());
    }
    assert_eq!((answers.len(), site.held().await), (1, 2));
}

#[tokio::test]
async fn another_configuration_of_the_same_attachment_is_refused_and_changes_nothing() {
    let site = dual("10.0.0.0/24", "fd00::/64").await;
    let first = site.add("c1").await.unwrap();
    let mut changed = site.request("c1");
    changed.config = Digest::of(b"other");
    let error = site.add_as(&changed).await.unwrap_err();
    assert_eq!(error.code(), "CONFIG_CHANGED");
    assert!(error.to_string().contains("10.0.0.1"), "{error}");
    assert_eq!(site.add("c1").await.unwrap(), first);
}

#[tokio::test]
async fn one_full_family_gives_nothing_at_all() {
    let site = dual("10.0.0.0/24", "fd00::/128").await;
    site.add("c1").await.unwrap();
    let error = site.add("c2").await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("POOL_EXHAUSTED", Kind::Retry));
    assert!(error.to_string().contains("pool b-v6"), "{error}");
    assert_eq!(site.held().await, 2, "I3: the IPv4 address went back");
}

#[tokio::test]
async fn two_interfaces_of_one_container_get_two_addresses() {
    let site = Site::new(&[("p", json!({"cidr": "10.0.0.0/24"}))]).await;
    let first = site.request("c1");
    let mut second = first.clone();
    second.attachment.ifname = "net1".parse().unwrap();
    assert_ne!(site.add_as(&first).await.unwrap(), site.add_as(&second).await.unwrap());
}

#[tokio::test]
async fn named_pools_fall_back_in_their_order() {
    let site = Site::new(&[
        ("a", json!({"cidr": "10.0.0.0/32"})),
        ("b", json!({"cidr": "10.0.1.0/32"})),
        ("c", json!({"cidr": "10.0.2.0/24"})),
    ])
    .await;
    let mut got = Vec::new();
    for container in ["c1", "c2", "c3"] {
        let mut request = site.request(container);
        request.pools = names(&["b", "a"]);
        got.push(
            site.add_as(&request).await.map(|a| a[0].to_string()).map_err(|e| e.code().to_owned()),
        );
    }
    assert_eq!(got, [Ok("10.0.1.0".into()), Ok("10.0.0.0".into()), Err("POOL_EXHAUSTED".into())]);
    let mut request = site.request("c4");
    request.pools = names(&["nope"]);
    assert_eq!(site.add_as(&request).await.unwrap_err().code(), "UNKNOWN_POOL");
}

#[tokio::test]
async fn a_network_that_no_pool_serves_is_told_why() {
    let site = Site::new(&[("a", json!({"cidr": "10.0.0.0/24", "networks": ["other"]}))]).await;
    let error = site.add("c1").await.unwrap_err();
    assert!(error.to_string().contains("network net: pool a does not serve"), "{error}");
}

#[tokio::test]
async fn a_policy_that_denies_is_named_with_its_reason() {
    let site = Site::new(&[("a", json!({"cidr": "10.0.0.0/24"}))]).await;
    *site.policies.deny.lock() = Some("namespace shop may have none".into());
    let error = site.add("c1").await.unwrap_err();
    assert!(error.to_string().contains("namespace shop may have none"), "{error}");
    assert_eq!(site.held().await, 0);
}

#[tokio::test]
async fn del_succeeds_any_number_of_times_and_frees_only_its_own() {
    let site = dual("10.0.0.0/24", "fd00::/64").await;
    site.del("c1").await;
    site.add("c1").await.unwrap();
    site.add("c2").await.unwrap();
    site.del("c1").await;
    site.del("c1").await;
    assert_eq!(site.held().await, 2);
    assert!(
        site.add("c1").await.unwrap()[0] > ip("10.0.0.2"),
        "a freed address is the last to be reused"
    );
}

#[tokio::test]
async fn an_exactly_sized_pool_serves_every_caller_and_all_of_them_again() {
    const SIZE: usize = 250;
    let ranges = |from: &str, to: &str| json!([format!("{from}-{to}")]);
    let site = Arc::new(
        Site::new(&[
            ("a", json!({"cidr": "10.0.0.0/16", "ranges": ranges("10.0.1.1", "10.0.1.250")})),
            ("b", json!({"cidr": "fd00::/64", "ranges": ranges("fd00::1", "fd00::fa")})),
        ])
        .await,
    );
    for round in 0..2 {
        let adds: Vec<_> = (0..SIZE)
            .map(|n| {
                let site = site.clone();
                tokio::spawn(async move { site.add(&format!("c{round}-{n}")).await.unwrap() })
            })
            .collect();
        let mut all = BTreeSet::new();
        for add in adds {
            all.extend(add.await.unwrap());
        }
        assert_eq!(all.len(), 2 * SIZE);
        assert_eq!(site.add(&format!("c{round}-more")).await.unwrap_err().code(), "POOL_EXHAUSTED");
        for n in 0..SIZE {
            site.del(&format!("c{round}-{n}")).await;
            site.kernel.end(&format!("c{round}-{n}"));
        }
        assert_eq!(site.held().await, 0);
        site.settle().await;
    }
}

#[tokio::test]
async fn a_new_namespace_moves_the_lease_and_raises_its_generation() {
    let site = dual("10.0.0.0/24", "fd00::/64").await;
    let first = site.add("c1").await.unwrap();
    site.kernel.end("c1");
    assert_eq!(site.add("c1").await.unwrap(), first);
    let lease = site.engine.lease("default".parse().unwrap(), first[0]).await.unwrap().lease;
    assert_eq!(lease.generation.0, 2);
    assert_eq!(lease.netns.unwrap().cookie, site.kernel.make("c1"));
    assert_eq!(lease.previous[0].ended_by.as_ref(), "rebind");
}

#[tokio::test]
async fn a_re_add_after_a_reboot_keeps_the_address_and_notes_the_new_boot() {
    let mut site = dual("10.0.0.0/24", "fd00::/64").await;
    let first = site.add("c1").await.unwrap();
    site.kernel.reboot();
    site.restart("boot-2");
    assert_eq!(site.add("c1").await.unwrap(), first);
    let lease = site.engine.lease("default".parse().unwrap(), first[0]).await.unwrap().lease;
    assert_eq!((&*lease.node.boot, lease.generation.0), ("boot-2", 2));
    assert_eq!(site.reclaim().await, 0, "the re-bound lease is not one of the old boot");
}

#[tokio::test]
async fn a_reboot_allows_another_configuration_of_the_same_attachment() {
    let mut site = dual("10.0.0.0/24", "fd00::/64").await;
    site.add("c1").await.unwrap();
    site.kernel.reboot();
    site.restart("boot-2");
    let mut changed = site.request("c1");
    changed.config = Digest::of(b"other");
    site.add_as(&changed).await.unwrap();
    assert_eq!(site.held().await, 2);
}

#[tokio::test]
async fn a_new_container_of_the_same_pod_takes_over_only_when_the_old_one_is_gone() {
    let site = dual("10.0.0.0/24", "fd00::/64").await;
    let of = |container: &str| {
        let mut request = site.request(container);
        request.owner = pod("web-0", "uid-1");
        request
    };
    let first = site.add_as(&of("c1")).await.unwrap();
    assert_ne!(site.add_as(&of("c2")).await.unwrap(), first, "the old one still lives");
    site.del("c2").await;
    site.kernel.end("c1");
    assert_eq!(site.add_as(&of("c3")).await.unwrap(), first);
    site.del("c1").await;
    assert_eq!(
        site.held().await,
        2,
        "a late DEL of the old container frees nothing of the new one"
    );
}

#[tokio::test]
async fn the_same_pod_name_with_another_uid_is_another_holder() {
    let site = Site::new(&[("p", json!({"cidr": "10.0.0.0/24"}))]).await;
    let of = |container: &str, uid: &str| {
        let mut request = site.request(container);
        request.owner = pod("web-0", uid);
        request
    };
    let first = site.add_as(&of("c1", "uid-1")).await.unwrap();
    site.kernel.end("c1");
    assert_ne!(site.add_as(&of("c2", "uid-2")).await.unwrap(), first);
    let blank = site.add_as(&of("c3", "")).await.unwrap();
    site.kernel.end("c3");
    assert_ne!(
        site.add_as(&of("c4", "")).await.unwrap(),
        blank,
        "an empty uid is equal to nothing"
    );
}

#[tokio::test]
async fn check_wants_the_lease_and_tolerates_what_later_plugins_added() {
    let site = dual("10.0.0.0/24", "fd00::/64").await;
    let check = |addresses: Vec<IpAddr>| {
        site.engine.check(CheckRequest { attachment: attachment("c1"), node: None, addresses })
    };
    assert_eq!(check(vec![]).await.unwrap_err().code(), "CHECK_FAILED");
    let mut addresses = site.add("c1").await.unwrap();
    addresses.push(ip("192.0.2.7"));
    check(addresses).await.unwrap();
    assert!(check(vec![ip("10.0.0.1")]).await.unwrap_err().to_string().contains("fd00::1"));
}

#[tokio::test]
async fn fixed_addresses_are_given_exactly_or_refused_with_the_reason() {
    let site = Site::new(&[("p", json!({"cidr": "10.0.0.0/24", "exclude": ["10.0.0.9"]}))]).await;
    let fixed = |container: &str, address: &str| {
        let mut request = site.request(container);
        request.fixed = vec![FixedAddress { address: ip(address), prefix: None }];
        request
    };
    assert_eq!(site.add_as(&fixed("c1", "10.0.0.7")).await.unwrap(), [ip("10.0.0.7")]);
    for (address, word) in
        [("10.0.0.7", "another holder"), ("10.0.0.9", "excluded"), ("10.9.0.1", "no pool")]
    {
        let error = site.add_as(&fixed("c2", address)).await.unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
    let mut narrow = fixed("c2", "10.0.0.8");
    narrow.fixed[0].prefix = Some(16);
    assert!(site.add_as(&narrow).await.unwrap_err().to_string().contains("10.0.0.0/24"));
    assert!(site.add_as(&fixed("c2", "fd00::1")).await.unwrap_err().to_string().contains("IPv6"));
}

#[tokio::test]
async fn an_address_of_another_space_is_not_reused_in_the_space_of_the_pool() {
    let pool = |space: &str, network: &str| json!({"cidr": "10.0.0.0/24", "cooldown": "0s", "space": space, "networks": [network]});
    let site = Site::new(&[("p", pool("default", "net")), ("q", pool("blue", "blue"))]).await;
    let of_pod = |container: &str| {
        let mut request = site.request(container);
        request.owner = pod("web-0", "uid");
        request
    };
    let mut before = of_pod("c1");
    before.attachment.network = NetworkName::new("blue").unwrap();
    before.fixed = vec![FixedAddress { address: ip("10.0.0.9"), prefix: None }];
    site.add_as(&before).await.unwrap();
    let (attachment, bound_before) = (before.attachment, None);
    site.engine.del(DelRequest { bound_before, ..DelRequest::of(attachment) }).await.unwrap();
    *site.policies.affinity.lock() = Affinity::Reuse(vec![0]);
    assert_ne!(site.add_as(&of_pod("c2")).await.unwrap(), [ip("10.0.0.9")]);
}

#[tokio::test]
async fn a_sticky_key_brings_its_address_back_and_has_one_live_holder() {
    let site = dual("10.0.0.0/24", "fd00::/64").await;
    let sticky = |if_held| Affinity::Sticky {
        key: "web-0".into(),
        if_held,
        retain_s: 600,
        preferred: vec![ip("10.0.0.77")],
    };
    *site.policies.affinity.lock() = sticky(IfHeld::Fail);
    let first = site.add("c1").await.unwrap();
    assert_eq!(first[0], ip("10.0.0.77"));
    assert_eq!(site.add("c2").await.unwrap_err().kind(), Kind::Refused);
    *site.policies.affinity.lock() = sticky(IfHeld::Wait);
    assert_eq!(site.add("c2").await.unwrap_err().kind(), Kind::Retry);
    *site.policies.affinity.lock() = sticky(IfHeld::Other);
    assert_ne!(site.add("c2").await.unwrap(), first);
    site.del("c1").await;
    site.kernel.end("c1");
    site.settle().await;
    *site.policies.affinity.lock() = Affinity::None;
    for n in 0..5 {
        assert_ne!(site.add(&format!("x{n}")).await.unwrap(), first);
    }
    *site.policies.affinity.lock() = sticky(IfHeld::Wait);
    assert_eq!(site.add("c3").await.unwrap(), first);
}

#[tokio::test]
async fn a_caller_that_goes_away_before_the_write_leaves_nothing_behind() {
    let site = Site::new(&[("p", json!({"cidr": "10.0.0.0/32"}))]).await;
    let hold = site.store.hold().await;
    let add = site.engine.add(site.request("c1"));
    assert!(tokio::time::timeout(Duration::from_millis(0), add).await.is_err());
    drop(hold);
    let retry = async {
        loop {
            match site.add("c1").await {
                Ok(addresses) => break addresses,
                Err(error) => assert_eq!(error.kind(), Kind::Retry),
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(tokio::time::timeout(Duration::from_secs(5), retry).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_commit_without_an_answer_is_read_back_before_anything_else() {
    let site = Site::new(&[("p", json!({"cidr": "10.0.0.0/31"}))]).await;
    site.store.fail_commit(1, Fault::UnknownDone);
    let first = site.add("c1").await.unwrap();
    assert_eq!(first, [ip("10.0.0.0")], "the write had happened");
    site.store.fail_commit(1, Fault::UnknownLost);
    assert_eq!(
        site.add("c2").await.unwrap(),
        [ip("10.0.0.1")],
        "it had not: the same address is free again"
    );
    assert_eq!(site.held().await, 2);
}

#[tokio::test]
async fn a_row_that_another_attempt_wrote_is_no_answer_to_this_one() {
    let site = Site::new(&[("p", json!({"cidr": "10.0.0.0/32"}))]).await;
    let only = site.add("c1").await.unwrap();
    site.del("c1").await;
    site.kernel.end("c1");
    site.settle().await;
    site.store.fail_commit(1, Fault::UnknownLost);
    // The row is still that of the old holder. That its end was proved is known in memory only, and forgotten.
    assert_eq!(site.add("c2").await.unwrap_err().kind(), Kind::Retry);
    site.clock.pass(Duration::from_secs(1));
    assert_eq!(site.add("c2").await.unwrap(), only);
}

#[tokio::test]
async fn a_set_of_which_only_a_part_was_written_is_never_answered() {
    let site = dual("10.0.0.0/31", "fd00::/127").await;
    site.store.fail_commit(1, Fault::UnknownPart);
    let answer = site.add("c1").await.unwrap();
    let families: Vec<bool> = answer.iter().map(IpAddr::is_ipv4).collect();
    assert_eq!(families, [true, false], "decided anew, and whole");
    let mut held = Vec::new();
    site.store.scan(&mut |row| held.extend(row.lease.is_bound().then_some(row.lease))).unwrap();
    held.sort_by_key(|lease| lease.address);
    assert_eq!(held.iter().map(|lease| lease.address).collect::<Vec<_>>(), answer);
    assert_eq!(held[0].attempt, held[1].attempt);
}

#[tokio::test]
async fn a_store_that_fails_leaves_the_address_free_and_the_caller_informed() {
    let site = Site::new(&[("p", json!({"cidr": "10.0.0.0/32"}))]).await;
    site.store.fail_commit(1, Fault::Io);
    assert_eq!(site.add("c1").await.unwrap_err().kind(), Kind::Io);
    assert_eq!(site.add("c1").await.unwrap(), [ip("10.0.0.0")]);
}

#[tokio::test]
async fn a_spooled_del_frees_only_what_was_bound_before_it_was_spooled() {
    let mut site = Site::new(&[("p", json!({"cidr": "10.0.0.0/24"}))]).await;
    let spooled = |boot: &str, boottime_ms| DelRequest {
        bound_before: Some(SpoolInstant { boot: boot.into(), boottime_ms }),
        ..DelRequest::of(attachment("c1"))
    };
    site.clock.pass(Duration::from_secs(10));
    site.add("c1").await.unwrap();
    site.engine.del(spooled("boot-1", 1_009_999)).await.unwrap();
    assert_eq!(site.held().await, 1, "bound after it was spooled");
    site.engine.del(spooled("boot-0", u64::MAX)).await.unwrap();
    assert_eq!(
        site.held().await,
        1,
        "spooled in another boot than the present one: nothing is certain"
    );
    site.engine.del(spooled("boot-1", 1_010_001)).await.unwrap();
    assert_eq!(site.held().await, 0);
    site.add("c1").await.unwrap();
    site.restart("boot-2");
    site.engine.del(spooled("boot-2", 0)).await.unwrap();
    assert_eq!(site.held().await, 0, "bound in an earlier boot");
}

#[tokio::test]
async fn a_blind_lease_is_given_but_counted() {
    let site = Site::new(&[("p", json!({"cidr": "10.0.0.0/24"}))]).await;
    let request = site.request("c1");
    site.kernel.be_silent(true);
    site.add_as(&request).await.unwrap();
    assert_eq!(site.engine.counters().blind.get(), 1);
    let mut missing = site.request("c2");
    let nowhere = NetnsRef { path: "nowhere".into(), file: None };
    missing.caller = Caller::Here { netns: Some(nowhere) };
    site.kernel.be_silent(false);
    assert!(matches!(site.add_as(&missing).await, Err(EngineError::BadNetns { .. })));
}
