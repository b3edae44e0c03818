//! `tenure policy bench`: what a component costs in the engine of the daemon, under its limits.
//!
//! A decision is measured as an ADD meets it: a fresh instance, `init`, the hook, the checks of the answer, the record.

use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::Value;
use tenure_core::decision::{Hook, StepOutcome};
use tenure_core::ports::Policies as _;
use tenure_policy_host::{Question, sample};

use crate::error::AuthorError;
use crate::noise::{Ratio, Verdict};
use crate::trial::{Terms, Trial};

/// A line is measured for so long, and at least so often.
const LINE: Duration = Duration::from_millis(700);
const LEAST: u64 = 200;
/// Compilations, of which the median is told.
const COMPILES: usize = 5;
/// How often each component is loaded for a comparison. Where code and memory come to lie makes a per cent or two, and stays as it
/// is for as long as they do: of one load each, the same file may seem to be slower than itself. Bounds of six medians are those
/// of 95 in 100.
const LOADS: usize = 6;
/// Rounds of each load; each measures the first, the second, and another load of the first.
const ROUNDS: usize = 7;
/// Decisions of one measurement in a round.
const IN_ROUND: usize = 60;
/// Decisions before anything counts.
const WARM: usize = 50;

/// What a component costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// The file.
    pub component: String,
    /// Its size, in bytes.
    pub size: usize,
    /// Compiling it: the median, in nanoseconds.
    pub compile_ns: u64,
    /// Making and dropping an instance, without a call.
    pub instance: Spread,
    /// By hook and rows.
    pub decisions: Vec<Figure>,
}

/// Times in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Spread {
    /// Half of all take no longer.
    pub p50_ns: u64,
    /// 99 of 100.
    pub p99_ns: u64,
    /// 999 of 1000.
    pub p999_ns: u64,
    /// So many were measured.
    pub count: u64,
}

/// A decision on so many rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figure {
    /// The hook.
    pub hook: Hook,
    /// Candidates, earlier addresses or leases.
    pub rows: usize,
    /// Whole decisions.
    #[serde(flatten)]
    pub spread: Spread,
    /// Fuel, always the same.
    pub fuel: u64,
    /// The part of the budget that this is.
    pub of_budget: f64,
    /// Linear memory, in bytes.
    pub memory: u64,
    /// Bytes copied into the guest.
    pub lowered: usize,
    /// The fault, where it answered with one: then the times are those of the fault.
    pub fault: Option<String>,
}

/// Two components on the same requests.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// The hook.
    pub hook: Hook,
    /// Rows.
    pub rows: usize,
    /// Time of the second, in times of the first.
    pub ratio: Ratio,
    /// Time of the first, in times of itself loaded anew: what the machine and the place in memory add.
    pub noise: Ratio,
    /// What that means.
    pub verdict: Verdict,
    /// Fuel of the first.
    pub fuel_a: u64,
    /// Fuel of the second.
    pub fuel_b: u64,
}

/// Measures a component with these settings. `tell` hears of each line before it is measured.
///
/// # Errors
/// The host refuses it.
pub fn measure(
    path: &Path,
    terms: &Terms,
    tell: &mut dyn FnMut(&str),
) -> Result<Figures, AuthorError> {
    let bytes = std::fs::read(path).map_err(AuthorError::file("reading", path))?;
    let (trial, settings) = (Trial::of(path, &terms.limits)?, &terms.settings);
    tell("compiling");
    let mut compiles = Vec::new();
    for _ in 0..COMPILES {
        let took = trial.host.time_compile(&bytes);
        compiles.push(took.map_err(|error| AuthorError::Engine(error.to_string()))?);
    }
    compiles.sort_unstable();
    trial.install(settings)?;
    let mut decisions = Vec::new();
    for hook in trial.about()?.hooks {
        for rows in rows_of(hook) {
            tell(&format!("{hook:?}, {rows} rows").to_lowercase());
            decisions.push(line(&trial, &question(hook, *rows), settings)?);
        }
    }
    tell("instances");
    Ok(Figures {
        component: path.display().to_string(),
        size: bytes.len(),
        compile_ns: compiles.get(COMPILES / 2).copied().map(nanos).unwrap_or_default(),
        instance: instances(&trial)?,
        decisions,
    })
}

/// Measures two components side by side, in turns, on the hooks that both have.
///
/// # Errors
/// The host refuses one of them, or they have no hook in common.
pub fn compare(
    a: &Path,
    b: &Path,
    terms: &Terms,
    tell: &mut dyn FnMut(&str),
) -> Result<Vec<Comparison>, AuthorError> {
    let load = |path: &Path| {
        let trial = Trial::of(path, &terms.limits)?;
        trial.install(&terms.settings)?;
        Ok::<_, AuthorError>(trial)
    };
    let (first, second) = (load(a)?, load(b)?);
    let hooks = second.about()?.hooks;
    let common: Vec<Hook> =
        first.about()?.hooks.into_iter().filter(|hook| hooks.contains(hook)).collect();
    if common.is_empty() {
        return Err(AuthorError::Wrong("they have no hook in common".to_owned()));
    }
    let mut loads = vec![(first, second)];
    while loads.len() < LOADS {
        tell(&format!("load {} of {LOADS}", loads.len() + 1));
        loads.push((load(a)?, load(b)?));
    }
    let mut comparisons = Vec::new();
    for hook in common {
        for rows in rows_of(hook) {
            tell(&format!("{hook:?}, {rows} rows").to_lowercase());
            comparisons.push(pair(&loads, &question(hook, *rows)));
        }
    }
    Ok(comparisons)
}

/// Each element is one load of the first and one of the second, each in an engine of its own.
fn pair(loads: &[(Trial, Trial)], question: &Question) -> Comparison {
    let fuels =
        loads.first().map(|(first, second)| (fuel(first, question), fuel(second, question)));
    let (fuel_a, fuel_b) = fuels.unwrap_or_default();
    // Each load of the first beside the one after it.
    let next = loads.iter().cycle().skip(1);
    let beside = loads
        .iter()
        .zip(next)
        .map(|((one, other), (again, _))| beside(one, again, other, question));
    let (ratios, noises) = beside.unzip();
    let (ratio, noise) = (Ratio::of(ratios), Ratio::of(noises));
    let verdict = ratio.verdict(noise);
    Comparison {
        hook: question.hook(),
        rows: question.rows(),
        ratio,
        noise,
        verdict,
        fuel_a,
        fuel_b,
    }
}

/// The median times of `other` in times of the two loads of the first, and of these in times of each other.
fn beside(one: &Trial, again: &Trial, other: &Trial, question: &Question) -> (f64, f64) {
    for _ in 0..WARM {
        for trial in [one, again, other] {
            question.decide(&trial.host);
        }
    }
    let (mut ratios, mut noises) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let before = median(one, question);
        let between = median(other, question);
        let after = median(again, question);
        // In the middle of both, so that a drift of the machine counts for neither.
        ratios.push(between / ((before + after) / 2.0));
        noises.push(after / before);
    }
    (Ratio::of(ratios).median, Ratio::of(noises).median)
}

fn median(trial: &Trial, question: &Question) -> f64 {
    let mut times: Vec<u64> = (0..IN_ROUND).map(|_| nanos(time(trial, question))).collect();
    times.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "microseconds to milliseconds")]
    let median = times.get(IN_ROUND / 2).copied().unwrap_or(1).max(1) as f64;
    median
}

fn fuel(trial: &Trial, question: &Question) -> u64 {
    question.decide(&trial.host);
    let record = trial.host.decisions(1).pop();
    record.and_then(|record| Some(record.steps.last()?.fuel)).unwrap_or_default()
}

fn line(trial: &Trial, question: &Question, settings: &Value) -> Result<Figure, AuthorError> {
    question.decide(&trial.host);
    let step = trial.host.decisions(1).pop().and_then(|mut record| record.steps.pop());
    let Some(step) = step else {
        return Err(AuthorError::Engine("the policy was not asked".to_owned()));
    };
    let fault = match step.outcome {
        StepOutcome::Fault { kind, message } => Some(format!("{}: {message}", kind.as_str())),
        _ => None,
    };
    // A breaker that opened would measure nothing.
    let again = fault.is_some();
    let mut times = histogram()?;
    for _ in 0..if again { 1 } else { WARM } {
        let _ = time(trial, question);
    }
    let until = Instant::now() + LINE;
    while Instant::now() < until || times.len() < LEAST {
        if again {
            trial.install(settings)?;
        }
        times.saturating_record(nanos(time(trial, question)));
    }
    let budget = trial.budget(question.hook()).fuel_for(question.rows());
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let of_budget = step.fuel as f64 / budget.max(1) as f64;
    Ok(Figure {
        hook: question.hook(),
        rows: question.rows(),
        spread: spread(&times),
        fuel: step.fuel,
        of_budget,
        memory: step.memory,
        lowered: question.lowered_bytes(&trial.host.keys_of(&trial.name)),
        fault,
    })
}

fn instances(trial: &Trial) -> Result<Spread, AuthorError> {
    let wrong = |error: String| AuthorError::Engine(error);
    let mut times = histogram()?;
    let until = Instant::now() + LINE;
    while Instant::now() < until || times.len() < LEAST {
        let took =
            trial.host.time_instance(&trial.name).map_err(|error| wrong(error.to_string()))?;
        times.saturating_record(nanos(took.unwrap_or_default()));
    }
    Ok(spread(&times))
}

fn time(trial: &Trial, question: &Question) -> Duration {
    let began = Instant::now();
    question.decide(&trial.host);
    began.elapsed()
}

/// Of nanoseconds, up to a minute: one that grows by itself takes no value for more than it has room for at first.
fn histogram() -> Result<Histogram<u64>, AuthorError> {
    let made = Histogram::new_with_bounds(1, 60_000_000_000, 3);
    made.map_err(|error| AuthorError::Engine(error.to_string()))
}

fn spread(times: &Histogram<u64>) -> Spread {
    Spread {
        p50_ns: times.value_at_quantile(0.5),
        p99_ns: times.value_at_quantile(0.99),
        p999_ns: times.value_at_quantile(0.999),
        count: times.len(),
    }
}

fn question(hook: Hook, rows: usize) -> Question {
    match hook {
        Hook::Select => Question::Select(sample::select(rows).into()),
        Hook::Affinity => Question::Affinity(sample::affinity(rows).into()),
        Hook::Reclaim => Question::Reclaim(sample::reclaim(rows).into()),
    }
}

/// From one row to the most that the contract allows.
fn rows_of(hook: Hook) -> &'static [usize] {
    match hook {
        Hook::Select => &[1, 8, 64, 512],
        Hook::Affinity => &[0, 1, 4, 16],
        Hook::Reclaim => &[1, 8, 128, 1000],
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
