//! One connection to one replica, from its first word to its end.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode, header};
use http_body_util::Either;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tenure_core::lease::{Attachment, Netns, NodeRef};
use tenure_core::ports::{
    AddressLook, Census, Kernel, NetnsLook, Question, Sight, WireLook, WireQuestion, WitnessError,
};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::links::{Inner, Outgoing, refusal, whole};
use super::{Acknowledged, Held, Options, Ports};
use crate::lines::{self, LineError, Reader};
use crate::messages::{Asked, Claim, FromAgent, Hello, Probe, Seen, ToAgent, VERSIONS, Welcome};

/// What an agent has to say waits at most so long a line (I12); who does not read it is left.
const QUEUE: usize = 256;
/// Questions of one replica at once; the others wait in the connection.
const AT_ONCE: usize = 16;
/// A connection of which nothing comes is asked whether it lives, and left if it does not say so.
pub(crate) const PING: Duration = Duration::from_secs(2);
pub(crate) const PONG_WITHIN: Duration = Duration::from_secs(3);

/// Why a session ended, for the log.
type Ended = String;

/// Connects, says who we are, and serves the replica until the connection ends. Answers why it did.
pub(super) async fn run(
    inner: &Inner,
    ports: &Ports,
    options: &Options,
    address: SocketAddr,
) -> Ended {
    let opened = timeout(options.connect_within, open(inner, ports, options, address)).await;
    let opened = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(ended)) => return ended,
        Err(_) => return format!("no word within {:?}", options.connect_within),
    };
    tracing::info!(%address, replica = opened.welcome.replica, version = opened.welcome.version, "connected to an allocator");
    let ways = (opened.sender, opened.to_replica.clone());
    inner.stands(address, ways, opened.welcome.replica);
    inner.note_leader(address, opened.leader);
    let mut talk = Talk {
        ports: ports.clone(),
        to_replica: opened.to_replica,
        turns: Arc::new(Semaphore::new(AT_ONCE)),
    };
    let mut beats = interval(options.beat);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut reader, mut connection) = (opened.reader, opened.connection);
    loop {
        tokio::select! {
            ended = &mut connection.0 => return ended.unwrap_or_else(|e| e.to_string()),
            _ = beats.tick() => {
                if let Err(ended) = talk.say(&FromAgent::Beat) {
                    return ended;
                }
            }
            heard = reader.next::<ToAgent>() => match heard {
                Ok(ToAgent::Mark(mark)) => inner.mark.note(mark),
                Ok(ToAgent::Leads { leader }) => inner.note_leader(address, leader),
                Ok(ToAgent::Welcome(_) | ToAgent::Overtaken(_)) => {}
                Ok(question) => talk.answer(question).await,
                Err(LineError::NotOurs(error)) => {
                    tracing::warn!(%address, %error, "an allocator says what this agent does not understand");
                }
                Err(error) => return error.to_string(),
            },
        }
    }
}

/// A session that has been welcomed.
struct Opened {
    welcome: Welcome,
    /// Who leads, if that was said already.
    leader: Option<String>,
    sender: SendRequest<Outgoing>,
    to_replica: mpsc::Sender<Bytes>,
    reader: Reader<Incoming>,
    connection: Connection,
}

/// The task that moves the bytes; it ends with its owner.
struct Connection(tokio::task::JoinHandle<Ended>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn open(
    inner: &Inner,
    ports: &Ports,
    options: &Options,
    address: SocketAddr,
) -> Result<Opened, Ended> {
    let stream = ports.dial.connect(address).await.map_err(said)?;
    let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG_WITHIN)
        .keep_alive_while_idle(true)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(said)?;
    let connection = Connection(tokio::spawn(async move {
        connection.await.map_or_else(said, |()| "the allocator closed the connection".to_owned())
    }));
    let (to_replica, lines) = mpsc::channel(QUEUE);
    let hello = Hello { versions: VERSIONS, node: options.node.clone(), seen: inner.mark.seen() };
    let first = lines::line(&FromAgent::Hello(hello)).map_err(said)?;
    to_replica.try_send(first).map_err(said)?;
    let mut request = Request::post("/v1/session");
    if let Some(token) = ports.dial.token().map_err(said)? {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Either::Right(lines::body(lines))).map_err(said)?;
    let answer = sender.send_request(request).await.map_err(said)?;
    if answer.status() != StatusCode::OK {
        let status = answer.status();
        let text = whole(answer.into_body()).await.map_err(said)?;
        return Err(format!("refused: {}", refusal(status, &text)));
    }
    let mut reader = Reader::new(answer.into_body());
    let welcome = match reader.next().await.map_err(said)? {
        ToAgent::Welcome(welcome) => welcome,
        other => return Err(format!("its first word was {other:?}")),
    };
    let holds = lines::line(&FromAgent::Holds(claims(&inner.acknowledged))).map_err(said)?;
    to_replica.try_send(holds).map_err(said)?;
    let mut leader = None;
    loop {
        match reader.next().await.map_err(said)? {
            ToAgent::Overtaken(overtaken) => {
                give_way(ports, &inner.acknowledged, overtaken).await;
                return Ok(Opened { welcome, leader, sender, to_replica, reader, connection });
            }
            ToAgent::Leads { leader: said } => leader = said,
            // Whatever is asked so early is asked again.
            _ => {}
        }
    }
}

/// What this agent has answered.
fn claims(acknowledged: &Acknowledged) -> Vec<Claim> {
    let of_set = |held: Held| {
        let attachment = held.attachment;
        held.addresses.into_iter().map(move |one| Claim {
            attachment: attachment.clone(),
            space: one.space,
            address: one.address,
            generation: one.generation,
        })
    };
    acknowledged.all().into_iter().flat_map(of_set).collect()
}

/// Sets down the links of those who lost their addresses while this agent was not heard.
async fn give_way(ports: &Ports, acknowledged: &Acknowledged, overtaken: Vec<Attachment>) {
    for attachment in overtaken {
        let Some(held) = acknowledged.get(&attachment) else { continue };
        let addresses: Vec<_> = held.addresses.iter().map(|one| one.address).collect();
        let shown = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
        let (kernel, netns) = (ports.kernel.clone(), held.netns);
        let done = tokio::task::spawn_blocking(move || set_down(&*kernel, netns, &addresses));
        match done.await {
            Ok(Ok(links)) => {
                tracing::error!(%attachment, addresses = shown, links, "its address was given to another holder while this node was not heard: its links are set down");
                acknowledged.forget(&attachment, u64::MAX);
            }
            Ok(Err(error)) => {
                tracing::error!(%attachment, addresses = shown, %error, "its address was given to another holder, and its links could not be set down: stop the container");
            }
            Err(error) => tracing::error!(%attachment, %error, "setting links down ended early"),
        }
    }
}

/// How many links there were. A namespace that has ended has none.
fn set_down(
    kernel: &dyn Kernel,
    netns: Option<Netns>,
    addresses: &[IpAddr],
) -> Result<usize, WitnessError> {
    let Some(netns) = netns else { return Ok(0) };
    let node = Arc::new(NodeRef::default());
    let question = Question { node, netns: Some(netns), owner: None, address: None };
    let is_gone = |sight: &Sight| sight.namespace == NetnsLook::Gone;
    if kernel.look_at(&[question]).first().is_some_and(is_gone) {
        return Ok(0);
    }
    addresses.iter().map(|address| kernel.set_down(&netns, *address)).sum()
}

/// What is said in a session, from whatever task.
#[derive(Clone)]
struct Talk {
    ports: Ports,
    to_replica: mpsc::Sender<Bytes>,
    turns: Arc<Semaphore>,
}

impl Talk {
    fn say(&self, message: &FromAgent) -> Result<(), Ended> {
        let line = lines::line(message).map_err(said)?;
        self.to_replica.try_send(line).map_err(said)
    }

    /// Looks, or asks on the wire, on a thread where blocking is allowed.
    async fn answer(&mut self, question: ToAgent) {
        // It lives as long as the connection's own semaphore.
        let Ok(turn) = self.turns.clone().acquire_owned().await else { return };
        let talk = self.clone();
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let answer = match question {
                ToAgent::Look { id, questions } => {
                    FromAgent::Looked { id, sights: look(&talk.ports, &questions) }
                }
                ToAgent::Probe { id, probe } => {
                    FromAgent::Probed { id, look: ask(&talk.ports, probe) }
                }
                ToAgent::Census { id } => count(&talk.ports, id),
                ToAgent::Welcome(_)
                | ToAgent::Overtaken(_)
                | ToAgent::Mark(_)
                | ToAgent::Leads { .. } => return,
            };
            if let Err(error) = talk.say(&answer) {
                tracing::debug!(error, "an answer came too late for its allocator");
            }
        });
    }
}

/// What the kernel of this node says.
fn look(ports: &Ports, asked: &[Asked]) -> Vec<Seen> {
    // The kernel asks no further than the namespace: whose boot it is has been found out by who asks.
    let node = Arc::new(NodeRef::default());
    let question = |asked: &Asked| Question {
        node: node.clone(),
        netns: Some(asked.netns),
        owner: None,
        address: asked.address,
    };
    let questions: Vec<Question> = asked.iter().map(question).collect();
    let sights = ports.kernel.look_at(&questions);
    let seen = |sight: Sight| Seen { namespace: sight.namespace, link: sight.link };
    let mut seen: Vec<Seen> = sights.into_iter().map(seen).collect();
    seen.resize(asked.len(), Seen { namespace: NetnsLook::Unknown, link: AddressLook::Unknown });
    seen
}

/// What stands on links of this node.
fn count(ports: &Ports, id: u64) -> FromAgent {
    match ports.kernel.census() {
        Ok(Census { sightings, incomplete }) => FromAgent::Counted { id, sightings, incomplete },
        Err(error) => {
            FromAgent::Counted { id, sightings: Vec::new(), incomplete: Some(error.to_string()) }
        }
    }
}

fn ask(ports: &Ports, probe: Probe) -> WireLook {
    let Some(wire) = &ports.wire else {
        return WireLook::Blind { why: "the wire witness of this node did not start".to_owned() };
    };
    let Probe { link, address, gateway, controls } = probe;
    let node = Arc::new(NodeRef::default());
    wire.probe(&WireQuestion { node, link, address, gateway, controls })
}

fn said(error: impl Display) -> Ended {
    error.to_string()
}
