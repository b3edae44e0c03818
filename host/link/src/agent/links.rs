//! The connections to all replicas: one task for each keeps its own, verbs choose among those that stand.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2::SendRequest;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tenure_core::error::Kind;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::mark::Mark;
use super::{Acknowledged, AgentError, Options, Ports, session};
use crate::lines::{self, Lines, MAX_LINE};
use crate::messages::{Failure, FromAgent, NOT_LEADER};

/// A replica that cannot be reached is tried again after so long, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// After a call that found no replica willing, the next try waits.
const CALLS_APART: Duration = Duration::from_millis(50);
/// More replicas than any Deployment of ours has.
const MAX_REPLICAS: usize = 16;

/// The body of a request: a whole message, or the lines of a session.
pub(crate) type Outgoing = Either<Full<Bytes>, Lines>;

/// The connections of an agent. Dropping it closes them.
#[derive(Debug)]
pub struct Links {
    inner: Arc<Inner>,
    keeper: AbortHandle,
}

#[derive(Debug)]
pub(super) struct Inner {
    /// Those that stand. Written by the task of each.
    links: Mutex<BTreeMap<SocketAddr, Link>>,
    /// Counts changes of `links`, for whoever waits for one.
    changes: watch::Sender<u64>,
    /// What is told at the beginning of each session.
    pub(super) acknowledged: Arc<Acknowledged>,
    /// How far the store was.
    pub(super) mark: Mark,
}

/// One that stands.
#[derive(Debug, Clone)]
struct Link {
    sender: SendRequest<Outgoing>,
    /// Lines of its session.
    lines: mpsc::Sender<Bytes>,
    replica: String,
    /// Who leads, by the word of this replica.
    leader: Option<String>,
}

/// A connection as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkView {
    /// Where the replica is.
    pub address: SocketAddr,
    /// Who it is.
    pub replica: String,
    /// Whether it says that it leads.
    pub leads: bool,
}

/// Whom to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whom {
    Leader,
    Anybody,
}

// === impl Links ===

impl Links {
    /// Begins to connect.
    pub fn start(
        ports: Ports,
        options: Options,
        acknowledged: Arc<Acknowledged>,
        folder: &Path,
    ) -> Self {
        let (links, changes) = (Mutex::default(), watch::Sender::new(0));
        let inner = Arc::new(Inner { links, changes, acknowledged, mark: Mark::open(folder) });
        let keeper = tokio::spawn(keep_all(inner.clone(), ports, Arc::new(options))).abort_handle();
        Self { inner, keeper }
    }

    /// Those that stand.
    #[must_use]
    pub fn views(&self) -> Vec<LinkView> {
        let links = self.inner.links.lock();
        let view = |(address, link): (&SocketAddr, &Link)| LinkView {
            address: *address,
            replica: link.replica.clone(),
            leads: link.leads(),
        };
        links.iter().map(view).collect()
    }

    /// Counts changes of what [`Links::views`] says.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    /// Asks the leader, and after `leader_patience` anybody; `body` is told which. A replica that goes away is left for
    /// another one: what became of the call there is unknown, and `body` is told so.
    ///
    /// # Errors
    /// [`AgentError::Unreachable`] at `deadline`, or the refusal of a replica.
    pub(super) async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &'static str,
        (deadline, leader_patience): (Instant, Duration),
        mut body: impl FnMut(Ask) -> Q,
    ) -> Result<A, AgentError> {
        let began = Instant::now();
        let settle_for_less = began.checked_add(leader_patience).unwrap_or(began);
        let mut changes = self.inner.changes.subscribe();
        let (mut why, mut may_have_happened) = (String::new(), false);
        loop {
            let now = Instant::now();
            let whom = if now < settle_for_less { Whom::Leader } else { Whom::Anybody };
            let Some((address, link)) = self.inner.choose(whom) else {
                let until =
                    if whom == Whom::Leader { settle_for_less.min(deadline) } else { deadline };
                if Instant::now() >= deadline {
                    return Err(AgentError::Unreachable { waited: began.elapsed(), why });
                }
                // A change, or the end of patience.
                let _ = timeout_at(until, changes.changed()).await;
                continue;
            };
            let message = body(Ask { from_anybody: whom == Whom::Anybody, may_have_happened });
            match timeout_at(deadline, send(link.sender, path, &message)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(Sent::Refused(failure))) if failure.code == NOT_LEADER => {
                    self.inner.note_leader(address, None);
                }
                Ok(Err(Sent::Refused(failure))) => return Err(failure.into()),
                Ok(Err(Sent::Broken(error))) => {
                    may_have_happened = true;
                    why = format!(": {address}: {error}");
                }
                Err(_) => {
                    why = format!(": {address} does not answer");
                    return Err(AgentError::Unreachable { waited: began.elapsed(), why });
                }
            }
            sleep_until((Instant::now() + jittered(CALLS_APART)).min(deadline)).await;
        }
    }

    /// Says something to every replica. One whose queue is full hears it by the next look.
    pub(super) fn say(&self, message: &FromAgent) {
        let Ok(line) = lines::line(message) else { return };
        for link in self.inner.links.lock().values() {
            let _ = link.lines.try_send(line.clone());
        }
    }

    /// Whether any replica can be asked now.
    #[must_use]
    pub fn is_up(&self) -> bool {
        !self.inner.links.lock().is_empty()
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// How a call is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask {
    /// The replica shall serve it even if another one leads.
    pub(super) from_anybody: bool,
    /// An earlier try ended without an answer.
    pub(super) may_have_happened: bool,
}

// === impl Inner ===

impl Inner {
    fn choose(&self, whom: Whom) -> Option<(SocketAddr, Link)> {
        let links = self.links.lock();
        let leader = links.iter().find(|(_, link)| link.leads());
        let chosen = leader.or_else(|| links.iter().next().filter(|_| whom == Whom::Anybody));
        chosen.map(|(address, link)| (*address, link.clone()))
    }

    pub(super) fn stands(
        &self,
        address: SocketAddr,
        (sender, lines): (SendRequest<Outgoing>, mpsc::Sender<Bytes>),
        replica: String,
    ) {
        self.links.lock().insert(address, Link { sender, lines, replica, leader: None });
        self.changed();
    }

    pub(super) fn note_leader(&self, address: SocketAddr, leader: Option<String>) {
        if let Some(link) = self.links.lock().get_mut(&address) {
            link.leader = leader;
        }
        self.changed();
    }

    fn fell(&self, address: SocketAddr) {
        if self.links.lock().remove(&address).is_some() {
            self.changed();
        }
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

// === impl Link ===

impl Link {
    fn leads(&self) -> bool {
        self.leader.as_deref() == Some(&*self.replica)
    }
}

/// How a request ended that was not answered.
enum Sent {
    Refused(Failure),
    Broken(String),
}

async fn send<A: DeserializeOwned>(
    mut sender: SendRequest<Outgoing>,
    path: &'static str,
    message: &impl Serialize,
) -> Result<A, Sent> {
    let broken = |error: &dyn std::fmt::Display| Sent::Broken(error.to_string());
    let text = serde_json::to_vec(message).map_err(|e| broken(&e))?;
    let request = Request::post(path).body(Either::Left(Full::new(Bytes::from(text))));
    let request = request.map_err(|e| broken(&e))?;
    sender.ready().await.map_err(|e| broken(&e))?;
    let answer = sender.send_request(request).await.map_err(|e| broken(&e))?;
    let status = answer.status();
    let text = whole(answer.into_body()).await.map_err(|e| broken(&e))?;
    if status == StatusCode::OK {
        return serde_json::from_slice(&text).map_err(|e| broken(&e));
    }
    Err(Sent::Refused(refusal(status, &text)))
}

/// What a replica says instead of an answer.
pub(super) fn refusal(status: StatusCode, text: &[u8]) -> Failure {
    serde_json::from_slice(text).unwrap_or_else(|_| {
        Failure::new("NOT_UNDERSTOOD", Kind::Bug, format!("an allocator answered with {status}"))
    })
}

/// A whole body within the bound of a frame.
pub(super) async fn whole(body: Incoming) -> io::Result<Bytes> {
    let collected = Limited::new(body, MAX_LINE).collect().await;
    collected.map(http_body_util::Collected::to_bytes).map_err(|e| io::Error::other(e.to_string()))
}

/// Looks up the replicas from time to time, and keeps a task for each.
async fn keep_all(inner: Arc<Inner>, ports: Ports, options: Arc<Options>) {
    let mut tasks = JoinSet::new();
    let mut running = BTreeMap::<SocketAddr, AbortHandle>::new();
    loop {
        match ports.dial.replicas().await {
            Ok(mut replicas) => {
                replicas.truncate(MAX_REPLICAS);
                // One that is no longer named goes once its connection falls, by itself.
                running.retain(|address, task| {
                    let stays =
                        replicas.contains(address) || inner.links.lock().contains_key(address);
                    if !stays {
                        task.abort();
                    }
                    stays
                });
                for address in replicas {
                    running.entry(address).or_insert_with(|| {
                        tasks.spawn(keep(inner.clone(), ports.clone(), options.clone(), address))
                    });
                }
            }
            Err(error) => tracing::warn!(%error, "the allocators cannot be looked up"),
        }
        while tasks.try_join_next().is_some() {}
        sleep(jittered(options.look_up)).await;
    }
}

/// Keeps the connection to one replica.
async fn keep(inner: Arc<Inner>, ports: Ports, options: Arc<Options>, address: SocketAddr) {
    let mut pause = FIRST_PAUSE;
    loop {
        let began = Instant::now();
        let ended = session::run(&inner, &ports, &options, address).await;
        inner.fell(address);
        tracing::info!(%address, why = %ended, "no connection to an allocator; it is tried again");
        // One that stood for a while has fallen for a reason of now.
        pause = if began.elapsed() > LONGEST_PAUSE { FIRST_PAUSE } else { pause };
        sleep(jittered(pause)).await;
        pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
    }
}

/// Between half of it and all of it, so that a fleet does not move in step.
fn jittered(pause: Duration) -> Duration {
    let share = getrandom::u32().unwrap_or(u32::MAX / 2);
    pause.mul_f64(0.5 + 0.5 * f64::from(share) / f64::from(u32::MAX))
}
