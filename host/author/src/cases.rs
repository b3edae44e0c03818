//! `tenure policy test`: fixtures, each played twice and in an order that changes from run to run, under the limits of the
//! daemon.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use serde::Serialize;
use serde_json::Value;
use similar::TextDiff;
use tenure_core::decision::StepOutcome;
use tenure_core::objects::PolicyLimits;
use tenure_policy_host::{Played, SETTINGS};

use crate::error::AuthorError;
use crate::fixture_file::FixtureFile;
use crate::trial::Trial;

/// How a suite is played.
#[derive(Debug, Clone, Default)]
pub struct CaseOptions {
    /// Decides the order; printed, so that an order can be played again.
    pub seed: u64,
    /// Answers that differ are written into their files.
    pub bless: bool,
    /// Only cases whose name contains this.
    pub filter: Option<String>,
    /// The limits of the policy's object.
    pub limits: PolicyLimits,
}

/// All cases of one component.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Suite {
    /// The component.
    pub component: String,
    /// The order.
    pub seed: u64,
    /// In the order of their names.
    pub cases: Vec<Case>,
    /// Not played, because of the filter.
    pub filtered: usize,
}

/// One case.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Case {
    /// Its name.
    pub name: String,
    /// What it shows.
    pub about: String,
    /// How it ended.
    pub verdict: Verdict,
    /// Fuel.
    pub fuel: u64,
    /// Linear memory, in bytes.
    pub memory: u64,
    /// Wall time of the first play.
    #[serde(skip)]
    pub took: Duration,
    /// Log lines of the policy.
    pub log: Vec<String>,
}

/// How a case ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "is", content = "why")]
pub enum Verdict {
    /// As expected.
    Passed,
    /// Its answer was written into the file.
    Blessed,
    /// Something else came out, or too much was used. In words, with a diff.
    Failed(String),
}

/// A count of cases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// As expected.
    pub passed: usize,
    /// Written anew.
    pub blessed: usize,
    /// Not as expected.
    pub failed: usize,
}

// === impl Suite ===

impl Suite {
    /// Plays all fixtures of a folder, or one file.
    ///
    /// # Errors
    /// A fixture cannot be read, or the host refuses the component whatever its settings.
    pub fn play(
        component: &Path,
        fixtures: &Path,
        options: &CaseOptions,
    ) -> Result<Self, AuthorError> {
        let mut files = FixtureFile::all(fixtures)?;
        let all = files.len();
        let is_wanted =
            |name: &str| options.filter.as_deref().is_none_or(|part| name.contains(part));
        files.retain(|file| is_wanted(&file.name()));
        let filtered = all - files.len();
        let trial = Trial::of(component, &options.limits)?;
        // All once, and all again in another order: what came before shall make no difference.
        let mut plays: Vec<Vec<Play>> = files.iter().map(|_| Vec::new()).collect();
        for seed in [options.seed, !options.seed] {
            for at in order(files.len(), seed) {
                if let (Some(file), Some(plays)) = (files.get(at), plays.get_mut(at)) {
                    plays.push(play(&trial, file)?);
                }
            }
        }
        let mut cases = Vec::new();
        for (file, plays) in files.iter().zip(&plays) {
            if let [first, second] = plays.as_slice() {
                cases.push(judge(file, first, second, options)?);
            }
        }
        cases.sort_by(|a, b| a.name.cmp(&b.name));
        let component = component.display().to_string();
        Ok(Self { component, seed: options.seed, cases, filtered })
    }

    /// How many of which.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let mut outcome = Outcome::default();
        for case in &self.cases {
            match case.verdict {
                Verdict::Passed => outcome.passed += 1,
                Verdict::Blessed => outcome.blessed += 1,
                Verdict::Failed(_) => outcome.failed += 1,
            }
        }
        outcome
    }

    /// For the test displays of CI systems.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn junit(&self) -> Result<String, AuthorError> {
        let cases = self.cases.iter().map(|case| {
            let status = match &case.verdict {
                Verdict::Passed | Verdict::Blessed => TestCaseStatus::success(),
                Verdict::Failed(why) => non_success(NonSuccessKind::Failure, why),
            };
            let mut one = TestCase::new(case.name.clone(), status);
            one.set_time(case.took);
            one.set_classname(case.about.clone());
            one
        });
        report(&self.component, cases)
    }

    /// The report where no case could be played: one error, with what the host, or the reader of a fixture, said.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn junit_of_none(component: &Path, why: &AuthorError) -> Result<String, AuthorError> {
        let status = non_success(NonSuccessKind::Error, &why.to_string());
        report(&component.display().to_string(), [TestCase::new("component", status)])
    }
}

fn non_success(kind: NonSuccessKind, why: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_message(why.lines().next().unwrap_or_default().to_owned());
    status.set_description(why.to_owned());
    status
}

fn report(
    component: &str,
    cases: impl IntoIterator<Item = TestCase>,
) -> Result<String, AuthorError> {
    let mut suite = TestSuite::new(component.to_owned());
    suite.add_test_cases(cases);
    let mut report = Report::new("tenure policy test");
    report.add_test_suite(suite);
    report.to_string().map_err(|error| AuthorError::Wrong(error.to_string()))
}

/// What one play of a case showed.
enum Play {
    Asked(Box<Played>, Duration),
    /// The host refused the settings of the case, in words.
    Refused(String),
}

fn play(trial: &Trial, file: &FixtureFile) -> Result<Play, AuthorError> {
    let fixture = &file.fixture;
    let unread = |error: serde_json::Error| AuthorError::Document {
        path: file.path.clone(),
        why: format!("request: {error}"),
    };
    // Anew each time: faults of the case before shall not have opened the breaker.
    match trial.install(&fixture.settings) {
        Ok(()) => {}
        // At any other stage it is the component's fault, whatever the case.
        Err(AuthorError::Refused { stage, why, .. }) if stage == SETTINGS => {
            return Ok(Play::Refused(format!("refused while {stage}: {why}")));
        }
        Err(error) => return Err(error),
    }
    let began = Instant::now();
    let played = fixture.play(&trial.host).map_err(unread)?;
    Ok(Play::Asked(Box::new(played), began.elapsed()))
}

fn judge(
    file: &FixtureFile,
    first: &Play,
    second: &Play,
    options: &CaseOptions,
) -> Result<Case, AuthorError> {
    let (name, about) = (file.name(), file.fixture.about.clone());
    let (first, second, took) = match (first, second) {
        (Play::Asked(first, took), Play::Asked(second, _)) => (first, second, *took),
        (Play::Refused(why), _) | (_, Play::Refused(why)) => {
            let (verdict, log) = (Verdict::Failed(why.clone()), Vec::new());
            return Ok(Case {
                name,
                about,
                verdict,
                fuel: 0,
                memory: 0,
                took: Duration::ZERO,
                log,
            });
        }
    };
    let verdict = match verdict(file, first, second) {
        Verdict::Failed(_)
            if options.bless && same(first, second) && !file.fixture.admits(&first.answer) =>
        {
            file.bless(&first.answer)?;
            Verdict::Blessed
        }
        verdict => verdict,
    };
    let step = first.step.clone();
    let (fuel, memory, log) =
        step.map(|step| (step.fuel, step.memory, step.log)).unwrap_or_default();
    Ok(Case { name, about, verdict, fuel, memory, took, log })
}

fn verdict(file: &FixtureFile, first: &Played, second: &Played) -> Verdict {
    let fixture = &file.fixture;
    let Some(step) = &first.step else {
        let why = "the policy was not asked: it does not export this hook".to_owned();
        return Verdict::Failed(why);
    };
    if !fixture.admits(&first.answer) {
        let mut why =
            format!("another answer than expected\n{}", diff(&fixture.answer, &first.answer));
        if let StepOutcome::Fault { message, .. } = &step.outcome {
            let _ = writeln!(why, "fault: {message}");
        }
        return Verdict::Failed(why);
    }
    if !same(first, second) {
        let why = format!(
            "the second time it answered otherwise, or used another amount of fuel\n{}",
            diff(&seen(first), &seen(second))
        );
        return Verdict::Failed(why);
    }
    let broken = fixture.ceilings.broken_by(step);
    if broken.is_empty() { Verdict::Passed } else { Verdict::Failed(broken.join("; ")) }
}

/// All that must come out the same.
fn same(first: &Played, second: &Played) -> bool {
    seen(first) == seen(second)
}

fn seen(played: &Played) -> Value {
    let step = played.step.as_ref();
    serde_json::json!({
        "answer": played.answer,
        "fuel": step.map(|step| step.fuel),
        "memory": step.map(|step| step.memory),
        "log": step.map(|step| step.log.clone()),
        "lookups": step.map(|step| step.lookups.clone()),
    })
}

/// Expected and found, line by line.
pub(crate) fn diff(expected: &Value, found: &Value) -> String {
    let text = |value: &Value| serde_saphyr::to_string(value).unwrap_or_default();
    let (expected, found) = (text(expected), text(found));
    let diff = TextDiff::from_lines(expected.as_str(), found.as_str());
    let mut lines = String::new();
    for change in diff.iter_all_changes() {
        let _ = writeln!(lines, "  {}{}", change.tag(), change.value().trim_end());
    }
    lines
}

/// The numbers below `count`, mixed by the seed.
fn order(count: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut state = seed;
    for at in (1..count).rev() {
        // splitmix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = state;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^= number >> 31;
        let bound = u64::try_from(at).unwrap_or(u64::MAX).saturating_add(1);
        order.swap(at, usize::try_from(number % bound).unwrap_or_default());
    }
    order
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_order_has_every_case_once_and_changes_with_its_seed() {
        for count in [0, 1, 2, 17] {
            let mut all = order(count, 7);
            all.sort_unstable();
            assert_eq!(all, (0..count).collect::<Vec<_>>());
        }
        assert_ne!(order(17, 1), order(17, 2));
        assert_eq!(order(17, 1), order(17, 1));
    }

    #[test]
    fn a_diff_shows_what_was_expected_and_what_came() {
        let diff = diff(&json!({"ranked": [1, 0]}), &json!({"ranked": [0, 1]}));
        let has = |tag: &str| diff.lines().any(|line| line.trim_start().starts_with(tag));
        assert!(has("-") && has("+"), "{diff}");
    }
}
