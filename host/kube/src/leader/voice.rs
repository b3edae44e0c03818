//! What a replica says of who leads: nothing that it cannot know.

use std::future::{Future, pending};
use std::pin::pin;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::Leader;

/// Says who leads; once it is gone, nobody does as far as this process knows.
pub(super) struct Voice(pub(super) watch::Sender<Leader>);

// === impl Voice ===

impl Voice {
    pub(super) fn say(&self, leader: Leader) {
        self.0.send_if_modified(|said| {
            let is_news = *said != leader;
            if is_news {
                tracing::info!(holder = ?leader.holder, is_me = leader.is_me, "the leader changed");
                *said = leader;
            }
            is_news
        });
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        self.say(Leader::default());
    }
}

/// Waits for some work. What we said of leading ends when it has to, and not only with the work. None if we are to stop.
pub(super) async fn guarded<T>(
    voice: &Voice,
    stop: &mut oneshot::Receiver<()>,
    leads_until: Option<Instant>,
    work: impl Future<Output = T>,
) -> Option<T> {
    let over = pin!(async {
        if let Some(until) = leads_until {
            sleep_until(until).await;
            voice.say(Leader::default());
        }
        pending::<T>().await
    });
    tokio::select! {
        biased;
        _ = stop => None,
        never = over => Some(never),
        done = work => Some(done),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn leading_ends_in_time_while_a_request_hangs() {
        let (says, mut leader) = watch::channel(Leader { holder: None, is_me: true });
        let (voice, (_stop, mut stopped)) = (Voice(says), oneshot::channel());
        let until = Instant::now() + SECOND;
        let hanging = pending::<()>();
        tokio::select! {
            _ = guarded(&voice, &mut stopped, Some(until), hanging) => panic!("it hangs"),
            changed = leader.changed() => changed.unwrap(),
        }
        assert!(!leader.borrow().is_me);
        assert_eq!(Instant::now(), until);
    }
}
