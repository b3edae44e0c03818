//! One test, run by itself, with a limit to its time.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Value;

/// A test that takes longer hangs: none that is named here takes a quarter of it.
pub(super) const TIME_LIMIT: Duration = Duration::from_secs(120);
/// Between two looks whether it has ended.
const POLL: Duration = Duration::from_millis(10);

/// A program of tests, as cargo built it.
pub(super) struct TestBinary {
    program: PathBuf,
    /// Where tests expect to be run: the package's folder.
    folder: PathBuf,
    /// What a run says is written there.
    output: PathBuf,
}

/// How a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Passed,
    Failed,
    /// It was stopped after [`TIME_LIMIT`].
    TimeIsUp,
    /// Its name matches no test, or is ignored.
    NotOne,
}

impl TestBinary {
    /// The program of tests among the messages of a `cargo test --no-run`.
    pub(super) fn among(messages: &[u8], output: &Path) -> Option<Self> {
        let messages = String::from_utf8_lossy(messages).into_owned();
        let is_test =
            |message: &Value| message.pointer("/profile/test").is_some_and(|test| *test == true);
        let mut messages = messages.lines().filter_map(|line| serde_json::from_str(line).ok());
        let message: Value = messages.rfind(is_test)?;
        let program = PathBuf::from(message.get("executable")?.as_str()?);
        let manifest = Path::new(message.get("manifest_path")?.as_str()?);
        let folder = manifest.parent()?.to_owned();
        Some(Self { program, folder, output: output.to_owned() })
    }

    /// Runs exactly this test.
    pub(super) fn run(&self, name: &str) -> anyhow::Result<Ended> {
        let said = File::create(&self.output)?;
        let mut command = Command::new(&self.program);
        command.args(["--exact", name, "--test-threads=1"]).current_dir(&self.folder);
        command.env_remove("TENURE_BLESS").stdout(said.try_clone()?).stderr(said);
        let mut child = command.spawn().with_context(|| format!("starting {command:?}"))?;
        let Some(status) = wait(&mut child)? else { return Ok(Ended::TimeIsUp) };
        let said = String::from_utf8_lossy(&fs::read(&self.output)?).into_owned();
        if !said.contains("running 1 test\n") || said.contains("1 ignored") {
            return Ok(Ended::NotOne);
        }
        Ok(if status.success() { Ended::Passed } else { Ended::Failed })
    }
}

/// How it ended; none if it had to be stopped.
fn wait(child: &mut Child) -> anyhow::Result<Option<ExitStatus>> {
    let begun = Instant::now();
    while begun.elapsed() < TIME_LIMIT {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(POLL);
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("it passes"),
            Self::Failed => f.write_str("it fails"),
            Self::TimeIsUp => {
                write!(f, "it does not end within {} s", TIME_LIMIT.as_secs())
            }
            Self::NotOne => f.write_str("there is no such test"),
        }
    }
}
