//! One verb at a time per attachment: runtimes run them in parallel although CNI forbids it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tenure_core::lease::Attachment;
use tokio::sync::{Mutex as AsyncMutex, Notify, OwnedMutexGuard};

use crate::EngineError;

/// So many verbs may queue for one attachment: a runtime that retries has one or two under way.
const MAX_QUEUE: usize = 16;

/// The locks that are held or waited for; an entry lives as long as somebody needs it.
#[derive(Debug, Default)]
pub struct AttachmentLocks {
    lines: Lines,
}

/// Written by `lock` and by the guard's end, never held over an `.await`.
type Lines = Arc<Mutex<HashMap<Attachment, Arc<Line>>>>;

/// Whoever acts on one attachment or will.
#[derive(Debug, Default)]
struct Line {
    lock: Arc<AsyncMutex<()>>,
    /// Who holds the lock or waits for it. Changed with the map's lock held.
    callers: AtomicUsize,
    /// DELs that wait for the lock: an ADD that waits for an address gives way to them.
    dels: AtomicUsize,
    del_came: Notify,
}

/// The right to act on an attachment. A write that has begun keeps a share of it, so that nobody else acts before the
/// write has ended, even if its caller goes away.
pub type AttachmentGuard = Arc<Guard>;

/// See [`AttachmentGuard`].
#[derive(Debug)]
pub struct Guard {
    attachment: Attachment,
    lines: Lines,
    line: Arc<Line>,
    guard: Option<OwnedMutexGuard<()>>,
}

/// A DEL among those who wait.
struct Announced(Arc<Line>);

impl AttachmentLocks {
    /// The right to act on the attachment, once those before have given it back.
    ///
    /// # Errors
    /// [`EngineError::Busy`] where too many wait already.
    pub async fn lock(&self, attachment: &Attachment) -> Result<AttachmentGuard, EngineError> {
        let mut guard = self.stand_in_line(attachment)?;
        guard.guard = Some(guard.line.lock.clone().lock_owned().await);
        Ok(Arc::new(guard))
    }

    /// The same, and an ADD of the attachment that waits for an address is told to give way.
    ///
    /// # Errors
    /// As of [`AttachmentLocks::lock`].
    pub async fn lock_for_del(
        &self,
        attachment: &Attachment,
    ) -> Result<AttachmentGuard, EngineError> {
        let mut guard = self.stand_in_line(attachment)?;
        let announced = Announced::on(guard.line.clone());
        guard.guard = Some(guard.line.lock.clone().lock_owned().await);
        drop(announced);
        Ok(Arc::new(guard))
    }

    /// The same if nobody acts on the attachment now: for a DEL that came long ago. It concerns no ADD of now, and holds
    /// up no other DEL behind one.
    ///
    /// # Errors
    /// [`EngineError::Busy`] where somebody does: it is worth another try later.
    pub fn lock_if_idle(&self, attachment: &Attachment) -> Result<AttachmentGuard, EngineError> {
        let mut guard = self.stand_in_line(attachment)?;
        let busy = |_| EngineError::Busy { what: "the attachment", bound: 1 };
        guard.guard = Some(guard.line.lock.clone().try_lock_owned().map_err(busy)?);
        Ok(Arc::new(guard))
    }

    /// The guard is made before the wait: whoever gives up while waiting tidies up as well.
    fn stand_in_line(&self, attachment: &Attachment) -> Result<Guard, EngineError> {
        let mut lines = self.lines.lock();
        let line = lines.entry(attachment.clone()).or_default();
        if line.callers.load(Ordering::Relaxed) >= MAX_QUEUE {
            return Err(EngineError::Busy { what: "the attachment", bound: MAX_QUEUE });
        }
        line.callers.fetch_add(1, Ordering::Relaxed);
        let (lines, line) = (self.lines.clone(), line.clone());
        Ok(Guard { attachment: attachment.clone(), lines, line, guard: None })
    }
}

impl Guard {
    /// Ends when a DEL of the attachment waits for this guard.
    pub async fn del_came(&self) {
        loop {
            let came = self.line.del_came.notified();
            if self.line.dels.load(Ordering::Acquire) > 0 {
                return;
            }
            came.await;
        }
    }
}

impl Announced {
    fn on(line: Arc<Line>) -> Self {
        line.dels.fetch_add(1, Ordering::AcqRel);
        line.del_came.notify_waiters();
        Self(line)
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        self.0.dels.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.guard = None;
        let mut lines = self.lines.lock();
        if self.line.callers.fetch_sub(1, Ordering::Relaxed) == 1 {
            lines.remove(&self.attachment);
        }
    }
}

#[cfg(test)]
mod tests {
    use tenure_core::name::{ContainerId, IfName, NetworkName};

    use super::*;

    fn attachment() -> Attachment {
        Attachment {
            network: NetworkName::new("n").unwrap(),
            container: ContainerId::new("c").unwrap(),
            ifname: IfName::new("eth0").unwrap(),
        }
    }

    #[tokio::test]
    async fn the_queue_of_one_attachment_is_bounded_and_leaves_nothing_behind() {
        let locks = Arc::new(AttachmentLocks::default());
        let first = locks.lock(&attachment()).await.unwrap();
        let waiters: Vec<_> = (0..40)
            .map(|_| {
                let locks = locks.clone();
                tokio::spawn(async move { locks.lock(&attachment()).await.is_ok() })
            })
            .collect();
        tokio::task::yield_now().await;
        drop(first);
        let mut refused = 0;
        for waiter in waiters {
            refused += usize::from(!waiter.await.unwrap());
        }
        assert_eq!(refused, 40 - (MAX_QUEUE - 1));
        assert!(locks.lines.lock().is_empty());
    }
}
