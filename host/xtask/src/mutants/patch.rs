//! A planted bug: a unified diff behind a header that says what the bug is and which test sees it.
//!
//! ```text
//! Bug: one sentence
//! Test: PACKAGE TARGET NAME        e.g. tenure-engine --test races gc_does_not_free_what_was_bound_again
//!
//! diff --git ...
//! ```

use std::fmt;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};

use crate::workspace;

/// Where the patches are.
pub(super) const FOLDER: &str = "host/sim/mutations";

/// One planted bug.
#[derive(Debug, Clone)]
pub(super) struct Mutation {
    /// The file's name without its ending: a number and a few words.
    pub(super) name: String,
    /// What the bug is, in one sentence.
    pub(super) bug: String,
    /// The test that sees it.
    pub(super) test: TestName,
    /// The patch.
    pub(super) path: PathBuf,
    /// The source files that it changes, from the top folder.
    pub(super) touched: Vec<String>,
}

/// One test of the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TestName {
    pub(super) package: String,
    pub(super) target: Target,
    /// As the test runner prints it.
    pub(super) name: String,
}

/// What cargo builds a test into.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    Lib,
    Bin(String),
    Test(String),
}

/// All planted bugs, by name.
pub(super) fn all() -> anyhow::Result<Vec<Mutation>> {
    let folder = workspace::root().join(FOLDER);
    let entries = std::fs::read_dir(&folder).with_context(|| format!("listing {FOLDER}"))?;
    let paths: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
    paths.sort();
    paths.into_iter().map(Mutation::read).collect()
}

// === impl Mutation ===

impl Mutation {
    fn read(path: PathBuf) -> anyhow::Result<Self> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path)?;
        Self::parse(name, path, &text).with_context(|| format!("{FOLDER}: a patch"))
    }

    fn parse(name: String, path: PathBuf, text: &str) -> anyhow::Result<Self> {
        let header = text.lines().take_while(|line| !line.starts_with("diff --git "));
        let value = |key: &str| {
            let mut values = header.clone().filter_map(|line| line.strip_prefix(key));
            let value = values.next().with_context(|| format!("{name} has no line {key:?}"))?;
            ensure!(values.next().is_none(), "{name} has two lines {key:?}");
            Ok(value.trim().to_owned())
        };
        let (bug, test) = (value("Bug: ")?, TestName::parse(&value("Test: ")?)?);
        let touched = text.lines().filter_map(|line| line.strip_prefix("+++ b/"));
        let touched: Vec<_> = touched.map(str::to_owned).collect();
        ensure!(!touched.is_empty(), "{name} changes nothing");
        Ok(Self { name, bug, test, path, touched })
    }

    /// The number that its name begins with.
    pub(super) fn number(&self) -> &str {
        self.name.split('-').next().unwrap_or_default()
    }
}

// === impl TestName ===

impl TestName {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let words: Vec<_> = text.split_whitespace().collect();
        let (package, target, name) = match *words {
            [package, "--lib", name] => (package, Target::Lib, name),
            [package, "--bin", bin, name] => (package, Target::Bin(bin.to_owned()), name),
            [package, "--test", test, name] => (package, Target::Test(test.to_owned()), name),
            _ => anyhow::bail!(
                "{text:?} is not PACKAGE, --lib or --bin NAME or --test NAME, and a test"
            ),
        };
        Ok(Self { package: package.to_owned(), target, name: name.to_owned() })
    }
}

impl fmt::Display for TestName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.package, self.target, self.name)
    }
}

// === impl Target ===

impl Target {
    /// As cargo takes it.
    pub(super) fn arguments(&self) -> Vec<&str> {
        match self {
            Self::Lib => vec!["--lib"],
            Self::Bin(name) => vec!["--bin", name],
            Self::Test(name) => vec!["--test", name],
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.arguments().join(" "))
    }
}
