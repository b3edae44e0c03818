//! What `sdk/README.md` promises of the contract: a component of today goes on loading. `sdk/tests/contract/` has each version as
//! it came out, one folder each; none of them is ever written again.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

use wit_component::semver_check;
use wit_parser::{PackageId, Resolve, SourceMap};

/// Imports and exports everything that the contract has.
const WORLD: &str = "full-policy";
/// The line that says which version the contract is.
const PACKAGE: &str = "package tenure:policy@";

/// The files of a contract, by name.
type Files = Vec<(String, String)>;

fn sdk() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk")
}

fn read(folder: &Path) -> Files {
    let mut files = Files::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        files.push((name, std::fs::read_to_string(&path).unwrap()));
    }
    assert!(!files.is_empty(), "{} has no contract", folder.display());
    files.sort();
    files
}

fn version(files: &Files) -> &str {
    let found = files.iter().find_map(|(_, text)| text.split_once(PACKAGE)).unwrap();
    found.1.split(';').next().unwrap()
}

/// Both stand in one `Resolve`, where no two packages have one name: the old one gets another version, which the check drops.
fn push(resolve: &mut Resolve, files: &Files, mark: &str) -> PackageId {
    let package = format!("{PACKAGE}{}", version(files));
    let mut sources = SourceMap::new();
    for (name, text) in files {
        sources.push_str(name, text.replace(&package, &format!("{package}{mark}")));
    }
    let group = sources.parse().map_err(|(_, error)| error).unwrap();
    resolve.push_group(group).unwrap()
}

/// Whether a host of `new` serves what was built against `old`, and why not.
fn serves(old: &Files, new: &Files) -> Result<(), String> {
    let mut resolve = Resolve::default();
    let old = push(&mut resolve, old, "-released");
    let new = push(&mut resolve, new, "");
    let old = resolve.select_world(&[old], Some(WORLD)).unwrap();
    let new = resolve.select_world(&[new], Some(WORLD)).unwrap();
    semver_check(resolve, old, new).map_err(|error| format!("{error:#}"))
}

fn changed(files: &Files, from: &str, to: &str) -> Files {
    let mut found = 0;
    let changed = files.iter().map(|(name, text)| {
        found += text.matches(from).count();
        (name.clone(), text.replace(from, to))
    });
    let changed = changed.collect();
    assert!(found > 0, "the contract has no {from:?}");
    changed
}

#[test]
fn the_contract_of_this_host_serves_each_that_came_out_within_its_version() {
    let today = read(&sdk().join("wit"));
    let mut seen = 0;
    for entry in std::fs::read_dir(sdk().join("tests/contract")).unwrap() {
        let folder = entry.unwrap().path();
        let released = read(&folder);
        assert_eq!(folder.file_name().unwrap().to_str(), Some(version(&released)));
        // Below 1.0 the second number is the one that may break.
        let line = |files: &Files| version(files).rsplit_once('.').unwrap().0.to_owned();
        if line(&released) == line(&today) {
            serves(&released, &today).unwrap();
            seen += 1;
        }
    }
    assert!(seen > 0, "no contract of the line of {} is kept", version(&today));
}

#[test]
fn what_would_break_a_component_of_today_is_seen() {
    let today = read(&sdk().join("wit"));
    for (what, from, to) in [
        ("a record grows", "record attribute {", "record attribute { more: string,"),
        ("an enum grows", "enum level {", "enum level { fatal,"),
        ("an import takes more", "log: func(level: level,", "log: func(more: u32, level: level,"),
        ("an import is gone", "log-level: func() -> level;", ""),
        ("an export is asked for", "export reclaim;", "export reclaim; export more: func();"),
    ] {
        assert!(serves(&today, &changed(&today, from, to)).is_err(), "{what}");
    }
    let more = ("interface host {", "interface host { more: func() -> u32;");
    serves(&today, &changed(&today, more.0, more.1)).unwrap();
}
