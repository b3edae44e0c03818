//! `tenure dial-stdio` against the real admin API on its real socket.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod support;

use std::io::{BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use support::Stage;
use support::api::{busy_site, empty_site};

fn dial(stage: &Stage) -> Child {
    Command::new(env!("CARGO_BIN_EXE_tenure"))
        .arg("dial-stdio")
        .env_clear()
        .env("TENURE_SOCKET", stage.folder.path().join("admin.sock"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Reads one answer, whose length it tells.
fn answer(from: &mut impl std::io::BufRead) -> (String, String) {
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let from_here = head.len();
        from.read_line(&mut head).unwrap();
        if let Some(text) = head[from_here..].to_lowercase().strip_prefix("content-length:") {
            length = text.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_answered_one_after_the_other_on_one_stream() {
    let mut stage = Stage::new(busy_site().await);
    let mut child = dial(&stage);
    let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut output = BufReader::new(output);
    for path in ["/v1/pools", "/v1/leases/10.6.0.2", "/healthz"] {
        // No line end behind the last byte, and nothing that closes the stream.
        write!(input, "GET {path} HTTP/1.1\r\nhost: tenured\r\n\r\n").unwrap();
        input.flush().unwrap();
        let (head, body) = answer(&mut output);
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(body.starts_with('{'), "{body}");
    }
    drop(input);
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
    assert!(child.wait().unwrap().success());
    stage.stop().await;
}

/// As the runtimes of containers read it: once there is something. It must be had then, though nothing more comes.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_waits_for_nothing_that_comes_later() {
    let mut stage = Stage::new(empty_site());
    let mut child = dial(&stage);
    let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (done, all_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        for _ in 0..50 {
            input.write_all(b"GET /healthz HTTP/1.1\r\nhost: t\r\n\r\n").unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(br#"{"status":"ok"}"#) {
                poll(&mut [PollFd::new(&output, PollFlags::IN)], None).unwrap();
                let length = output.read(&mut piece).unwrap();
                answer.extend_from_slice(&piece[..length]);
            }
        }
        done.send(()).unwrap();
    });
    let in_time = all_done.recv_timeout(Duration::from_secs(20));
    child.kill().unwrap();
    child.wait().unwrap();
    stage.stop().await;
    in_time.expect("an answer stays in the pipe");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_ends_ends_it_and_one_that_is_not_there_is_named() {
    let mut stage = Stage::new(empty_site());
    let mut child = dial(&stage);
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"GET /healthz HTTP/1.1\r\nhost: t\r\n\r\n").unwrap();
    answer(&mut output);
    stage.stop().await;
    // The caller stays: `input` is open still.
    assert!(child.wait().unwrap().success());
    drop(input);
    let output = dial(&stage).wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{told}");
    assert!(told.contains("admin.sock: No such file or directory"), "{told}");
}
