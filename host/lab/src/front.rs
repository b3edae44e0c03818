//! What stands between Tenure and the API server in the tests of faults: an HTTP server that passes requests on, and does to
//! chosen ones what networks, load balancers, and API servers that die or are overrun do.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::stream::{self, StreamExt as _};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, BodyStream, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::{Client, Config};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// What happens to a request.
#[derive(Debug)]
pub enum Fate {
    /// None: it is passed on, storm or not.
    Passed,
    /// It is answered with this status and not passed on; 429 with `Retry-After: 1`, as API servers do.
    Refused(u16),
    /// The connection breaks before it is passed on.
    LostOnTheWay,
    /// It is done, and the connection breaks before the answer.
    AnswerLost,
    /// It is done, and answered with this status all the same.
    DoneAndRefused(u16),
    /// It is passed on once the test says so, whether or not its caller still waits.
    Held(oneshot::Receiver<()>),
    /// It is done, and answered once the test says so.
    AnswerHeld(oneshot::Receiver<()>),
}

/// What becomes of the watches that are open when it is said.
#[derive(Debug, Clone, Copy, Default)]
struct Cut {
    /// Those of a lower one are meant.
    number: u64,
    /// Nothing comes of them any more; else they end.
    is_frozen: bool,
    /// New ones are refused with this status.
    refusal: Option<u16>,
}

/// A front before an API server.
#[derive(Debug)]
pub struct Front {
    port: u16,
    state: Arc<State>,
}

struct State {
    /// Adds nothing to a request but a right to be there where it has none.
    client: Client,
    /// The requests that are meant: those whose path holds this.
    about: &'static str,
    /// Fates of the next requests with a method; those behind them pass.
    fates: Mutex<VecDeque<(Method, Fate)>>,
    seen: Mutex<Vec<Method>>,
    /// What was sent with the requests that were passed on.
    sent: Mutex<Vec<(Method, Bytes)>>,
    cut: watch::Sender<Cut>,
    /// All requests that are meant and have no other fate are refused with this status.
    storm: Mutex<Option<u16>>,
    /// Watches tell nothing but how far they are.
    is_deaf: AtomicBool,
}

// === impl Front ===

impl Front {
    /// A front that does things to requests about leases.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn before(config: Config) -> Self {
        Self::before_those(config, "/ipleases").await
    }

    /// The same, which does things to requests about something else than leases.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn before_those(config: Config, about: &'static str) -> Self {
        let client = Client::try_from(config).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            client,
            about,
            fates: Mutex::default(),
            seen: Mutex::default(),
            sent: Mutex::default(),
            cut: watch::Sender::default(),
            storm: Mutex::default(),
            is_deaf: AtomicBool::new(false),
        });
        tokio::spawn(accept(listener, state.clone()));
        Self { port, state }
    }

    /// Where it listens on loopback, without TLS.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The configuration of a client that comes through here.
    ///
    /// # Panics
    /// Never: the address is well formed.
    #[must_use]
    pub fn config(&self) -> Config {
        Config::new(format!("http://127.0.0.1:{}", self.port).parse().unwrap())
    }

    /// What happens to the next requests of this method about leases, one each.
    pub fn next(&self, method: Method, fates: impl IntoIterator<Item = Fate>) {
        self.state.fates.lock().extend(fates.into_iter().map(|fate| (method.clone(), fate)));
    }

    /// Nothing happens any more to requests to come.
    pub fn forget_fates(&self) {
        self.state.fates.lock().clear();
    }

    /// Open watches end, and new ones are refused with this status, until the next call.
    pub fn cut_watches(&self, refusal: Option<u16>) {
        self.state.cut.send_modify(|cut| {
            *cut = Cut { number: cut.number + 1, is_frozen: false, refusal };
        });
    }

    /// Nothing comes any more of open watches, which stay open.
    pub fn freeze_watches(&self) {
        self.state.cut.send_modify(|cut| {
            *cut = Cut { number: cut.number + 1, is_frozen: true, refusal: None };
        });
    }

    /// Every request is refused with this status until the next call; watches that are open stay.
    pub fn storm(&self, refusal: Option<u16>) {
        *self.state.storm.lock() = refusal;
    }

    /// Events of leases are lost on the way, from now on, or no longer. Watches stay open, and tell how far they are.
    pub fn lose_events(&self, lose: bool) {
        self.state.is_deaf.store(lose, Ordering::Relaxed);
    }

    /// How many requests of any method about leases came, watches not counted.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.state.seen.lock().len()
    }

    /// What was sent with the last request of this method that was passed on.
    ///
    /// # Panics
    /// If there was none.
    #[must_use]
    pub fn last_sent(&self, method: &Method) -> Value {
        let sent = self.state.sent.lock();
        let (_, body) = sent.iter().rfind(|(sent, _)| sent == method).unwrap();
        serde_json::from_slice(body).unwrap()
    }

    /// How many requests of this method about leases came.
    #[must_use]
    pub fn seen(&self, method: &Method) -> usize {
        self.state.seen.lock().iter().filter(|seen| *seen == method).count()
    }
}

impl State {
    async fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, std::io::Error> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        let request = Request::from_parts(parts, body);
        if request.uri().query().is_some_and(|query| query.contains("watch=true")) {
            return self.watch(request).await;
        }
        let broken = || std::io::Error::other("broken by the test");
        match self.fate_of(&request) {
            None | Some(Fate::Passed) => self.pass(request).await,
            Some(Fate::Refused(code)) => Ok(refusal(code)),
            Some(Fate::LostOnTheWay) => Err(broken()),
            Some(Fate::AnswerLost) => {
                self.pass(request).await?;
                Err(broken())
            }
            Some(Fate::DoneAndRefused(code)) => {
                self.pass(request).await?;
                Ok(refusal(code))
            }
            Some(Fate::Held(go)) => {
                // Its caller may hang up, and it lands all the same.
                let held = tokio::spawn(async move {
                    let _ = go.await;
                    self.pass(request).await
                });
                held.await.map_err(std::io::Error::other)?
            }
            Some(Fate::AnswerHeld(go)) => {
                let answer = self.pass(request).await;
                let _ = go.await;
                answer
            }
        }
    }

    fn fate_of(&self, request: &Request<Bytes>) -> Option<Fate> {
        if !request.uri().path().contains(self.about) {
            return None;
        }
        self.seen.lock().push(request.method().clone());
        let mut fates = self.fates.lock();
        let at = fates.iter().position(|(method, _)| method == request.method());
        let own = at.and_then(|at| fates.remove(at)).map(|(_, fate)| fate);
        own.or_else(|| self.storm.lock().map(Fate::Refused))
    }

    async fn pass(&self, request: Request<Bytes>) -> Result<Response<Body>, std::io::Error> {
        let answer = self.forward(request).await?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        let mut answer = Response::new(whole(body));
        *answer.status_mut() = parts.status;
        Ok(answer)
    }

    /// Watches pass on what comes as it comes.
    async fn watch(
        self: Arc<Self>,
        request: Request<Bytes>,
    ) -> Result<Response<Body>, std::io::Error> {
        let is_meant = request.uri().path().contains(self.about);
        let cut = self.cut.subscribe();
        let Cut { number, refusal: refused, .. } = *cut.borrow();
        if let Some(code) = refused {
            return Ok(refusal(code));
        }
        let (parts, body) = self.forward(request).await?.into_parts();
        let frames = BodyStream::new(body).map(|frame| frame.map_err(std::io::Error::other));
        let frames =
            stream::unfold((frames.boxed(), cut), move |(mut frames, mut cut)| async move {
                let is_cut = async {
                    let meant = cut.wait_for(|cut| cut.number > number).await;
                    meant.is_ok_and(|cut| cut.is_frozen)
                };
                let next = tokio::select! {
                    is_frozen = is_cut => match is_frozen {
                        true => std::future::pending().await,
                        false => None,
                    },
                    frame = frames.next() => frame,
                };
                next.map(|frame| (frame, (frames, cut)))
            });
        let mut rest = Vec::new();
        let frames = frames.map(move |frame: Result<Frame<Bytes>, _>| {
            let Ok(bytes) = frame?.into_data() else { return Ok(Frame::data(Bytes::new())) };
            let is_deaf = is_meant && self.is_deaf.load(Ordering::Relaxed);
            Ok(Frame::data(whole_lines(&mut rest, &bytes, is_deaf)))
        });
        let mut answer = Response::new(StreamBody::new(frames).boxed_unsync());
        *answer.status_mut() = parts.status;
        Ok(answer)
    }

    async fn forward(
        &self,
        request: Request<Bytes>,
    ) -> Result<Response<kube::client::Body>, std::io::Error> {
        let (parts, body) = request.into_parts();
        self.sent.lock().push((parts.method.clone(), body.clone()));
        let target = parts.uri.path_and_query().unwrap().as_str();
        let mut passed = Request::builder().method(parts.method).uri(target);
        let is_passed = |name: &str| {
            matches!(name, "accept" | "content-type") || name.starts_with("impersonate-")
        };
        for (name, value) in parts.headers.iter().filter(|(name, _)| is_passed(name.as_str())) {
            passed = passed.header(name, value);
        }
        let passed = passed.body(body.to_vec().into()).unwrap();
        self.client.send(passed).await.map_err(std::io::Error::other)
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("about", &self.about).finish_non_exhaustive()
    }
}

/// The events that are whole by now, without those of objects if they are lost. What is not whole stays in `rest`.
fn whole_lines(rest: &mut Vec<u8>, bytes: &[u8], without_objects: bool) -> Bytes {
    const OBJECTS: [&[u8]; 3] =
        [br#"{"type":"ADDED""#, br#"{"type":"MODIFIED""#, br#"{"type":"DELETED""#];
    rest.extend_from_slice(bytes);
    let end = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let whole: Vec<u8> = rest.drain(..end).collect();
    let is_lost =
        |line: &&[u8]| without_objects && OBJECTS.iter().any(|kind| line.starts_with(kind));
    let lines = whole.split_inclusive(|byte| *byte == b'\n').filter(|line| !is_lost(line));
    lines.collect::<Vec<_>>().concat().into()
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn refusal(code: u16) -> Response<Body> {
    let mut answer = Response::new(whole(Bytes::from_static(b"not now")));
    *answer.status_mut() = StatusCode::from_u16(code).unwrap();
    if code == StatusCode::TOO_MANY_REQUESTS.as_u16() {
        answer.headers_mut().insert(http::header::RETRY_AFTER, http::HeaderValue::from_static("1"));
    }
    answer
}

async fn accept(listener: TcpListener, state: Arc<State>) -> Infallible {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(serve(stream, state.clone()));
    }
}

async fn serve(stream: TcpStream, state: Arc<State>) {
    let service = service_fn(|request| state.clone().serve(request));
    // An error is what some fates ask for.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
