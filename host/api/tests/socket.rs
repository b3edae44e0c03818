//! The server on a real unix socket.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use support::{api, busy_site, empty_site};
use tenure_api::{ApiError, Options, Service};
use tenure_socket::SocketError;

/// One request without any client library: what comes back until the server hangs up.
async fn ask(socket: &Path) -> std::io::Result<String> {
    let socket = socket.to_owned();
    tokio::task::spawn_blocking(move || {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(b"GET /v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_private_socket_is_served_and_gone_after_shutdown() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("run/admin.sock");
    let site = busy_site().await;
    let server = Service::bind(Options::new(&socket), api(&site)).unwrap().start();
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let answer = ask(&socket).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("blue-v4"), "{answer}");
    server.shutdown().await;
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_user_who_is_not_allowed_gets_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    let options = Options { allowed_uids: Vec::new(), ..Options::new(&socket) };
    let server = Service::bind(options, api(&empty_site())).unwrap().start();
    let answer = ask(&socket).await.unwrap_or_default();
    assert_eq!(answer, "");
    server.shutdown().await;
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_anything_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    let bind = || Service::bind(Options::new(&socket), api(&empty_site()));
    drop(UnixListener::bind(&socket).unwrap());
    let service = bind().unwrap();
    assert!(matches!(bind().unwrap_err(), ApiError::Socket(SocketError::InUse { .. })));
    drop(service);
    std::fs::write(&socket, "precious").unwrap();
    assert!(matches!(bind().unwrap_err(), ApiError::Socket(SocketError::Taken { .. })));
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "precious");
}

#[tokio::test]
async fn a_caller_who_says_nothing_is_hung_up_on_and_does_not_hold_the_shutdown() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    let head_deadline = Duration::from_millis(50);
    let options = Options { head_deadline, max_connections: 1, ..Options::new(&socket) };
    let server = Service::bind(options, api(&empty_site())).unwrap().start();
    let silent = UnixStream::connect(&socket).unwrap();
    // The only place is taken until the silent caller is given up.
    assert!(ask(&socket).await.unwrap().starts_with("HTTP/1.1 200"));
    tokio::time::timeout(Duration::from_secs(5), server.shutdown()).await.unwrap();
    drop(silent);
}
