//! `cargo xtask mutants`: plants each bug of `host/sim/mutations` and shows that the test it names sees it.
//!
//! ```text
//! patches -> copy of the sources -> every named test passes there
//!   -> for each patch: apply, build, run its test, which must fail; undo
//! ```
//!
//! Only a test that ran and failed has caught a bug. What does not build, and what no longer applies, proves nothing and
//! is told as such.

mod patch;
mod run;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};

use patch::{Mutation, TestName};
use run::{Ended, TIME_LIMIT};
use tree::Tree;

/// What became of a planted bug.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// Its test failed.
    Caught,
    /// Its test did not end within [`TIME_LIMIT`].
    CaughtByTime,
    /// Its test passed.
    Survived,
    /// The sources have changed where it is planted: these files.
    NoLongerApplies(String),
    /// The compiler refused it, which says nothing about the test.
    DoesNotBuild,
}

/// Plants the named bugs, or all.
pub(crate) fn run(names: &[String]) -> anyhow::Result<()> {
    let mut mutations = chosen(patch::all()?, names)?;
    // What is built for one test serves the next one of the same target, and what one patch touches the next one touches.
    mutations.sort_by_key(|one| {
        (one.test.package.clone(), one.test.target.clone(), one.touched.clone())
    });
    let tree = Tree::fresh()?;
    let (mutations, stale): (Vec<_>, Vec<_>) =
        mutations.into_iter().partition(|one| tree.takes(one));
    let mut fates: Vec<Fate> = Vec::new();
    for mutation in stale {
        let fate = Fate::NoLongerApplies(mutation.touched.join(", "));
        tell(&mutation, &fate, None);
        fates.push(fate);
    }
    all_pass(&tree, &mutations)?;
    for mutation in &mutations {
        let begun = Instant::now();
        tree.plant(mutation)?;
        let fate = fate_of(&tree, &mutation.test);
        tree.undo(mutation)?;
        let fate = fate.with_context(|| format!("mutation {}", mutation.name))?;
        tell(mutation, &fate, Some(begun));
        fates.push(fate);
    }
    println!("{}", summary(&fates));
    if !fates.iter().all(Fate::is_caught) {
        bail!("not every planted bug is caught");
    }
    Ok(())
}

/// Those that are meant, by name or by number.
fn chosen(mutations: Vec<Mutation>, names: &[String]) -> anyhow::Result<Vec<Mutation>> {
    let is_meant = |one: &Mutation, name: &str| one.name == name || one.number() == name;
    for name in names {
        let known = mutations.iter().any(|one| is_meant(one, name));
        ensure!(known, "no mutation {name:?}; they are in {}", patch::FOLDER);
    }
    let all = names.is_empty();
    let kept = mutations.into_iter();
    Ok(kept.filter(|one| all || names.iter().any(|name| is_meant(one, name))).collect())
}

/// The named tests pass while nothing is planted, each of them exactly one test.
fn all_pass(tree: &Tree, mutations: &[Mutation]) -> anyhow::Result<()> {
    let mut by_target: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for Mutation { test, .. } in mutations {
        let names = by_target.entry((&*test.package, test.target.clone())).or_default();
        if !names.contains(&&*test.name) {
            names.push(&test.name);
        }
    }
    for ((package, target), names) in by_target {
        let begun = Instant::now();
        let test = tree.build(package, &target)?.with_context(|| {
            format!("{package} {target} does not build, and nothing is planted")
        })?;
        for name in &names {
            match test.run(name)? {
                Ended::Passed => {}
                other => bail!("{package} {target} {name}: {other}, and nothing is planted"),
            }
        }
        let seconds = begun.elapsed().as_secs_f64();
        println!("unchanged: {} of {package} {target} pass, {seconds:.1} s", names.len());
    }
    Ok(())
}

fn fate_of(tree: &Tree, test: &TestName) -> anyhow::Result<Fate> {
    let Some(built) = tree.build(&test.package, &test.target)? else {
        return Ok(Fate::DoesNotBuild);
    };
    Ok(match built.run(&test.name)? {
        Ended::Passed => Fate::Survived,
        Ended::Failed => Fate::Caught,
        Ended::TimeIsUp => Fate::CaughtByTime,
        Ended::NotOne => bail!("{test} does not run exactly one test"),
    })
}

fn tell(mutation: &Mutation, fate: &Fate, begun: Option<Instant>) {
    let seconds = begun.map_or(0.0, |begun| begun.elapsed().as_secs_f64());
    println!("{}: {fate}, {seconds:.1} s ({})", mutation.name, mutation.test);
    let advice = match fate {
        Fate::Caught | Fate::CaughtByTime => return,
        Fate::Survived => "Find or write the test that sees it, and name that one.",
        Fate::NoLongerApplies(_) | Fate::DoesNotBuild => {
            "Plant it anew: make the change in the sources, put `git diff -U1` of it below the header, and undo it."
        }
    };
    println!("  {}\n  {advice} {}", mutation.bug, mutation.path.display());
}

/// `24 mutations, 24 caught`, and how many of each other fate.
fn summary(fates: &[Fate]) -> String {
    let count = |is: fn(&Fate) -> bool| fates.iter().filter(|fate| is(fate)).count();
    let mut text = format!("{} mutations, {} caught", fates.len(), count(Fate::is_caught));
    for (what, number) in [
        ("survived", count(|fate| *fate == Fate::Survived)),
        ("no longer apply", count(|fate| matches!(fate, Fate::NoLongerApplies(_)))),
        ("do not build", count(|fate| *fate == Fate::DoesNotBuild)),
    ] {
        if number > 0 {
            text += &format!(", {number} {what}");
        }
    }
    text
}

impl Fate {
    fn is_caught(&self) -> bool {
        matches!(self, Self::Caught | Self::CaughtByTime)
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Caught => f.write_str("caught"),
            Self::CaughtByTime => {
                write!(f, "caught: its test did not end within {} s", TIME_LIMIT.as_secs())
            }
            Self::Survived => f.write_str("SURVIVED"),
            Self::NoLongerApplies(files) => {
                write!(f, "no longer applies, {files} changed where it is planted")
            }
            Self::DoesNotBuild => f.write_str("does not build"),
        }
    }
}
