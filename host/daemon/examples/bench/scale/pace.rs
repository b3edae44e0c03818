//! An open stream of verbs.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::cluster::kubelet::Times;

/// What came of a stream of one verb.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// From the instant at which each was due.
    pub(crate) times: Times,
    pub(crate) failures: Vec<String>,
}

/// One verb each `apart`, from `begin` on: when its instant has come, whatever became of those before it.
pub(crate) async fn stream<F>(
    begin: Instant,
    apart: Duration,
    work: impl Iterator<Item = F>,
) -> Outcome
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let mut running = JoinSet::new();
    let mut due = begin;
    for one in work {
        sleep_until(due).await;
        running.spawn(async move {
            let answer = one.await;
            (due.elapsed(), answer)
        });
        due += apart;
    }
    let mut outcome = Outcome::default();
    for (took, answer) in running.join_all().await {
        match answer {
            Ok(()) => outcome.times.0.push(took.as_secs_f64()),
            Err(error) => outcome.failures.push(error),
        }
    }
    outcome
}
