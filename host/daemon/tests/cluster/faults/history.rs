//! etcd is restored to what it was a while ago, while pods go on living.

use serde_json::json;

use crate::lab::until;
use crate::times::row;
use crate::world::{Cluster, time_until};

/// A pod from before the backup and one from after it, both with their links up; then etcd goes back, as `happens` does it.
/// The next pod gets the one address that nobody has.
fn goes_back(happens: impl FnOnce(&mut Cluster, &dyn Fn(&mut Cluster))) {
    let mut cluster = Cluster::start(2, &["n1"]);
    cluster.pool(
        "p",
        json!({"cidr": "10.6.0.0/24", "ranges": ["10.6.0.1-10.6.0.3"], "cooldown": "0s"}),
    );
    let before = cluster.run("n1", "before");
    cluster.bring_up("before", before);
    cluster.back_up();
    let counted = cluster.ticks();
    // What a cluster writes in an hour: a restored one is not as far again within seconds.
    cluster.write_much();
    let mut after = None;
    until("the allocators serve again", || {
        after.get_or_insert_with(|| cluster.pod("n1", "after"));
        cluster.add("n1", "after", after.as_ref().unwrap()).exit == 0
    });
    let after =
        cluster.leases().into_iter().find(|(_, spec)| spec["owner"]["name"] == "after").unwrap().0;
    cluster.bring_up("after", after.parse().unwrap());
    // A heartbeat carries how far the store is.
    let marked = || {
        let text = std::fs::read_to_string(cluster.agents["n1"].path("state/store-seen.json"))
            .unwrap_or_default();
        let mark: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        (mark["revision"].as_u64().unwrap_or(0), mark["ticks"].as_u64().unwrap_or(0))
    };
    let bound = cluster.revision(&after);
    until("the agent knows how far the store is", || {
        let (revision, ticks) = marked();
        revision >= bound && ticks > counted
    });
    let cluster = &mut cluster;
    // What came after the backup is forgotten; running allocators may have found it on its link by now.
    let forgets = |cluster: &mut Cluster| {
        cluster.restore();
        let lease = cluster.leases().remove(&after);
        assert!(lease.is_none_or(|spec| spec["state"] != "Bound"));
    };
    happens(cluster, &forgets);
    let uid = cluster.pod("n1", "next");
    let mut next = None;
    let took = time_until("the next pod has an address", || {
        let answer = cluster.add("n1", "next", &uid);
        next = (answer.exit == 0).then(|| answer.addresses()[0].to_string());
        next.is_some()
    });
    row("from the restore of etcd to the next address", took);
    assert!(next != Some(before.to_string()) && next.as_ref() != Some(&after), "{next:?}");
    let took = time_until("it is found on a link", || {
        cluster.leases().get(&after).is_some_and(|spec| spec["state"] == "Quarantined")
    });
    row("from there to all being known that lives", took);
    let leases = cluster.leases();
    assert_eq!(leases[&before.to_string()]["owner"]["name"], "before");
    assert!(leases[&after]["epoch"].as_u64() > Some(1), "a new life of the store");
}

fn kill_allocators(cluster: &mut Cluster) {
    for number in 0..2 {
        cluster.allocators[number].kill();
    }
}

fn start_allocators(cluster: &mut Cluster) {
    for number in 0..2 {
        cluster.start_allocator(number);
    }
    cluster.reached("n1", 2);
}

#[test]
fn an_etcd_restored_under_running_allocators_gives_no_live_address_away() {
    goes_back(|cluster, restore| restore(cluster));
}

#[test]
fn an_etcd_restored_while_no_allocator_ran_gives_no_live_address_away() {
    goes_back(|cluster, restore| {
        restore(cluster);
        kill_allocators(cluster);
        start_allocators(cluster);
    });
}

#[test]
fn an_etcd_restored_and_written_beyond_what_was_seen_gives_no_live_address_away() {
    goes_back(|cluster, restore| {
        kill_allocators(cluster);
        let seen = cluster.highest_revision();
        restore(cluster);
        // Others go on writing: by its revision nobody can tell any more.
        while cluster.highest_revision() < seen + 100 {
            cluster.write_much();
        }
        start_allocators(cluster);
    });
}
