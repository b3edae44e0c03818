//! HTTP to the admin API: over its unix socket one connection per request, for a command makes few; over a stream into a
//! cluster, which costs more, one for all.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::sync::Mutex;

use crate::cluster::{Cluster, Process, Stream};
use crate::error::{CliError, Refusal};
use crate::reach::Place;

/// The daemon answers within 30 s or says that it cannot; a little more is for the way.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// The admin API, wherever it is.
pub(crate) struct Client {
    way: Way,
    /// The connection into a cluster, between two requests.
    kept: Mutex<Option<Connection>>,
}

enum Way {
    Socket(PathBuf),
    Cluster(Box<Cluster>),
}

/// A connection, and whoever carries it into a cluster.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    process: Option<Process>,
}

/// The body of an answer that is not a success.
#[derive(Deserialize)]
struct Failure {
    error: Refusal,
}

impl Client {
    /// The API of this place. Nobody is asked yet.
    pub(crate) async fn of(place: Place) -> Result<Self, CliError> {
        let way = match place {
            Place::Socket(socket) => Way::Socket(socket),
            Place::Cluster(access) => Way::Cluster(Box::new(Cluster::open(&access).await?)),
        };
        Ok(Self { way, kept: Mutex::default() })
    }

    /// Who asks, where somebody else than the kernel says so.
    pub(crate) async fn user(&self) -> Option<String> {
        match &self.way {
            Way::Socket(_) => None,
            Way::Cluster(cluster) => cluster.user().await,
        }
    }

    /// Lets go of whatever carries the requests.
    pub(crate) async fn close(self) {
        if let Some(Connection { sender, process: Some(process) }) = self.kept.into_inner() {
            drop(sender);
            process.finished().await;
        }
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
        let mut connection = self.connection().await?;
        let response = match connection.sender.send_request(request).await {
            Ok(response) => response,
            Err(error) => return Err(self.broken(connection, &error).await),
        };
        if connection.process.is_some() {
            *self.kept.lock().await = Some(connection);
        }
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

    /// The one that is kept, if it still stands, or a new one.
    async fn connection(&self) -> Result<Connection, CliError> {
        if let Some(mut kept) = self.kept.lock().await.take()
            && kept.sender.ready().await.is_ok()
        {
            return Ok(kept);
        }
        let (stream, process): (Box<dyn Stream>, _) = match &self.way {
            Way::Socket(socket) => {
                let stream = UnixStream::connect(socket).await;
                (Box::new(stream.map_err(|error| no_way_in(socket, &error))?), None)
            }
            Way::Cluster(cluster) => {
                let (process, stream) = Box::pin(cluster.dial()).await?;
                (stream, Some(process))
            }
        };
        match handshake(TokioIo::new(stream)).await {
            Ok((sender, connection)) => {
                // It ends with the answer; its error is the request's.
                tokio::spawn(connection);
                Ok(Connection { sender, process })
            }
            Err(error) => Err(self.ended(process, &error).await),
        }
    }

    async fn broken(&self, connection: Connection, error: &hyper::Error) -> CliError {
        // With the sender the stream is closed.
        let Connection { sender, process } = connection;
        drop(sender);
        self.ended(process, error).await
    }

    async fn ended(&self, process: Option<Process>, error: &hyper::Error) -> CliError {
        match (process, &self.way) {
            (Some(process), _) => process.why(error).await.into(),
            (None, Way::Socket(socket)) => hung_up(socket, error),
            // A way into a cluster is never without a process.
            (None, Way::Cluster(_)) => CliError::NotDone { what: error.to_string() },
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

pub(crate) fn no_way_in(socket: &Path, error: &io::Error) -> CliError {
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
