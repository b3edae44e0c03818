//! Lengths of time as people write them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A length of time, written `90s`, `2m`, `1h 30m` or `PT90S`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span(pub Duration);

// === impl Span ===

impl Span {
    /// 120 s.
    #[must_use]
    pub fn default_cooldown() -> Self {
        Self(crate::defaults::COOLDOWN)
    }

    /// Whole seconds, rounded up, saturating.
    #[must_use]
    pub fn secs_ceil(self) -> u32 {
        let whole = self.0.as_secs().saturating_add(u64::from(self.0.subsec_nanos() > 0));
        u32::try_from(whole).unwrap_or(u32::MAX)
    }
}

impl std::str::FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let rule = || format!("{text:?} is not a length of time such as `90s`, `2m` or `1h`");
        let span: jiff::SignedDuration = text.parse().map_err(|_| rule())?;
        Duration::try_from(span).map(Self).map_err(|_| format!("{text:?} is negative"))
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.0.as_secs(), self.0.subsec_millis()) {
            (secs, 0) => write!(f, "{secs}s"),
            (secs, ms) => write!(f, "{}ms", secs.saturating_mul(1000).saturating_add(ms.into())),
        }
    }
}

impl Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Span {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_people_write_them_and_negative_ones_are_refused() {
        let ok = |t: &str| t.parse::<Span>().unwrap().0;
        assert_eq!(ok("120s"), Duration::from_secs(120));
        assert_eq!(ok("2m"), Duration::from_secs(120));
        assert_eq!(ok("500ms"), Duration::from_millis(500));
        assert!("-1s".parse::<Span>().is_err());
        assert!("soon".parse::<Span>().is_err());
        assert_eq!(Span(ok("1h 30m")).to_string(), "5400s");
    }
}
