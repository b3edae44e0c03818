//! Times as kubectl shows them: `45s`, `5m`, `3h`, `12d`.

use std::time::Duration;

use tenure_core::time::WallMs;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// How long ago `at` was; `0s` for what lies ahead of this clock.
pub(crate) fn age(at: WallMs) -> String {
    let now = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0);
    short(Duration::from_millis(now.saturating_sub(at.0)))
}

/// The same for seconds.
pub(crate) fn short_s(seconds: u64) -> String {
    short(Duration::from_secs(seconds))
}

/// The two numbers below which the next smaller unit says more.
pub(crate) fn short(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds.div_euclid(MINUTE)),
        7_200..172_800 => format!("{}h", seconds.div_euclid(HOUR)),
        _ => format!("{}d", seconds.div_euclid(DAY)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_shown_in_the_largest_unit_that_still_says_something() {
        let shown = |seconds| short(Duration::from_secs(seconds));
        assert_eq!([0, 119, 120, 7_199].map(shown), ["0s", "119s", "2m", "119m"]);
        assert_eq!([7_200, 172_799, 172_800].map(shown), ["2h", "47h", "2d"]);
    }
}
