//! The agents that are connected now, as the engine asks them: the kernels and wires of their nodes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hyper::body::Bytes;
use parking_lot::Mutex;
use serde::Serialize;
use tenure_core::lease::NodeRef;
use tenure_core::ports::{Census, NetnsLook, Question, Sighting, WireLook, WireQuestion};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::lines;
use crate::messages::{Asked, FromAgent, Probe, Seen, ToAgent};

/// A look takes milliseconds; an agent that needs longer is silent.
const LOOK_WITHIN: Duration = Duration::from_secs(3);
/// A probe takes a third of a second, in a crowd some more.
const PROBE_WITHIN: Duration = Duration::from_secs(8);
/// A census looks at every process of a node.
const CENSUS_WITHIN: Duration = Duration::from_secs(20);
/// So many namespaces in one question: some 100 KiB.
const LOOKS_AT_ONCE: usize = 1000;

/// The sessions of this replica.
#[derive(Debug, Default)]
pub struct Sessions {
    /// By agent id: the youngest session of each.
    by_agent: Mutex<HashMap<Arc<str>, Arc<Session>>>,
    numbers: AtomicU64,
    /// Namespaces that their own agent could not see, counted at each look.
    unseen: AtomicU64,
}

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    number: u64,
    pub(super) node: Arc<NodeRef>,
    to_agent: mpsc::Sender<Bytes>,
    /// Questions that wait for their answer.
    open: Mutex<HashMap<u64, oneshot::Sender<FromAgent>>>,
    questions: AtomicU64,
    /// The last look did not see all that it was for.
    is_blind: AtomicBool,
}

/// A session as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    /// The node.
    pub node: Arc<NodeRef>,
}

// === impl Sessions ===

impl Sessions {
    /// Those that stand, in the order of their nodes.
    #[must_use]
    pub fn views(&self) -> Vec<SessionView> {
        let sessions = self.by_agent.lock();
        let mut views: Vec<_> =
            sessions.values().map(|session| SessionView { node: session.node.clone() }).collect();
        views.sort_by(|a, b| a.node.name.cmp(&b.node.name));
        views
    }

    /// How many stand.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_agent.lock().len()
    }

    /// Whether none stands.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether an agent speaks for the node in this boot.
    #[must_use]
    pub fn hears(&self, node: &NodeRef) -> bool {
        self.by_agent.lock().get(&node.agent).is_some_and(|session| session.node.boot == node.boot)
    }

    /// Takes in a session; an older one of the same agent is asked nothing any more.
    pub(super) fn open(&self, node: NodeRef, to_agent: mpsc::Sender<Bytes>) -> Arc<Session> {
        let session = Arc::new(Session {
            number: self.numbers.fetch_add(1, Ordering::Relaxed),
            node: Arc::new(node),
            to_agent,
            open: Mutex::default(),
            questions: AtomicU64::new(0),
            is_blind: AtomicBool::new(false),
        });
        self.by_agent.lock().insert(session.node.agent.clone(), session.clone());
        session
    }

    pub(super) fn close(&self, session: &Session) {
        let mut sessions = self.by_agent.lock();
        if sessions.get(&session.node.agent).is_some_and(|known| known.number == session.number) {
            sessions.remove(&session.node.agent);
        }
        session.open.lock().clear();
    }

    /// What the kernels of the nodes see, one answer for each question, in their order; none where nobody answers for the
    /// node in that boot, or there is nothing to look at.
    pub async fn look(&self, questions: &[Question]) -> Vec<Option<Seen>> {
        let mut seen = vec![None; questions.len()];
        let mut by_session: HashMap<u64, (Arc<Session>, Vec<usize>)> = HashMap::new();
        {
            let sessions = self.by_agent.lock();
            for (at, question) in questions.iter().enumerate() {
                let session = sessions.get(&question.node.agent);
                let session = session.filter(|s| s.node.boot == question.node.boot);
                if let (Some(session), Some(_)) = (session, question.netns) {
                    let entry = by_session.entry(session.number);
                    entry.or_insert_with(|| (session.clone(), Vec::new())).1.push(at);
                }
            }
        }
        let asked = |at: &usize| {
            let question = questions.get(*at)?;
            Some(Asked { netns: question.netns?, address: question.address })
        };
        let mut looks = Vec::new();
        for (session, places) in by_session.into_values() {
            for places in places.chunks(LOOKS_AT_ONCE) {
                let questions: Vec<Asked> = places.iter().filter_map(asked).collect();
                let (session, places) = (session.clone(), places.to_vec());
                looks.push(async move { (session.look(questions).await, session, places) });
            }
        }
        for (answers, session, places) in futures_util::future::join_all(looks).await {
            self.note_unseen(&session, answers.iter().flatten());
            for (at, answer) in places.into_iter().zip(answers.into_iter().flatten()) {
                if let Some(place) = seen.get_mut(at) {
                    *place = Some(answer);
                }
            }
        }
        seen
    }

    /// How often an agent was asked for the namespace of a holder of its own node, and could not see it. It stands still where
    /// agents run as they should.
    #[must_use]
    pub fn unseen(&self) -> u64 {
        self.unseen.load(Ordering::Relaxed)
    }

    /// What an agent does not see is kept for ever: somebody has to be told.
    fn note_unseen<'a>(&self, session: &Session, answers: impl Iterator<Item = &'a Seen>) {
        let (mut seen, mut unseen) = (0_u64, 0_u64);
        for answer in answers {
            let of_kind =
                if answer.namespace == NetnsLook::Unknown { &mut unseen } else { &mut seen };
            *of_kind = of_kind.saturating_add(1);
        }
        self.unseen.fetch_add(unseen, Ordering::Relaxed);
        let node = &session.node.name;
        if unseen > 0 && !session.is_blind.swap(true, Ordering::Relaxed) {
            tracing::error!(%node, unseen, "its agent does not see the network namespaces of holders, whose addresses are kept until it does: give it hostPID and the mount of the runtime's namespaces");
        } else if unseen == 0 && seen > 0 && session.is_blind.swap(false, Ordering::Relaxed) {
            tracing::info!(%node, "its agent sees the network namespaces of holders again");
        }
    }

    /// Which addresses stand on links of the nodes that are connected, and why something of these may be missing.
    pub async fn census(&self) -> Census {
        let sessions: Vec<_> = self.by_agent.lock().values().cloned().collect();
        let counts =
            sessions.iter().map(|session| session.ask(CENSUS_WITHIN, |id| ToAgent::Census { id }));
        let mut census = Census::default();
        for (session, answer) in sessions.iter().zip(futures_util::future::join_all(counts).await) {
            let lacking = match answer {
                Some(FromAgent::Counted { sightings, incomplete, .. }) => {
                    let seen = sightings
                        .into_iter()
                        .map(|sighting| Sighting { node: Some(session.node.clone()), ..sighting });
                    census.sightings.extend(seen);
                    incomplete
                }
                _ => Some("its agent does not answer".to_owned()),
            };
            if let Some(lacking) = lacking {
                let node = &session.node.name;
                census.incomplete.get_or_insert_with(|| format!("of node {node}: {lacking}"));
            }
        }
        census
    }

    /// Asks on the wires of the node that the question names.
    pub async fn probe(&self, question: WireQuestion) -> WireLook {
        let session = self.by_agent.lock().get(&question.node.agent).cloned();
        let blind = |why: &str| WireLook::Blind {
            why: format!("{why}: it is the agent of node {} that asks", question.node.name),
        };
        let Some(session) = session else { return blind("its agent is not connected") };
        let WireQuestion { link, address, gateway, controls, .. } = question.clone();
        let probe = Probe { link, address, gateway, controls };
        match session.ask(PROBE_WITHIN, |id| ToAgent::Probe { id, probe }).await {
            Some(FromAgent::Probed { look, .. }) => look,
            _ => blind("its agent did not answer in time"),
        }
    }
}

// === impl Session ===

impl Session {
    /// All answers or none.
    async fn look(&self, questions: Vec<Asked>) -> Option<Vec<Seen>> {
        let wanted = questions.len();
        match self.ask(LOOK_WITHIN, |id| ToAgent::Look { id, questions }).await {
            Some(FromAgent::Looked { sights, .. }) if sights.len() == wanted => Some(sights),
            _ => None,
        }
    }

    async fn ask(
        &self,
        within: Duration,
        question: impl FnOnce(u64) -> ToAgent,
    ) -> Option<FromAgent> {
        let id = self.questions.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.open.lock().insert(id, answer);
        let answer = match self.say(&question(id)).await {
            Ok(()) => timeout(within, answered).await.ok().and_then(Result::ok),
            Err(_) => None,
        };
        self.open.lock().remove(&id);
        answer
    }

    /// Says something, waiting for room in the queue at most as long as a look takes.
    pub(super) async fn say(&self, message: &ToAgent) -> Result<(), String> {
        let line = lines::line(message).map_err(|e| e.to_string())?;
        let sent = timeout(LOOK_WITHIN, self.to_agent.send(line)).await;
        sent.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
    }

    /// Takes in an answer. One that nobody waits for any more is dropped.
    pub(super) fn answered(&self, id: u64, answer: FromAgent) {
        let waits = self.open.lock().remove(&id);
        if let Some(waits) = waits {
            let _ = waits.send(answer);
        }
    }
}
