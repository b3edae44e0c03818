//! The verbs of CNI as an agent serves them: what only the node knows is found out here, the rest is asked of an allocator.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tenure_core::error::Kind;
use tenure_core::lease::{Attachment, Netns, NodeRef};
use tenure_core::ports::NetnsLook;
use tenure_engine::{
    AddAnswer, AddRequest, AttachmentLocks, Caller, CheckRequest, DelRequest, EngineError,
    GcAnswer, GcRequest, Past, SpoolInstant, StatusRequest, Verbs,
};
use tokio::time::Instant;

use super::ends::{self, Ends};
use super::links::Ask;
use super::{Acknowledged, AgentError, Held, HeldAddress, Links, Options, Ports};
use crate::messages::{
    AddCall, CheckCall, DelCall, Failure, FromAgent, GcCall, StatusCall, millis,
};

/// A CHECK is tried for so long.
const PATIENCE: Duration = Duration::from_secs(10);
/// The plugin waits little longer for what is asked every few seconds.
const STATUS_PATIENCE: Duration = Duration::from_millis(500);
/// GC looks twice, a second apart, and reads each row.
const GC_PATIENCE: Duration = Duration::from_secs(60);
/// An ADD has so much more time than it may wait for an address: the caller's own deadline cuts it off first.
const BEYOND_WAIT: Duration = Duration::from_secs(60);

/// An agent. Cheap to share.
#[derive(Clone)]
pub struct Agent {
    inner: Arc<Inner>,
}

/// An agent, if it still is.
#[derive(Clone)]
pub struct WeakAgent {
    inner: Weak<Inner>,
}

struct Inner {
    ports: Ports,
    options: Options,
    links: Links,
    acknowledged: Arc<Acknowledged>,
    locks: AttachmentLocks,
    /// Attachments whose ADD was sent, and nothing was heard yet that ends it.
    tried: Mutex<HashMap<Attachment, u64>>,
    /// The last instant given to a verb, in milliseconds of `CLOCK_BOOTTIME`.
    last_instant: AtomicU64,
    began: Instant,
    ends: Ends,
}

// === impl Agent ===

impl Agent {
    /// Reads what earlier processes have left in `folder`, and begins to connect.
    ///
    /// # Errors
    /// The folder cannot be read or written.
    pub fn start(ports: Ports, options: Options, folder: &Path) -> std::io::Result<Self> {
        let acknowledged = Arc::new(Acknowledged::open(folder, &options.node.boot)?);
        forget_the_dead(&ports, &options, &acknowledged);
        let links = Links::start(ports.clone(), options.clone(), acknowledged.clone(), folder);
        let inner = |ends| Inner {
            ports,
            options,
            links,
            acknowledged,
            locks: AttachmentLocks::default(),
            tried: Mutex::default(),
            last_instant: AtomicU64::new(0),
            began: Instant::now(),
            ends,
        };
        let inner = Arc::new_cyclic(|this: &Weak<Inner>| {
            let this = this.clone();
            inner(Ends::start(move || tell_of_ends(this.clone())))
        });
        Ok(Self { inner })
    }

    /// The connections.
    #[must_use]
    pub fn links(&self) -> &Links {
        &self.inner.links
    }

    /// What was answered and not taken back.
    #[must_use]
    pub fn acknowledged(&self) -> &Acknowledged {
        &self.inner.acknowledged
    }

    /// A handle that does not keep it alive.
    #[must_use]
    pub fn downgrade(&self) -> WeakAgent {
        WeakAgent { inner: Arc::downgrade(&self.inner) }
    }

    /// A network namespace of this node ended: every allocator is told, if it was that of a holder.
    pub fn note_end(&self) {
        self.inner.ends.ring();
    }
}

impl WeakAgent {
    /// The agent.
    #[must_use]
    pub fn upgrade(&self) -> Option<Agent> {
        Some(Agent { inner: self.inner.upgrade()? })
    }
}

impl std::fmt::Debug for WeakAgent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WeakAgent").finish_non_exhaustive()
    }
}

impl Inner {
    /// An instant later than any before: of two verbs of one attachment the later has the higher one.
    fn instant(&self) -> u64 {
        let now = self.ports.clock.boottime_ms();
        let next = |last: u64| Some(now.max(last.saturating_add(1)));
        let last = self.last_instant.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        now.max(last.unwrap_or_else(|last| last).saturating_add(1))
    }

    fn past(&self, attachment: &Attachment) -> Past {
        if self.tried.lock().contains_key(attachment) {
            return Past::Unsure;
        }
        if let Some(addresses) = self.acknowledged.addresses(attachment) {
            return Past::Answered(addresses);
        }
        // What an earlier process of this boot asked for may still be under way.
        let is_young = self.began.elapsed() < self.options.add_deadline;
        if is_young && self.acknowledged.had_earlier_process() { Past::Unsure } else { Past::None }
    }

    async fn identify(&self, request: &AddRequest) -> Result<Option<Netns>, EngineError> {
        let netns = match &request.caller {
            Caller::Here { netns: Some(netns) } => netns.clone(),
            Caller::Here { netns: None } => return Ok(None),
            Caller::Agent(call) => return Ok(call.netns),
        };
        let (kernel, attachment) = (self.ports.kernel.clone(), request.attachment.clone());
        let looked = tokio::task::spawn_blocking(move || netns.identify(&*kernel, &attachment));
        looked.await.map_err(|e| EngineError::Bug { what: format!("a look ended: {e}") })?
    }

    async fn ask_for(
        &self,
        request: AddRequest,
        (netns, boottime_ms): (Option<Netns>, u64),
        past: Past,
    ) -> Result<AddAnswer, AgentError> {
        let mut is_unsure = past == Past::Unsure;
        let now = Instant::now();
        let deadline = now.checked_add(request.wait.saturating_add(BEYOND_WAIT)).unwrap_or(now);
        let message = |ask: Ask| {
            is_unsure |= ask.may_have_happened;
            AddCall {
                attachment: request.attachment.clone(),
                netns,
                boottime_ms,
                past: if is_unsure { Past::Unsure } else { past.clone() },
                owner: request.owner.clone(),
                attributes: request.attributes.clone(),
                pools: request.pools.clone(),
                fixed: request.fixed.clone(),
                config: request.config.clone(),
                wait_ms: millis(request.wait.saturating_sub(now.elapsed())),
                link: request.link.clone(),
                from_anybody: ask.from_anybody,
            }
        };
        let times = (deadline, self.options.leader_patience);
        let answer = self.links.call("/v1/add", times, message).await;
        // A refusal leaves nothing behind, unless the store failed in the middle: then a part of a set may stand there.
        let is_clean = |failure: &Failure| !matches!(failure.kind, Kind::Io | Kind::Bug);
        if matches!(&answer, Err(AgentError::Refused(failure)) if is_clean(failure)) && !is_unsure {
            self.tried.lock().remove(&request.attachment);
        }
        answer
    }

    fn deadline(&self, within: Duration) -> (Instant, Duration) {
        let now = Instant::now();
        // Any replica will do: nobody waits in line.
        (now.checked_add(within).unwrap_or(now), Duration::ZERO)
    }
}

/// Says that somebody's holder may be gone, if the kernel does not see all of them: also of those whose ADD is under way.
async fn tell_of_ends(inner: Weak<Inner>) {
    let Some(inner) = inner.upgrade() else { return };
    let held: Vec<Held> =
        inner.acknowledged.all().into_iter().filter(|held| held.netns.is_some()).collect();
    let (kernel, options) = (inner.ports.kernel.clone(), inner.options.clone());
    let looked = tokio::task::spawn_blocking(move || ends::seen(&*kernel, &options, &held)).await;
    let all_live = looked.is_ok_and(|seen| seen.iter().all(|seen| *seen == NetnsLook::Alive));
    if !all_live || !inner.tried.lock().is_empty() {
        inner.links.say(&FromAgent::Ended);
    }
}

/// A set whose namespace has ended needs no DEL to be void: it is not kept for later.
fn forget_the_dead(ports: &Ports, options: &Options, acknowledged: &Acknowledged) {
    let held = acknowledged.all();
    let seen = ends::seen(&*ports.kernel, options, &held);
    for (held, seen) in held.iter().zip(seen) {
        if held.netns.is_some() && seen == NetnsLook::Gone {
            acknowledged.forget(&held.attachment, u64::MAX);
        }
    }
}

impl Verbs for Agent {
    type Error = AgentError;

    async fn add(&self, request: AddRequest) -> Result<AddAnswer, AgentError> {
        let inner = &*self.inner;
        let attachment = request.attachment.clone();
        let guard = inner.locks.lock(&attachment).await?;
        let boottime_ms = inner.instant();
        let netns = inner.identify(&request).await?;
        let past = inner.past(&attachment);
        // Until the outcome is known, also if the caller goes away.
        inner.note_tried(&attachment, boottime_ms);
        let answer = tokio::select! {
            answer = inner.ask_for(request, (netns, boottime_ms), past) => answer?,
            () = guard.del_came() => return Err(EngineError::DelCame.into()),
        };
        let addresses = answer.addresses.iter().map(|granted| HeldAddress {
            space: granted.space.clone(),
            address: granted.address.addr(),
            generation: granted.generation,
        });
        let addresses = addresses.collect();
        let held = Held { attachment: attachment.clone(), addresses, netns, boottime_ms };
        inner.acknowledged.note(held).await.map_err(AgentError::NotNoted)?;
        inner.tried.lock().remove(&attachment);
        Ok(answer)
    }

    async fn del(&self, request: DelRequest) -> Result<(), AgentError> {
        let inner = &*self.inner;
        let DelRequest { attachment, bound_before, .. } = request;
        let _guard = match &bound_before {
            // From the spool: it is older than whatever goes on now.
            Some(_) => inner.locks.lock_if_idle(&attachment)?,
            None => inner.locks.lock_for_del(&attachment).await?,
        };
        let bound_before = bound_before.unwrap_or_else(|| SpoolInstant {
            boot: inner.options.node.boot.to_string(),
            boottime_ms: inner.instant(),
        });
        if !inner.links.is_up() {
            // The plugin keeps it on disk at once.
            let why = ": no connection stands".to_owned();
            return Err(AgentError::Unreachable { waited: Duration::ZERO, why });
        }
        let past = inner.past(&attachment);
        let message = |_| DelCall {
            attachment: attachment.clone(),
            past: past.clone(),
            bound_before: bound_before.clone(),
        };
        let times = inner.deadline(inner.options.del_within);
        inner.links.call::<_, ()>("/v1/del", times, message).await?;
        if *bound_before.boot == *inner.options.node.boot {
            inner.acknowledged.forget(&attachment, bound_before.boottime_ms);
            let mut tried = inner.tried.lock();
            if tried.get(&attachment).is_some_and(|at| *at < bound_before.boottime_ms) {
                tried.remove(&attachment);
            }
        }
        Ok(())
    }

    async fn check(&self, request: CheckRequest) -> Result<(), AgentError> {
        let CheckRequest { attachment, addresses, .. } = request;
        let message =
            |_| CheckCall { attachment: attachment.clone(), addresses: addresses.clone() };
        self.inner.links.call("/v1/check", self.inner.deadline(PATIENCE), message).await
    }

    async fn gc(&self, request: GcRequest) -> Result<GcAnswer, AgentError> {
        let GcRequest { network, valid, allow_empty, .. } = request;
        let message = |_| GcCall { network: network.clone(), valid: valid.clone(), allow_empty };
        self.inner.links.call("/v1/gc", self.inner.deadline(GC_PATIENCE), message).await
    }

    /// An allocator or an API server that is away is no failure of the node: it would take the node out of service, and
    /// ADDs say so themselves.
    async fn status(&self, request: StatusRequest) -> Result<(), AgentError> {
        if !request.on_exhaustion {
            return Ok(());
        }
        let StatusRequest { network, pools, .. } = request;
        let message = |_| StatusCall { network: network.clone(), pools: pools.clone() };
        let deadline = self.inner.deadline(STATUS_PATIENCE);
        match self.inner.links.call("/v1/status", deadline, message).await {
            Err(AgentError::Unreachable { .. }) => Ok(()),
            answer => answer,
        }
    }
}

impl Inner {
    fn note_tried(&self, attachment: &Attachment, boottime_ms: u64) {
        let mut tried = self.tried.lock();
        // Without a DEL it would stay for ever; by then its namespace has been judged.
        if tried.len() >= super::MAX_HELD {
            let oldest = tried.iter().min_by_key(|(_, at)| **at).map(|(key, _)| key.clone());
            oldest.and_then(|key| tried.remove(&key));
        }
        tried.insert(attachment.clone(), boottime_ms);
    }
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let node: &NodeRef = &self.inner.options.node;
        f.debug_struct("Agent").field("node", node).finish_non_exhaustive()
    }
}
