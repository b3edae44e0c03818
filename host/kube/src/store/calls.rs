//! One request: its deadline, and what its failure says about its effect.

use std::future::Future;
use std::time::Duration;

use kube::core::Status;
use tenure_store::StoreError;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

/// The first pause before a request is sent again; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The least that an API server which sheds load asks for. It says so in the header `Retry-After`, which kube does not hand
/// over.
const SHEDDING: Duration = Duration::from_secs(1);

/// Why a request has no good answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server says that it did not do it.
    Refused(Box<Status>),
    /// The server says that it did not do it now (429), and after how long it might.
    Busy(Duration),
    /// It was answered well, with something that cannot be read.
    Garbled(String),
    /// Nobody knows whether it was done.
    Unknown(String),
}

/// Sends requests.
#[derive(Debug)]
pub(crate) struct Calls {
    deadline: Duration,
    in_flight: Semaphore,
}

/// The time that is left for an act of one or more requests, and the pauses between them.
#[derive(Debug, Clone)]
pub(crate) struct Patience {
    until: Instant,
    pause: Duration,
}

// === impl Calls ===

impl Calls {
    pub(crate) fn new(deadline: Duration, in_flight: usize) -> Self {
        Self { deadline, in_flight: Semaphore::new(in_flight) }
    }

    /// Sends one request and waits for its answer, for as long as one request may take.
    pub(crate) async fn send<T>(
        &self,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Failure> {
        let Ok(_permit) = self.in_flight.acquire().await else {
            return Err(Failure::Unknown("the store is closed".to_owned()));
        };
        let deadline = Instant::now() + self.deadline;
        match timeout_at(deadline, request).await {
            Ok(answer) => answer.map_err(Failure::of),
            Err(_) => Err(Failure::Unknown(format!("no answer within {:?}", self.deadline))),
        }
    }

    /// Sends a request that changes nothing, again and again until it is answered.
    pub(crate) async fn read<T, F>(
        &self,
        act: &'static str,
        patience: &mut Patience,
        request: impl Fn() -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, kube::Error>>,
    {
        loop {
            match self.send(request()).await {
                Ok(answer) => return Ok(answer),
                Err(Failure::Refused(status)) => return Err(refused(act, &status)),
                // It would read the same again, and nothing is guessed.
                Err(Failure::Garbled(why)) => {
                    return Err(StoreError::Corrupt { place: format!("an answer ({act})"), why });
                }
                Err(failure) => {
                    if !patience.pause(&failure).await {
                        return Err(StoreError::Io { act, why: failure.to_string() });
                    }
                }
            }
        }
    }
}

// === impl Patience ===

impl Patience {
    pub(crate) fn new(time: Duration) -> Self {
        Self { until: Instant::now() + time, pause: FIRST_PAUSE }
    }

    /// Waits before the request is sent again; false where the time is over.
    pub(crate) async fn pause(&mut self, failure: &Failure) -> bool {
        let asked = match failure {
            Failure::Busy(after) => *after,
            Failure::Refused(_) | Failure::Garbled(_) | Failure::Unknown(_) => Duration::ZERO,
        };
        let pause = jittered(self.pause.max(asked.min(LONGEST_PAUSE)));
        self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
        if Instant::now() + pause >= self.until {
            return false;
        }
        sleep(pause).await;
        true
    }
}

// === impl Failure ===

impl Failure {
    fn of(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code == 429 => {
                let after =
                    status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
                Self::Busy(Duration::from_secs(u64::from(after)).max(SHEDDING))
            }
            kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 408 => {
                Self::Refused(status)
            }
            kube::Error::SerdeError(error) => Self::Garbled(error.to_string()),
            other => Self::Unknown(other.to_string()),
        }
    }

    /// Whether the request may have been done.
    pub(crate) fn may_be_done(&self) -> bool {
        matches!(self, Self::Garbled(_) | Self::Unknown(_))
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(status) => f.write_str(&status.message),
            Self::Busy(_) => f.write_str("the API server has too many requests"),
            Self::Garbled(why) | Self::Unknown(why) => f.write_str(why),
        }
    }
}

/// The server refused it for good: nothing was written.
pub(crate) fn refused(act: &'static str, status: &Status) -> StoreError {
    StoreError::Io { act, why: format!("the API server refused it: {}", status.message) }
}

/// A quarter more or less, so that replicas do not knock in step.
pub(crate) fn jittered(pause: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(0) % 500;
    pause.saturating_mul(750 + random) / 1000
}
