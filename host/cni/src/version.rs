//! The CNI versions that are spoken and what each of them allows.

use std::fmt;

/// A supported version of the CNI specification. The order is that of their release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CniVersion {
    /// 0.1.0
    V0_1_0,
    /// 0.2.0
    V0_2_0,
    /// 0.3.0: results carry a list of addresses.
    V0_3_0,
    /// 0.3.1
    V0_3_1,
    /// 0.4.0: CHECK, and `prevResult` for DEL.
    V0_4_0,
    /// 1.0.0: addresses no longer name their family.
    V1_0_0,
    /// 1.1.0: GC and STATUS.
    V1_1_0,
}

impl CniVersion {
    /// All of them, oldest first: the answer to VERSION.
    pub const ALL: [Self; 7] = [
        Self::V0_1_0,
        Self::V0_2_0,
        Self::V0_3_0,
        Self::V0_3_1,
        Self::V0_4_0,
        Self::V1_0_0,
        Self::V1_1_0,
    ];

    /// The newest one.
    pub const LATEST: Self = Self::V1_1_0;

    /// What a configuration without `cniVersion` means (specification, "Version considerations").
    pub const UNSAID: Self = Self::V0_1_0;

    /// The version with exactly this text; libcni compares texts too, so `1.1` is none.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str() == text)
    }

    /// The version of a configuration: an absent or empty `cniVersion` is [`CniVersion::UNSAID`].
    #[must_use]
    pub fn of_config(text: Option<&str>) -> Option<Self> {
        match text {
            None | Some("") => Some(Self::UNSAID),
            Some(text) => Self::of(text),
        }
    }

    /// Its text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_1_0 => "0.1.0",
            Self::V0_2_0 => "0.2.0",
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }
}

impl fmt::Display for CniVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_match_as_exact_text_and_an_absent_one_is_0_1_0() {
        assert_eq!(CniVersion::of("1.1.0"), Some(CniVersion::V1_1_0));
        assert_eq!(CniVersion::of("1.1"), None);
        assert_eq!(CniVersion::of(" 1.1.0"), None);
        assert_eq!(CniVersion::of_config(None), Some(CniVersion::V0_1_0));
        assert_eq!(CniVersion::of_config(Some("")), Some(CniVersion::V0_1_0));
        assert_eq!(CniVersion::of_config(Some("2.0.0")), None);
    }

    #[test]
    fn later_versions_compare_as_greater() {
        assert!(CniVersion::ALL.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
