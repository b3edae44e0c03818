//! One verb at a time per attachment: runtimes run them in parallel although CNI forbids it.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tenure_core::lease::Attachment;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::EngineError;

/// So many verbs may queue for one attachment: a runtime that retries has one or two under way.
const MAX_QUEUE: usize = 16;

/// The locks that are held or waited for; an entry lives as long as somebody needs it.
#[derive(Debug, Default)]
pub(crate) struct AttachmentLocks {
    /// Written by `lock` and by the guard's end, never held over an `.await`.
    held: Arc<Mutex<HashMap<Attachment, Arc<AsyncMutex<()>>>>>,
}

/// The right to act on an attachment. A write that has begun keeps a share of it, so that nobody else acts before the
/// write has ended, even if its caller goes away.
pub(crate) type AttachmentGuard = Arc<Guard>;

/// See [`AttachmentGuard`].
#[derive(Debug)]
pub(crate) struct Guard {
    attachment: Attachment,
    held: Arc<Mutex<HashMap<Attachment, Arc<AsyncMutex<()>>>>>,
    guard: Option<OwnedMutexGuard<()>>,
}

impl AttachmentLocks {
    pub(crate) async fn lock(
        &self,
        attachment: &Attachment,
    ) -> Result<AttachmentGuard, EngineError> {
        let lock = {
            let mut held = self.held.lock();
            let lock = held.entry(attachment.clone()).or_default();
            // One count is the map's own, each other one is a holder or a waiter.
            if Arc::strong_count(lock) > MAX_QUEUE {
                return Err(EngineError::Busy { what: "the attachment", bound: MAX_QUEUE });
            }
            lock.clone()
        };
        // Made before the wait: whoever gives up while waiting tidies up as well.
        let mut guard =
            Guard { attachment: attachment.clone(), held: self.held.clone(), guard: None };
        guard.guard = Some(lock.lock_owned().await);
        Ok(Arc::new(guard))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.guard = None;
        let mut held = self.held.lock();
        if held.get(&self.attachment).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            held.remove(&self.attachment);
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
        assert!(locks.held.lock().is_empty());
    }
}
