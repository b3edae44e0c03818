//! The ends of network namespaces: allocators are told where one ended that this agent has answered for, or may have.
//!
//! Containers end all the time, mostly after their DEL, and then their end is nobody's news: whoever released an address looks
//! after it. Telling of each would make the allocator look at every row of the node each time.

use std::sync::Arc;
use std::time::Duration;

use tenure_core::ports::{Kernel, NetnsLook, Question};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::{Held, Options};

/// Namespaces rarely end alone.
const GATHER: Duration = Duration::from_millis(20);

/// Waits for ends. Dropping it ends that.
#[derive(Debug)]
pub(super) struct Ends {
    bell: Arc<Notify>,
    task: AbortHandle,
}

// === impl Ends ===

impl Ends {
    /// `look` is called after some have ended.
    pub(super) fn start<F: Future<Output = ()> + Send>(
        look: impl Fn() -> F + Send + 'static,
    ) -> Self {
        let bell = Arc::new(Notify::new());
        let task = tokio::spawn({
            let bell = bell.clone();
            async move {
                loop {
                    bell.notified().await;
                    sleep(GATHER).await;
                    look().await;
                }
            }
        });
        Self { bell, task: task.abort_handle() }
    }

    /// One has ended. It may be called on any thread.
    pub(super) fn ring(&self) {
        self.bell.notify_one();
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the kernel says of the holders of these sets, in their order. Blocks.
pub(super) fn seen(kernel: &dyn Kernel, options: &Options, held: &[Held]) -> Vec<NetnsLook> {
    let node = Arc::new(options.node.clone());
    let question = |held: &Held| Question {
        node: node.clone(),
        netns: held.netns,
        owner: None,
        address: None,
    };
    let questions: Vec<Question> = held.iter().map(question).collect();
    if questions.is_empty() {
        return Vec::new();
    }
    kernel.look_at(&questions).into_iter().map(|sight| sight.namespace).collect()
}
