//! The plugin: environment and stdin in, one frame to the daemon, its answer out. On std alone: it is started
//! for each ADD and DEL, so its start is part of their time.
//!
//! ```text
//! env + stdin -> environment -> call (connect, retry, wait) -> stdout, exit code
//!                                 | daemon down, of another release, or not able to make a DEL durable
//!                                 v
//!                               spool (DEL only): fsynced file, success
//! ```
//!
//! It decides nothing but this: a DEL succeeds only once the daemon or the disk has it (invariant I5).

mod call;
mod environment;
mod spool;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::answer::{self, Failure};
use crate::frame::{EXIT_SPOOL, MAX_STDIN, Response};
use crate::json::Outline;
use crate::version::CniVersion;
use call::{Exchange, Patience};
use environment::{Command, Invocation};

/// Where the daemon listens unless `ipam.socket` says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/tenure/cni.sock";
/// Where DELs wait for the daemon unless `ipam.spool` says otherwise.
pub const DEFAULT_SPOOL: &str = "/var/lib/tenure/spool";

const ABOUT: &str = "\
tenure-ipam: the CNI IPAM plugin of Tenure, an IP address manager for containers.
It is called by a main plugin (bridge, macvlan, ...) whose network configuration says
  \"ipam\": {\"type\": \"tenure-ipam\"}
with CNI_COMMAND set and the configuration on standard input. By hand, for example:
  CNI_COMMAND=VERSION tenure-ipam < /dev/null
";

/// Runs the plugin on the process's environment and standard streams.
#[must_use]
pub fn run() -> ExitCode {
    let Some(command) = environment::variable("CNI_COMMAND") else {
        about();
        return ExitCode::SUCCESS;
    };
    let input = read_input(&mut io::stdin().lock());
    let outline = input.as_ref().map(|text| Outline::of(text)).unwrap_or_default();
    let version = CniVersion::of_config(outline.cni_version.as_deref());
    let outcome = serve(command, input, &outline);
    let (exit, stdout) = match outcome {
        Ok(response) => (response.exit, response.stdout),
        Err(failure) => (1, failure.to_json(version.unwrap_or(CniVersion::LATEST)).into_bytes()),
    };
    let mut out = io::stdout().lock();
    match out.write_all(&stdout).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::from(exit),
        Err(_) => ExitCode::FAILURE,
    }
}

fn about() {
    let versions = CniVersion::ALL.map(CniVersion::as_str).join(" ");
    eprintln!("{ABOUT}CNI versions: {versions}");
}

fn serve(
    command: OsString,
    input: Result<Vec<u8>, Failure>,
    outline: &Outline,
) -> Result<Response, Failure> {
    let command = Command::parse(&command)?;
    if command == Command::Version {
        return Ok(Response::success(answer::version_json(outline.cni_version.as_deref())));
    }
    let invocation = Invocation::from_environment(command)?;
    let input = input?;
    // A DEL goes on with what is known: the daemon or the spool needs its identity only.
    if command != Command::Del
        && let Some(fault) = &outline.fault
    {
        let msg = format!("the network configuration on stdin cannot be read: {fault}");
        return Err(Failure::new(answer::BAD_DECODE, "BAD_JSON", msg));
    }
    let patience = Patience::of(command);
    let started = spool::Instant::now();
    let socket = path_or(outline.socket.as_deref(), DEFAULT_SOCKET);
    let exchange = call::exchange(&socket, &invocation.into_request(input), patience)?;
    match (command, exchange) {
        (_, Exchange::Answered(refusal)) if refusal.exit == EXIT_SPOOL => {
            // The daemon's own words are better than ours if the disk refuses too.
            let refusal = Response { exit: 1, ..refusal };
            let spooled = (command == Command::Del).then(|| spool_del(outline, started).ok());
            Ok(spooled.flatten().unwrap_or(refusal))
        }
        (_, Exchange::Answered(response)) => Ok(response),
        (Command::Del, Exchange::Unreachable(_) | Exchange::Abandoned) => {
            spool_del(outline, started)
        }
        (_, Exchange::Abandoned) => Err(abandoned()),
        (_, Exchange::Unreachable(why)) => Err(unreachable(command, &socket, &why)),
    }
}

/// Reads stdin up to its bound. A terminal or an inherited pipe ends with its writer.
fn read_input(stdin: &mut impl Read) -> Result<Vec<u8>, Failure> {
    let mut input = Vec::new();
    // One byte more than allowed tells "exactly full" from "too long".
    let bound = u64::try_from(MAX_STDIN).unwrap_or(u64::MAX).saturating_add(1);
    stdin.take(bound).read_to_end(&mut input).map_err(|error| {
        let msg = format!("the network configuration on stdin cannot be read: {error}");
        Failure::new(answer::IO_FAILED, "STDIN_UNREADABLE", msg)
    })?;
    if input.len() > MAX_STDIN {
        let msg = format!("the network configuration on stdin is longer than {MAX_STDIN} bytes");
        return Err(Failure::new(answer::BAD_DECODE, "STDIN_TOO_LONG", msg));
    }
    Ok(input)
}

fn path_or(text: Option<&str>, default: &str) -> PathBuf {
    PathBuf::from(text.filter(|text| !text.is_empty()).unwrap_or(default))
}

fn spool_del(outline: &Outline, started: Option<spool::Instant>) -> Result<Response, Failure> {
    let folder = path_or(outline.spool.as_deref(), DEFAULT_SPOOL);
    let Some(network) = outline.name.as_deref() else {
        let msg = "the network configuration on stdin has no readable `name`, so the DEL cannot be kept for the daemon";
        return Err(Failure::new(answer::BAD_CONFIG, "NO_NETWORK_NAME", msg));
    };
    spool::keep(&folder, network, started)?;
    eprintln!("tenure-ipam: the daemon is not available: the DEL waits in {}", folder.display());
    Ok(Response::default())
}

fn unreachable(command: Command, socket: &Path, why: &str) -> Failure {
    let code = if command == Command::Status { answer::NOT_AVAILABLE } else { answer::TRY_LATER };
    let msg = format!("tenured does not answer on {}: {why}; is it running?", socket.display());
    Failure::new(code, "DAEMON_UNREACHABLE", msg)
}

fn abandoned() -> Failure {
    Failure::new(answer::TRY_LATER, "CALLER_GONE", "the process that called the plugin is gone")
}
