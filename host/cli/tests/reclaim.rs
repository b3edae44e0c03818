//! What an operator of reclaim types and sees.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use support::Stage;
use support::api::{Site, busy_site};
use tenure_core::decision::{Affinity, IfHeld};
use tenure_sim::pod;

const POD: &str = "c1aaaaaaaaaaaaaaaa";

/// A container whose namespace could not be read at its ADD.
async fn add_blind(site: &Site, container: &str) {
    let mut request = site.request(container);
    request.owner = pod("blind-0", "uid-9");
    site.kernel.be_silent(true);
    site.add_as(&request).await.unwrap();
    site.kernel.be_silent(false);
}

#[tokio::test(flavor = "multi_thread")]
async fn zombies_are_listed_taken_back_and_what_is_left_has_its_reason() {
    let site = busy_site().await;
    add_blind(&site, "c5eeeeeeeeeeeeeeee").await;
    site.add("c6ffffffffffffffff").await.unwrap();
    let mut stage = Stage::new(site);
    for line in ["reclaim --dry-run", "reclaim --dry-run -o name"] {
        assert_eq!(stage.run(line).await, 0, "{line}");
    }
    stage.site.kernel.end(POD);
    assert_eq!(stage.run("reclaim --dry-run").await, 0);
    stage.site.engine.sweep().await.unwrap();
    stage.site.policies.verdict.lock().grace = Duration::from_secs(300);
    stage.site.clock.pass(Duration::from_secs(60));
    stage.site.kernel.end("c6ffffffffffffffff");
    stage.site.engine.sweep().await.unwrap();
    assert_eq!(stage.run("reclaim --dry-run -o wide").await, 0);
    // Of one the grace is over; of the other it is longer than a reclaim waits.
    stage.site.clock.pass(Duration::from_secs(240));
    for line in ["reclaim", "reclaim --dry-run -o name", "reclaim -o yaml", "get leases"] {
        assert_eq!(stage.run(line).await, 0, "{line}");
    }
    stage.is_golden("reclaim.txt");
}

#[tokio::test(flavor = "multi_thread")]
async fn reclaim_speaks_to_programs() {
    let site = busy_site().await;
    site.kernel.end(POD);
    site.engine.sweep().await.unwrap();
    site.clock.pass(Duration::from_secs(3));
    let mut stage = Stage::new(site);
    let answer = json_of(&stage, "reclaim --dry-run -o json").await;
    assert_eq!((&answer["dryRun"], &answer["unlisted"]), (&json!(true), &json!(0)));
    assert_eq!(answer["suspects"][0]["verdict"], "free");
    assert_eq!(stage.run("reclaim -o name").await, 0);
    assert_eq!(stage.run("reclaim").await, 0);
    assert!(stage.transcript().starts_with("$ tenure reclaim -o name\niplease/10.6.0.2\n[exit 0]"));
    assert!(stage.transcript().contains("! nothing to reclaim: every holder is seen alive\n"));
    stage.stop().await;
    assert_eq!(stage.run("reclaim").await, 5);
    assert_eq!(stage.run("reclaim --dryrun").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_explained_whatever_it_is() {
    let site = busy_site().await;
    site.policies.remembers.store(true, Ordering::Relaxed);
    let mut web = site.request("c4dddddddddddddddd");
    web.owner = pod("web-4", "uid-4");
    site.add_as(&web).await.unwrap();
    *site.policies.affinity.lock() = Affinity::Sticky {
        key: "shop/web-5".into(),
        if_held: IfHeld::Wait,
        retain_s: 600,
        preferred: Vec::new(),
    };
    let mut sticky = site.request("c5eeeeeeeeeeeeeeee");
    sticky.owner = pod("web-5", "uid-5");
    site.add_as(&sticky).await.unwrap();
    site.del("c5eeeeeeeeeeeeeeee").await;
    site.kernel.end(POD);
    let mut stage = Stage::new(site);
    for line in [
        "explain 10.6.0.5",
        "explain 10.6.0.6 --space default",
        "explain 10.6.0.2",
        "explain 10.6.0.4",
        "explain 10.6.0.9",
        "explain 10.6.0.14",
        "explain 10.6.0.1 -o yaml",
        "explain 10.6.0.2 -o name",
    ] {
        assert_eq!(stage.run(line).await, 0, "{line}");
    }
    assert_eq!(stage.run("explain 10.9.9.9").await, 3);
    assert_eq!(stage.run("explain blue--10.6.0.2").await, 3);
    assert_eq!(stage.run("explain blue--10.6.0.2 --space green").await, 2);
    assert_eq!(stage.run("explain web-0").await, 2);
    let told = json_of(&stage, "explain 10.6.0.5 -o json").await;
    assert_eq!(told["lease"]["lease"]["owner"]["name"], "web-4", "{told}");
    assert_eq!(told["decisions"][0]["steps"][0]["fuel"], 4_211);
    stage.is_golden("explain.txt");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_release_ends_in_quarantine_and_says_by_whom_and_why() {
    let site = busy_site().await;
    add_blind(&site, "c5eeeeeeeeeeeeeeee").await;
    let mut stage = Stage::new(site);
    let too_long = format!("release 10.6.0.5 --generation 1 --reason {}", "x".repeat(513));
    let output = support::run_in(stage.folder.path().to_owned(), &too_long).await;
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("reason: it is longer than 512 bytes"), "{told}");
    for (code, line) in [
        (0, "release 10.6.0.5 --generation 1 --reason 'node rebuilt'"),
        (0, "explain 10.6.0.5"),
        (0, "describe lease 10.6.0.5"),
        (0, "release 10.6.0.5 --generation 1"),
        (4, "release 10.6.0.5 --generation 1"),
        (4, "release 10.6.0.2 --generation 1"),
        (0, "release 10.6.0.2 --generation 1 --even-if-live"),
        (4, "release 10.6.0.2 --generation 1"),
        (0, "release 10.6.0.2 --generation 1 --even-if-live -o name"),
        (3, "release 10.6.0.9 --generation 1"),
        (3, "release 10.9.9.9 --generation 1"),
    ] {
        assert_eq!(stage.run(line).await, code, "{line}");
    }
    stage.site.kernel.end("c2bbbbbbbbbbbbbbbb");
    assert_eq!(stage.run("release 10.6.0.3 --generation 1").await, 0);
    stage.is_golden("forced.txt");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_dead_holders_do_not_draw_on_the_terminal() {
    let site = busy_site().await;
    let mut request = site.request("c5eeeeeeeeeeeeeeee");
    request.owner = pod(&format!("web\nFAKE  LINE\u{1b}[2J{}", "x".repeat(500)), "uid-5");
    site.add_as(&request).await.unwrap();
    site.kernel.end("c5eeeeeeeeeeeeeeee");
    site.engine.sweep().await.unwrap();
    site.clock.pass(Duration::from_secs(3));
    let mut stage = Stage::new(site);
    for line in ["explain 10.6.0.5", "reclaim --dry-run", "reclaim"] {
        assert_eq!(stage.run(line).await, 0, "{line}");
    }
    let transcript = stage.transcript();
    assert!(!transcript.contains('\u{1b}') && !transcript.contains("\nFAKE"), "{transcript}");
    assert!(transcript.lines().all(|line| line.len() < 2_100), "{transcript}");
    assert!(transcript.contains("iplease/10.6.0.5 reclaimed from pod shop/web\\nFAKE"));
}

async fn json_of(stage: &Stage, line: &str) -> Value {
    let output = support::run_in(stage.folder.path().to_owned(), line).await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
