//! What an operator types and sees.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use support::Stage;
use support::api::{busy_site, empty_site};
use tenure_engine::FixedAddress;

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
        "status",
        "status -o name",
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
    // The reservation goes although the pool is no more.
    assert_eq!(stage.run("delete -f objects.yaml").await, 3);
    assert_eq!(stage.run("get reservations").await, 0);
    stage.is_golden("objects.txt");
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
async fn exit_codes_tell_scripts_what_happened() {
    let mut stage = Stage::new(busy_site().await);
    stage.write("yaml.yaml", "kind: IPPool\n  broken: [\n");
    stage.write("field.yaml", &MANIFEST.replace("10.7.0.6]}", "10.7.0.6], reson: x}"));
    stage.write("range.yaml", &MANIFEST.replace("10.7.0.0/29", "10.7.0.1/29"));
    stage.write("overlap.yaml", &MANIFEST.replace("10.7.0.0/29", "10.6.0.8/29"));
    stage.write("empty.yaml", "# nothing\n");
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
        (2, "describe pool blue-v4 -o json"),
        (2, "delete lease 10.6.0.2"),
        (2, "import -f field.yaml --replace"),
        (1, "get leases --view hold"),
        (1, "import -f field.yaml"),
        (3, "get pool red"),
        (3, "describe lease 10.6.0.9"),
        (3, "delete policy red"),
        (3, "get decision 8"),
    ] {
        assert_eq!(stage.run(line).await, code, "{line}");
    }
    stage.stop().await;
    assert_eq!(stage.run("get pools").await, 5);
    assert_eq!(stage.run("export -f kept.jsonl").await, 5);
    let left = std::fs::read_dir(stage.folder.path()).unwrap();
    assert!(left.flatten().all(|entry| !entry.path().display().to_string().contains("kept")));
    assert_eq!(stage.run("version --client").await, 0);
    stage.is_golden("mistakes.txt");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_imported_elsewhere() {
    let mut stage = Stage::new(busy_site().await);
    assert_eq!(stage.run("export -f kept.jsonl").await, 0);
    let kept = stage.folder.path().join("kept.jsonl");
    let lines = std::fs::read_to_string(&kept).unwrap();
    assert_eq!(lines.lines().count(), 1 + 4 + 3 + 1);
    let output = support::run_in(stage.folder.path().to_owned(), "export").await;
    let body = |text: &str| text.lines().skip(1).take(7).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(body(&lines), body(&String::from_utf8(output.stdout).unwrap()));

    let mut target = Stage::new(empty_site());
    target.write("kept.jsonl", &lines);
    assert_eq!(target.run("import -f kept.jsonl").await, 0);
    assert_eq!(target.run("get leases -o name").await, 0);
    assert_eq!(target.run("import -f kept.jsonl").await, 4);
    assert_eq!(target.run("import -f kept.jsonl --replace --yes").await, 0);
    target.is_golden("import.txt");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_has_help_with_an_example() {
    let mut stage = Stage::new(empty_site());
    stage.run("--help").await;
    for command in [
        "get",
        "describe",
        "apply",
        "delete",
        "release",
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
        assert!(text.contains("describe"), "{shell}: {text}");
    }
}
