//! One request, from its frame to its response: translate, call the verb in the time that is left, write the result.

use std::future::Future;
use std::time::{Duration, Instant};

use tenure_core::error::Coded;
use tenure_engine::{GcAnswer, Verbs};

use crate::answer::{self, Failure};
use crate::error::Error;
use crate::frame::{EXIT_SPOOL, Request, Response};
use crate::json::Outline;
use crate::result;
use crate::translate::{self, Verb};
use crate::version::CniVersion;

/// No caller is waited on for longer, whatever its frame says.
const LONGEST: Duration = Duration::from_secs(120);
/// An answer takes a moment to travel, at most a tenth of the caller's patience.
const TRAVEL: Duration = Duration::from_millis(500);

/// A verb that waits (ADD) gives up so much earlier: its own answer says more than ours.
const OWN_WORDS: Duration = Duration::from_millis(500);

/// How a request ended, for the counters.
pub(crate) struct Outcome {
    pub(crate) response: Response,
    /// The CNI code, if it failed.
    pub(crate) code: Option<u32>,
}

/// Whose fault a failure is, as far as a DEL is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The request's: sending it again changes nothing.
    Request,
    /// The daemon's: if it was a DEL, the plugin can still make it durable.
    Daemon,
}

struct Refused {
    failure: Failure,
    blame: Blame,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self { failure: error.into(), blame: Blame::Request }
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self { failure, blame: Blame::Daemon }
    }
}

/// Serves a request of a verb.
pub(crate) async fn serve<V: Verbs>(
    verbs: &V,
    verb: Verb,
    request: &Request,
    add_wait: Duration,
) -> Outcome {
    let patience = Duration::from_millis(request.deadline_ms).min(LONGEST);
    let budget = patience.saturating_sub(TRAVEL.min(patience / 10));
    match call(verbs, verb, request, add_wait, budget).await {
        Ok(stdout) => Outcome { response: Response::success(stdout), code: None },
        Err(refused) => failed(refused.blame, &request.stdin, &refused.failure),
    }
}

/// The response that says a failure, in the configuration's version where we speak it.
pub(crate) fn failed(blame: Blame, stdin: &[u8], failure: &Failure) -> Outcome {
    let said = Outline::of(stdin).cni_version;
    let version = match stdin {
        [] => CniVersion::LATEST,
        _ => CniVersion::of_config(said.as_deref()).unwrap_or(CniVersion::LATEST),
    };
    let exit = if blame == Blame::Daemon { EXIT_SPOOL } else { 1 };
    let stdout = failure.to_json(version).into_bytes();
    Outcome { response: Response { exit, stdout }, code: Some(failure.code) }
}

async fn call<V: Verbs>(
    verbs: &V,
    verb: Verb,
    request: &Request,
    add_wait: Duration,
    budget: Duration,
) -> Result<String, Refused> {
    if verb == Verb::Del {
        let del = translate::del(request)?;
        within(verb, budget, verbs.del(del)).await?;
        return Ok(String::new());
    }
    let config = translate::configuration(verb, request)?;
    match verb {
        Verb::Add => {
            let own = budget.saturating_sub(OWN_WORDS);
            let add = translate::add(request, &config, add_wait, own)?;
            let answer = within(verb, budget, verbs.add(add)).await?;
            return Ok(result::add_json(config.version, &answer)?);
        }
        Verb::Check => {
            let check = translate::check(request, &config)?;
            within(verb, budget, verbs.check(check)).await?;
        }
        Verb::Gc => {
            let gc = translate::gc(&config)?;
            let network = gc.network.clone();
            report(network.as_str(), &within(verb, budget, verbs.gc(gc)).await?);
        }
        Verb::Status => {
            let status = translate::status(&config)?;
            let answered = within(verb, budget, verbs.status(status)).await;
            answered.map_err(|failure| Failure { code: answer::NOT_AVAILABLE, ..failure })?;
        }
        Verb::Del => {}
    }
    Ok(String::new())
}

/// Awaits a verb for `budget`; then its future is dropped.
async fn within<T, E: Coded>(
    verb: Verb,
    budget: Duration,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    let began = Instant::now();
    match tokio::time::timeout(budget, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            let detail = error.detail();
            tracing::info!(verb = verb.as_str(), code = error.code(), detail, "{error}");
            Err(Failure::of(&error))
        }
        Err(_) => {
            let waited_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            Err(Error::OutOfTime { verb: verb.as_str(), waited_ms }.into())
        }
    }
}

/// A GC has no output in CNI: what it kept, and why, is told to the log.
fn report(network: &str, answer: &GcAnswer) {
    tracing::info!(network, released = answer.released.len(), kept = answer.kept.len(), "GC done");
    for (address, why) in &answer.kept {
        tracing::warn!(network, %address, why, "GC kept an address that its caller does not list");
    }
}
