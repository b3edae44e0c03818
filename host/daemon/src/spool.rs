//! Drains the spool of DELs: at start, when a file appears, and at each sweep interval.

use std::path::Path;
use std::time::Duration;

use inotify::{Inotify, WatchMask};
use tenure_cni::{Spool, Verbs};

/// Drains until the task is dropped.
pub(crate) async fn drain_forever<V: Verbs>(spool: Spool, verbs: V, interval: Duration) {
    let mut watch = Watch::new(spool.folder());
    loop {
        match spool.drain(&verbs).await {
            Ok(drained) if drained.done + drained.broken > 0 => {
                tracing::info!(?drained, "the spool was drained");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the spool could not be drained; it is tried again"),
        }
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = watch.changed() => {}
        }
    }
}

/// Tells when a file appears; where that cannot be watched, the interval alone drives the drain.
struct Watch(Option<tokio::io::unix::AsyncFd<Inotify>>);

impl Watch {
    fn new(folder: &Path) -> Self {
        let start = || -> std::io::Result<_> {
            std::fs::create_dir_all(folder)?;
            let inotify = Inotify::init()?;
            inotify.watches().add(folder, WatchMask::MOVED_TO)?;
            tokio::io::unix::AsyncFd::new(inotify)
        };
        match start() {
            Ok(watch) => Self(Some(watch)),
            Err(error) => {
                tracing::warn!(%error, folder = %folder.display(), "the spool folder cannot be watched");
                Self(None)
            }
        }
    }

    async fn changed(&mut self) {
        let Some(watch) = &mut self.0 else { return std::future::pending().await };
        loop {
            let Ok(mut ready) = watch.readable_mut().await else { return std::future::pending().await };
            let mut buffer = [0; 4096];
            let events = ready.get_inner_mut().read_events(&mut buffer).map(Iterator::count);
            match events {
                Ok(0) | Err(_) => ready.clear_ready(),
                Ok(_) => return,
            }
        }
    }
}
