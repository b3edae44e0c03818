//! Names that crossed a border once and are known to be well formed since. Each is made only by a
//! fallible constructor; the rule is the one of the CNI specification or of Kubernetes.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a text is not the name it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {shown:?} is not valid: {rule}")]
pub struct BadName {
    /// What the text should have been, e.g. `container id`.
    pub what: &'static str,
    /// The text, cut to 64 characters.
    pub shown: String,
    /// The rule that it breaks.
    pub rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and takes the text.
            ///
            /// # Errors
            /// [`BadName`] with the rule that the text breaks.
            pub fn new(text: impl AsRef<str>) -> Result<Self, BadName> {
                let text = text.as_ref();
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    return Ok(Self(text.into()));
                }
                Err(BadName { what: $what, shown: text.chars().take(64).collect(), rule: $rule })
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(text: String) -> Result<Self, BadName> {
                Self::new(text)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                (*name.0).to_owned()
            }
        }
        impl std::str::FromStr for $name {
            type Err = BadName;
            fn from_str(text: &str) -> Result<Self, BadName> {
                Self::new(text)
            }
        }
        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string", "description": concat!($what, ": ", $rule)})
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// A container id as CNI gives it.
    ContainerId, "container id",
    "it must start with a letter or digit, go on with letters, digits, `_`, `.` or `-`, and have at most 256 characters",
    |t| t.len() <= 256 && cni_identifier(t)
);
name!(
    /// An interface name inside the container.
    IfName, "interface name",
    "it must have 1 to 15 bytes, not be `.` or `..`, and hold no `/`, `:` or white space",
    |t| (1..=15).contains(&t.len())
        && t != "."
        && t != ".."
        && !t.chars().any(|c| c == '/' || c == ':' || c.is_whitespace() || c.is_control())
);
name!(
    /// A CNI network name.
    NetworkName, "network name",
    "it must start with a letter or digit, go on with letters, digits, `_`, `.` or `-`, and have at most 253 characters",
    |t| t.len() <= 253 && cni_identifier(t)
);
name!(
    /// The name of an IPPool.
    PoolName, "pool name",
    "it must be a DNS subdomain: lower-case letters, digits, `-` and `.`, starting and ending with a letter or digit, at most 253 characters",
    dns_subdomain
);
name!(
    /// The name of an IPReservation, IPAMPolicy or other object.
    ObjectName, "object name",
    "it must be a DNS subdomain: lower-case letters, digits, `-` and `.`, starting and ending with a letter or digit, at most 253 characters",
    dns_subdomain
);
name!(
    /// A routing domain in which addresses are unique.
    SpaceName, "space name",
    "it must be a DNS label without `--`: lower-case letters, digits and single `-`, at most 63 characters",
    |t| dns_label(t) && !t.contains("--")
);
name!(
    /// `sha256:` and 64 lower-case hexadecimal digits.
    Digest, "digest",
    "it must be `sha256:` followed by 64 lower-case hexadecimal digits",
    |t| t.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
);

name!(
    /// Where a component lies in an OCI registry: `HOST[:PORT]/REPOSITORY` and `:TAG`, `@sha256:DIGEST` or both. The registry
    /// is always named: there is no default that could become another one.
    OciRef, "OCI reference",
    "it must be HOST[:PORT]/REPOSITORY followed by `:TAG`, `@sha256:` and 64 lower-case hexadecimal digits, or both, without a scheme, such as registry.example.com/policies/grace:1.2.0",
    oci_reference
);

impl Default for SpaceName {
    /// The space `default`.
    fn default() -> Self {
        Self("default".into())
    }
}

impl Digest {
    /// The SHA-256 digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        use std::fmt::Write as _;

        use sha2::Digest as _;
        let mut text = String::with_capacity(71);
        text.push_str("sha256:");
        for byte in sha2::Sha256::digest(bytes) {
            let _ = write!(text, "{byte:02x}");
        }
        Self(text.into())
    }

    /// The digits after `sha256:`.
    #[must_use]
    pub fn hex(&self) -> &str {
        self.0.strip_prefix("sha256:").unwrap_or(&self.0)
    }

    /// `sha256-HEX.wasm`: the name of the file in which a component of this digest is kept.
    #[must_use]
    pub fn module_file(&self) -> String {
        format!("sha256-{}.wasm", self.hex())
    }
}

impl OciRef {
    /// The digest of the manifest, if the reference names one.
    #[must_use]
    pub fn manifest(&self) -> Option<Digest> {
        self.0.split_once('@').and_then(|(_, digest)| Digest::new(digest).ok())
    }

    /// Host and port of the registry.
    #[must_use]
    pub fn registry(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(registry, _)| registry)
    }
}

/// CNI specification: starts with an alphanumeric, then alphanumerics, `_`, `.`, `-`.
fn cni_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn dns_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(dns_label)
}

/// The grammar of the OCI distribution specification, less what has a default elsewhere: registry, and tag or digest.
fn oci_reference(text: &str) -> bool {
    let (named, digest) = match text.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (text, None),
    };
    let Some((registry, rest)) = named.split_once('/') else { return false };
    let (repository, tag) = match rest.rsplit_once(':') {
        Some((repository, tag)) => (repository, Some(tag)),
        None => (rest, None),
    };
    text.len() <= 512
        && oci_registry(registry)
        && !repository.is_empty()
        && repository.split('/').all(oci_component)
        && tag.is_none_or(oci_tag)
        && digest.is_none_or(|digest| Digest::new(digest).is_ok())
        && (tag.is_some() || digest.is_some())
}

/// A name with a dot or a port, `localhost`, or an address: anything else is the first part of a repository whose registry was left out.
fn oci_registry(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_v6 = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    let is_name = host.split('.').all(|label| dns_label(&label.to_ascii_lowercase()));
    (is_v6 || is_name)
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0))
        && (is_v6 || host.contains('.') || port.is_some() || host == "localhost")
}

/// Lower-case letters and digits, separated by `.`, `_`, `__` or dashes.
fn oci_component(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut separator = String::new();
    let ends_well = text.starts_with(is_word) && text.ends_with(is_word);
    ends_well
        && text.chars().all(|c| {
            if is_word(c) {
                separator.clear();
                return true;
            }
            separator.push(c);
            matches!(separator.as_str(), "." | "_" | "__") || separator.chars().all(|c| c == '-')
        })
}

fn oci_tag(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (1..=128).contains(&text.len())
        && text.starts_with(is_word)
        && text.chars().all(|c| is_word(c) || matches!(c, '.' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_container_ids_and_interface_names_are_refused() {
        for bad in ["", "../x", "-a", "a/b", "a b", "a\0", "é", &"a".repeat(257)] {
            assert!(ContainerId::new(bad).is_err(), "{bad:?}");
        }
        for bad in ["", ".", "..", "a/b", "a:b", "a b", "sixteen-bytes-xx", "a\n"] {
            assert!(IfName::new(bad).is_err(), "{bad:?}");
        }
        assert!(ContainerId::new("9f_a.B-c").is_ok());
        assert!(IfName::new("eth0").is_ok());
    }

    #[test]
    fn kubernetes_names_follow_dns_rules() {
        assert!(PoolName::new("blue-v4.site").is_ok());
        assert!(PoolName::new("Blue").is_err());
        assert!(PoolName::new("a..b").is_err());
        assert!(SpaceName::new("a--b").is_err(), "`--` separates a space from an address");
        assert!(Digest::new(Digest::of(b"x").as_str()).is_ok());
        assert!(Digest::new("sha256:XY").is_err());
    }

    #[test]
    fn an_oci_reference_names_its_registry_and_what_to_take() {
        let digest = Digest::of(b"x");
        let both = format!("localhost:5000/a/b-c__d:v1@{digest}");
        for good in [
            "registry.example.com/policies/grace:1.2.0",
            "127.0.0.1:5000/grace:latest",
            "[::1]:5000/grace:v1",
            "localhost/grace:v1",
            &format!("r.example/grace@{digest}"),
            &both,
        ] {
            assert!(OciRef::new(good).is_ok(), "{good}");
        }
        assert_eq!(OciRef::new(&both).unwrap().manifest(), Some(digest));
        assert_eq!(OciRef::new(&both).unwrap().registry(), "localhost:5000");
        for bad in [
            "grace",
            "grace:v1",
            "policies/grace:v1",
            "r.example/grace",
            "https://r.example/grace:v1",
            "oci://r.example/grace:v1",
            "r.example/Grace:v1",
            "r.example/:v1",
            "r.example/a//b:v1",
            "r.example/a..b:v1",
            "r.example/../b:v1",
            "r.example/a:",
            "r.example/a:-v",
            "r.example/a@sha256:XY",
            "r.example:0/a:v1",
            "r.example:99999/a:v1",
            "r.example/a:v1?x",
            "r.example/a:v1 ",
        ] {
            assert!(OciRef::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bad_name_says_what_it_is_and_which_rule_it_breaks() {
        let error = IfName::new("a/b").unwrap_err().to_string();
        assert!(error.contains("interface name \"a/b\""), "{error}");
        assert!(error.contains("15 bytes"), "{error}");
    }
}
