//! `tenure policy test`.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use tenure_author::{CaseOptions, Suite, Verdict};

use super::component::{Component, Limits};
use super::page::bytes;
use crate::error::CliError;
use crate::output::{Format, print, print_document};

/// Play the fixtures of a policy in the engine of the daemon
///
/// All are played twice, on fresh instances, in two orders that change from run to run, under the limits of a daemon. Fixtures are
/// YAML or JSON files: request, pools, settings, expected answer, and how much fuel and memory it may take.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  tenure policy test\n  tenure policy test target/spread.wasm --fixtures fixtures\n  tenure policy test --only zone --bless\n  tenure policy test --junit report.xml"
)]
pub(super) struct Args {
    #[command(flatten)]
    component: Component,
    /// A fixture, or a folder of them [default: `fixtures` of the crate]
    #[arg(long, value_name = "FILE|DIR")]
    fixtures: Option<PathBuf>,
    /// Only those whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Write answers that differ into the fixtures
    #[arg(long)]
    bless: bool,
    /// Decides the order [default: another one each time]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Write a report for a CI system
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    #[command(flatten)]
    limits: Limits,
}

pub(super) fn run(args: Args, format: Format) -> Result<(), CliError> {
    let ready = args.component.ready()?;
    let fixtures =
        args.fixtures.or_else(|| ready.project.as_ref().map(tenure_author::Project::fixtures));
    let fixtures = fixtures.ok_or_else(|| CliError::Usage {
        why: "name the fixtures of this component with --fixtures".to_owned(),
    })?;
    let options = CaseOptions {
        seed: args.seed.unwrap_or_else(any_seed),
        bless: args.bless,
        filter: args.only,
        limits: args.limits.read()?,
    };
    let played = Suite::play(&ready.path, &fixtures, &options);
    if let Some(path) = &args.junit {
        // Also where nothing could be played: a CI system takes a report that is not there for a success.
        let report = match &played {
            Ok(suite) => suite.junit()?,
            Err(why) => Suite::junit_of_none(&ready.path, why)?,
        };
        let failed =
            |source| CliError::File { act: "writing", path: path.display().to_string(), source };
        std::fs::write(path, report).map_err(failed)?;
    }
    let suite = played?;
    if !print_document(format, &suite)? {
        print(&page(&suite))?;
    }
    match suite.outcome().failed {
        0 if suite.cases.is_empty() => {
            Err(CliError::NotDone { what: "no fixture has such a name".to_owned() })
        }
        0 => Ok(()),
        failed => Err(CliError::NotDone {
            what: format!("{failed} of {} fixtures failed", suite.cases.len()),
        }),
    }
}

fn page(suite: &Suite) -> String {
    let mut text =
        format!("playing {} fixtures in two orders, seed {}\n", suite.cases.len(), suite.seed);
    for case in &suite.cases {
        let verdict = match &case.verdict {
            Verdict::Passed => "ok",
            Verdict::Blessed => "BLESSED",
            Verdict::Failed(_) => "FAILED",
        };
        let memory = bytes(usize::try_from(case.memory).unwrap_or(usize::MAX));
        text.push_str(&format!(
            "fixture {} ... {verdict}  (fuel {}, {memory})\n",
            case.name, case.fuel
        ));
    }
    for case in &suite.cases {
        if let Verdict::Failed(why) = &case.verdict {
            text.push_str(&format!("\n{}: {}\n{}\n", case.name, case.about, why.trim_end()));
            case.log.iter().for_each(|line| text.push_str(&format!("  log: {line}\n")));
        }
    }
    let outcome = suite.outcome();
    let blessed = match outcome.blessed {
        0 => String::new(),
        count => format!("; {count} blessed"),
    };
    text.push_str(&format!(
        "\nfixtures: {} passed; {} failed{blessed}; {} filtered out\n",
        outcome.passed, outcome.failed, suite.filtered
    ));
    text
}

fn any_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_nanos())
}
