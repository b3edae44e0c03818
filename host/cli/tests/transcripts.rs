//! What an operator types and sees.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use serde_json::json;
use support::Stage;
use support::api::{busy_site, empty_site, object};
use tenure_engine::FixedAddress;
use tenure_sim::pod;
use tenure_store::Store as _;

const MANIFEST: &str = "\
apiVersion: tenure.dev/v1alpha1
kind: IPPool
metadata: {name: red}
spec:
  cidr: 10.7.0.0/29
---
apiVersion: tenure.dev/v1alpha1
kind: IPReservation
metadata: {name: routers}
spec: {addresses: [10.7.0.6]}
";

/// Nobody listens on port 1.
const KUBECONFIG: &str = "\
apiVersion: v1
kind: Config
current-context: lab
contexts:
- {name: lab, context: {cluster: lab, user: me}}
- {name: other, context: {cluster: lab, user: me}}
clusters:
- {name: lab, cluster: {server: \"https://127.0.0.1:1\", insecure-skip-tls-verify: true}}
users:
- {name: me, user: {token: t}}
";

#[tokio::test(flavor = "multi_thread")]
async fn get_shows_every_kind_in_every_format() {
    let mut stage = Stage::new(busy_site().await);
    for line in [
        "get pools",
        "get pools -o wide",
        "get ippool blue-v4 -o yaml",
        "get pools -o name",
        "get leases",
        "get leases --view held -o name",
        "get leases -n shop -o wide",
        "get leases --limit 1 -o name",
        "get lease 10.6.0.2 -o json",
        "get leases --pool wide-v6",
        "get policies",
        "get policies -o wide",
        "get reservations",
        "get decisions -o wide",
        "get decision 7 -o name",
    ] {
        assert_eq!(stage.run(line).await, 0, "{line}");
    }
    stage.is_golden("get.txt");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_the_store_took_without_asking_says_why_it_is_not_served() {
    let site = empty_site();
    site.apply(&[("blue", json!({"cidr": "10.6.0.0/28"}))]).await;
    let twin = tenure_sim::pool("a-twin", &json!({"cidr": "10.6.0.8/29"}));
    site.store.put_objects(vec![twin]).await.unwrap();
    // With the next apply the engine reads them all.
    site.apply(&[("red", json!({"cidr": "10.7.0.0/29"}))]).await;
    let mut stage = Stage::new(site);
    for line in
        ["get pools", "get pools -o wide", "get pool a-twin -o json", "describe pool a-twin"]
    {
        assert_eq!(stage.run(line).await, 0, "{line}");
    }
    stage.is_golden("unserved.txt");
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_beyond_64_bits_come_through_every_format() {
    let mut stage = Stage::new(busy_site().await);
    let size = "79228162514264337593543950335";
    for format in ["table", "json", "yaml"] {
        let line = format!("get pool wide-v6 -o {format}");
        let output = support::run_in(stage.folder.path().to_owned(), &line).await;
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(size), "2^96 - 1 as {format}:\n{text}");
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn describe_explains() {
    let site = busy_site().await;
    // A second holder of one address: the first one is in its history then.
    site.clock.pass(std::time::Duration::from_secs(7_200));
    let mut next = site.request("c4dddddddddddddddd");
    next.fixed = vec![FixedAddress { address: "10.6.0.4".parse().unwrap(), prefix: None }];
    site.add_as(&next).await.unwrap();
    let mut stage = Stage::new(site);
    for line in [
        "describe pool blue-v4",
        "describe lease 10.6.0.2",
        "describe lease 10.6.0.4",
        "describe policy grace",
        "describe reservation printers",
        "describe policy grace -o name",
        "describe reservation printers -o yaml",
        "status",
        "status -o name",
        "version",
        "version -o yaml",
    ] {
        assert_eq!(stage.run(line).await, 0, "{line}");
    }
    stage.is_golden("describe.txt");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_come_and_go() {
    let mut stage = Stage::new(empty_site());
    stage.write("objects.yaml", MANIFEST);
    stage.write("folder/10.yaml", MANIFEST);
    stage.write("folder/notes.txt", "not an object");
    for line in [
        "status",
        "apply -f objects.yaml --dry-run",
        "apply -f objects.yaml",
        "apply -f folder -o name",
        "apply -f folder",
        "apply -f - < objects.yaml",
        "get pools",
    ] {
        assert_eq!(stage.run(line).await, 0, "{line}");
    }
    stage.site.add("holder").await.unwrap();
    assert_eq!(stage.run("delete pool red").await, 0);
    assert_eq!(stage.run("get pools").await, 0);
    assert_eq!(stage.run("delete pool red --wait --timeout 0s").await, 1);
    stage.site.del("holder").await;
    assert_eq!(stage.run("delete -f objects.yaml --wait").await, 0);
    stage.run("apply -f objects.yaml").await;
    stage.run("delete pool red").await;
    assert_eq!(stage.run("delete policy red -o json").await, 3);
    // The reservation goes although the pool is no more.
    assert_eq!(stage.run("delete -f objects.yaml").await, 3);
    assert_eq!(stage.run("get reservations").await, 0);
    stage.is_golden("objects.txt");
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_speaks_to_programs() {
    let mut stage = Stage::new(busy_site().await);
    for line in [
        "delete reservation printers -o name",
        "delete pool wide-v6 -o yaml",
        "delete pool blue-v4 -o json",
    ] {
        assert_eq!(stage.run(line).await, 0, "{line}");
    }
    assert_eq!(stage.run("delete pool blue-v4 --wait --timeout 0s -o yaml").await, 1);
    stage.site.del("c1aaaaaaaaaaaaaaaa").await;
    stage.site.del("c2bbbbbbbbbbbbbbbb").await;
    assert_eq!(stage.run("delete pool blue-v4 --wait -o json").await, 0);
    stage.is_golden("delete.txt");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_get_lists_can_be_applied_and_deleted_again() {
    let mut stage = Stage::new(busy_site().await);
    for kind in ["pools", "reservations", "policies"] {
        for format in ["yaml", "json"] {
            let line = format!("get {kind} -o {format}");
            let output = support::run_in(stage.folder.path().to_owned(), &line).await;
            let text = String::from_utf8(output.stdout).unwrap();
            stage.write(&format!("{kind}.{format}"), &text);
            assert_eq!(stage.run(&format!("apply -f - < {kind}.{format}")).await, 0, "{text}");
        }
    }
    assert_eq!(stage.run("delete -f reservations.yaml").await, 0);
    assert_eq!(stage.run("delete -f policies.json").await, 0);
    stage.is_golden("lists.txt");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_pools_of_one_file_are_applied_and_more_than_a_request_takes_is_explained() {
    let stage = Stage::new(empty_site());
    let pool = |at: usize, label: &str| {
        format!(
            "apiVersion: tenure.dev/v1alpha1\nkind: IPPool\nmetadata: {{name: pool-{at}, labels: {{for: \"{label}\"}}}}\nspec: {{cidr: 10.{}.{}.0/24}}\n---\n",
            at / 256,
            at % 256
        )
    };
    let pools = |label: &str| (0..2_000).map(|at| pool(at, label)).collect::<String>();
    stage.write("many.yaml", &pools("all"));
    stage.write("long.yaml", &pools(&"x".repeat(1_000)));
    let folder = stage.folder.path().to_owned();
    let output = support::run_in(folder.clone(), "apply -f many.yaml").await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().filter(|line| line.ends_with(" created")).count(), 2_000, "{text}");
    let listed = support::run_in(folder.clone(), "get pools -o yaml").await;
    stage.write("listed.yaml", &String::from_utf8(listed.stdout).unwrap());
    let output = support::run_in(folder.clone(), "apply -f listed.yaml").await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().filter(|line| line.ends_with(" unchanged")).count(), 2_000, "{text}");
    let output = support::run_in(folder, "apply -f long.yaml").await;
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("at most 1048576 at once; nothing was changed"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_others_do_not_draw_on_the_terminal() {
    let site = busy_site().await;
    let mut request = site.request("c5eeeeeeeeeeeeeeee");
    request.owner = pod(&format!("web\nFAKE  LINE\u{1b}[2J{}", "x".repeat(500)), "uid-5");
    site.add_as(&request).await.unwrap();
    let mut stage = Stage::new(site);
    let line = "release 10.6.0.5 --generation 1 --even-if-live --reason 'a\u{1b}[31mb'";
    support::run_in(stage.folder.path().to_owned(), line).await;
    for line in ["get leases --container c5", "describe pool blue-v4", "describe lease 10.6.0.5"] {
        assert_eq!(stage.run(line).await, 0, "{line}");
    }
    assert!(!stage.transcript().contains('\u{1b}'));
    stage.is_golden("hostile.txt");
    let output = support::run_in(stage.folder.path().to_owned(), "get lease 10.6.0.5 -o json");
    let text = String::from_utf8(output.await.stdout).unwrap();
    assert!(text.contains(&format!("web\\nFAKE  LINE\\u001b[2J{}", "x".repeat(500))), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_is_compared_promoted_and_dropped() {
    let site = empty_site();
    let shadow = |name: &str, shadow: serde_json::Value| {
        let spec = json!({"source": {"bundled": name}, "mode": "shadow", "shadow": shadow});
        object("IPAMPolicy", name, spec)
    };
    let objects = [
        object("IPAMPolicy", "grace", json!({"source": {"bundled": "grace"}})),
        shadow("grace-next", json!({"of": "grace", "percent": 25})),
        shadow("alone", json!({})),
        shadow("unloved", json!({})),
    ];
    for object in objects {
        site.engine.apply(vec![serde_json::from_value(object).unwrap()], false).await.unwrap();
    }
    let mut stage = Stage::new(site);
    for (line, code) in [
        ("policy shadow grace-next", 0),
        ("policy shadow grace-next -o name", 0),
        ("policy shadow grace-next --promote --drop", 2),
        ("policy shadow grace-next --promote", 0),
        ("policy shadow grace-next", 3),
        ("get policy grace -o yaml", 0),
        ("policy shadow grace --drop", 1),
        ("policy shadow alone --promote", 0),
        ("policy shadow unloved --drop -o json", 0),
        ("get policies -o name", 0),
    ] {
        assert_eq!(stage.run(line).await, code, "{line}");
    }
    stage.is_golden("shadow.txt");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_shows_what_it_delivers_and_who_holds_what_it_no_longer_has() {
    let site = empty_site();
    let blue = |ranges: &str| [("blue", json!({"cidr": "10.6.0.0/24", "ranges": [ranges]}))];
    site.apply(&blue("10.6.0.10-10.6.0.19")).await;
    site.add("holder").await.unwrap();
    site.apply(&blue("10.6.0.15-10.6.0.19")).await;
    let mut stage = Stage::new(site);
    assert_eq!(stage.run("get pools").await, 0);
    assert_eq!(stage.run("status").await, 0);
    let routes = json!([
        {"dst": "0.0.0.0/0", "gw": "10.7.0.1", "mtu": 1400, "advmss": 1360},
        {"dst": "10.9.0.0/16", "priority": 7, "table": 100, "scope": 253},
    ]);
    let dns = json!({
        "nameservers": ["10.7.0.2"], "domain": "example.org", "search": ["a.example.org"],
        "options": ["ndots:2"],
    });
    let green = json!({"cidr": "10.7.0.0/24", "routes": routes, "dns": dns});
    stage.write("green.yaml", &object("IPPool", "green", green).to_string());
    assert_eq!(stage.run("apply -f green.yaml").await, 0);
    assert_eq!(stage.run("describe pool green").await, 0);
    stage.is_golden("pool.txt");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_is_refused_has_its_place_and_one_that_does_not_serve_is_seen() {
    let site = empty_site();
    let policy = |name: &str| object("IPAMPolicy", name, json!({"source": {"bundled": name}}));
    // As after a start that could not load it.
    let kept = serde_json::from_value(policy("broken")).unwrap();
    site.store.put_objects(vec![kept]).await.unwrap();
    site.engine.apply(vec![serde_json::from_value(policy("grace")).unwrap()], false).await.unwrap();
    site.policies.refuse.store(true, std::sync::atomic::Ordering::SeqCst);
    let mut stage = Stage::new(site);
    stage.write("policy.yaml", &format!("{MANIFEST}---\n{}\n", policy("late")));
    assert_eq!(stage.run("apply -f policy.yaml").await, 1);
    assert_eq!(stage.run("status").await, 0);
    assert_eq!(stage.run("get policies").await, 0);
    let output = support::run_in(stage.folder.path().to_owned(), "status -o json").await;
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["policiesNotServed"], json!(["broken"]), "{status}");
    stage.is_golden("policies.txt");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_taken_back_by_hand() {
    let mut stage = Stage::new(busy_site().await);
    assert_eq!(stage.run("release 10.6.0.2 --generation 9").await, 4);
    assert_eq!(stage.run("release 10.6.0.2 --generation 1").await, 4);
    for line in [
        "release 10.6.0.2 --generation 1 --even-if-live --reason 'node rebuilt'",
        "describe lease 10.6.0.2",
        "release 10.6.0.2 --generation 1 --even-if-live",
    ] {
        assert_eq!(stage.run(line).await, 0, "{line}");
    }
    stage.is_golden("release.txt");
}

#[tokio::test(flavor = "multi_thread")]
async fn history_tells_who_held_an_address_and_when() {
    let site = busy_site().await;
    let pass = |seconds| site.clock.pass(std::time::Duration::from_secs(seconds));
    pass(7_200);
    let mut next = site.request("c4dddddddddddddddd");
    next.owner = pod("web-1", "uid-2");
    next.fixed = vec![FixedAddress { address: "10.6.0.4".parse().unwrap(), prefix: None }];
    site.add_as(&next).await.unwrap();
    pass(60);
    let release = |reason: &str| tenure_engine::ReleaseRequest {
        address: "10.6.0.2".parse().unwrap(),
        space: "default".parse().unwrap(),
        generation: 1,
        even_if_live: true,
        reason: reason.to_owned(),
    };
    site.engine.release_by_hand(release("node\nrebuilt"), "uid 0").await.unwrap();
    pass(60);
    site.engine.release_by_hand(release(""), "uid 0").await.unwrap();
    let mut stage = Stage::new(site);
    for line in [
        "history 10.6.0.4",
        "history 10.6.0.4 -o wide",
        "history default--10.6.0.4 --limit 1",
        "history 10.6.0.4 -o json --limit 1",
        "history 10.6.0.2 -o yaml",
        "history 10.6.0.2",
        "history 10.6.0.9",
        "history 10.6.0.4 --at 2023-11-15T00:30:00Z",
        "history 10.6.0.4 --at 2023-11-15T00:29:59.999Z",
        "history 10.6.0.4 --at 2023-11-15T00:30:00Z -o json",
        "history 10.6.0.2 --at '2023-11-15 01:31:30+01:00'",
        "history 10.6.0.9 --at 2023-11-15T00:30:00Z --space default",
    ] {
        assert_eq!(stage.run(line).await, 0, "{line}");
    }
    for (code, line) in [
        (3, "history 10.6.0.4 --at 2023-11-14T22:29:59Z"),
        (3, "history 10.6.0.4 --at 2023-11-14T22:29:59Z -o json"),
        (3, "history 10.9.0.1"),
        (3, "history 10.6.0.4 --space other"),
        (2, "history ten"),
        (2, "history 10.6.0.4 --at yesterday"),
        (2, "history 10.6.0.4 --at 2999-01-01T00:00:00Z"),
        (2, "history 10.6.0.4 --at 2h --limit 3"),
        (2, "history 10.6.0.4 -o name"),
        (2, "history green--10.6.0.4 --space blue"),
    ] {
        assert_eq!(stage.run(line).await, code, "{line}");
    }
    stage.is_golden("history.txt");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moment_may_be_told_by_how_long_ago_it_was() {
    let now = || {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap();
        u64::try_from(since.as_millis()).unwrap()
    };
    let stage = Stage::new(busy_site().await);
    let hour = 3_600_000;
    let earliest = now() - hour;
    let folder = stage.folder.path().to_owned();
    let output = support::run_in(folder, "history 10.6.0.2 --at 1h -o json").await;
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let at = answer["moment"]["at"].as_u64().unwrap();
    assert!((earliest..=now() - hour).contains(&at), "{at}");
    assert_eq!(answer["moment"]["answer"]["was"], "held");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_is_off_says_so() {
    let store = std::sync::Arc::new(tenure_store::MemoryStore::keeping(0));
    let site = support::api::site_on(store);
    site.apply(&[("blue", json!({"cidr": "10.6.0.0/24"}))]).await;
    let stage = Stage::new(site);
    let folder = stage.folder.path().to_owned();
    let said = async |line: &str| {
        let output = support::run_in(folder.clone(), line).await;
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, told) = said("history 10.6.0.2").await;
    assert!(code == Some(0) && told.contains("store.historyEvents of the daemon is 0"), "{told}");
    let (code, told) = said("history 10.6.0.2 --at 1h").await;
    assert!(code == Some(3) && told.contains("no change is kept"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_says_what_is_missing_in_it() {
    let site = busy_site().await;
    site.store.raise_epoch().await.unwrap();
    let stage = Stage::new(site);
    let folder = stage.folder.path().to_owned();
    let output = support::run_in(folder.clone(), "history 10.6.0.4").await;
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!((lines[1][0], lines[1][2], lines[2][2]), ("5", "(gap)", "released"), "{text}");
    assert!(
        text.contains(
            "the store went back in time: nothing is known since 2023-11-14T22:30:00.000Z"
        )
    );
    let output = support::run_in(folder, "history 10.6.0.4 --at 2023-11-14T22:40:00Z").await;
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains("nothing is known of 2023-11-14T22:30:00.000Z to "), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_tell_scripts_what_happened() {
    let mut stage = Stage::new(busy_site().await);
    stage.write("yaml.yaml", "kind: IPPool\n  broken: [\n");
    stage.write("field.yaml", &MANIFEST.replace("10.7.0.6]}", "10.7.0.6], reson: x}"));
    stage.write("range.yaml", &MANIFEST.replace("10.7.0.0/29", "10.7.0.1/29"));
    stage.write("overlap.yaml", &MANIFEST.replace("10.7.0.0/29", "10.6.0.8/29"));
    stage.write("empty.yaml", "# nothing\n");
    stage.write("bare.yaml", "kind: IPPool\nmetadata: {name: red}\n");
    for (code, line) in [
        (1, "apply -f absent.yaml"),
        (1, "apply -f yaml.yaml"),
        (1, "apply -f field.yaml"),
        (1, "apply -f range.yaml"),
        (4, "apply -f overlap.yaml"),
        (2, "apply -f empty.yaml"),
        (2, "get apples"),
        (2, "get pools --view held"),
        (2, "get lease ten"),
        (2, "export -o json"),
        (2, "completions bash -o name"),
        (2, "delete lease 10.6.0.2"),
        (2, "import -f field.yaml --replace"),
        (2, "get leases --view hold"),
        (2, "apply -f - < empty.yaml"),
        (2, "release green--10.6.0.2 --space blue --generation 1"),
        (1, "apply -f bare.yaml"),
        (1, "import -f field.yaml"),
        (3, "get pool red"),
        (3, "describe lease 10.6.0.9"),
        (3, "delete policy red"),
        (3, "get decision 8"),
        (3, "get leases --pool red"),
    ] {
        assert_eq!(stage.run(line).await, code, "{line}");
    }
    stage.stop().await;
    assert_eq!(stage.run("get pools").await, 5);
    assert_eq!(stage.run("export -f kept.jsonl").await, 5);
    let left = std::fs::read_dir(stage.folder.path()).unwrap();
    assert!(left.flatten().all(|entry| !entry.path().display().to_string().contains("kept")));
    for line in ["version --client", "version", "version -o json"] {
        assert_eq!(stage.run(line).await, 0, "{line}");
    }
    stage.is_golden("mistakes.txt");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_imported_elsewhere() {
    let mut stage = Stage::new(busy_site().await);
    assert_eq!(stage.run("export -f kept.jsonl").await, 0);
    let kept = stage.folder.path().join("kept.jsonl");
    let lines = std::fs::read_to_string(&kept).unwrap();
    assert_eq!(lines.lines().count(), 1 + 4 + 3 + 4 + 1);
    let output = support::run_in(stage.folder.path().to_owned(), "export").await;
    let body = |text: &str| text.lines().skip(1).take(11).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(body(&lines), body(&String::from_utf8(output.stdout).unwrap()));

    let mut target = Stage::new(empty_site());
    target.write("kept.jsonl", &lines);
    assert_eq!(target.run("import -f kept.jsonl").await, 0);
    assert_eq!(target.run("get leases -o name").await, 0);
    assert_eq!(target.run("import -f kept.jsonl").await, 4);
    assert_eq!(target.run("import -f kept.jsonl --replace --yes").await, 0);
    assert_eq!(stage.run("export -f old.jsonl --without-history").await, 0);
    let old = std::fs::read_to_string(stage.folder.path().join("old.jsonl")).unwrap();
    assert_eq!(old.lines().count(), 1 + 4 + 3 + 1);
    target.write("old.jsonl", &old);
    assert_eq!(target.run("import -f old.jsonl --replace --yes").await, 0);
    target.is_golden("import.txt");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_has_help_with_an_example() {
    let mut stage = Stage::new(empty_site());
    stage.run("--help").await;
    for command in [
        "get",
        "describe",
        "history",
        "apply",
        "delete",
        "explain",
        "reclaim",
        "release",
        "node",
        "status",
        "export",
        "import",
        "completions",
        "version",
    ] {
        let line = format!("{command} --help");
        let output = support::run_in(stage.folder.path().to_owned(), &line).await;
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("EXAMPLES:\n  tenure "), "{command}:\n{text}");
        stage.run(&line).await;
    }
    stage.is_golden("help.txt");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shell_gets_completions() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let line = format!("completions {shell}");
        let output = support::run_in(folder.path().to_owned(), &line).await;
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("describe") && text.contains("history"), "{shell}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standalone_daemon_says_that_it_has_no_nodes() {
    let mut stage = Stage::new(empty_site());
    for (code, line) in [
        (4, "get nodes"),
        (4, "get node n1 -o json"),
        (4, "node confirm-dead 11111111-2222 --reason burnt --yes"),
        (4, "node unconfirm-dead 11111111-2222"),
        (2, "node confirm-dead 11111111-2222"),
        (2, "node confirm-dead ../pools --reason burnt --yes"),
        (2, "node"),
        (2, "describe node n1"),
        (2, "delete node n1"),
    ] {
        assert_eq!(stage.run(line).await, code, "{line}");
    }
    stage.is_golden("standalone.txt");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_shown_and_the_word_of_an_operator_is_taken() {
    let mut stage = Stage::with_nodes(empty_site());
    for (code, line) in [
        (0, "get nodes"),
        (0, "get nodes -o wide"),
        (0, "get nodes -o name"),
        (0, "get node n2 -o yaml"),
        (0, "get node uid-3"),
        (0, "get node n4"),
        (3, "get node n9"),
        (2, "node confirm-dead n4 --reason burnt --yes"),
        (3, "node confirm-dead uid-9 --reason burnt --yes"),
        (2, "node confirm-dead uid-3 --reason burnt"),
        (1, "node confirm-dead uid-3 --reason '' --yes"),
        (4, "node confirm-dead uid-1 --reason burnt --yes"),
        (0, "node confirm-dead uid-3 --reason 'burnt, case 4711' --yes"),
        (0, "node confirm-dead uid-3 --reason 'burnt, case 4711' --yes -o json"),
        (0, "node unconfirm-dead uid-3"),
        (0, "node unconfirm-dead uid-3 -o yaml"),
    ] {
        assert_eq!(stage.run(line).await, code, "{line}");
    }
    stage.is_golden("nodes.txt");
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_to_speak_to_is_never_guessed() {
    let mut stage = Stage::new(empty_site());
    stage.write("empty.yaml", "");
    stage.write("broken.yaml", "apiVersion: v1\nkind: Config\nclusters: 7\n");
    stage.write("lab.yaml", KUBECONFIG);
    for (code, line) in [
        (2, "status --cluster --socket /s"),
        (2, "status --context lab --socket /s"),
        (2, "status --tenure-namespace elsewhere"),
        (2, "status --kubeconfig absent.yaml"),
        (2, "status --kubeconfig broken.yaml"),
        (2, "status --kubeconfig empty.yaml --context lab"),
        (2, "status --kubeconfig lab.yaml --context lap"),
        (5, "status --kubeconfig lab.yaml"),
        (0, "version --kubeconfig lab.yaml"),
        (2, "dial-stdio --kubeconfig lab.yaml"),
    ] {
        assert_eq!(stage.run(line).await, code, "{line}");
    }
    stage.is_golden("reach.txt");
}

/// The variable alone leads nowhere: commands go to the socket as before.
#[tokio::test(flavor = "multi_thread")]
async fn a_kubeconfig_in_the_environment_changes_nothing_by_itself() {
    let stage = Stage::new(empty_site());
    stage.write("lab.yaml", KUBECONFIG);
    let with = async |variables: &[(&str, &str)]| {
        let output = support::run_with(stage.folder.path().to_owned(), "status", variables).await;
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(with(&[("KUBECONFIG", "lab.yaml")]).await, (0, String::new()));
    let (code, told) = with(&[("KUBECONFIG", "lab.yaml"), ("TENURE_CONTEXT", "lab")]).await;
    assert!(code == 2 && told.contains("unset one of them"), "{told}");
    let both = [("KUBECONFIG", "lab.yaml"), ("TENURE_CONTEXT", "lab"), ("TENURE_SOCKET", "")];
    let (code, told) = with(&both).await;
    assert!(code == 5 && told.contains("127.0.0.1:1"), "{told}");
}
