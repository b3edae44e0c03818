//! Agents are down, stopped, or killed while they serve.

use std::time::Duration;

use serde_json::json;

use crate::lab::until;
use crate::world::Cluster;

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
