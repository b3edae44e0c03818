//! One exchange with the daemon, bounded in time and ended early when the caller dies.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::parent_id;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::environment::Command;
use crate::answer::{self, Failure};
use crate::frame::{FrameError, Request, Response};

/// How long a daemon that restarts is waited for: an agent's pod is replaced in so long. STATUS, too: its failure takes
/// the node, and every pod on it, out of service, which no restart of ours is worth.
const CONNECT: Duration = Duration::from_secs(10);
/// A DEL need not wait: it is kept on disk.
const CONNECT_DEL: Duration = Duration::from_secs(5);
/// Between two tries to connect.
const RETRY: Duration = Duration::from_millis(50);
/// How often a waiting plugin looks whether its parent lives.
const LOOK: Duration = Duration::from_millis(100);

/// The kubelet gives up on a sandbox after 120 s; an answer after that helps nobody.
const ANSWER_ADD: Duration = Duration::from_secs(110);
/// A DEL that takes longer is spooled.
const ANSWER_DEL: Duration = Duration::from_secs(20);
const ANSWER_CHECK: Duration = Duration::from_secs(20);
/// CRI-O allows 30 s for its GC at start.
const ANSWER_GC: Duration = Duration::from_secs(25);
const ANSWER_STATUS: Duration = Duration::from_millis(800);

/// How long a verb waits for what.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    connect: Duration,
    answer: Duration,
}

/// What became of an exchange.
pub(super) enum Exchange {
    /// The daemon answered.
    Answered(Response),
    /// It is not there, or did not answer in time; the reason is for the reader.
    Unreachable(String),
    /// The caller died.
    Abandoned,
}

impl Patience {
    pub(super) fn of(command: Command) -> Self {
        let (connect, answer) = match command {
            Command::Add => (CONNECT, ANSWER_ADD),
            Command::Del => (CONNECT_DEL, ANSWER_DEL),
            Command::Check => (CONNECT, ANSWER_CHECK),
            Command::Gc => (CONNECT, ANSWER_GC),
            Command::Status | Command::Version => (CONNECT, ANSWER_STATUS),
        };
        Self { connect, answer }
    }

    /// How long the answer is waited for, in milliseconds.
    pub(super) fn answer_ms(self) -> u64 {
        u64::try_from(self.answer.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Sends `request` and waits for the response.
///
/// # Errors
/// The request does not fit into a frame.
pub(super) fn exchange(
    socket: &Path,
    request: &Request,
    patience: Patience,
) -> Result<Exchange, Failure> {
    let frame = request.encode().map_err(|error| {
        Failure::new(answer::BAD_ENVIRONMENT, "REQUEST_TOO_LONG", error.to_string())
    })?;
    let caller = parent_id();
    let stream = match connect(socket, caller, Instant::now() + patience.connect) {
        Ok(Some(stream)) => stream,
        Ok(None) => return Ok(Exchange::Abandoned),
        Err(error) => return Ok(Exchange::Unreachable(error.to_string())),
    };
    let mut watched =
        Watched { stream, caller, until: Instant::now() + patience.answer, abandoned: false };
    let answered = watched.ask(&frame);
    Ok(match answered {
        Ok(response) => Exchange::Answered(response),
        Err(_) if watched.abandoned => Exchange::Abandoned,
        Err(FrameError::Io(error)) => Exchange::Unreachable(error.to_string()),
        Err(error) => Exchange::Unreachable(error.to_string()),
    })
}

/// Tries until `until`; none when the caller died meanwhile.
fn connect(socket: &Path, caller: u32, until: Instant) -> io::Result<Option<UnixStream>> {
    loop {
        let error = match UnixStream::connect(socket) {
            Ok(stream) => return Ok(Some(stream)),
            Err(error) => error,
        };
        if parent_id() != caller {
            return Ok(None);
        }
        // A path that is no socket address stays one.
        if Instant::now() >= until || error.kind() == io::ErrorKind::InvalidInput {
            return Err(error);
        }
        thread::sleep(RETRY);
    }
}

/// A stream whose reads and writes end at the deadline or with the caller.
struct Watched {
    stream: UnixStream,
    caller: u32,
    until: Instant,
    abandoned: bool,
}

impl Watched {
    fn ask(&mut self, frame: &[u8]) -> Result<Response, FrameError> {
        self.stream.set_read_timeout(Some(LOOK)).map_err(FrameError::Io)?;
        self.stream.set_write_timeout(Some(LOOK)).map_err(FrameError::Io)?;
        // A daemon at its limit answers without reading: its answer may be there although the write failed.
        let written = self.write_all(frame);
        match (Response::read(self), written) {
            (Err(_), Err(error)) => Err(FrameError::Io(error)),
            (read, _) => read,
        }
    }

    fn patient<T>(
        &mut self,
        mut act: impl FnMut(&mut UnixStream) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            match act(&mut self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.still_wanted()?,
                done => return done,
            }
        }
    }

    fn still_wanted(&mut self) -> io::Result<()> {
        if parent_id() != self.caller {
            self.abandoned = true;
            // Not `Interrupted`: std would try again.
            return Err(io::Error::other("the caller is gone"));
        }
        if Instant::now() >= self.until {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
        }
        Ok(())
    }
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.patient(|stream| stream.read(buffer))
    }
}

impl Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.patient(|stream| stream.write(bytes))
    }
    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
