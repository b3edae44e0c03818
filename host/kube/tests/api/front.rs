//! What stands between the store and the API server in the fault tests: an HTTP server that passes requests on, and does to
//! chosen ones what networks, load balancers and dying API servers do.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, BodyStream, Full, StreamBody};
use hyper::body::{Bytes, Incoming};
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
pub(crate) enum Fate {
    /// It is answered with this status and not passed on.
    Refused(u16),
    /// The connection breaks before it is passed on.
    LostOnTheWay,
    /// It is done, and the connection breaks before the answer.
    AnswerLost,
    /// It is done, and answered with this status all the same.
    DoneAndRefused(u16),
    /// It is passed on once the test says so.
    Held(oneshot::Receiver<()>),
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
pub(crate) struct Front {
    port: u16,
    state: Arc<State>,
}

struct State {
    client: Client,
    /// The requests that are meant: those whose path holds this.
    about: &'static str,
    /// Fates of the next requests with a method; those behind them pass.
    fates: Mutex<VecDeque<(Method, Fate)>>,
    seen: Mutex<Vec<Method>>,
    /// What was sent with the requests that were passed on.
    sent: Mutex<Vec<(Method, Bytes)>>,
    cut: watch::Sender<Cut>,
}

// === impl Front ===

impl Front {
    pub(crate) async fn before(config: Config) -> Self {
        Self::before_those(config, "/ipleases").await
    }

    /// The same, which does things to requests about something else than leases.
    pub(crate) async fn before_those(config: Config, about: &'static str) -> Self {
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
        });
        tokio::spawn(accept(listener, state.clone()));
        Self { port, state }
    }

    /// The configuration of a client that comes through here.
    pub(crate) fn config(&self) -> Config {
        Config::new(format!("http://127.0.0.1:{}", self.port).parse().unwrap())
    }

    /// What happens to the next requests of this method about leases, one each.
    pub(crate) fn next(&self, method: Method, fates: impl IntoIterator<Item = Fate>) {
        self.state.fates.lock().extend(fates.into_iter().map(|fate| (method.clone(), fate)));
    }

    /// Open watches end, and new ones are refused with this status, until the next call.
    pub(crate) fn cut_watches(&self, refusal: Option<u16>) {
        self.state.cut.send_modify(|cut| {
            *cut = Cut { number: cut.number + 1, is_frozen: false, refusal };
        });
    }

    /// Nothing comes any more of open watches, which stay open.
    pub(crate) fn freeze_watches(&self) {
        self.state.cut.send_modify(|cut| {
            *cut = Cut { number: cut.number + 1, is_frozen: true, refusal: None };
        });
    }

    /// What was sent with the last request of this method that was passed on.
    pub(crate) fn last_sent(&self, method: &Method) -> Value {
        let sent = self.state.sent.lock();
        let (_, body) = sent.iter().rfind(|(sent, _)| sent == method).unwrap();
        serde_json::from_slice(body).unwrap()
    }

    /// How many requests of this method about leases came.
    pub(crate) fn seen(&self, method: &Method) -> usize {
        self.state.seen.lock().iter().filter(|seen| *seen == method).count()
    }
}

impl State {
    async fn serve(&self, request: Request<Incoming>) -> Result<Response<Body>, std::io::Error> {
        if request.uri().query().is_some_and(|query| query.contains("watch=true")) {
            return Ok(self.watch(request).await);
        }
        let broken = || std::io::Error::other("broken by the test");
        let mut fate = None;
        if request.uri().path().contains(self.about) {
            self.seen.lock().push(request.method().clone());
            let mut fates = self.fates.lock();
            let at = fates.iter().position(|(method, _)| method == request.method());
            fate = at.and_then(|at| fates.remove(at)).map(|(_, fate)| fate);
        }
        match fate {
            None => Ok(self.pass(request).await),
            Some(Fate::Refused(code)) => Ok(refusal(code)),
            Some(Fate::LostOnTheWay) => Err(broken()),
            Some(Fate::AnswerLost) => {
                self.pass(request).await;
                Err(broken())
            }
            Some(Fate::DoneAndRefused(code)) => {
                self.pass(request).await;
                Ok(refusal(code))
            }
            Some(Fate::Held(go)) => {
                let _ = go.await;
                Ok(self.pass(request).await)
            }
        }
    }

    async fn pass(&self, request: Request<Incoming>) -> Response<Body> {
        let answer = self.forward(request).await;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let mut answer = Response::new(whole(body));
        *answer.status_mut() = parts.status;
        answer
    }

    /// Watches pass on what comes as it comes.
    async fn watch(&self, request: Request<Incoming>) -> Response<Body> {
        let cut = self.cut.subscribe();
        let Cut { number, refusal: refused, .. } = *cut.borrow();
        if let Some(code) = refused {
            return refusal(code);
        }
        let (parts, body) = self.forward(request).await.into_parts();
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
        let mut answer = Response::new(StreamBody::new(frames).boxed_unsync());
        *answer.status_mut() = parts.status;
        answer
    }

    async fn forward(&self, request: Request<Incoming>) -> Response<kube::client::Body> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        self.sent.lock().push((parts.method.clone(), body.clone()));
        let target = parts.uri.path_and_query().unwrap().as_str();
        let mut passed = Request::builder().method(parts.method).uri(target);
        for name in [http::header::ACCEPT, http::header::CONTENT_TYPE] {
            if let Some(value) = parts.headers.get(&name) {
                passed = passed.header(name, value);
            }
        }
        self.client.send(passed.body(body.to_vec().into()).unwrap()).await.unwrap()
    }
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn refusal(code: u16) -> Response<Body> {
    let mut answer = Response::new(whole(Bytes::from_static(b"not now")));
    *answer.status_mut() = StatusCode::from_u16(code).unwrap();
    answer
}

async fn accept(listener: TcpListener, state: Arc<State>) -> Infallible {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(serve(stream, state.clone()));
    }
}

async fn serve(stream: TcpStream, state: Arc<State>) {
    let service = service_fn(|request| state.serve(request));
    // An error is what some fates ask for.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
