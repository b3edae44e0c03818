//! Drains the spool of DELs: at start, when a file appears, when who does them is in reach again, and at each sweep interval.

use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt as _;
use inotify::{EventStream, Inotify, WatchMask};
use tenure_cni::Spool;
use tenure_engine::Verbs;
use tokio::sync::watch;

/// Drains until the task is dropped. `reach` changes when it is worth another try.
pub(crate) async fn drain_forever<V: Verbs>(
    spool: Spool,
    verbs: V,
    interval: Duration,
    mut reach: watch::Receiver<u64>,
) {
    let mut watch = Watch::new(spool.folder());
    loop {
        match spool.drain(&verbs).await {
            Ok(drained) if drained.done + drained.broken > 0 => {
                tracing::info!(?drained, "the spool was drained");
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "the spool could not be drained; it is tried again")
            }
        }
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = watch.changed() => {}
            Ok(()) = reach.changed() => {}
        }
    }
}

/// Tells when a file appears; where that cannot be watched, the interval alone drives the drain.
struct Watch(Option<EventStream<[u8; 4096]>>);

impl Watch {
    fn new(folder: &Path) -> Self {
        let start = || {
            std::fs::create_dir_all(folder)?;
            let inotify = Inotify::init()?;
            inotify.watches().add(folder, WatchMask::MOVED_TO)?;
            inotify.into_event_stream([0; 4096])
        };
        match start() {
            Ok(events) => Self(Some(events)),
            Err(error) => {
                tracing::warn!(%error, folder = %folder.display(), "the spool folder cannot be watched");
                Self(None)
            }
        }
    }

    async fn changed(&mut self) {
        let Some(events) = &mut self.0 else { return std::future::pending().await };
        if events.next().await.is_none_or(|event| event.is_err()) {
            self.0 = None;
        }
    }
}
