//! `tenure dial-stdio`: standard input and output joined with the admin socket, for the other end of `--cluster`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::client::no_way_in;
use crate::error::CliError;

/// Bytes passed on at a time.
const PIECE: usize = 64 * 1024;

/// Join standard input and output with the admin socket: what `tenure --cluster` starts in the pod of an allocator
#[derive(Debug, clap::Args)]
#[command(after_help = "EXAMPLES:\n  kubectl -n tenure-system exec -i POD -- tenure dial-stdio")]
pub(crate) struct Args {}

pub(crate) fn run(socket: &Path) -> Result<(), CliError> {
    let stream = UnixStream::connect(socket).map_err(|error| no_way_in(socket, &error))?;
    // Without the line buffers of the standard library: an answer waits for no line end.
    let (input, output) = (unbuffered(&io::stdin())?, unbuffered(&io::stdout())?);
    relay(input, output, stream).map_err(CliError::from)
}

fn unbuffered(stream: &impl AsFd) -> io::Result<File> {
    stream.as_fd().try_clone_to_owned().map(File::from)
}

/// Until the daemon has said its last: that the caller says no more is passed on, and is not the end. Once the daemon has
/// closed, nobody waits for the caller.
fn relay(
    mut input: impl Read + Send + 'static,
    mut output: impl Write,
    stream: UnixStream,
) -> io::Result<()> {
    let mut to_daemon = stream.try_clone()?;
    std::thread::spawn(move || {
        // The daemon that hears no more may still speak, and a caller that breaks off has said its last.
        let _ = pass_on(&mut input, &mut to_daemon);
        let _ = to_daemon.shutdown(Shutdown::Write);
    });
    let mut from_daemon = stream;
    pass_on(&mut from_daemon, &mut output)
}

/// Until the end. Not by `io::copy`: between a socket and a pipe that is `splice`, which holds the lock of the pipe while it
/// waits for the socket, so that what is in the pipe cannot be read before the next byte comes.
fn pass_on(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let length = match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        to.write_all(piece.get(..length).unwrap_or_default())?;
        to.flush()?;
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn the_end_of_the_input_is_passed_on_and_the_answer_still_comes() {
        let (ours, mut daemon) = UnixStream::pair().unwrap();
        let (input, mut caller) = UnixStream::pair().unwrap();
        let answers = thread::spawn(move || {
            let mut asked = String::new();
            daemon.read_to_string(&mut asked).unwrap();
            daemon.write_all(format!("you said {asked}").as_bytes()).unwrap();
        });
        caller.write_all(b"hello").unwrap();
        caller.shutdown(Shutdown::Write).unwrap();
        let mut output = Vec::new();
        relay(input, &mut output, ours).unwrap();
        answers.join().unwrap();
        assert_eq!(output, b"you said hello");
    }

    #[test]
    fn the_end_of_the_daemon_is_the_end_even_if_the_caller_stays() {
        let (ours, mut daemon) = UnixStream::pair().unwrap();
        let (input, _caller) = UnixStream::pair().unwrap();
        daemon.write_all(b"bye").unwrap();
        drop(daemon);
        let mut output = Vec::new();
        relay(input, &mut output, ours).unwrap();
        assert_eq!(output, b"bye");
    }
}
