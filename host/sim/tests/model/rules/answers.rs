//! An answer says what became durable; a refusal must have had to.

use std::collections::BTreeSet;

use tenure_core::address::Families;
use tenure_core::error::{Coded as _, Kind};
use tenure_core::lease::{Lease, LeaseKey, LeaseState};
use tenure_engine::{AddAnswer, EngineError};

use super::counts::Released;
use super::rows::proved_dead;
use crate::cast::{At, PLACES, addresses, at, key};
use crate::model::{Claim, Model};
use crate::ops::{NetnsAt, Ranking, Wish};
use crate::world::{AddCall, Answer, Call, Check, Flight, breach, families};

impl Model {
    /// Checks an answer, and takes in what it promises.
    pub fn answered(&mut self, flight: &Flight, answer: &Answer) -> Check {
        if let (Call::Add(_), Answer::Add(outcome)) = (&flight.call, answer) {
            self.reach(if outcome.is_ok() { "ADD answered" } else { "ADD refused" });
            if let Err(error) = outcome {
                self.reach(error.code());
            }
        }
        if flight.alone {
            self.reach("call alone");
        }
        match (&flight.call, answer) {
            (Call::Add(call), Answer::Add(Ok(answer))) => self.granted(flight, call, answer),
            (Call::Add(call), Answer::Add(Err(error))) => self.refused(flight, call, error),
            (Call::Del(request), Answer::Done(outcome)) => {
                let spooled = request.bound_before.is_some();
                self.deleted(flight, spooled, outcome)
            }
            (Call::Check(request), Answer::Done(outcome)) => self.checked(flight, request, outcome),
            (Call::Sweep, Answer::Sweep(Ok(swept))) if flight.alone && !self.doubt => {
                self.must_have_reclaimed(swept)
            }
            (Call::Gc(request), Answer::Gc(outcome)) => {
                let refuses = request.valid.is_empty() && !request.allow_empty;
                match outcome {
                    Ok(_) if refuses => breach!("GC took an empty list for none is valid"),
                    Err(error) if error.code() == "GC_REFUSED" && refuses => Ok(()),
                    Err(error) => self.excused(flight, error),
                    Ok(_) => Ok(()),
                }
            }
            (Call::Sweep, Answer::Sweep(Err(error)))
            | (Call::Import(_) | Call::Apply(_), Answer::Done(Err(error))) => {
                self.excused(flight, error)
            }
            (Call::Release(request), Answer::Release(outcome)) => match &**outcome {
                Err(error) => self.refused_by_hand(flight, request, error),
                Ok(_) => Ok(()),
            },
            _ => Ok(()),
        }
    }

    // === ADD ===

    fn granted(&mut self, flight: &Flight, call: &AddCall, answer: &AddAnswer) -> Check {
        let attachment = &call.request.attachment;
        let given: Vec<At> =
            answer.addresses.iter().map(|g| self.given(g)).collect::<Check<_>>()?;
        let set: BTreeSet<At> = given.iter().copied().collect();
        let mut written = flight.bound.iter().filter(|(bound, _)| *bound == set).peekable();
        if written.peek().is_none() {
            breach!("I2: {attachment} was answered {set:?} and nothing was written");
        }
        let fresh = written.all(|(_, fresh)| *fresh);
        let order = given.iter().map(|at| key(*at).family());
        if !order.clone().is_sorted() || order.clone().collect::<BTreeSet<_>>().len() != set.len() {
            breach!("I3: {attachment} was answered {set:?}");
        }
        let asked = flight.ever(|env| {
            let pools = env.pools.candidates(call.network(), &call.request.pools);
            pools.is_ok_and(|pools| families(&pools) == order.clone().collect())
        });
        if fresh && !asked {
            breach!("I3: {attachment} was answered {set:?}, not one address for each family");
        }
        let held: BTreeSet<At> = flight.held.iter().map(|(at, _)| *at).collect();
        if !held.is_empty() && !flight.released && held != set {
            breach!("I4: {attachment} held {held:?} and was answered {set:?}");
        }
        if flight.alone && flight.takes.as_ref().is_some_and(|takes| *takes != set) {
            breach!(
                "{attachment} was answered {set:?} and not what its pod had: {:?}",
                flight.takes
            );
        }
        let still: BTreeSet<At> = self.held_by(attachment).map(|(at, _)| at).collect();
        if still == set {
            let claim = Claim { addresses: set, cookie: call.cookie };
            self.claims.insert(attachment.clone(), claim);
        }
        Ok(())
    }

    /// An answered address, with the delivery facts of its pool.
    fn given(&self, granted: &tenure_engine::Granted) -> Check<At> {
        let pool = PLACES.iter().position(|place| place.name == granted.pool.as_str());
        let Some(pool) = pool else { breach!("a pool {} gave", granted.pool) };
        let space = tenure_core::name::SpaceName::new(PLACES[pool].space).unwrap();
        let at = at(&LeaseKey { space, address: granted.address.addr() });
        let gateway = PLACES[pool].gateway.map(|host| key((pool, host)).address);
        if granted.address.prefix_len() != PLACES[pool].prefix || granted.gateway != gateway {
            breach!("{} was answered with the facts of another pool", granted.address);
        }
        Ok(at)
    }

    fn refused(&self, flight: &Flight, call: &AddCall, error: &EngineError) -> Check {
        if error.kind() == Kind::Bug {
            breach!("{error}");
        }
        self.has_waited(flight, call, error)?;
        if error.code() == "UNSETTLED" && !(self.unsettled && (self.may_lack() || flight.imported))
        {
            breach!("{}: {error}", call.request.attachment);
        }
        if !flight.alone || self.doubt || error.code() == "UNSETTLED" {
            return Ok(());
        }
        let rows: Vec<(At, &Lease)> =
            self.held_by(&call.request.attachment).map(|(at, known)| (at, &known.lease)).collect();
        let held: Families = rows.iter().map(|(at, _)| key(*at).family()).collect();
        let complete = rows.first().is_some_and(|(_, lease)| lease.families == held);
        let same = rows.first().is_some_and(|(_, lease)| lease.config == call.request.config);
        let right = match error.code() {
            "BAD_NETNS" => call.add.netns == NetnsAt::Nowhere,
            "CONFIG_CHANGED" => {
                !same && rows.iter().any(|(at, l)| self.stands(flight, *at, l, call))
            }
            // All that follows is for those who hold nothing that they may keep.
            _ if complete && same => false,
            "UNKNOWN_POOL" | "NO_POOL" => {
                let found = self.env.pools.candidates(call.network(), &call.request.pools);
                found == Err(error.code())
            }
            "DENIED_BY_POLICY" => call.add.ranking == Ranking::Deny,
            "POOL_EXHAUSTED" => self.is_exhausted(call),
            "KEY_HELD" => self.is_key_held(call),
            "ADDRESS_UNAVAILABLE" => !matches!(call.add.wish, Wish::None),
            _ => false,
        };
        if !right {
            breach!("{} was refused without need: {error}", call.request.attachment);
        }
        Ok(())
    }

    /// An ADD that may wait is not refused before its time for what may come.
    fn has_waited(&self, flight: &Flight, call: &AddCall, error: &EngineError) -> Check {
        let may_come =
            matches!(error.code(), "POOL_EXHAUSTED" | "KEY_HELD" | "ADDRESS_UNAVAILABLE");
        let waited = self.env.times.mono - flight.began().times.mono;
        if may_come && error.kind() == Kind::Retry {
            self.reach(if call.add.wait_s > 0 { "waited in vain" } else { "refused at once" });
            if waited < call.wait_ms() {
                breach!("{} was refused after {waited} ms: {error}", call.request.attachment);
            }
        }
        Ok(())
    }

    /// The old home of a row cannot be called gone, or is the one of now.
    fn stands(&self, flight: &Flight, at: At, lease: &Lease, call: &AddCall) -> bool {
        let here = *lease.node.boot == *self.boot
            && (lease.netns.map(|n| n.cookie) == call.cookie || !call.is_visible());
        here || proved_dead(self, at, lease, flight).is_err()
    }

    /// For some family, no pool that is ranked certainly has an address.
    fn is_exhausted(&self, call: &AddCall) -> bool {
        let pools = &self.env.pools;
        let Ok(candidates) = pools.candidates(call.network(), &call.request.pools) else {
            return false;
        };
        let ranked = pools.ranked(call);
        families(&candidates).into_iter().any(|family| {
            let mut of_family = ranked.iter().filter(|pool| PLACES[**pool].family() == family);
            !of_family.any(|pool| addresses(*pool).any(|at| self.is_available(at)))
        })
    }

    /// Certainly could be given to anybody now.
    pub fn is_available(&self, at: At) -> bool {
        let row = self.rows.get(&at);
        self.env.pools.usable(at)
            && row.is_none_or(|row| {
                row.lease.is_released() && self.released(at, row) == Released::Ready
            })
    }

    fn is_key_held(&self, call: &AddCall) -> bool {
        let attachment = &call.request.attachment;
        self.rows.values().any(|known| {
            let lease = &known.lease;
            lease.has_holder()
                && lease.sticky.as_ref().map(|sticky| &*sticky.key) == call.key().as_deref()
                && lease.attachment.network == attachment.network
                && lease.attachment.ifname == attachment.ifname
        })
    }

    // === the others ===

    fn deleted(&self, flight: &Flight, spooled: bool, outcome: &Result<(), EngineError>) -> Check {
        let Err(error) = outcome else {
            let left = flight.held.iter().find(|(at, generation)| {
                let row = self.rows.get(at).map(|known| &known.lease);
                row.is_some_and(|row| {
                    flight.is_of(&row.attachment)
                        && row.has_holder()
                        && row.generation == *generation
                })
            });
            return match left {
                Some((at, _)) if !spooled && !flight.imported => {
                    breach!("I5: a DEL succeeded and {} is still held", key(*at))
                }
                _ => Ok(()),
            };
        };
        self.excused(flight, error)
    }

    fn checked(
        &self,
        flight: &Flight,
        request: &tenure_engine::CheckRequest,
        outcome: &Result<(), EngineError>,
    ) -> Check {
        if !flight.alone || self.doubt {
            return Ok(());
        }
        let rows: Vec<(At, &Lease)> =
            self.held_by(&request.attachment).map(|(at, known)| (at, &known.lease)).collect();
        let held: Families = rows.iter().map(|(at, _)| key(*at).family()).collect();
        let right = rows.first().is_some_and(|(_, lease)| lease.families == held)
            && rows.iter().all(|(at, _)| request.addresses.contains(&key(*at).address));
        if right != outcome.is_ok() {
            breach!("a CHECK of {} answered {outcome:?}", request.attachment);
        }
        Ok(())
    }

    fn refused_by_hand(
        &self,
        flight: &Flight,
        request: &tenure_engine::ReleaseRequest,
        error: &EngineError,
    ) -> Check {
        if !flight.alone || self.doubt {
            return Ok(());
        }
        let row = self.rows.values().map(|known| &known.lease);
        let mut row =
            row.filter(|lease| lease.address == request.address && lease.space == request.space);
        let Some(row) = row.next() else {
            return if error.code() == "NOT_FOUND" { Ok(()) } else { self.excused(flight, error) };
        };
        let dead = proved_dead(self, at(&row.key()), row, flight).is_ok();
        let unknown = row.netns.is_none_or(|netns| !self.env.tells(netns.cookie));
        let right = error.code() == "REFUSED"
            && (row.generation.0 != request.generation
                || matches!(row.state, LeaseState::Released { .. })
                || !(dead || unknown || request.even_if_live));
        if right { Ok(()) } else { self.excused(flight, error) }
    }

    /// An error of the store, or of calls that meet; nothing else may fail.
    fn excused(&self, flight: &Flight, error: &EngineError) -> Check {
        let busy =
            matches!(error.code(), "BUSY" | "OVERTAKEN") || error.code().starts_with("STORE");
        if error.kind() == Kind::Bug || ((flight.alone && !self.doubt) || !busy) {
            breach!("{:?} failed without need: {error}", flight.call);
        }
        Ok(())
    }
}
