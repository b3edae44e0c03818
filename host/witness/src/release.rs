//! The minimum kernel.

use crate::error::StartError;

/// `SO_NETNS_COOKIE` came with 5.14.
const MINIMUM: (u32, u32) = (5, 14);

/// Whether `release`, as `uname -r` prints it, is new enough.
pub(crate) fn check(release: &str) -> Result<(), StartError> {
    let version = parse(release)
        .ok_or_else(|| StartError::UnreadableRelease { found: release.to_owned() })?;
    if version < MINIMUM {
        return Err(StartError::KernelTooOld { found: release.to_owned() });
    }
    Ok(())
}

fn parse(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?;
    let digits = minor.find(|c: char| !c.is_ascii_digit()).unwrap_or(minor.len());
    Some((major, minor.get(..digits)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_before_5_14_are_refused_and_the_refusal_says_why() {
        for new in ["5.14.0", "5.14", "5.14-rc1", "5.15.0-91-generic", "6.0.0", "10.1"] {
            assert!(check(new).is_ok(), "{new}");
        }
        for old in ["5.13.19-generic", "5.9", "4.18.0-553.el8_10.x86_64"] {
            let error = check(old).unwrap_err();
            assert!(matches!(error, StartError::KernelTooOld { .. }), "{old}");
            assert!(error.to_string().contains("cookie") && error.to_string().contains(old));
        }
        assert!(matches!(check("Linux"), Err(StartError::UnreadableRelease { .. })));
    }
}
