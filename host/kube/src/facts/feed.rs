//! Follows one kind: a list in pages, then watch after watch.
//!
//! ```text
//! list, page by page, stripped at once -> a full view
//! watch from there on -> each change; it ends after its time and goes on where it was
//! nothing comes of a watch after its time: it is frozen, and left
//! events are lost (410), the server is at an earlier version, watches will not begin -> list
//! ```
//!
//! Nothing is forgotten while a list is under way: what was known stays until the list is complete.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{Stream, StreamExt as _};
use kube::api::{WatchEvent, WatchParams};
use kube::core::Request;
use tokio::time::{Instant, timeout, timeout_at};

use super::FactsOptions;
use super::strip::Slim as _;
use super::view::{Kind, View};
use crate::live::{Live, NoPage};
use crate::protobuf::ListOf;
use crate::store::calls::jittered;
use crate::store::watch::Pause;

/// The server ends a watch after its time, with a bookmark shortly before. What is not ended so long after it is frozen.
const OVERTIME: Duration = Duration::from_secs(5);
/// A watch that ended so soon did not work: the next one waits.
const SHORT: Duration = Duration::from_secs(1);
/// After so many watches in a row that did not work what there is is listed: the server may be one that went back in time,
/// and wait for a version that it will reach in a month.
const FRUITLESS: u32 = 8;

/// Follows one kind for as long as it is polled.
pub(super) struct Feed<K: Kind> {
    view: Arc<View<K>>,
    live: Live,
    options: FactsOptions,
    /// Where the next watch begins; none where all must be listed.
    at: Option<u64>,
    /// Watches in a row of which nothing came, and which did not last.
    fruitless: u32,
    pause: Pause,
}

/// How a watch ended.
enum End {
    /// After its time, or it broke.
    Ended,
    /// What happened since is not to be had.
    Lost(String),
}

// === impl Feed ===

impl<K: Kind> Feed<K> {
    pub(super) fn new(view: Arc<View<K>>, live: Live, options: FactsOptions) -> Self {
        Self { view, live, options, at: None, fruitless: 0, pause: Pause::new() }
    }

    pub(super) async fn run(mut self) -> Infallible {
        loop {
            let Some(at) = self.at else {
                self.at = self.list().await;
                if self.at.is_none() {
                    self.pause.wait().await;
                }
                continue;
            };
            let began = Instant::now();
            let end = self.watch(at).await;
            if began.elapsed() < SHORT && self.at == Some(at) {
                self.fruitless += 1;
                self.pause.wait().await;
            } else {
                self.fruitless = 0;
                self.pause.end();
            }
            if let End::Lost(why) = end {
                tracing::warn!(what = K::WHAT, why, "events were lost; all of it is listed");
                self.at = None;
            } else if self.fruitless >= FRUITLESS {
                (self.at, self.fruitless) = (None, 0);
            }
        }
    }

    /// Lists all, and answers the version of the moment that the list shows; none if it must begin anew.
    async fn list(&mut self) -> Option<u64> {
        self.view.list_begins();
        let mut next: Option<String> = None;
        loop {
            match self.live.page_in_protobuf(K::PATH, self.options.page, next.as_deref()).await {
                Ok(ListOf { metadata, items }) => {
                    self.view.put(items);
                    self.pause.end();
                    if metadata.next.is_empty() {
                        self.view.list_ends();
                        return parsed(&metadata.resource_version);
                    }
                    next = Some(metadata.next);
                }
                Err(NoPage::Expired) => return None,
                Err(NoPage::Unread(error)) => {
                    self.view.heard(false);
                    tracing::warn!(what = K::WHAT, %error, "facts cannot be listed");
                    self.pause.wait().await;
                }
            }
        }
    }

    /// One watch from this version on.
    async fn watch(&mut self, at: u64) -> End {
        let lasts = jittered(self.options.watch_for);
        let until = Instant::now() + lasts + OVERTIME;
        let seconds = u32::try_from(lasts.as_secs()).unwrap_or(u32::MAX).max(1);
        let params = WatchParams::default().timeout(seconds);
        let request = match Request::new(K::PATH).watch(&params, &at.to_string()) {
            Ok(request) => request,
            Err(error) => return End::Lost(error.to_string()),
        };
        let begun = self.live.client().request_events::<K::Slim>(request);
        match timeout(self.options.call_deadline, begun).await {
            Ok(Ok(events)) => {
                self.view.heard(true);
                self.hear(at, events.boxed(), until).await
            }
            Ok(Err(error)) => {
                self.view.heard(false);
                ended(error)
            }
            Err(_) => {
                self.view.heard(false);
                End::Ended
            }
        }
    }

    async fn hear(
        &mut self,
        mut at: u64,
        mut events: impl Stream<Item = Result<WatchEvent<K::Slim>, kube::Error>> + Unpin,
        until: Instant,
    ) -> End {
        loop {
            let event = match timeout_at(until, events.next()).await {
                Ok(Some(Ok(event))) => event,
                // An object that cannot be read is none of the few things that are read here.
                Ok(Some(Err(kube::Error::SerdeError(error)))) => {
                    tracing::error!(what = K::WHAT, %error, "an event of a watch cannot be read");
                    continue;
                }
                Ok(Some(Err(error))) => return ended(error),
                Ok(None) => return End::Ended,
                Err(_) => {
                    self.view.heard(false);
                    tracing::warn!(what = K::WHAT, "nothing comes of a watch any more");
                    return End::Ended;
                }
            };
            let version = match &event {
                WatchEvent::Added(object)
                | WatchEvent::Modified(object)
                | WatchEvent::Deleted(object) => parsed(&object.meta().resource_version),
                WatchEvent::Bookmark(mark) => parsed(&mark.metadata.resource_version),
                WatchEvent::Error(status) => return ended(kube::Error::Api(status.clone())),
            };
            match version {
                Some(version) if version >= at => at = version,
                _ => return End::Lost(format!("the server was at {at} before")),
            }
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    self.view.put([object]);
                }
                WatchEvent::Deleted(object) => self.view.gone(&object),
                WatchEvent::Bookmark(_) | WatchEvent::Error(_) => {}
            }
            self.at = Some(at);
        }
    }
}

fn ended(error: kube::Error) -> End {
    match error {
        kube::Error::Api(status) if status.code == 410 => End::Lost(status.message.clone()),
        error => {
            tracing::debug!(%error, "a watch ended with an error");
            End::Ended
        }
    }
}

fn parsed(version: &str) -> Option<u64> {
    version.parse().ok()
}
