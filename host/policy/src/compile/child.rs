//! The parent's side of the compiler: a process that is started for one component, bounded, and gone afterwards.

use std::io::{Read, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::CompileBounds;
use super::worker::Order;
use crate::engine::Layout;

/// The exit code of a Rust program that panicked.
const PANICKED: i32 = 101;
/// So much of what it says of a failure is read.
const SAID_BYTES: u64 = 4096;
/// Between two looks whether it has ended, once its output has.
const LOOK: Duration = Duration::from_millis(1);
/// How long its last words may take once it is gone.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A process that does not outlive this value.
struct Running(Child);

/// What comes from it, each once and whole.
struct Pipes {
    code: Receiver<Vec<u8>>,
    said: Receiver<Vec<u8>>,
}

/// How it ended.
enum End {
    Exited(ExitStatus),
    /// Its time was up, and it was killed.
    TooLate,
}

/// Has a component compiled.
///
/// # Errors
/// In words: it is not valid, or the bound that it met.
pub(super) fn compile(
    program: &Path,
    layout: Layout,
    bounds: &CompileBounds,
    bytes: &[u8],
) -> Result<Vec<u8>, String> {
    let until = Instant::now() + bounds.wall;
    let cpu_s = bounds.cpu.as_millis().div_ceil(1000);
    let cpu_s = u64::try_from(cpu_s).unwrap_or(u64::MAX - 1);
    let order = Order { layout, memory: bounds.memory, cpu_s };
    let mut running = Running::start(program, &order)?;
    let Pipes { code, said } = running.pipes(bytes.to_vec(), bounds.code)?;
    let code = code.recv_timeout(bounds.wall).ok();
    let is_too_large = code.as_ref().is_some_and(|code| code.len() > bounds.code);
    if is_too_large {
        return Err(format!(
            "its code has more than {} MiB; make the component smaller",
            bounds.code >> 20
        ));
    }
    let end = running.end(until);
    let said = said.recv_timeout(LAST_WORDS).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    match (end, code) {
        (End::Exited(status), Some(code)) if status.success() && !code.is_empty() => Ok(code),
        (End::Exited(status), _) => Err(why(status, said.trim(), bounds)),
        (End::TooLate, _) => {
            Err(format!("the compiler did not end within {:?} and was stopped", bounds.wall))
        }
    }
}

/// Why there is no code.
fn why(status: ExitStatus, said: &str, bounds: &CompileBounds) -> String {
    let is = |signal: Signal| status.signal() == Some(signal.as_raw());
    let memory = || {
        let most = bounds.memory >> 20;
        format!(
            "the compiler wanted more than {most} MiB of memory and was stopped; make the component, or its largest function, smaller"
        )
    };
    // An allocation that fails ends a Rust program by SIGABRT after these words; the kernel's own words for it are in an error.
    if said.contains("memory allocation of") || said.contains("Cannot allocate memory") {
        return memory();
    }
    if is(Signal::XCPU) {
        return format!(
            "the compiler used up {:?} of processor time and was stopped; make the component smaller",
            bounds.cpu
        );
    }
    if is(Signal::KILL) {
        return "the compiler was killed from outside: is the machine, or the memory limit of the daemon, short of memory?".to_owned();
    }
    let first = said.lines().next().unwrap_or("it said nothing");
    match status.signal() {
        None if status.code() == Some(PANICKED) => {
            format!("the compiler panicked; report the component: {first}")
        }
        None => crate::guest::cut(said, 2048),
        Some(signal) => format!("the compiler crashed with signal {signal}: {first}"),
    }
}

// === impl Running ===

impl Running {
    fn start(program: &Path, order: &Order) -> Result<Self, String> {
        let child = Command::new(program)
            .arg0("tenured-compile-policy")
            .args(["compile-policy", &order.to_string()])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        child.map(Self).map_err(|error| {
            format!("no process for the compiler ({}): {error}", program.display())
        })
    }

    /// Hands the component over, and listens: to the code, cut behind `most` bytes, and to what it says of a failure.
    fn pipes(&mut self, bytes: Vec<u8>, most: usize) -> Result<Pipes, String> {
        let missing = || "the compiler has no pipe".to_owned();
        let mut stdin = self.0.stdin.take().ok_or_else(missing)?;
        let stdout = self.0.stdout.take().ok_or_else(missing)?;
        let stderr = self.0.stderr.take().ok_or_else(missing)?;
        let most = u64::try_from(most).unwrap_or(u64::MAX - 1);
        on_thread(move || {
            // One that gave up earlier reads no more; how it ended says why.
            let _ = stdin.write_all(&bytes);
        })?;
        Ok(Pipes { code: listen(stdout, most + 1)?, said: listen(stderr, SAID_BYTES)? })
    }

    /// Waits until it has ended, by its own will or not.
    fn end(&mut self, until: Instant) -> End {
        loop {
            match self.0.try_wait() {
                Ok(Some(status)) => return End::Exited(status),
                Ok(None) if Instant::now() < until => std::thread::sleep(LOOK),
                Ok(None) | Err(_) => return End::TooLate,
            }
        }
    }
}

impl Drop for Running {
    /// By its own number, which stays its own until it was waited for.
    fn drop(&mut self) {
        if let Err(error) = self.0.kill() {
            tracing::error!(%error, pid = self.0.id(), "the compiler cannot be stopped; its limit of processor time ends it");
            return;
        }
        let _ = self.0.wait();
    }
}

fn listen(pipe: impl Read + Send + 'static, most: u64) -> Result<Receiver<Vec<u8>>, String> {
    let (done, result) = mpsc::sync_channel(1);
    on_thread(move || {
        let mut bytes = Vec::new();
        // A pipe that breaks ends what can be read; how the process ended says whether that was all.
        let _ = pipe.take(most).read_to_end(&mut bytes);
        let _ = done.send(bytes);
    })?;
    Ok(result)
}

fn on_thread(work: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let spawned = std::thread::Builder::new().name("policy-pipe".into()).spawn(work);
    spawned.map(drop).map_err(|error| format!("no thread for the pipes of the compiler: {error}"))
}
