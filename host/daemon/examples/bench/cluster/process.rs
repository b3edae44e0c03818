//! A process of ours, with its folder and its log.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tenure_lab::Daemon;

/// What must come to pass does so within this time also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A process of ours, running or not.
pub(crate) struct Process {
    pub(crate) daemon: Option<Daemon>,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) folder: PathBuf,
}

// === impl Process ===

impl Process {
    pub(crate) fn launch(&mut self) {
        let log = self.folder.join("log");
        self.daemon = Some(Daemon::start(&self.program, &self.arguments, &log));
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    pub(crate) fn port(&self) -> String {
        let listen = fs::read_to_string(self.folder.join("listen")).unwrap();
        listen.rsplit(':').next().unwrap_or_default().to_owned()
    }

    pub(crate) fn check(&self) {
        let runs = self.daemon.as_ref().is_some_and(Daemon::is_running);
        let last = || self.daemon.as_ref().map(Daemon::last_words).unwrap_or_default();
        assert!(runs, "{} ended:\n{}", self.folder.display(), last());
    }

    pub(crate) fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done() {
            self.check();
            let last = || self.daemon.as_ref().map(Daemon::last_words).unwrap_or_default();
            assert!(Instant::now() < deadline, "waited in vain until {what}:\n{}", last());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Warnings and errors, without what differs each time.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let complaint = |line: &str| {
            let said = line.split_once(" WARN ").or_else(|| line.split_once("ERROR "));
            let (_, words) = said?;
            // Fields follow the message as `name=value`; numbers and addresses are particulars.
            let words = words.split_whitespace().take_while(|word| !word.contains('='));
            let plain = words.filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
            Some(plain.collect::<Vec<_>>().join(" "))
        };
        self.log().lines().filter_map(complaint).collect()
    }
}

/// What the admin API answers; null before it serves.
pub(crate) fn get(socket: &Path, path: &str) -> Value {
    ask(socket, "GET", path)
}

/// What it answers to an act without a body.
pub(crate) fn post(socket: &Path, path: &str) -> Value {
    ask(socket, "POST", path)
}

fn ask(socket: &Path, method: &str, path: &str) -> Value {
    let ask = || -> std::io::Result<Vec<u8>> {
        let mut stream = UnixStream::connect(socket)?;
        // HTTP/1.0: the body comes as it is, and ends with the connection.
        write!(stream, "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().unwrap_or_default();
    let body = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(answer.len());
    serde_json::from_slice(answer.get(body..).unwrap_or_default()).unwrap_or(Value::Null)
}
