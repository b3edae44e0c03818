//! Agents are down, stopped, or killed while they serve.

use std::time::Duration;

use http::Method;
use serde_json::json;
use tenure_lab::Fate;
use tokio::sync::oneshot;

use crate::lab::until;
use crate::times::row;
use crate::world::{Cluster, time_until};

#[test]
fn an_agent_that_is_down_keeps_what_its_pods_hold_whatever_the_api_says() {
    let mut cluster = Cluster::start(1, &["n1"]);
    cluster.pool("p", json!({"cidr": "10.6.0.0/24", "unfencedReclaim": "probe"}));
    cluster.run("n1", "a");
    cluster.agents.get_mut("n1").unwrap().kill();
    cluster.force_delete("a");
    // The kubelet goes on: the node is not lost. One and a half lost times.
    for count in 1..=15 {
        cluster.renew("n1", count);
        std::thread::sleep(Duration::from_secs(1));
    }
    assert_eq!(cluster.held(), 1);
    // The agent comes back and sees it alive; then its end is proved.
    cluster.start_agent("n1");
    cluster.reached("n1", 1);
    cluster.end("a");
    until("its kernel says that it is gone", || cluster.held() == 0);
}

#[test]
fn an_agent_that_is_killed_at_any_step_of_a_del_releases_it_in_the_end() {
    let mut cluster = Cluster::start(1, &["n1"]);
    cluster.pool("p", json!({"cidr": "10.6.0.0/24"}));
    for step in 0..8 {
        let pod = format!("p{step}");
        cluster.run("n1", &pod);
        std::thread::scope(|scope| {
            let del = scope.spawn({
                let call = cluster.plugin_call("DEL", "n1", &pod, "");
                move || call.run()
            });
            // From before the frame is read to after the answer.
            std::thread::sleep(Duration::from_millis(step * 4));
            cluster.agents.get_mut("n1").unwrap().kill();
            assert_eq!(del.join().unwrap().exit, 0, "the plugin keeps it on disk");
        });
        cluster.start_agent("n1");
        cluster.reached("n1", 1);
        until("it is released", || cluster.held() == 0);
    }
}

#[test]
fn an_add_after_a_del_that_is_still_kept_on_disk_is_not_undone_by_it() {
    let mut cluster = Cluster::start(1, &["n1"]);
    cluster.pool("p", json!({"cidr": "10.6.0.0/24"}));
    let uid = cluster.pod("n1", "a");
    crate::lab::netns("a");
    let add = cluster.plugin_call("ADD", "n1", "a", &uid).waiting(20);
    let address = add.run().ok().addresses();
    cluster.allocators[0].kill();
    cluster.del("n1", "a").ok();
    let spool = cluster.agents["n1"].path("spool");
    let kept = || std::fs::read_dir(&spool).unwrap().count();
    assert_eq!(kept(), 1);
    std::thread::scope(|scope| {
        let add = scope.spawn(|| add.run());
        cluster.start_allocator(0);
        assert_eq!(add.join().unwrap().ok().addresses(), address);
    });
    until("the DEL is done", || kept() == 0);
    assert_eq!(cluster.held(), 1, "the ADD came later");
}

/// What a DEL had come to when the agent died.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// It could not be sent.
    Unsent,
    /// The write was on its way, and lands later.
    Sent,
    /// The write was done, and nobody said so.
    Written,
    /// The plugin had its answer.
    Answered,
}

#[test]
fn an_agent_killed_before_the_write_of_a_del_during_it_and_after_it_frees_just_that_hold() {
    let mut cluster = Cluster::empty();
    let front = cluster.front();
    cluster.start_allocator_behind(0, &front);
    let cable = cluster.relay(cluster.allocators[0].port());
    cluster.add_node_with("n1", &[cable.port()]);
    cluster.start_agent("n1");
    cluster.reached("n1", 1);
    cluster.pool("p", json!({"cidr": "10.6.0.0/24"}));
    for step in [Step::Unsent, Step::Sent, Step::Written, Step::Answered] {
        let pod = format!("{step:?}").to_lowercase();
        cluster.run("n1", &pod);
        let (go, held) = oneshot::channel();
        match step {
            Step::Unsent => cable.freeze(),
            Step::Sent => front.next(Method::PUT, [Fate::Held(held)]),
            Step::Written => front.next(Method::PUT, [Fate::AnswerHeld(held)]),
            Step::Answered => {}
        }
        let before = front.seen(&Method::PUT);
        let mut del = cluster.plugin_call("DEL", "n1", &pod, "").start();
        match step {
            // Nothing can be seen of it from outside but that the plugin waits.
            Step::Unsent => std::thread::sleep(Duration::from_millis(300)),
            Step::Sent => until("it is sent", || front.seen(&Method::PUT) > before),
            Step::Written => until("it is written", || !cluster.holds(&pod)),
            Step::Answered => assert!(del.wait().unwrap().success()),
        }
        cluster.agents.get_mut("n1").unwrap().kill();
        assert!(del.wait().unwrap().success(), "{step:?}: the plugin keeps it on disk");
        cable.thaw();
        cluster.start_agent("n1");
        cluster.reached("n1", 1);
        // The runtime goes on with another container of the same name: what it gets stays.
        let uid = cluster.uid(&pod);
        let next = cluster.plugin_call("ADD", "n1", &pod, &uid).waiting(10).run();
        let _ = go.send(());
        next.ok();
        let spool = cluster.agents["n1"].path("spool");
        let took = time_until("the DEL is done", || {
            std::fs::read_dir(&spool).is_ok_and(|kept| kept.count() == 0)
        });
        row(&format!("DEL done after its agent was killed: {step:?}"), took);
        assert!(cluster.holds(&pod), "{step:?}: the ADD came later");
        assert_eq!(cluster.held(), 1, "{step:?}");
        cluster.del("n1", &pod).ok();
        until("and its own DEL frees it", || cluster.held() == 0);
    }
}
