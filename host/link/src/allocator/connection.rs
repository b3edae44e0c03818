//! One connection of an agent: its session, and the verbs beside it.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde::Serialize;
use tenure_core::error::Kind;
use tenure_engine::Verbs;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::service::Desk;
use super::sessions::Session;
use super::{Reception, answers};
use crate::agent::{BoxFuture, PING, PONG_WITHIN, Stream};
use crate::lines::{self, Lines, MAX_LINE, Reader};
use crate::messages::{Failure, FromAgent, Hello, ToAgent, VERSIONS, Welcome};

/// Lines to an agent that wait (I12).
const QUEUE: usize = 256;
/// Verbs of one agent at once: as many as its CNI socket takes.
const STREAMS: u32 = 2048;

/// The body of an answer: a whole message, or the lines of a session.
pub(super) type Body = Either<Full<Bytes>, Lines>;

/// What is known of a connection.
struct Connection<V, R> {
    desk: Arc<Desk<V, R>>,
    /// Set once the agent has said who it is.
    session: OnceLock<Arc<Session>>,
}

/// Serves a connection until it ends.
pub(super) async fn serve<V: Verbs, R: Reception>(
    desk: Arc<Desk<V, R>>,
    secured: BoxFuture<'static, io::Result<Box<dyn Stream>>>,
    peer: SocketAddr,
) {
    let stream = match timeout(desk.options.hello_within, secured).await {
        Ok(Ok(stream)) => stream,
        // Also whoever only looks whether the port is open, as a readiness probe does.
        Ok(Err(error)) => {
            return tracing::debug!(%peer, %error, "a connection could not be secured");
        }
        Err(_) => return tracing::info!(%peer, "a connection was not secured in time"),
    };
    let connection = Arc::new(Connection { desk, session: OnceLock::new() });
    let service = service_fn({
        let connection = connection.clone();
        move |request| {
            let connection = connection.clone();
            async move { Ok::<_, Infallible>(connection.answer(request).await) }
        }
    });
    let served = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG_WITHIN)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Some(session) = connection.session.get() {
        connection.desk.sessions.close(session);
        let why = served.err().map(|error| error.to_string());
        tracing::info!(node = %session.node.name, why, "an agent is gone");
    }
}

impl<V: Verbs, R: Reception> Connection<V, R> {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        if head.method != Method::POST {
            let why = "this is the port of Tenure's agents: they POST";
            return refuse(StatusCode::METHOD_NOT_ALLOWED, &invalid(why));
        }
        if head.uri.path() == "/v1/session" {
            let token = head.headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
            let token = token.and_then(|v| v.strip_prefix("Bearer "));
            return match self.open_session(token, body).await {
                Ok(response) => response,
                Err((status, failure)) => {
                    tracing::warn!(
                        code = failure.code,
                        detail = failure.detail,
                        "an agent was refused: {failure}"
                    );
                    refuse(status, &failure)
                }
            };
        }
        let Some(session) = self.session.get() else {
            let failure = invalid("the agent has not said who it is on this connection");
            return refuse(StatusCode::UNAUTHORIZED, &failure);
        };
        let text = match Limited::new(body, MAX_LINE).collect().await {
            Ok(text) => text.to_bytes(),
            Err(error) => return refuse(StatusCode::BAD_REQUEST, &invalid(&error.to_string())),
        };
        match answers::answer(&self.desk, &session.node, head.uri.path(), &text).await {
            Ok(text) => respond(StatusCode::OK, text),
            Err(failure) => {
                let status = StatusCode::from_u16(failure.kind.http_status());
                refuse(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), &failure)
            }
        }
    }

    async fn open_session(
        self: &Arc<Self>,
        token: Option<&str>,
        body: Incoming,
    ) -> Result<Response<Body>, (StatusCode, Failure)> {
        let mut reader = Reader::new(body);
        let hello = match timeout(self.desk.options.hello_within, reader.next()).await {
            Ok(Ok(FromAgent::Hello(hello))) => hello,
            Ok(Ok(_)) => {
                return Err((StatusCode::BAD_REQUEST, invalid("its first word is no hello")));
            }
            Ok(Err(error)) => {
                return Err((StatusCode::BAD_REQUEST, invalid(&error.to_string())));
            }
            Err(_) => return Err((StatusCode::REQUEST_TIMEOUT, invalid("it said nothing"))),
        };
        let version = spoken(&hello)?;
        let node = self.desk.reception.admit(token, &hello).await;
        let node = node.map_err(|failure| (StatusCode::FORBIDDEN, failure))?;
        let (to_agent, lines) = mpsc::channel(QUEUE);
        let welcome =
            Welcome { version, replica: self.desk.options.replica.clone(), node: node.clone() };
        let session = self.desk.sessions.open(node, to_agent);
        if self.session.set(session.clone()).is_err() {
            self.desk.sessions.close(&session);
            return Err((StatusCode::CONFLICT, invalid("the connection has a session already")));
        }
        let greeted = session.say(&ToAgent::Welcome(welcome)).await;
        greeted.map_err(|why| (StatusCode::INTERNAL_SERVER_ERROR, invalid(&why)))?;
        tracing::info!(node = %session.node.name, agent = %session.node.agent, version, "an agent is connected");
        self.desk.reception.heard(&session.node);
        tokio::spawn(self.clone().listen(session.clone(), reader));
        tokio::spawn(self.clone().tell_leader(session));
        Ok(Response::new(Either::Right(lines::body(lines))))
    }

    /// Takes in what the agent says, until its stream ends.
    async fn listen(self: Arc<Self>, session: Arc<Session>, mut reader: Reader<Incoming>) {
        loop {
            match reader.next::<FromAgent>().await {
                Ok(FromAgent::Beat) => {
                    // One that is not told now is told with the next beat.
                    if let Some(mark) = self.desk.reception.mark() {
                        let _ = session.say(&ToAgent::Mark(mark)).await;
                    }
                }
                Ok(FromAgent::Hello(_)) => {}
                Ok(FromAgent::Holds(claims)) => {
                    let answer = self.desk.reception.overtaken(&session.node, claims).await;
                    let said = match answer {
                        Ok(overtaken) => session.say(&ToAgent::Overtaken(overtaken)).await,
                        Err(failure) => Err(failure.to_string()),
                    };
                    if let Err(why) = said {
                        tracing::warn!(node = %session.node.name, why, "an agent cannot be told what was overtaken; it comes again");
                        return self.desk.sessions.close(&session);
                    }
                }
                Ok(FromAgent::Ended) => self.desk.reception.ended(&session.node),
                Ok(
                    answer @ (FromAgent::Looked { id, .. }
                    | FromAgent::Counted { id, .. }
                    | FromAgent::Probed { id, .. }),
                ) => {
                    session.answered(id, answer);
                }
                Err(lines::LineError::NotOurs(error)) => {
                    tracing::warn!(node = %session.node.name, %error, "an agent says what this allocator does not understand");
                }
                Err(_) => return self.desk.sessions.close(&session),
            }
            self.desk.reception.heard(&session.node);
        }
    }

    /// Tells the agent who leads, now and at each change.
    async fn tell_leader(self: Arc<Self>, session: Arc<Session>) {
        let mut leader = self.desk.leader.clone();
        loop {
            let word = ToAgent::Leads { leader: leader.borrow_and_update().clone() };
            if session.say(&word).await.is_err() || leader.changed().await.is_err() {
                return;
            }
        }
    }
}

fn spoken(hello: &Hello) -> Result<u32, (StatusCode, Failure)> {
    VERSIONS.common(hello.versions).ok_or_else(|| {
        let (ours, theirs) = (VERSIONS, hello.versions);
        let why = format!(
            "the agent speaks versions {} to {} of the protocol, this allocator {} to {}: upgrade one release at a time",
            theirs.from, theirs.to, ours.from, ours.to
        );
        (StatusCode::UPGRADE_REQUIRED, Failure::new("VERSION", Kind::Operator, why))
    })
}

fn invalid(why: &str) -> Failure {
    Failure::new("BAD_REQUEST", Kind::Invalid, why)
}

fn refuse(status: StatusCode, failure: &impl Serialize) -> Response<Body> {
    respond(status, serde_json::to_vec(failure).unwrap_or_default())
}

fn respond(status: StatusCode, text: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::new(Bytes::from(text))));
    *response.status_mut() = status;
    response
}
