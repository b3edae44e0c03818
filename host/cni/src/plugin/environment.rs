//! The environment of one invocation.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;

use super::call::Patience;
use crate::answer::{self, Failure};
use crate::frame::Request;

/// A CNI verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Add,
    Del,
    Check,
    Gc,
    Status,
    Version,
}

/// A verb with the environment that it needs.
pub(super) struct Invocation {
    command: Command,
    container: OsString,
    netns: Option<OsString>,
    ifname: OsString,
    args: OsString,
}

/// An environment variable that is set and not empty.
pub(super) fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

// === impl Command ===

impl Command {
    pub(super) fn parse(text: &OsStr) -> Result<Self, Failure> {
        match text.as_bytes() {
            b"ADD" => Ok(Self::Add),
            b"DEL" => Ok(Self::Del),
            b"CHECK" => Ok(Self::Check),
            b"GC" => Ok(Self::Gc),
            b"STATUS" => Ok(Self::Status),
            b"VERSION" => Ok(Self::Version),
            _ => Err(Failure::new(
                answer::BAD_ENVIRONMENT,
                "UNKNOWN_COMMAND",
                format!("CNI_COMMAND {text:?} is not one of ADD, DEL, CHECK, GC, STATUS, VERSION"),
            )),
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Gc => "GC",
            Self::Status => "STATUS",
            Self::Version => "VERSION",
        }
    }

    /// The variables that the verb cannot do without. STATUS needs no CNI_PATH by the specification,
    /// and a refusal would make a whole node NotReady.
    fn needs(self) -> &'static [&'static str] {
        match self {
            Self::Add | Self::Check => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
            Self::Del => &["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"],
            Self::Gc => &["CNI_PATH"],
            Self::Status | Self::Version => &[],
        }
    }
}

// === impl Invocation ===

impl Invocation {
    /// Reads what `command` needs.
    pub(super) fn from_environment(command: Command) -> Result<Self, Failure> {
        let missing: Vec<&str> =
            command.needs().iter().copied().filter(|name| variable(name).is_none()).collect();
        if !missing.is_empty() {
            let msg =
                format!("{} needs {} in the environment", command.as_str(), missing.join(", "));
            return Err(Failure::new(answer::BAD_ENVIRONMENT, "MISSING_ENV", msg));
        }
        Ok(Self {
            command,
            container: variable("CNI_CONTAINERID").unwrap_or_default(),
            netns: variable("CNI_NETNS"),
            ifname: variable("CNI_IFNAME").unwrap_or_default(),
            args: variable("CNI_ARGS").unwrap_or_default(),
        })
    }

    /// The request of this invocation, with `stdin` in it.
    pub(super) fn into_request(self, stdin: Vec<u8>) -> Request {
        let netns_file = self.netns.as_deref().and_then(file_identity);
        let own = file_identity(OsStr::new("/proc/self/ns/net"));
        let override_says = variable("CNI_NETNS_OVERRIDE").unwrap_or_default();
        Request {
            command: self.command.as_str().into(),
            container: self.container.into_vec(),
            netns: self.netns.map(OsString::into_vec),
            ifname: self.ifname.into_vec(),
            args: self.args.into_vec(),
            netns_file,
            own_netns: netns_file.is_some() && netns_file == own,
            netns_override: override_says == "1" || override_says.eq_ignore_ascii_case("true"),
            deadline_ms: Patience::of(self.command).answer_ms(),
            stdin,
        }
    }
}

/// (device, inode) of what `path` leads to; a DEL may come when nothing is there any more.
fn file_identity(path: &OsStr) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}
