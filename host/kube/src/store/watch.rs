//! One watch of one kind, until it ends.
//!
//! kube's own `watcher` is not used, as it tells neither the revision of its lists, by which rows that are missing in one
//! are told from rows that came later, nor bookmarks, by which a watch goes on where it was in a quiet cluster.

use std::fmt::Debug;
use std::time::Duration;

use futures_util::stream::{BoxStream, StreamExt as _};
use kube::api::{WatchEvent, WatchParams};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tenure_store::Revision;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::calls::jittered;
use super::rows::parsed;

/// The server ends a watch after its time, with a bookmark shortly before. What is not ended so long after it is frozen.
const OVERTIME: Duration = Duration::from_secs(5);
/// Pauses before something is tried again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// A watch that ended so soon did not work: the next one waits.
const SHORT: Duration = Duration::from_secs(1);

/// A kind that can be watched.
pub(super) trait Watched:
    Resource + Clone + DeserializeOwned + Debug + Send + 'static
{
}

impl<K: Resource + Clone + DeserializeOwned + Debug + Send + 'static> Watched for K {}

/// A watch that has begun.
pub(super) struct Watch<K> {
    events: BoxStream<'static, Result<WatchEvent<K>, kube::Error>>,
    began: Instant,
    until: Instant,
    /// Everything up to here was told.
    at: Revision,
}

/// What a watch tells.
pub(super) enum Heard<K> {
    /// The object as it stands now.
    Now(K),
    /// The last that it was, with the revision of its deletion.
    Gone(K),
    /// It is over: begin another one from here.
    Ended(Revision),
    /// What happened since is not to be had any more, or the server is at an earlier revision: list.
    Lost(String),
}

/// Pauses that grow, with jitter, until something succeeds.
#[derive(Debug)]
pub(crate) struct Pause(Duration);

// === impl Watch ===

impl<K: Watched> Watch<K> {
    /// Begins after this revision, within so long, and lasts for about so long.
    pub(super) async fn begin(
        api: &Api<K>,
        params: &WatchParams,
        at: Revision,
        (within, lasts): (Duration, Duration),
    ) -> Result<Self, Heard<K>> {
        let lasts = jittered(lasts);
        let seconds = u32::try_from(lasts.as_secs()).unwrap_or(u32::MAX).max(1);
        let params = params.clone().timeout(seconds);
        let began = Instant::now();
        let until = began + lasts + OVERTIME;
        let from = at.0.to_string();
        match timeout(within, api.watch(&params, &from)).await {
            Ok(Ok(events)) => Ok(Self { events: events.boxed(), began, until, at }),
            // 504: the server does not get to that revision.
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 410 | 504) => {
                Err(Heard::Lost(status.message.clone()))
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "a watch did not begin");
                Err(Heard::Ended(at))
            }
            Err(_) => Err(Heard::Ended(at)),
        }
    }

    /// Whether it ended too soon.
    pub(super) fn was_short(&self) -> bool {
        self.began.elapsed() < SHORT
    }

    /// The next event. Dropping the future loses none.
    pub(super) async fn next(&mut self) -> Heard<K> {
        loop {
            let event = match timeout_at(self.until, self.events.next()).await {
                Ok(Some(event)) => event,
                // The server ended it, or nobody is there.
                Ok(None) | Err(_) => return Heard::Ended(self.at),
            };
            let heard = match event {
                Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => Heard::Now(object),
                Ok(WatchEvent::Deleted(object)) => Heard::Gone(object),
                Ok(WatchEvent::Bookmark(mark)) => {
                    match self.reach(&mark.metadata.resource_version) {
                        Ok(()) => continue,
                        Err(why) => Heard::Lost(why),
                    }
                }
                Ok(WatchEvent::Error(status)) if status.code == 410 => {
                    Heard::Lost(status.message.clone())
                }
                Ok(WatchEvent::Error(status)) => {
                    tracing::debug!(%status.message, "a watch ended with an error");
                    Heard::Ended(self.at)
                }
                Err(kube::Error::Api(status)) if status.code == 410 => {
                    Heard::Lost(status.message.clone())
                }
                // Nothing is guessed about it: whoever meets that object reads it, and is told the same.
                Err(kube::Error::SerdeError(error)) => {
                    tracing::error!(%error, "an object that a watch tells of cannot be read");
                    continue;
                }
                Err(error) => {
                    tracing::debug!(%error, "a watch broke");
                    Heard::Ended(self.at)
                }
            };
            let version = match &heard {
                Heard::Now(object) | Heard::Gone(object) => object.meta().resource_version.clone(),
                Heard::Ended(_) | Heard::Lost(_) => return heard,
            };
            return match self.reach(&version.unwrap_or_default()) {
                Err(why) => Heard::Lost(why),
                Ok(()) => heard,
            };
        }
    }

    fn reach(&mut self, version: &str) -> Result<(), String> {
        let Some(version) = parsed(version) else {
            return Err(format!("{version:?} is no version"));
        };
        if version < self.at {
            return Err(format!("it is at {} and was at {} before", version.0, self.at.0));
        }
        self.at = version;
        Ok(())
    }
}

// === impl Pause ===

impl Pause {
    pub(crate) fn new() -> Self {
        Self(PAUSE.0)
    }

    /// Waits, and will wait longer the next time.
    pub(crate) async fn wait(&mut self) {
        sleep(jittered(self.0)).await;
        self.0 = self.0.saturating_mul(2).min(PAUSE.1);
    }

    /// Something succeeded.
    pub(crate) fn end(&mut self) {
        self.0 = PAUSE.0;
    }
}
