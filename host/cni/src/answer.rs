//! What goes to stdout besides a result: errors and the answer to VERSION, written without a JSON
//! library so that the plugin and the daemon say the same in the same shape.

use crate::version::CniVersion;

/// CNI error code: the configuration's version, or the verb in that version, is not supported.
pub const INCOMPATIBLE_VERSION: u32 = 1;
/// CNI error code: a field of the configuration is not supported; the message names key and value.
pub const UNSUPPORTED_FIELD: u32 = 2;
/// CNI error code: the environment is missing something or ill-formed.
pub const BAD_ENVIRONMENT: u32 = 4;
/// CNI error code: input or output failed.
pub const IO_FAILED: u32 = 5;
/// CNI error code: the input could not be decoded.
pub const BAD_DECODE: u32 = 6;
/// CNI error code: the network configuration is not valid.
pub const BAD_CONFIG: u32 = 7;
/// CNI error code: the namespace is not one to configure.
pub const BAD_NETNS: u32 = 8;
/// CNI error code: try again later.
pub const TRY_LATER: u32 = 11;
/// CNI error code of STATUS: an ADD cannot be served.
pub const NOT_AVAILABLE: u32 = 50;

/// An error as CNI wants it: an object on stdout (the specification says stderr in one sentence, but
/// skel, its STATUS text and libcni use stdout).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The CNI error code.
    pub code: u32,
    /// What happened, to which object, what to do next.
    pub msg: String,
    /// A stable upper-case code for programs, e.g. `POOL_EXHAUSTED`.
    pub details: String,
}

impl Failure {
    /// A failure with a fixed stable code.
    #[must_use]
    pub fn new(code: u32, details: &str, msg: impl Into<String>) -> Self {
        Self { code, msg: msg.into(), details: details.to_owned() }
    }

    /// The object on stdout, one line.
    #[must_use]
    pub fn to_json(&self, version: CniVersion) -> String {
        let mut out = format!("{{\"cniVersion\":\"{version}\",\"code\":{},\"msg\":", self.code);
        write_string(&mut out, &self.msg);
        out.push_str(",\"details\":");
        write_string(&mut out, &self.details);
        out.push_str("}\n");
        out
    }
}

/// The answer to VERSION: the caller's version where we speak it, else our newest.
#[must_use]
pub fn version_json(asked: Option<&str>) -> String {
    let version = asked.and_then(CniVersion::of).unwrap_or(CniVersion::LATEST);
    let all: Vec<String> = CniVersion::ALL.iter().map(|v| format!("\"{v}\"")).collect();
    format!("{{\"cniVersion\":\"{version}\",\"supportedVersions\":[{}]}}\n", all.join(","))
}

/// Appends `text` as a JSON string.
fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_of_valid_json_whatever_the_message_holds() {
        let failure = Failure::new(4, "BAD_ENV", "quote \" slash \\ line\nbell \u{7} é");
        let text = failure.to_json(CniVersion::V0_4_0);
        assert_eq!(
            text,
            "{\"cniVersion\":\"0.4.0\",\"code\":4,\"msg\":\"quote \\\" slash \\\\ line\\nbell \\u0007 é\",\"details\":\"BAD_ENV\"}\n"
        );
    }

    #[test]
    fn version_echoes_what_it_speaks_and_else_names_the_newest() {
        assert!(version_json(Some("0.4.0")).starts_with("{\"cniVersion\":\"0.4.0\","));
        assert!(version_json(Some("9.0.0")).starts_with("{\"cniVersion\":\"1.1.0\","));
        assert!(version_json(None).contains("\"supportedVersions\":[\"0.1.0\",\"0.2.0\""));
    }
}
