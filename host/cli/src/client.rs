//! HTTP over the unix socket: one connection per request, for a command makes few.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::error::{CliError, Refusal};

/// The daemon answers within 30 s or says that it cannot; a little more is for the way.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// The admin API behind a socket.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    socket: PathBuf,
}

/// The body of an answer that is not a success.
#[derive(Deserialize)]
struct Failure {
    error: Refusal,
}

impl Client {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Asks, within [`PATIENCE`].
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, CliError> {
        self.call(Method::GET, path, query, Vec::new()).await
    }

    /// Asks for a change, within [`PATIENCE`].
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<T, CliError> {
        self.call_within(PATIENCE, method, path, query, body).await
    }

    /// The same for what may take longer.
    pub(crate) async fn call_within<T: DeserializeOwned>(
        &self,
        patience: Duration,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<T, CliError> {
        let request = format!("{method} {path}");
        let answered = async {
            let bytes = whole(&request, self.open(method, path, query, body).await?).await?;
            serde_json::from_slice(&bytes).map_err(|error| bad_answer(&request, error))
        };
        tokio::time::timeout(patience, answered).await.map_err(|_| CliError::TimedOut {
            request: request.clone(),
            seconds: patience.as_secs(),
        })?
    }

    /// The answer, to be read piece by piece; an answer that is no success is an error.
    pub(crate) async fn open(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Response<Incoming>, CliError> {
        let shown = format!("{method} {path}");
        let request = Request::builder()
            .method(method)
            .uri(uri(path, query))
            .header("host", "tenured")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| bad_answer(&shown, error))?;
        let stream =
            UnixStream::connect(&self.socket).await.map_err(|e| no_way_in(&self.socket, &e))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| hung_up(&self.socket, &error))?;
        // It ends with the answer; its error is the request's.
        tokio::spawn(connection);
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| hung_up(&self.socket, &error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let bytes = whole(&shown, response).await?;
        match serde_json::from_slice::<Failure>(&bytes) {
            Ok(failure) => Err(CliError::refused(failure.error)),
            Err(_) => Err(bad_answer(&shown, format!("status {status}"))),
        }
    }
}

fn uri(path: &str, query: &[(&str, &str)]) -> String {
    if query.is_empty() {
        return path.to_owned();
    }
    let mut text = form_urlencoded::Serializer::new(String::new());
    format!("{path}?{}", text.extend_pairs(query).finish())
}

async fn whole(request: &str, response: Response<Incoming>) -> Result<Bytes, CliError> {
    let body = response.into_body().collect().await.map_err(|error| bad_answer(request, error))?;
    Ok(body.to_bytes())
}

fn bad_answer(request: &str, why: impl std::fmt::Display) -> CliError {
    CliError::BadAnswer { request: request.to_owned(), why: why.to_string() }
}

fn no_way_in(socket: &Path, error: &io::Error) -> CliError {
    let (socket, why) = (socket.to_owned(), error.to_string());
    match error.kind() {
        io::ErrorKind::PermissionDenied => CliError::NotAllowed { socket, why },
        _ => CliError::Unreachable { socket, why },
    }
}

/// The daemon hangs up on users who may not call.
fn hung_up(socket: &Path, error: &hyper::Error) -> CliError {
    let socket = socket.to_owned();
    if error.is_canceled() || error.is_incomplete_message() || error.is_closed() {
        return CliError::NotAllowed {
            socket,
            why: "it hung up, as it does on strangers and when it ends".to_owned(),
        };
    }
    CliError::Unreachable { socket, why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_open_the_socket_is_told_so_and_not_to_start_the_daemon() {
        let socket = Path::new("/run/tenure/admin.sock");
        let told = |kind| no_way_in(socket, &io::Error::from(kind)).to_string();
        let denied = told(io::ErrorKind::PermissionDenied);
        assert!(denied.contains("Only root") && denied.contains("sudo"), "{denied}");
        assert!(!denied.contains("Is it running?"), "{denied}");
        assert!(told(io::ErrorKind::NotFound).contains("Is it running?"));
    }
}
