//! ADD.
//!
//! ```text
//! lock the attachment -> identify the namespace -> own lease? answer or re-bind it
//!   -> the same pod's lease under an older container id? take it over
//!   -> decide and reserve (choose.rs) -> ask on the wire where need be (clear.rs) -> write all rows in one commit -> answer
//! ```
//!
//! For a holder that nobody has heard of, the common case, namespace and decision are one job on one thread: a change
//! of threads costs as much as the work itself.
//!
//! Guarantees: I1 (the write is conditional), I2 (the answer follows the durable write), I3 (one commit for
//! all families), I4 (the same ADD finds its own rows). A caller that goes away before the write leaves
//! nothing behind; once the write has begun it is settled in its own task, whatever becomes of the caller.

use std::pin::pin;
use std::sync::Arc;

use tenure_core::address::Family;
use tenure_core::decision::{Catalogue, Previous};
use tenure_core::lease::{
    AttemptId, Generation, Lease, LeaseKey, LeaseState, Netns, NodeRef, Owner,
};
use tenure_core::ledger::{Ledger, Print, Slot, Status};
use tenure_store::{Revision, Row, StoreError, Write};
use tokio::time::Instant;

use crate::choose::{Choice, NoChoice};
use crate::holds::Holds;
use crate::live::Looks;
use crate::locks::AttachmentGuard;
use crate::rivals::shares_key;
use crate::unanswered::Leaves;
use crate::untold::Telling;
use crate::wait::{Place, Shortage, Ticket};
use crate::{AddAnswer, AddRequest, Caller, Engine, EngineError, Granted};

/// So often a decision is made anew because somebody else changed a row meanwhile.
const MAX_TRIES: usize = 8;
/// So many earlier addresses of a holder are shown to affinity policies.
const MAX_PREVIOUS: usize = 16;

/// What one job finds out about a request.
struct Met {
    netns: Option<Netns>,
    /// The choice, if there is nothing that the holder could have had before.
    choice: Option<Result<Choice, NoChoice>>,
}

/// What an ADD comes upon.
enum Found {
    /// It has addresses already: the answer.
    Own(AddAnswer),
    /// Reserved addresses, to be written.
    Choice(Choice),
}

impl Engine {
    /// Gives an attachment its addresses: all families or none.
    ///
    /// # Errors
    /// [`EngineError`]; nothing has changed then.
    pub async fn add(self: &Arc<Self>, request: AddRequest) -> Result<AddAnswer, EngineError> {
        let answer = self.add_inner(request).await;
        match &answer {
            Ok(_) => self.counters.adds.one(),
            Err(_) => self.counters.adds_failed.one(),
        }
        answer
    }

    async fn add_inner(self: &Arc<Self>, request: AddRequest) -> Result<AddAnswer, EngineError> {
        let guard = self.locks.lock(&request.attachment).await?;
        self.settle_doubts().await?;
        self.learn_what_lives().await?;
        if let Caller::Agent(call) = &request.caller {
            self.look_for(&request.attachment, &call.past).await?;
        }
        let patience = Instant::now() + request.wait;
        let mut decided_on = self.state.lock().catalogue.clone();
        let question = request.clone();
        let met = self.blocking(move |engine| engine.meet(&question)).await??;
        let Met { netns, choice: mut first } = met;
        let mut place: Option<Place> = None;
        let mut looks = Looks::default();
        let mut tries = 0;
        while tries < MAX_TRIES {
            let found = match first.take() {
                Some(found) => found.map(Found::Choice),
                None => {
                    // The pools may be new, or the store another one.
                    self.learn_what_lives().await?;
                    decided_on = self.state.lock().catalogue.clone();
                    let ticket = place.as_ref().map(Place::ticket);
                    self.find(&request, netns, (&guard, ticket)).await
                }
            };
            let answer = match found {
                Ok(Found::Own(answer)) => return Ok(answer),
                Ok(Found::Choice(choice)) => {
                    if let Some(place) = &place {
                        place.step_aside();
                    }
                    match self.clear_on_wire(&request, choice).await {
                        Ok(choice) => {
                            let (on, guard) = (decided_on.clone(), guard.clone());
                            self.write_new(&request, netns, choice, (on, guard)).await
                        }
                        // An import came in between: what lives is found out first.
                        Err(EngineError::Unsettled { .. }) if !self.is_current(&decided_on) => {
                            Err(EngineError::Overtaken)
                        }
                        Err(error) => Err(error),
                    }
                }
                Err(NoChoice::NotYet(shortage)) => {
                    let looks_first = looks.first();
                    if request.wait.is_zero() {
                        if looks_first && self.look_at_store(&shortage).await {
                            continue;
                        }
                        return Err(shortage.error);
                    }
                    let until = (patience, &decided_on, &guard);
                    let turn = self.wait_for_turn(&mut place, (*shortage).clone(), until);
                    let waited = match looks_first {
                        true => self.turn_or_look(turn, &shortage).await,
                        false => turn.await,
                    };
                    if let Err(error) = waited {
                        let is_over = Instant::now() >= patience;
                        if !(is_over && looks.last() && self.look_at_store(&shortage).await) {
                            return Err(error);
                        }
                    }
                    continue;
                }
                Err(NoChoice::Never(error)) => Err(error),
            };
            match answer {
                // Somebody else changed a row, or the pools, meanwhile: decide anew.
                Err(
                    error @ (EngineError::Store(StoreError::Conflict { .. })
                    | EngineError::Overtaken),
                ) => {
                    tracing::debug!(attachment = %request.attachment, %error, tries, "decided anew");
                    self.counters.conflicts.one();
                    self.resolve_doubts().await;
                    tries += 1;
                }
                answer => return answer,
            }
        }
        Err(EngineError::Busy { what: "the row", bound: MAX_TRIES })
    }

    /// Waits in line while the store is looked at: a list of a full pool may take a second, and an address that comes free
    /// meanwhile is nobody's else.
    async fn turn_or_look(
        self: &Arc<Self>,
        turn: impl Future<Output = Result<(), EngineError>>,
        shortage: &Shortage,
    ) -> Result<(), EngineError> {
        let mut turn = pin!(turn);
        tokio::select! {
            biased;
            turn = &mut turn => return turn,
            is_news = self.look_while_waiting(shortage) => if is_news { return Ok(()) },
        }
        turn.await
    }

    /// What the attachment has already, or what it shall have.
    async fn find(
        self: &Arc<Self>,
        request: &AddRequest,
        netns: Option<Netns>,
        (guard, ticket): (&AttachmentGuard, Option<Ticket>),
    ) -> Result<Found, NoChoice> {
        if let Some(answer) = self.add_again(request, netns, guard).await? {
            return Ok(Found::Own(answer));
        }
        if let Some(answer) = self.take_over(request, netns, guard).await? {
            return Ok(Found::Own(answer));
        }
        let previous = self.previous_of(request).await?;
        let (engine, question) = (self.clone(), request.clone());
        let choice = self.blocking(move |_| Choice::make(&engine, &question, previous, ticket));
        Ok(Found::Choice(choice.await??))
    }

    /// Looks at the namespace, and decides at once for a holder that nobody has heard of.
    fn meet(self: &Arc<Self>, request: &AddRequest) -> Result<Met, EngineError> {
        let netns = self.identify(request)?;
        let unknown = {
            let state = self.state.lock();
            state.ledger.of_attachment(Print::attachment(&request.attachment)).is_empty()
                && of_owner(&state.ledger, &request.owner).is_empty()
        };
        let choice = unknown.then(|| Choice::make(self, request, Vec::new(), None));
        Ok(Met { netns, choice })
    }

    /// The node of the container.
    pub(crate) fn node_of<'a>(&'a self, request: &'a AddRequest) -> &'a NodeRef {
        request.caller.node().unwrap_or(&self.options.node)
    }

    /// When the hold begins, by the clock of the container's node. An agent read it before anything was done for the ADD,
    /// so that a DEL which came later than the ADD frees what it got.
    pub(crate) fn boottime_of(&self, request: &AddRequest) -> u64 {
        match &request.caller {
            Caller::Here { .. } => self.ports.clock.boottime_ms(),
            Caller::Agent(call) => call.boottime_ms,
        }
    }

    /// The identity of `CNI_NETNS`; none where it cannot be established: the lease is *blind* then.
    fn identify(&self, request: &AddRequest) -> Result<Option<Netns>, EngineError> {
        let found = match &request.caller {
            // Its agent has looked, and said why in its own log.
            Caller::Agent(call) => call.netns,
            Caller::Here { netns: None } => return Ok(None),
            Caller::Here { netns: Some(netns) } => {
                netns.identify(&*self.ports.kernel, &request.attachment)?
            }
        };
        if found.is_none() {
            self.counters.blind.one();
        }
        Ok(found)
    }

    /// What the holder had before, for affinity. Reads rows only where the ledger knows of some.
    async fn previous_of(&self, request: &AddRequest) -> Result<Vec<Previous>, EngineError> {
        let now = self.now();
        let mut rows = of_owner(&self.state.lock().ledger, &request.owner);
        rows.retain(|(_, slot)| matches!(slot.status, Status::Released { .. }));
        rows.sort_by_key(|(key, _)| key.address);
        rows.dedup_by(|(a, _), (b, _)| a == b);
        let mut previous = Vec::new();
        for (key, slot) in rows.into_iter().take(MAX_PREVIOUS) {
            let Some(row) = self.row_at(&key, slot.revision).await? else { continue };
            let pool = self.state.lock().ledger.pool_of(&key);
            let Some(pool) = pool.and_then(|p| u32::try_from(p).ok()) else { continue };
            previous.extend(previous_row(&row.lease, request, pool, now.wall.0));
        }
        Ok(previous)
    }

    /// Writes the rows of a new hold in one commit.
    async fn write_new(
        self: &Arc<Self>,
        request: &AddRequest,
        netns: Option<Netns>,
        choice: Choice,
        (decided_on, guard): (Arc<Catalogue>, AttachmentGuard),
    ) -> Result<AddAnswer, EngineError> {
        let attempt = AttemptId(random()?);
        let held: Vec<_> = choice.holds.iter().map(|hold| (hold.key.clone(), hold.prior)).collect();
        let (mut writes, mut was_quarantined) = (Vec::new(), false);
        for (key, prior) in held {
            let prior = match prior {
                Some(slot) => Some(self.prior_row(&key, slot.revision).await?),
                None => None,
            };
            was_quarantined |= prior
                .as_ref()
                .is_some_and(|row| matches!(row.lease.state, LeaseState::Quarantined { .. }));
            let lease = self.new_lease(request, netns, &choice, attempt, &key, prior.as_ref())?;
            writes.push(match prior {
                None => Write::Create(lease),
                Some(row) => Write::Replace { lease, expect: row.revision },
            });
        }
        let leases: Vec<Lease> = writes.iter().filter_map(Write::lease).cloned().collect();
        let answer = self.answer(&leases)?;
        writes.extend(self.losers(&leases).await?);
        // What would be kept for the first time stands in the way of whoever uses the key meanwhile.
        let leaves = Leaves { key: !choice.is_first_use, rest: was_quarantined };
        // A caller of this machine asks nobody else: it finds its rows here.
        let telling = request.caller.node().map(|_| Telling::new(self, &leases, leaves));
        let engine = self.clone();
        // Its own task: a write that has begun must be settled even if the caller goes away, and until then nobody
        // else acts on the attachment.
        let settled = tokio::spawn(async move {
            engine.settle(writes, choice.holds, (attempt, decided_on)).await?;
            match choice.is_first_use {
                true => engine.yield_to_rivals(&leases, &guard).await,
                false => Ok(()),
            }
        });
        let outcome = settled.await.map_err(|e| EngineError::Bug {
            what: format!("a write ended without an answer: {e}"),
        })?;
        let is_settled =
            matches!(outcome, Ok(()) | Err(EngineError::Store(StoreError::Conflict { .. })));
        if let Some(telling) = telling.filter(|_| is_settled) {
            telling.done();
        }
        outcome.map(|()| answer)
    }

    /// The row that the ledger knows in this version: as the store remembers it, else read now, and then it may be another
    /// version. Only for a row that is replaced in the version that is answered: the condition of that write is what
    /// makes memory safe.
    pub(crate) async fn row_at(
        &self,
        key: &LeaseKey,
        revision: u64,
    ) -> Result<Option<Row>, EngineError> {
        match self.ports.store.recall(key, Revision(revision)) {
            Some(row) => Ok(Some(Arc::unwrap_or_clone(row))),
            None => Ok(self.ports.store.get(key).await?),
        }
    }

    /// The record that a reserved row replaces. The ledger and the store differing, the store is right.
    pub(crate) async fn prior_row(
        &self,
        key: &LeaseKey,
        revision: u64,
    ) -> Result<Row, EngineError> {
        let row = self.row_at(key, revision).await?;
        if let Some(row) = row.clone().filter(|row| row.revision.0 == revision) {
            return Ok(row);
        }
        self.doubt([key.clone()]);
        let conflict =
            StoreError::Conflict { index: 0, key: key.clone(), current: row.map(Box::new) };
        Err(conflict.into())
    }

    /// Of two rows kept for one key the older loses its retention: the key has its new address.
    async fn losers(&self, leases: &[Lease]) -> Result<Vec<Write>, EngineError> {
        let mut writes = Vec::new();
        for lease in leases {
            let Some(sticky) = &lease.sticky else { continue };
            let print = Print::sticky(&lease.attachment, lease.key().family(), &sticky.key);
            let rows = self.state.lock().ledger.of_sticky(print);
            for (key, slot) in
                rows.into_iter().filter(|(key, slot)| *key != lease.key() && is_kept(slot))
            {
                let Some(Row { lease: mut old, revision }) =
                    self.row_at(&key, slot.revision).await?
                else {
                    continue;
                };
                let same = shares_key(&old, lease);
                if let (true, LeaseState::Released { keep_until, .. }) = (same, &mut old.state) {
                    *keep_until = None;
                    writes.push(Write::Replace { lease: old, expect: revision });
                }
            }
        }
        Ok(writes)
    }

    /// Commits and tells the ledger what stands in the store now.
    async fn settle(
        self: &Arc<Self>,
        writes: Vec<Write>,
        mut holds: Holds,
        (attempt, decided_on): (AttemptId, Arc<Catalogue>),
    ) -> Result<(), EngineError> {
        let _gate = self.gate.read().await;
        if !self.is_current(&decided_on) {
            // The pools changed, or an import came in between: the attachment may hold something by now.
            return Err(EngineError::Overtaken);
        }
        match self.ports.store.commit(writes.clone()).await {
            Ok(revisions) => {
                holds.leave_rows();
                self.learn(&writes, &revisions);
                Ok(())
            }
            Err(error @ StoreError::Conflict { .. }) => {
                drop(holds);
                self.doubt(writes.iter().filter_map(Write::lease).map(Lease::key));
                self.resolve_doubts().await;
                Err(error.into())
            }
            Err(error @ StoreError::Unknown { .. }) => {
                self.resolve(&writes, holds, attempt, error).await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the pools are still those that were decided on.
    fn is_current(&self, decided_on: &Arc<Catalogue>) -> bool {
        Arc::ptr_eq(&self.state.lock().catalogue, decided_on)
    }

    /// The outcome of a commit is unknown: what stands in the store decides. Where that cannot be read either, the
    /// addresses stay reserved until a sweep can.
    async fn resolve(
        &self,
        writes: &[Write],
        mut holds: Holds,
        attempt: AttemptId,
        error: StoreError,
    ) -> Result<(), EngineError> {
        let sent: Vec<&Lease> = writes.iter().filter_map(Write::lease).collect();
        let mut rows = Vec::new();
        for lease in &sent {
            match self.ports.store.get(&lease.key()).await {
                Ok(row) => rows.push(row),
                Err(_) => {
                    holds.lose_rows();
                    self.doubt(sent.iter().map(|lease| lease.key()));
                    return Err(error.into());
                }
            }
        }
        // The whole set or nothing (I3): a store without transactions may have written a part. That is found as a half by
        // the next verb of the attachment, and ended.
        let mine = |row: &Option<Row>| row.as_ref().is_some_and(|row| row.lease.attempt == attempt);
        let mut set = sent.iter().zip(&rows).filter(|(lease, _)| lease.attempt == attempt);
        let ours = set.all(|(_, row)| mine(row));
        holds.leave_rows();
        for (lease, row) in sent.iter().zip(&rows) {
            self.learn_row(&lease.key(), row.as_ref());
        }
        if ours { Ok(()) } else { Err(EngineError::Overtaken) }
    }

    pub(crate) fn new_lease(
        &self,
        request: &AddRequest,
        netns: Option<Netns>,
        choice: &Choice,
        attempt: AttemptId,
        key: &LeaseKey,
        prior: Option<&Row>,
    ) -> Result<Lease, EngineError> {
        let now = self.now();
        let (pool, retain_max) = {
            let state = self.state.lock();
            let pool = state.ledger.pool_at(key);
            // A reservation, or a pool that shrank or went, has overtaken the decision.
            let pool =
                pool.filter(|_| state.ledger.is_usable(key)).ok_or(EngineError::Overtaken)?;
            (pool.name.clone(), pool.spec.limits.retain_max.secs_ceil())
        };
        let mut sticky = choice.sticky.clone();
        if let Some(sticky) = sticky.as_mut().filter(|sticky| sticky.retain_s > retain_max) {
            sticky.retain_s = retain_max;
            self.counters.clamped.one();
        }
        if let Some(Row { lease, .. }) = prior.filter(|row| row.lease.is_bound()) {
            self.counters.breaches_i1.one();
            return Err(EngineError::Bug {
                what: format!("I1: {key} is held by {}", lease.attachment),
            });
        }
        Ok(Lease {
            address: key.address,
            pool,
            space: key.space.clone(),
            attachment: request.attachment.clone(),
            owner: request.owner.clone(),
            node: self.node_of(request).clone(),
            netns,
            attempt,
            families: choice.families,
            generation: prior.map_or(Generation(1), |row| row.lease.generation.next()),
            epoch: self.epoch(),
            state: LeaseState::Bound,
            sticky,
            tag: choice.tag,
            config: request.config.clone(),
            decided_by: choice.decided_by.clone(),
            bound_at: now.wall,
            bound_boottime_ms: self.boottime_of(request),
            previous: prior.map_or_else(Vec::new, |row| row.lease.holder_as_past(now.wall, "add")),
        })
    }

    /// The answer for these rows: IPv4 first, with the delivery facts of the pools as they are now.
    pub(crate) fn answer(&self, leases: &[Lease]) -> Result<AddAnswer, EngineError> {
        let state = self.state.lock();
        let mut addresses = Vec::new();
        for lease in leases {
            let pool = state.ledger.pool_at(&lease.key());
            let pool = pool.ok_or_else(|| EngineError::Refused {
                object: format!("address {}", lease.address),
                why: format!("its pool {} no longer exists; DEL the attachment first", lease.pool),
            })?;
            addresses.push(Granted {
                address: pool.with_prefix(lease.address),
                space: lease.space.clone(),
                generation: lease.generation,
                pool: pool.name.clone(),
                gateway: pool.spec.gateway,
                routes: pool.spec.routes.clone(),
                dns: pool.spec.dns.clone(),
            });
        }
        addresses.sort_by_key(|granted| Family::of(granted.address.addr()));
        Ok(AddAnswer { addresses })
    }

    /// The ledger learns what was written.
    pub(crate) fn learn(&self, writes: &[Write], revisions: &[Revision]) {
        let now = self.now();
        let mut state = self.state.lock();
        for (write, revision) in writes.iter().zip(revisions) {
            match write {
                Write::Create(lease) | Write::Replace { lease, .. } => {
                    state.ledger.wrote(lease, revision.0, now);
                }
                Write::Delete { key, .. } => state.ledger.deleted(key, revision.0),
            }
        }
        state.waiting.wake();
    }

    pub(crate) fn learn_row(&self, key: &LeaseKey, row: Option<&Row>) {
        let now = self.now();
        let mut state = self.state.lock();
        match row {
            Some(row) => state.ledger.apply(&row.lease, row.revision.0, now),
            None => state.ledger.forget(key),
        }
        state.waiting.wake();
    }

    /// The ledger may know something else than the store about these rows.
    pub(crate) fn doubt(&self, keys: impl IntoIterator<Item = LeaseKey>) {
        self.doubtful.lock().extend(keys);
    }

    /// Reads doubtful rows again, so that what an attachment holds is known for certain.
    ///
    /// # Errors
    /// A row cannot be read: whoever acts on it now could give or leave what he does not know of.
    pub(crate) async fn settle_doubts(&self) -> Result<(), EngineError> {
        if self.resolve_doubts().await {
            return Ok(());
        }
        let why = "a row whose last write ended without an answer cannot be read".to_owned();
        Err(StoreError::Io { act: "reading the store", why }.into())
    }

    /// Reads again all rows that are in doubt by now, and waits for whoever reads some already. Says whether all could be
    /// read; what could not stays in doubt.
    pub(crate) async fn resolve_doubts(&self) -> bool {
        let _one = self.resolving.lock().await;
        let mut all_read = true;
        let mut doubtful = std::mem::take(&mut *self.doubtful.lock());
        while let Some(key) = doubtful.pop_first() {
            let before = self.state.lock().ledger.slot(&key);
            let row = match self.ports.store.get(&key).await {
                Ok(row) => row,
                Err(error) => {
                    all_read = false;
                    self.doubt([key]);
                    // Each try of a store that is away takes seconds, and all verbs wait for this.
                    if matches!(error, StoreError::Io { .. }) {
                        self.doubt(std::mem::take(&mut doubtful));
                    }
                    continue;
                }
            };
            let now = self.now();
            let mut state = self.state.lock();
            let known = state.ledger.slot(&key);
            let is_known =
                row.as_ref().map(|row| row.revision.0) == known.map(|slot| slot.revision);
            // To learn the same row again would begin its rest anew.
            if is_known {
                continue;
            }
            match (row, written(known) == written(before)) {
                (Some(row), true) => state.ledger.apply(&row.lease, row.revision.0, now),
                (None, true) => state.ledger.forget(&key),
                // Something else was learned meanwhile: the higher revision counts.
                (Some(row), false) => {
                    state.ledger.hear(&row.lease, row.revision.0, now);
                }
                (None, false) => {}
            }
            state.waiting.wake();
        }
        all_read
    }
}

/// Rows that may be the owner's, by uid or by name; one that is found both ways comes twice.
fn of_owner(ledger: &Ledger, owner: &Owner) -> Vec<(LeaseKey, Slot)> {
    let prints = [Print::uid(owner), Print::holder(owner)].into_iter().flatten();
    prints.flat_map(|print| ledger.of_owner(print)).collect()
}

/// What only a write or a reservation changes of a row: its version, and the ticket. What is seen of its holder meanwhile
/// is no reason to leave the row unlearned.
fn written(slot: Option<Slot>) -> Option<(u64, Option<u64>)> {
    slot.map(|slot| match slot.status {
        Status::Reserved { ticket } => (slot.revision, Some(ticket)),
        _ => (slot.revision, None),
    })
}

fn is_kept(slot: &Slot) -> bool {
    matches!(slot.status, Status::Released { keep_until: Some(_), .. })
}

pub(crate) fn random() -> Result<u128, EngineError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|e| EngineError::Bug { what: format!("no randomness from the kernel: {e}") })?;
    Ok(u128::from_be_bytes(bytes))
}

fn previous_row(lease: &Lease, request: &AddRequest, pool: u32, wall: u64) -> Option<Previous> {
    let LeaseState::Released { at, keep_until, .. } = lease.state else { return None };
    let seconds =
        |from: u64, to: u64| u32::try_from(to.saturating_sub(from) / 1000).unwrap_or(u32::MAX);
    let same_uid = lease.owner.is_same(&request.owner);
    let same_name = !lease.owner.name.is_empty()
        && (&lease.owner.namespace, &lease.owner.name)
            == (&request.owner.namespace, &request.owner.name);
    (same_uid || same_name).then(|| Previous {
        address: lease.address,
        pool,
        held_s: seconds(lease.bound_at.0, at.0),
        since_release_s: seconds(at.0, wall),
        same_uid,
        same_name,
        retained: keep_until.is_some_and(|until| until.0 > wall),
        resting: false,
    })
}
