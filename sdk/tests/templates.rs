//! `tenure policy new` must write crates that build and pass their tests at once: every subset of hooks does, offline, without
//! a warning, and its fixtures and schema are well-formed.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

#[path = "../templates/fill.rs"]
mod fill;

use std::path::{Path, PathBuf};
use std::process::Command;

/// The sdk of this checkout.
const SDK: &str = env!("CARGO_MANIFEST_DIR");

fn subsets() -> impl Iterator<Item = Vec<&'static str>> {
    let of = |bits: usize| {
        let chosen = fill::HOOKS.into_iter().enumerate().filter(move |(at, _)| bits >> at & 1 == 1);
        chosen.map(|(_, hook)| hook).collect()
    };
    (1..8).map(of)
}

/// Builds of all subsets share it, so the dependencies are built once.
fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("templates")
}

fn write(folder: &Path, name: &str, hooks: &[&str]) {
    let dependency = format!("{{ path = {SDK:?} }}");
    for (path, text) in fill::fill(name, hooks, &dependency) {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

fn cargo(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--offline", "--quiet"])
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", target())
        .env("RUSTFLAGS", "-D warnings")
        .output()
        .unwrap();
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    assert!(output.status.success(), "cargo {arguments:?} in {}:\n{said}", folder.display());
    said
}

#[test]
fn every_subset_of_hooks_builds_and_passes_its_tests_offline() {
    let folder = tempfile::tempdir().unwrap();
    for hooks in subsets() {
        let name = format!("new-{}", hooks.join("-"));
        let folder = folder.path().join(&name);
        write(&folder, &name, &hooks);
        // The dependencies of the checkout, which are there: offline cargo cannot ask for newer ones.
        std::fs::copy(Path::new(SDK).join("../Cargo.lock"), folder.join("Cargo.lock")).unwrap();
        let said = cargo(&folder, &["test"]);
        let tests = 2 * hooks.len() + usize::from(hooks.contains(&"reclaim"));
        assert!(said.contains(&format!("{tests} passed")), "{hooks:?}: {said}");
    }
}

#[test]
fn no_mark_is_left_and_the_files_are_those_of_the_hooks() {
    for hooks in subsets() {
        let files = fill::fill("my-policy", &hooks, "\"0.1\"");
        assert_eq!(files.len(), 6 + 2 * hooks.len());
        for (path, text) in files {
            for mark in ["{{name", "{{type", "{{hook", "{{sdk", "{{sel", "{{aff", "{{rec"] {
                assert!(!text.contains(mark), "{path} has {mark}");
            }
            if path == "src/settings.json" {
                let schema: serde_json::Value = serde_json::from_str(&text).unwrap();
                assert!(schema["properties"]["explain"].is_object(), "{text}");
            }
            if path == "README.md" {
                assert!(text.lines().count() <= 13, "ten lines, not {}", text.lines().count());
            }
        }
    }
}

#[test]
fn names_are_those_of_crates() {
    for good in ["a", "pool-order", "v6"] {
        assert!(fill::is_name(good), "{good}");
    }
    for bad in ["", "6v", "-a", "a-", "A", "a_b", "a/b", "../a", &"a".repeat(64)] {
        assert!(!fill::is_name(bad), "{bad}");
    }
    let lib = fill::fill("pool-order-2", &["select"], "\"0.1\"").remove(5).1;
    assert!(lib.contains("pub struct PoolOrder2 {"), "{lib}");
}
