//! What an agent and its allocators make of plugin calls, over real connections.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use support::{Cluster, TOKEN};
use tenure_core::error::Coded as _;
use tenure_core::lease::NodeRef;
use tenure_core::ports::{AddressLook, Kernel as _, NetnsLook, Question};
use tenure_engine::{DelRequest, SpoolInstant, StatusRequest, Verbs as _};
use tenure_link::agent::MAX_HELD;
use tenure_link::messages::Seen;
use tenure_sim::{Gate, attachment};
use tenure_store::Store as _;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[tokio::test]
async fn an_add_is_noted_on_disk_and_names_the_node_as_the_allocator_knows_it() {
    let cluster = Cluster::new(1).await;
    assert_eq!(cluster.add("a").await.unwrap(), [ip("10.0.0.1")]);
    let held = cluster.agent.acknowledged().all();
    assert_eq!(held[0].addresses[0].address, ip("10.0.0.1"));
    let mut rows = Vec::new();
    cluster.site.store.scan(&mut |row| rows.push(row.lease)).unwrap();
    assert_eq!((&*rows[0].node.name, &*rows[0].node.uid), ("n1", "uid-of-node"));
    assert_eq!(rows[0].netns, cluster.site.kernel.identify("a".as_ref()).ok());
    cluster.del("a").await.unwrap();
    assert!(cluster.agent.acknowledged().is_empty());
    assert_eq!(cluster.held(), 0);
}

#[tokio::test]
async fn the_next_process_of_an_agent_remembers_what_was_answered() {
    let mut cluster = Cluster::new(1).await;
    cluster.add("a").await.unwrap();
    cluster.add("b").await.unwrap();
    cluster.site.kernel.end("b");
    cluster.restart_agent().await;
    let held = cluster.agent.acknowledged().all();
    assert_eq!(held.len(), 1, "the end of a namespace voids its set");
    assert_eq!(held[0].attachment, attachment("a"));
    assert!(cluster.agent.acknowledged().len() < MAX_HELD);
}

#[tokio::test]
async fn adds_go_to_the_leader_and_to_anybody_when_nobody_leads() {
    let cluster = Cluster::new(3).await;
    let adds = |cluster: &Cluster| -> Vec<u64> {
        cluster.replicas.iter().map(|replica| replica.engine.counters().adds.get()).collect()
    };
    cluster.lead(Some("r2"));
    cluster.add("a").await.unwrap();
    assert_eq!(adds(&cluster), [0, 0, 1]);
    cluster.lead(Some("r1"));
    cluster.add("b").await.unwrap();
    assert_eq!(adds(&cluster), [0, 1, 1]);
    cluster.lead(None);
    cluster.add("c").await.unwrap();
    assert_eq!(adds(&cluster).iter().sum::<u64>(), 3);
}

#[tokio::test]
async fn an_add_whose_allocator_goes_away_is_continued_at_another_one_and_gives_one_set() {
    let mut cluster = Cluster::new(2).await;
    // The first replica writes the row and answers nothing.
    cluster.replicas[0].store.set_gate(Gate::After);
    let agent = cluster.agent.clone();
    let request =
        tenure_engine::AddRequest { wait: Duration::from_secs(5), ..cluster.site.request("a") };
    let add = tokio::spawn(async move { agent.add(request).await });
    cluster.until(|cluster| cluster.held() == 1).await;
    cluster.replicas[0].stop().await;
    cluster.lead(Some("r1"));
    let answer = add.await.unwrap().unwrap();
    assert_eq!(answer.addresses[0].address.addr(), ip("10.0.0.1"), "the same row, found by a list");
    assert_eq!(cluster.held(), 1);
    assert_eq!(cluster.replicas[1].store.lists(), 1);
}

#[tokio::test]
async fn a_del_at_a_replica_that_has_not_heard_of_the_add_frees_it() {
    let cluster = Cluster::new(2).await;
    cluster.add("a").await.unwrap();
    assert_eq!(cluster.replicas[1].engine.counters().lists.get(), 0);
    let node = NodeRef {
        name: "n1".into(),
        agent: "agent-of-n1".into(),
        boot: "boot-1".into(),
        ..NodeRef::default()
    };
    let del = |past| DelRequest {
        node: Some(Arc::new(node.clone())),
        past,
        ..DelRequest::of(attachment("a"))
    };
    cluster.replicas[1].engine.del(del(tenure_engine::Past::None)).await.unwrap();
    assert_eq!(cluster.held(), 1, "nobody told the replica that there is something");
    let past = tenure_engine::Past::Answered(vec![ip("10.0.0.1")]);
    cluster.replicas[1].engine.del(del(past)).await.unwrap();
    assert_eq!(cluster.held(), 0);
}

#[tokio::test]
async fn a_late_del_frees_nothing_that_came_after_it() {
    let cluster = Cluster::new(1).await;
    cluster.add("a").await.unwrap();
    let late = SpoolInstant { boot: "boot-1".into(), boottime_ms: 0 };
    let spooled =
        |instant| DelRequest { bound_before: Some(instant), ..DelRequest::of(attachment("a")) };
    cluster.agent.del(spooled(late)).await.unwrap();
    assert_eq!(cluster.held(), 1);
    assert_eq!(cluster.agent.acknowledged().len(), 1, "it is still held");
    cluster.del("a").await.unwrap();
    // Again: nothing is left, and that is no error.
    cluster.del("a").await.unwrap();
    assert_eq!(cluster.held(), 0);
}

#[tokio::test]
async fn a_del_without_an_allocator_says_at_once_that_the_plugin_shall_keep_it() {
    let mut cluster = Cluster::new(1).await;
    cluster.add("a").await.unwrap();
    cluster.replicas[0].stop().await;
    cluster.until(|cluster| !cluster.agent.links().is_up()).await;
    let error = cluster.del("a").await.unwrap_err();
    assert_eq!(error.code(), "NO_ALLOCATOR");
    assert_eq!(cluster.agent.acknowledged().len(), 1, "the DEL is not done");
}

#[tokio::test]
async fn status_fails_for_an_exhausted_pool_if_told_so_and_never_for_an_allocator_that_is_away() {
    let mut cluster = Cluster::new(1).await;
    let status = StatusRequest {
        network: "net".parse().unwrap(),
        pools: vec!["p".parse().unwrap()],
        on_exhaustion: true,
    };
    assert!(cluster.agent.status(status.clone()).await.is_ok());
    for container in ["a", "b", "c", "d"] {
        cluster.add(container).await.unwrap();
    }
    let error = cluster.agent.status(status.clone()).await.unwrap_err();
    assert_eq!(error.code(), "POOL_EXHAUSTED");
    cluster.replicas[0].stop().await;
    cluster.until(|cluster| !cluster.agent.links().is_up()).await;
    assert!(cluster.agent.status(status).await.is_ok(), "it would take the node out of service");
}

#[tokio::test]
async fn a_del_cancels_the_add_that_waits_for_an_address() {
    let cluster = Cluster::new(1).await;
    for container in ["a", "b", "c", "d"] {
        cluster.add(container).await.unwrap();
    }
    let agent = cluster.agent.clone();
    let request =
        tenure_engine::AddRequest { wait: Duration::from_secs(60), ..cluster.site.request("e") };
    let add = tokio::spawn(async move { agent.add(request).await });
    let engine = cluster.replicas[0].engine.clone();
    let waiting = async |wanted: usize| {
        while engine.overview().await.unwrap().waiting != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    waiting(1).await;
    cluster.del("e").await.unwrap();
    assert_eq!(add.await.unwrap().unwrap_err().code(), "DEL_CAME");
    // The replica hears that the request was dropped.
    waiting(0).await;
    cluster.del("a").await.unwrap();
    assert_eq!(cluster.held(), 3);
}

#[tokio::test]
async fn an_allocator_looks_at_the_kernel_of_the_agent_and_hears_of_ends() {
    let cluster = Cluster::new(1).await;
    cluster.add("a").await.unwrap();
    let netns = cluster.kernel().identify("a".as_ref()).unwrap();
    cluster.site.kernel.put_on_link("a", ip("10.0.0.1"));
    let sessions = &cluster.replicas[0].sessions;
    let node = sessions.views()[0].node.clone();
    let question = |node: &Arc<NodeRef>| Question {
        node: node.clone(),
        netns: Some(netns),
        owner: None,
        address: Some(ip("10.0.0.1")),
    };
    let other_boot = Arc::new(NodeRef { boot: "boot-0".into(), ..(*node).clone() });
    let elsewhere = Arc::new(NodeRef { agent: "another".into(), ..(*node).clone() });
    let questions = [question(&node), question(&other_boot), question(&elsewhere)];
    let alive = Seen { namespace: NetnsLook::Alive, link: AddressLook::OnLink };
    assert_eq!(sessions.look(&questions).await, [Some(alive), None, None]);
    cluster.site.kernel.make("nobody's");
    for (namespace, told) in [("nobody's", 0), ("a", 1)] {
        cluster.site.kernel.end(namespace);
        cluster.agent.note_end();
        let ended = |cluster: &Cluster| cluster.replicas[0].doors.ended.load(Ordering::SeqCst);
        cluster.until(|cluster| ended(cluster) >= told).await;
        // What is said before a beat is heard before it.
        let heard = |cluster: &Cluster| cluster.replicas[0].doors.heard.load(Ordering::SeqCst);
        let before = heard(&cluster);
        cluster.until(|cluster| heard(cluster) > before + 3).await;
        assert_eq!(ended(&cluster), told, "the end of {namespace}");
    }
    let gone = Seen { namespace: NetnsLook::Gone, link: AddressLook::NamespaceGone };
    assert_eq!(sessions.look(&questions[..1]).await, [Some(gone)]);
    let before = cluster.replicas[0].doors.heard.load(Ordering::SeqCst);
    cluster
        .until(|cluster| cluster.replicas[0].doors.heard.load(Ordering::SeqCst) > before + 2)
        .await;
}

#[tokio::test]
async fn who_has_no_token_is_refused_and_comes_in_once_he_has() {
    let mut cluster = Cluster::new(1).await;
    *cluster.way.token.lock() = Some("bad".to_owned());
    cluster.agent = support::agent(&cluster.site, &cluster.way, &cluster.folder);
    let before = cluster.way.dialled.load(Ordering::SeqCst);
    cluster.until(|cluster| cluster.way.dialled.load(Ordering::SeqCst) > before + 1).await;
    assert!(!cluster.agent.links().is_up());
    *cluster.way.token.lock() = Some(TOKEN.to_owned());
    cluster.until(|cluster| cluster.agent.links().is_up()).await;
    cluster.add("a").await.unwrap();
}

#[tokio::test]
async fn an_agent_that_comes_back_says_what_it_holds_and_gives_way_before_it_serves() {
    let mut cluster = Cluster::new(1).await;
    let address = cluster.add("a").await.unwrap()[0];
    cluster.add("b").await.unwrap();
    cluster.site.kernel.put_on_link("a", address);
    *cluster.replicas[0].doors.overtaken.lock() = vec![attachment("a")];
    cluster.restart_agent().await;
    let mut claims = cluster.replicas[0].doors.claims.lock().clone();
    claims.sort_by_key(|claim| claim.address);
    assert_eq!(claims.len(), 2);
    assert_eq!((claims[0].address, claims[0].generation.0), (address, 1));
    let netns = cluster.kernel().identify("a".as_ref()).unwrap();
    assert!(!cluster.site.kernel.is_on_link(netns.cookie, address));
    let held = cluster.agent.acknowledged().all();
    assert_eq!(held.iter().map(|held| &held.attachment).collect::<Vec<_>>(), [&attachment("b")]);
}
