//! That the planted bugs are still what the documentation says, without planting any.

use std::path::Path;

use super::patch::{self, FOLDER, Mutation};
use super::*;
use crate::workspace;

/// The documentation that lists them.
const DOCUMENT: &str = "host/engine/RECLAIM.md";
const TABLE_HEAD: &str = "| planted bug | what is wrong | seen by |\n| --- | --- | --- |\n";
/// Fewer would leave a rule of reclaim without one.
const LEAST: usize = 20;

#[test]
fn every_planted_bug_still_applies_to_the_shipped_sources() {
    for mutation in patch::all().unwrap() {
        tree::apply(&workspace::root(), &mutation, &["--check"]).unwrap();
        for file in &mutation.touched {
            assert!(file.starts_with("host/") && file.contains("/src/"), "{file} does not ship");
        }
    }
}

#[test]
fn there_are_enough_planted_bugs_and_each_has_its_number() {
    let mutations = patch::all().unwrap();
    assert!(mutations.len() >= LEAST, "{}", mutations.len());
    for (n, mutation) in mutations.iter().enumerate() {
        assert_eq!(mutation.number(), format!("{:02}", n + 1), "{}", mutation.name);
    }
}

/// Renaming a test is noticed here, not only when all bugs are planted.
#[test]
fn every_named_test_stands_in_its_package() {
    for Mutation { name, test, .. } in patch::all().unwrap() {
        let package = test.package.strip_prefix("tenure-").unwrap_or(&test.package);
        let folder = workspace::root().join("host").join(package);
        let last = test.name.rsplit("::").next().unwrap();
        assert!(stands_below(&folder, last), "{name}: nothing in {package} is called {last}");
    }
}

fn stands_below(folder: &Path, word: &str) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return stands_below(&path, word);
        }
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|one| one == word)
    })
}

#[test]
fn the_documentation_lists_exactly_the_planted_bugs() {
    let path = workspace::root().join(DOCUMENT);
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(TABLE_HEAD).expect("the head of the table");
    let after = rest.find("\n\n").map_or("", |end| &rest[end + 1..]);
    let row = |one: &Mutation| format!("| `{}` | {} | `{}` |\n", one.name, one.bug, one.test);
    let rows: String = patch::all().unwrap().iter().map(row).collect();
    let wanted = format!("{before}{TABLE_HEAD}{rows}{after}");
    if std::env::var_os("TENURE_BLESS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
        return;
    }
    assert!(text == wanted, "{DOCUMENT} does not list {FOLDER}; renew it with TENURE_BLESS=1");
}

#[test]
fn the_closing_line_tells_every_fate() {
    assert_eq!(summary(&[Fate::Caught, Fate::CaughtByTime]), "2 mutations, 2 caught");
    let stale = Fate::NoLongerApplies("host/core/src/judge.rs".into());
    assert_eq!(
        summary(&[Fate::Survived, Fate::DoesNotBuild, stale, Fate::Caught]),
        "4 mutations, 1 caught, 1 survived, 1 no longer apply, 1 do not build"
    );
}
