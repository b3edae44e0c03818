//! A moment that has been: a time, or how long ago it was.

use std::str::FromStr;

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use tenure_core::time::WallMs;

/// A moment on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ago(pub(crate) WallMs);

impl FromStr for Ago {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        before(text, Timestamp::now())
    }
}

fn before(text: &str, now: Timestamp) -> Result<Ago, String> {
    let moment = match text.parse::<Timestamp>() {
        Ok(moment) => moment,
        Err(_) => ago(text, now).ok_or(
            "it must be a time with its offset, e.g. 2026-05-28T20:26:40Z, or how long ago, e.g. 90s, 2h or 3d",
        )?,
    };
    if moment > now {
        return Err("it lies in the future".to_owned());
    }
    let ms = u64::try_from(moment.as_millisecond());
    ms.map(|ms| Ago(WallMs(ms))).map_err(|_| "it lies before 1970".to_owned())
}

/// Days have 24 hours here: the zone is UTC.
fn ago(text: &str, now: Timestamp) -> Option<Timestamp> {
    let span: Span = text.parse().ok().filter(|_| !text.starts_with(['+', '-']))?;
    Some(now.to_zoned_datetime(TimeZone::UTC).checked_sub(span.abs()).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Result<String, String> {
        let now = "2026-05-28T20:26:40Z".parse().unwrap();
        before(text, now).map(|Ago(at)| at.to_rfc3339_ms())
    }

    #[test]
    fn a_time_or_how_long_ago_it_was_is_taken() {
        for (text, moment) in [
            ("2026-05-28T20:00:00Z", "2026-05-28T20:00:00.000Z"),
            ("2026-05-28T20:00:00.25Z", "2026-05-28T20:00:00.250Z"),
            ("2026-05-28 22:00:00+02:00", "2026-05-28T20:00:00.000Z"),
            ("90s", "2026-05-28T20:25:10.000Z"),
            ("2h", "2026-05-28T18:26:40.000Z"),
            ("1h30m", "2026-05-28T18:56:40.000Z"),
            ("3d", "2026-05-25T20:26:40.000Z"),
            ("1mo 2w ago", "2026-04-14T20:26:40.000Z"),
            ("0s", "2026-05-28T20:26:40.000Z"),
        ] {
            assert_eq!(at(text).as_deref(), Ok(moment), "{text}");
        }
    }

    #[test]
    fn what_is_neither_or_has_not_been_is_refused() {
        for text in ["", "yesterday", "2", "-2h", "+2h", "2026-05-28", "2026-05-28T20:00:00"] {
            assert!(at(text).unwrap_err().starts_with("it must be a time"), "{text}");
        }
        assert_eq!(at("2026-05-28T20:26:41Z").unwrap_err(), "it lies in the future");
        assert_eq!(at("1960-01-01T00:00:00Z").unwrap_err(), "it lies before 1970");
    }
}
