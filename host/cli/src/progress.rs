//! A sign of life while the daemon takes its time. Only on a terminal: a script wants to hear of results and errors.

use std::io::{IsTerminal as _, Write, stderr};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

const TICK: Duration = Duration::from_secs(1);
/// To the first column, and the rest of the line away.
const CLEAR: &str = "\r\x1b[K";

/// Shows what is waited for and for how long, and takes that away at the end.
pub(crate) async fn with_progress<T>(what: &str, work: impl Future<Output = T>) -> T {
    match stderr().is_terminal() {
        true => ticking(&mut stderr(), what, work).await,
        false => work.await,
    }
}

async fn ticking<T>(out: &mut impl Write, what: &str, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut seconds = 0_u64;
    loop {
        tokio::select! {
            biased;
            done = &mut work => {
                if seconds > 1 {
                    show(out, CLEAR);
                }
                return done;
            }
            // The first tick comes at once: what is answered within a second shows nothing.
            _ = ticks.tick() => {
                if seconds > 0 {
                    show(out, &format!("{CLEAR}{what}, {seconds} s"));
                }
                seconds = seconds.saturating_add(1);
            }
        }
    }
}

/// Nobody misses it where it cannot be written.
fn show(out: &mut impl Write, text: &str) {
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    async fn shown(millis: u64) -> String {
        let mut out = Vec::new();
        ticking(&mut out, "waiting", sleep(Duration::from_millis(millis))).await;
        String::from_utf8(out).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_wait_is_shown_and_taken_away_and_a_short_one_is_not() {
        assert_eq!(shown(900).await, "");
        assert_eq!(shown(2_500).await, "\r\x1b[Kwaiting, 1 s\r\x1b[Kwaiting, 2 s\r\x1b[K");
    }
}
