//! Before an address is given: is anybody on the wire who answers for it? Asked where the pool says so (`spec.probe`),
//! and always for an address in quarantine or in a store that does not know yet what is alive.
//!
//! An answer puts the address into quarantine, and the ADD decides anew. Silence is permission, not proof, and counts
//! only if the witness was heard at all; where it is blind, an address that needs permission is not given.

use std::net::IpAddr;
use std::sync::Arc;

use tenure_core::lease::{AttemptId, Lease, LeaseKey, LeaseState, QuarantineCause};
use tenure_core::ledger::{Hold, Slot, Status};
use tenure_core::objects::Probe;
use tenure_core::ports::{WireLook, WireQuestion};
use tenure_store::{Row, Write};

use crate::add::random;
use crate::choose::Choice;
use crate::engine::State;
use crate::proof::is_unproved;
use crate::{AddRequest, Engine, EngineError};

/// So many other holders are asked as well, to know that the witness is heard.
const MAX_CONTROLS: usize = 4;

/// How much a probe matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Not at all.
    None,
    /// An answer forbids the address; a blind witness does not.
    Useful,
    /// Only valid silence permits the address.
    Required,
}

// === impl State ===

impl State {
    pub(crate) fn may_be_probed(&self, pool: usize) -> bool {
        self.ledger.pool(pool).is_some_and(|pool| pool.spec.probe != Probe::Never)
    }
}

// === impl Engine ===

impl Engine {
    /// The choice, if nobody answers for its addresses.
    ///
    /// # Errors
    /// [`EngineError::Overtaken`] if one of them is in quarantine now: decide anew. Everything that was reserved goes
    /// back with the choice.
    pub(crate) async fn clear_on_wire(
        self: &Arc<Self>,
        request: &AddRequest,
        choice: Choice,
    ) -> Result<Choice, EngineError> {
        let mut asked = Vec::new();
        for hold in choice.holds.iter() {
            let need = self.need(hold);
            if need != Need::None {
                let look = self.ask(request, hold);
                asked.push((hold.key.clone(), hold.prior, need, look));
            }
        }
        let mut clear = true;
        let mut again_later = Vec::new();
        for (key, prior, need, look) in asked {
            let look = look.await.map_err(|e| EngineError::Bug {
                what: format!("a probe ended without an answer: {e}"),
            })??;
            match (look, need) {
                (WireLook::Silent, _) => self.counters.probes_silent.one(),
                (WireLook::Answered { mac }, _) => {
                    self.counters.probes_answered.one();
                    clear = false;
                    match prior.filter(Slot::has_holder) {
                        // It is in quarantine because its holder may live, and that is who answers: the record says so already.
                        Some(prior) => again_later.push((key, prior.generation)),
                        None => self.quarantine(request, &choice, (key, prior, mac)).await?,
                    }
                }
                (WireLook::Blind { why }, Need::Required) => {
                    self.counters.probes_blind.one();
                    if let Some(unknown) = self.not_known() {
                        return Err(EngineError::Unsettled { why: unknown, blind: why });
                    }
                    tracing::warn!(address = %key, why, "an address in quarantine cannot be probed and stays there");
                    clear = false;
                    again_later.extend(prior.map(|prior| (key, prior.generation)));
                }
                (WireLook::Blind { why }, _) => {
                    self.counters.probes_blind.one();
                    tracing::info!(address = %key, why, "the wire witness is blind; the address is given without a probe");
                }
            }
        }
        if clear {
            return Ok(choice);
        }
        // Only what has gone back is in quarantine again.
        drop(choice);
        let now = self.now();
        let mut state = self.state.lock();
        for (key, generation) in again_later {
            state.ledger.note_probed(&key, generation, now);
        }
        Err(EngineError::Overtaken)
    }

    /// Whether this ADD may be given an address that only a silent probe permits.
    pub(crate) fn may_probe(&self, request: &AddRequest) -> bool {
        request.link.is_some() && self.ports.wire.is_some()
    }

    /// Those of the pools whose addresses may be probed for this ADD.
    pub(crate) fn probed(&self, request: &AddRequest, pools: &[usize]) -> Vec<usize> {
        if !self.may_probe(request) {
            return Vec::new();
        }
        let state = self.state.lock();
        pools.iter().copied().filter(|pool| state.may_be_probed(*pool)).collect()
    }

    fn probe_setting(&self, key: &LeaseKey) -> Probe {
        let state = self.state.lock();
        let pool = state.ledger.pool_at(key);
        pool.map_or(Probe::Never, |pool| pool.spec.probe)
    }

    fn need(&self, hold: &Hold) -> Need {
        if hold.prior.is_some_and(|slot| matches!(slot.status, Status::Quarantined { .. })) {
            return Need::Required;
        }
        if self.not_known().is_some() {
            return Need::Required;
        }
        match self.probe_setting(&hold.key) {
            Probe::Always => Need::Useful,
            Probe::Unproven if hold.prior.as_ref().is_some_and(is_unproved) => Need::Useful,
            Probe::Unproven | Probe::Never => Need::None,
        }
    }

    /// Asks on a thread of its own; all addresses of a set are asked for at once.
    fn ask(
        self: &Arc<Self>,
        request: &AddRequest,
        hold: &Hold,
    ) -> tokio::task::JoinHandle<Result<WireLook, EngineError>> {
        let (engine, link) = (self.clone(), request.link.clone());
        let (key, prior) = (hold.key.clone(), hold.prior);
        let node = Arc::new(self.node_of(request).clone());
        tokio::spawn(async move {
            let (Some(link), Some(wire)) = (link, engine.ports.wire.clone()) else {
                let why = "this kind of network has no method to ask on the wire".to_owned();
                return Ok(WireLook::Blind { why });
            };
            let (gateway, controls) = engine.controls_for(&key, prior.as_ref());
            let question = WireQuestion { node, link, address: key.address, gateway, controls };
            engine.run(engine.probes.clone(), move |_| wire.probe(&question)).await
        })
    }

    fn controls_for(&self, key: &LeaseKey, prior: Option<&Slot>) -> (Option<IpAddr>, Vec<IpAddr>) {
        let state = self.state.lock();
        let Some(pool) = state.ledger.pool_of(key) else { return (None, Vec::new()) };
        let gateway = state.ledger.pool(pool).and_then(|pool| pool.spec.gateway);
        (gateway, state.ledger.controls(pool, prior, MAX_CONTROLS))
    }

    /// Writes that a foreign machine has the address. A record needs a holder; that of a wire quarantine has no rights.
    async fn quarantine(
        self: &Arc<Self>,
        request: &AddRequest,
        choice: &Choice,
        (key, prior, mac): (LeaseKey, Option<Slot>, [u8; 6]),
    ) -> Result<(), EngineError> {
        tracing::error!(
            address = %key, mac = mac.map(|byte| format!("{byte:02x}")).join(":"),
            "a foreign machine answers for this address: it is quarantined, another one is given"
        );
        let wall = self.now().wall;
        let state = LeaseState::Quarantined { at: wall, cause: QuarantineCause::Wire };
        let write = match prior {
            None => {
                let attempt = AttemptId(random()?);
                let lease = self.new_lease(request, None, choice, attempt, &key, None)?;
                Write::Create(Lease { state, sticky: None, ..lease })
            }
            Some(prior) => {
                let Row { mut lease, revision } = self.prior_row(&key, prior.revision).await?;
                lease.state = state;
                Write::Replace { lease, expect: revision }
            }
        };
        self.commit(vec![write], Vec::new()).await
    }
}
