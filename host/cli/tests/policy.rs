//! `tenure policy`, as an author types it: from an empty folder to a policy that is built, played, measured and compared.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// What one command said.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code().unwrap(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    #[track_caller]
    fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap()
    }
}

/// A folder in which an author works.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, of: &str) -> PathBuf {
        self.0.path().join(of)
    }

    fn read(&self, of: &str) -> String {
        std::fs::read_to_string(self.path(of)).unwrap()
    }

    /// Types `tenure policy ...` in a folder; what cargo builds is kept for the next test.
    fn types(&self, folder: &str, line: &str) -> Said {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let output = Command::new(env!("CARGO_BIN_EXE_tenure"))
            .arg("policy")
            .args(line.split_whitespace())
            .current_dir(self.path(folder))
            .env("CARGO_TARGET_DIR", root.join("target/author"))
            .env("TENURE_SDK", root.join("sdk"))
            .output();
        Said::of(output.unwrap())
    }
}

fn shipped(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join("target/policies").join(format!("{name}.wasm"));
    assert!(path.is_file(), "{} is missing: run `cargo xtask policies` first", path.display());
    path.display().to_string()
}

fn fixtures(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join("policies").join(name).join("fixtures").display().to_string()
}

#[test]
fn a_new_policy_builds_and_passes_its_fixtures_and_a_change_of_mind_is_seen() {
    let desk = Desk::new();
    let said = desk.types(".", "new spread --hooks select,affinity,reclaim").ok();
    assert!(said.out.contains("tenure policy build"), "{}", said.out);
    let built = desk.types("spread", "build --offline --out spread.wasm").ok();
    assert!(built.out.starts_with("spread.wasm  "), "{}", built.out);
    let first = std::fs::read(desk.path("spread/spread.wasm")).unwrap();
    // It is told what it is without being run.
    let inspected = desk.types("spread", "inspect spread.wasm -o json").ok().json();
    assert_eq!(inspected["face"]["metadata"]["name"], "spread");
    assert_eq!(inspected["face"]["hooks"], serde_json::json!(["select", "affinity", "reclaim"]));
    assert_eq!(inspected["accepted"], true);
    let played =
        desk.types("spread", "test spread.wasm --fixtures fixtures --seed 7 --junit r.xml").ok();
    assert!(played.out.contains("fixtures: 3 passed; 0 failed; 0 filtered out"), "{}", played.out);
    assert!(desk.read("spread/r.xml").contains("tests=\"3\""), "{}", desk.read("spread/r.xml"));
    // The same source gives the same bytes.
    desk.types("spread", "build --offline --out again.wasm").ok();
    assert_eq!(std::fs::read(desk.path("spread/again.wasm")).unwrap(), first);
    // The author changes his mind: the fixture says so, and is blessed.
    let source = desk.read("spread/src/select.rs").replace("row.free == 0,", "row.free != 0,");
    std::fs::write(desk.path("spread/src/select.rs"), source).unwrap();
    desk.types("spread", "build --offline --out other.wasm").ok();
    let failed = desk.types("spread", "test other.wasm --fixtures fixtures");
    assert_eq!(failed.code, 1);
    assert!(failed.out.contains("another answer than expected"), "{}", failed.out);
    assert!(failed.err.contains("1 of 3 fixtures failed"), "{}", failed.err);
    let differs =
        desk.types("spread", "diff spread.wasm other.wasm --fixtures fixtures -o json").ok();
    assert_eq!(differs.json()["behaviour"][0]["case"], "select");
    desk.types("spread", "test other.wasm --fixtures fixtures --bless").ok();
    desk.types("spread", "test other.wasm --fixtures fixtures").ok();
    let named = desk.types("spread", "build --offline --keep-names --out named.wasm").ok();
    assert!(
        std::fs::metadata(desk.path("spread/named.wasm")).unwrap().len() > first.len() as u64,
        "{}",
        named.out
    );
    let explained = desk.types("spread", "explain named.wasm --fixture fixtures/select.yaml").ok();
    assert!(
        explained.out.contains("select") && explained.out.contains("held: "),
        "{}",
        explained.out
    );
}

/// A compiler whose sysroot has no Wasm, and none of the system's beside it.
#[test]
fn without_a_target_for_wasm_the_one_command_is_said() {
    let desk = Desk::new();
    desk.types(".", "new spread --hooks select").ok();
    let script = desk.path("rustc.sh");
    std::fs::write(&script, "#!/bin/sh\necho /nowhere\n").unwrap();
    // Made executable by another process: see `copied_plugin` in `cni/tests/socket.rs`.
    let mut install = Command::new("install");
    install.args(["-m", "755"]).args([&script, &desk.path("rustc")]);
    assert!(install.status().unwrap().success());
    let output = Command::new(env!("CARGO_BIN_EXE_tenure"))
        .args(["policy", "build", "--offline"])
        .current_dir(desk.path("spread"))
        .env("PATH", desk.path("."))
        .env("CARGO", env!("CARGO"))
        .output();
    let said = Said::of(output.unwrap());
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.err.contains("rustup target add wasm32-unknown-unknown"), "{}", said.err);
    let output = Command::new(env!("CARGO_BIN_EXE_tenure"))
        .args(["policy", "build", "--offline"])
        .current_dir(desk.path("spread"))
        .env("PATH", desk.path("."))
        .env_remove("CARGO")
        .output();
    let said = Said::of(output.unwrap());
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.err.contains("cargo is not on PATH"), "{}", said.err);
}

#[test]
fn a_component_that_no_daemon_would_take_has_a_report_that_says_so() {
    let desk = Desk::new();
    std::fs::write(desk.path("bad.wasm"), "no Wasm").unwrap();
    let line = format!("test bad.wasm --fixtures {} --junit r.xml", fixtures("balanced"));
    let said = desk.types(".", &line);
    assert_eq!(said.code, 4, "{}", said.err);
    let report = desk.read("r.xml");
    assert!(report.contains("errors=\"1\"") && report.contains("recognising"), "{report}");
}

#[test]
fn what_is_typed_wrongly_changes_nothing_and_says_what_to_do() {
    let desk = Desk::new();
    for (line, code, said) in [
        ("new Spread --hooks select", 2, "is no name of a policy"),
        ("new spread --hooks selekt", 2, "the hooks are select, affinity, reclaim"),
        ("new spread", 2, "--hooks"),
        ("build", 2, "tenure policy new"),
        ("build --module nothing.wasm", 2, "--out"),
        ("build --wasi stub", 2, "--module"),
        ("build --module nothing.wasm --out x.wasm", 1, "nothing.wasm"),
        ("check nothing.wasm", 1, "nothing.wasm"),
        ("test nothing.wasm", 2, "--fixtures"),
        ("replay nothing.json", 1, "nothing.json"),
        ("replay r.json --save 7", 2, "--to"),
        ("bench a.wasm --compare b.wasm --max-fuel 7", 2, "cannot be used with"),
    ] {
        let answer = desk.types(".", line);
        assert_eq!(answer.code, code, "{line}: {}{}", answer.out, answer.err);
        assert!(answer.err.contains(said), "{line}: {}", answer.err);
    }
    assert_eq!(std::fs::read_dir(desk.path(".")).unwrap().count(), 0);
    desk.types(".", "new spread --hooks select").ok();
    let again = desk.types(".", "new spread --hooks reclaim");
    assert_eq!((again.code, again.err.contains("exists already")), (2, true), "{}", again.err);
}

/// The example in Go, of which `cargo xtask policies` has made the core module.
#[test]
fn a_core_module_of_another_language_becomes_a_policy_and_its_wasi_leads_nowhere_only_on_request() {
    let desk = Desk::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let module = root.join("sdk/examples/go/target/emptiest.core.wasm");
    assert!(module.is_file(), "{} is missing: run `cargo xtask policies` first", module.display());
    let line = format!("build --module {} --world select-only --out go.wasm", module.display());
    let refused = desk.types(".", &line);
    assert_eq!(refused.code, 1, "{}", refused.err);
    assert!(refused.err.contains("it imports WASI (") && refused.err.contains("`--wasi stub`"));
    assert_eq!(std::fs::read_dir(desk.path(".")).unwrap().count(), 0);
    let built = desk.types(".", &format!("{line} --wasi stub -o json")).ok().json();
    assert_eq!(built["checked"]["accepted"], true, "{built}");
    assert_eq!(built["checked"]["face"]["metadata"]["name"], "emptiest-go");
}

#[test]
fn a_component_that_no_daemon_would_take_is_refused_with_code_4_and_shown_nevertheless() {
    let desk = Desk::new();
    let text = r#"(component (import "wasi:clocks/monotonic-clock@0.2.6" (instance)))"#;
    std::fs::write(desk.path("clock.wasm"), wat::parse_str(text).unwrap()).unwrap();
    let refused = desk.types(".", "check clock.wasm");
    assert_eq!(refused.code, 4, "{}", refused.err);
    assert!(refused.err.contains("request.now_ms"), "{}", refused.err);
    assert!(refused.err.contains("refused while checking the imports"), "{}", refused.err);
    let shown = desk.types(".", "inspect clock.wasm").ok();
    assert!(shown.out.contains("Accepted:         no"), "{}", shown.out);
    std::fs::write(desk.path("text.wasm"), "hello").unwrap();
    let text = desk.types(".", "inspect text.wasm");
    assert_eq!((text.code, text.err.contains("no Wasm component")), (1, true), "{}", text.err);
}

#[test]
fn shipped_policies_are_checked_played_measured_and_compared() {
    let desk = Desk::new();
    let grace = shipped("grace");
    let page = desk.types(".", &format!("check {grace}")).ok().out;
    for line in [
        "Name:             grace",
        "Hooks:            reclaim",
        "Accepted:         yes",
        "Settings schema:",
    ] {
        assert!(page.contains(line), "{line}: {page}");
    }
    let all = fixtures("grace");
    let played = desk.types(".", &format!("test {grace} --fixtures {all} -o json")).ok().json();
    assert!(
        played["cases"].as_array().unwrap().iter().all(|case| case["verdict"]["is"] == "passed")
    );
    let none = desk.types(".", &format!("test {grace} --fixtures {all} --only nobody"));
    assert_eq!((none.code, none.err.contains("no fixture has such a name")), (1, true));
    let bench = desk.types(".", &format!("bench {grace}")).ok().out;
    assert!(bench.contains("reclaim   1000"), "{bench}");
    let bound = desk.types(".", &format!("bench {grace} --max-fuel 10"));
    assert!(bound.code == 1 && bound.err.contains("more than 10"), "{}", bound.err);
    let major = desk.types(".", &format!("diff {grace} {}", shipped("balanced")));
    assert_eq!(major.code, 1, "{}", major.out);
    assert!(major.out.contains("hook reclaim is gone"), "{}", major.out);
    assert!(major.err.contains("asks for a major version"), "{}", major.err);
}
