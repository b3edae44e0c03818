//! Each change of a row must have a reason.

use tenure_core::defaults::{FLOOR_UNPROVED, PROBES_APART};
use tenure_core::judge::LOOKS_APART;
use tenure_core::lease::{Generation, Lease, LeaseState, Netns, Proof, QuarantineCause};
use tenure_core::ledger::SETTLING;
use tenure_core::objects::Probe;
use tenure_engine::{DelRequest, GC_MIN_AGE};
use tenure_sim::Times;

use crate::cast::{At, PLACES, key};
use crate::machine::ROWS_KEPT;
use crate::model::{Known, Link, Model};
use crate::ops::Wish;
use crate::world::{AddCall, Breach, Call, Check, Env, Flight, Heard, breach};

/// One change of one row, in all that is known of it.
struct Change<'a> {
    model: &'a Model,
    time: Times,
    at: At,
    after: &'a Lease,
}

/// Whether anybody may have changed the row so.
pub fn change(
    model: &Model,
    time: Times,
    at: At,
    after: Option<&Lease>,
    flights: &[Flight],
) -> Check {
    let before = model.rows.get(&at);
    let Some(after) = after else { return forgotten(model, time, at, before, flights) };
    if after.key() != *key(at) {
        breach!("the record of {} says {}", key(at), after.key());
    }
    let change = Change { model, time, at, after };
    let adds = |check: &dyn Fn(&Flight, &AddCall) -> Check| {
        by_any(flights, |flight| match flight.add_of(&after.attachment) {
            Some(call) => check(flight, call),
            None => Err(Breach(format!("I1: {} was bound and nobody asked for it", key(at)))),
        })
    };
    match (&after.state, before.map(|before| (&before.lease.state, before))) {
        (LeaseState::Quarantined { cause: QuarantineCause::Wire, .. }, before) => {
            let before = before.map(|(_, before)| before);
            by_any(flights, |flight| change.answered_for(flight, before))
        }
        (
            LeaseState::Quarantined { cause, .. },
            Some((LeaseState::Quarantined { cause: QuarantineCause::TwoClaims, .. }, before)),
        ) if *cause != QuarantineCause::Wire => match cause {
            QuarantineCause::TwoClaims => {
                adds(&|flight, call| change.rebound(flight, call, before))
            }
            _ if after.generation == before.lease.generation => {
                by_any(flights, |flight| change.left_to_the_other(flight, before))
            }
            _ => change.found(Some(before), flights),
        },
        (
            LeaseState::Quarantined {
                cause: QuarantineCause::Found | QuarantineCause::TwoClaims,
                ..
            },
            before,
        ) => change.found(before.map(|(_, before)| before), flights),
        (
            LeaseState::Bound,
            Some((LeaseState::Quarantined { cause: QuarantineCause::Wire, .. }, before)),
        ) => adds(&|flight, call| change.cleared(flight, call, before)),
        (LeaseState::Bound, None) => {
            model.reach("taken, never used");
            adds(&|flight, call| {
                change.taken(flight, call, Generation(0))?;
                change.is_not_linked(flight, call)?;
                change.is_probed(flight, call, None)
            })
        }
        (LeaseState::Bound, Some((LeaseState::Released { .. }, before))) => {
            adds(&|flight, call| change.reused(flight, call, before))
        }
        (LeaseState::Bound, Some((_, before))) => {
            adds(&|flight, call| change.rebound(flight, call, before))
        }
        (LeaseState::Quarantined { .. }, Some((LeaseState::Bound, before))) => {
            by_any(flights, |flight| change.quarantined(flight, before))
        }
        (LeaseState::Released { .. }, Some((LeaseState::Released { .. }, before))) => {
            by_any(flights, |flight| change.lost_retention(flight, before))
        }
        (LeaseState::Released { .. }, Some((_, before))) => {
            change.released_as_recorded(before)?;
            by_any(flights, |flight| change.ended(flight, before))
        }
        (state, _) => breach!("{} became {state:?} from nothing", key(at)),
    }
}

/// A set is written whole: all its families in one commit, by one attempt.
pub fn whole_sets(model: &Model, changes: &[(At, Option<Lease>)]) -> Check {
    let by_add = |(at, after): &'_ (At, Option<Lease>)| {
        let before = model.rows.get(at).map(|known| &known.lease);
        after.as_ref().is_some_and(|after| is_held_by_add(after, before))
    };
    let written: Vec<(At, &Lease)> = changes
        .iter()
        .filter(|change| by_add(change))
        .filter_map(|(at, after)| Some((*at, after.as_ref()?)))
        .collect();
    for (_, lease) in &written {
        let of_set = || written.iter().filter(|(_, other)| other.attachment == lease.attachment);
        let families: tenure_core::address::Families =
            of_set().map(|(at, _)| key(*at).family()).collect();
        if families != lease.families || families.iter().count() != of_set().count() {
            breach!("I3: {} was not written whole: {}", lease.attachment, lease.address);
        }
        if of_set().any(|(_, other)| other.attempt != lease.attempt) {
            breach!("I3: the set of {} has two attempts", lease.attachment);
        }
    }
    Ok(())
}

impl Change<'_> {
    // === holds begin ===

    /// What every hold says of the call that began it.
    fn taken(&self, flight: &Flight, call: &AddCall, before: Generation) -> Check {
        self.is_recorded(flight, call)?;
        let (at, lease) = (self.at, self.after);
        if lease.generation != before.next() {
            breach!("{} has generation {} after {}", key(at), lease.generation.0, before.0);
        }
        let usable = flight.ever(|env| {
            let candidates = env.pools.candidates(call.network(), &call.request.pools);
            env.pools.usable(at)
                && candidates.is_ok_and(|pools| pools.contains(&at.0))
                && (call.wants(at) || env.pools.ranked(call).contains(&at.0))
        });
        if !usable {
            breach!("{} was given although its pool may not give it to this call", key(at));
        }
        self.sticky_as_asked(flight, call)
    }

    fn is_recorded(&self, flight: &Flight, call: &AddCall) -> Check {
        let (lease, request) = (self.after, &call.request);
        let what = key(self.at);
        if lease.owner != request.owner || lease.config != request.config {
            breach!("{what} is recorded for another holder than the one who asked");
        }
        if *lease.node.boot != *self.model.boot {
            breach!("{what} is recorded with boot {}", lease.node.boot);
        }
        if !flight.ever(|env| env.epoch == lease.epoch.0) {
            breach!("{what} is recorded with epoch {}", lease.epoch.0);
        }
        let boottime = flight.began().times.boottime..=self.time.boottime;
        if !boottime.contains(&lease.bound_boottime_ms) {
            breach!("{what} is recorded as bound at another time");
        }
        match lease.netns {
            Some(netns) if !call.is_visible() => {
                breach!("{what} is recorded with namespace {netns:?} that was not shown")
            }
            Some(netns) if Some(netns.cookie) != call.cookie && flight.alone => {
                breach!("{what} is recorded with another namespace: {netns:?}")
            }
            None if flight.alone && call.is_visible() && flight.always(|env| !env.silent) => {
                breach!("{what} is blind although the namespace could be seen")
            }
            _ => Ok(()),
        }
    }

    fn sticky_as_asked(&self, flight: &Flight, call: &AddCall) -> Check {
        let Some(sticky) = &self.after.sticky else { return Ok(()) };
        let Wish::Sticky { retain_s, .. } = &call.add.wish else {
            breach!("{} is kept for a key that nobody named", key(self.at));
        };
        let right = flight.ever(|env| {
            let most = env.pools.shape(self.at.0).map(|shape| shape.retain_max_s);
            most.is_some_and(|most| sticky.retain_s == most.min(*retain_s))
        });
        if Some(&*sticky.key) != call.key().as_deref() || !right {
            breach!("{} is kept otherwise than asked: {sticky:?}", key(self.at));
        }
        Ok(())
    }

    /// An address that somebody had before.
    fn reused(&self, flight: &Flight, call: &AddCall, before: &Known) -> Check {
        self.taken(flight, call, before.lease.generation)?;
        self.has_rested(flight, call, before)?;
        self.is_not_retained(call, before)?;
        self.is_not_in_use(flight, before)?;
        self.is_not_linked(flight, call)?;
        self.is_probed(flight, call, Some(before))
    }

    /// An address for which a foreign machine had answered.
    fn cleared(&self, flight: &Flight, call: &AddCall, before: &Known) -> Check {
        self.taken(flight, call, before.lease.generation)?;
        self.is_not_linked(flight, call)?;
        self.model.reach("cleared by a silent probe");
        if self.time.mono.saturating_sub(before.since) < PROBES_APART.as_millis() as u64 {
            breach!("{} was probed again too early", key(self.at));
        }
        self.heard_silence(flight, call)
    }

    /// I1: of those that the store had forgotten when it went back, and that a census must have found.
    fn is_not_linked(&self, flight: &Flight, call: &AddCall) -> Check {
        let links = self.model.links.iter().filter(|((_, at), _)| *at == self.at);
        for ((cookie, _), link) in links {
            let lost = link.up && link.lost && !link.abandoned;
            if lost && self.model.kernel.is_alive(*cookie) && Some(*cookie) != call.cookie {
                breach!("I1: {} lives in {cookie}, of which the store knows nothing", key(self.at));
            }
        }
        if self.model.strict && flight.always(|env| !env.tells_all()) {
            self.model.reach("given before it was known what is alive");
            return self.heard_silence(flight, call);
        }
        Ok(())
    }

    fn heard_silence(&self, flight: &Flight, call: &AddCall) -> Check {
        let address = key(self.at).address;
        if !(call.add.wire && flight.ever(|env| env.heard(address) == Heard::Silence)) {
            breach!("{address} was given without a silent probe");
        }
        Ok(())
    }

    /// Nothing is given for which an answer could be heard, where the pool asks.
    fn is_probed(&self, flight: &Flight, call: &AddCall, before: Option<&Known>) -> Check {
        let address = key(self.at).address;
        let asks = |env: &Env| match env.pools.shape(self.at.0).map(|shape| shape.probe) {
            Some(Probe::Always) => true,
            // A row without proof that this machine could still find.
            Some(Probe::Unproven) => before.is_some_and(|before| {
                let lease = &before.lease;
                lease.netns.is_some() && !self.may_be_proved(lease)
            }),
            Some(Probe::Never) | None => false,
        };
        let answered = flight.always(|env| env.heard(address) == Heard::Answer && asks(env));
        if call.add.wire && answered {
            breach!("{address} was given although somebody answers for it");
        }
        Ok(())
    }

    // === quarantine ===

    fn answered_for(&self, flight: &Flight, before: Option<&Known>) -> Check {
        let (what, address) = (key(self.at), key(self.at).address);
        let Call::Add(call) = &flight.call else { breach!("{what} was probed by nobody") };
        if !call.add.wire || !flight.ever(|env| env.heard(address) == Heard::Answer) {
            breach!("{what} was quarantined and nobody answered for it");
        }
        self.model.reach("answered for on the wire");
        let (same, generation) = match before {
            None => (self.after.attachment == call.request.attachment, Generation(1)),
            Some(Known { lease, .. }) => {
                let same = Lease { state: self.after.state.clone(), ..lease.clone() };
                (same == *self.after && !lease.has_holder(), lease.generation)
            }
        };
        if !same || generation != self.after.generation {
            breach!("{what} was quarantined, and its record changed: {:?}", self.after);
        }
        Ok(())
    }

    /// A census saw it on a link of which the row says nothing.
    fn found(&self, before: Option<&Known>, flights: &[Flight]) -> Check {
        let what = key(self.at);
        if !self.model.unsettled {
            breach!("{what} was found by a census that nothing asked for");
        }
        let old = before.map(|before| &before.lease);
        let is_here = |lease: &&Lease| *lease.node.boot == *self.model.boot;
        let home = old.filter(is_here).and_then(|lease| lease.netns).map(|netns| netns.cookie);
        let strange = |env: &Env| {
            env.linked.iter().any(|(cookie, address)| {
                *address == what.address
                    && Some(*cookie) != home
                    && (!self.is_stranger() || self.is_recorded_in(*cookie))
            })
        };
        let at_start = strange(&self.model.env);
        let seen = flights.iter().any(|flight| flight.ever(strange));
        let known = self.model.remembered.iter().any(|(at, home)| {
            let recorded = self.after.netns.map(|netns| netns.cookie);
            *at == self.at && (!self.is_stranger() || *home == recorded)
        });
        if !at_start && !seen && !known {
            breach!("{what} was found on a link, and stands on none");
        }
        if !self.is_stranger() {
            self.model.reach("found in two places");
            let old = old.filter(|lease| lease.has_holder() && !is_contested(lease));
            let same = old.map(|old| Lease { state: self.after.state.clone(), ..old.clone() });
            if same.as_ref() != Some(self.after) {
                breach!("{what} has two claims, and its record changed: {:?}", self.after);
            }
            return Ok(());
        }
        self.model.reach("found by a census");
        let generation = old.map_or(Generation(1), |old| old.generation.next());
        if self.after.generation != generation || *self.after.node.boot != *self.model.boot {
            breach!("{what} was found, and its record is wrong: {:?}", self.after);
        }
        match old {
            Some(old) if old.has_holder() => {
                let tells = |env: &Env| old.netns.is_some_and(|netns| env.tells(netns.cookie));
                let told = tells(&self.model.env) || flights.iter().any(|f| f.ever(tells));
                is_dead(self.model, self.at, old, told).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// One of two claimants lets go, and the other one is still there.
    fn left_to_the_other(&self, flight: &Flight, before: &Known) -> Check {
        let (what, old) = (key(self.at), &before.lease);
        self.model.reach("left to the other claimant");
        match &flight.call {
            Call::Del(request) => self.deleted_by(request, old)?,
            Call::Add(call) => drop(self.ended_by_own_add(flight, call, old)?),
            call => breach!("{what} of {} was taken from it by {call:?}", old.attachment),
        }
        let same = Lease {
            attachment: self.after.attachment.clone(),
            owner: self.after.owner.clone(),
            state: self.after.state.clone(),
            sticky: None,
            ..old.clone()
        };
        if same != *self.after || self.after.attachment == old.attachment || !self.is_stranger() {
            breach!(
                "{what} was left to the other claimant, and its record is wrong: {:?}",
                self.after
            );
        }
        Ok(())
    }

    fn is_stranger(&self) -> bool {
        matches!(self.after.state, LeaseState::Quarantined { cause: QuarantineCause::Found, .. })
    }

    fn is_recorded_in(&self, cookie: u64) -> bool {
        self.after.netns.map(|netns| netns.cookie) == Some(cookie)
    }

    /// I9 and I8: the rest is counted in the time of this process since it knows of the release.
    fn has_rested(&self, flight: &Flight, call: &AddCall, before: &Known) -> Check {
        let LeaseState::Released { rest_s, .. } = before.lease.state else { return Ok(()) };
        let age = self.time.mono.saturating_sub(before.since);
        let full = u64::from(rest_s) * 1000;
        if age >= full {
            self.model.reach("reused, rested");
            return Ok(());
        }
        let floors = flight.window.iter().filter_map(|env| env.pools.shape(self.at.0));
        let floor = floors.map(|shape| u64::from(shape.floor_s) * 1000).min().unwrap_or(0);
        let proved = self.may_be_proved(&before.lease);
        let least = if proved { 0 } else { FLOOR_UNPROVED.as_millis() as u64 };
        if age < floor.max(least).min(full) {
            breach!(
                "I9: {} was given {age} ms after its release (rest {full} ms, floor {floor} ms, proved: {proved})",
                key(self.at)
            );
        }
        self.model.reach(if proved { "reused early, proved" } else { "reused early, unproved" });
        if flight.alone && !call.wants(self.at) {
            self.was_under_pressure(call)?;
        }
        Ok(())
    }

    /// A rest is cut short only where nothing else is left.
    fn was_under_pressure(&self, call: &AddCall) -> Check {
        let pools = &self.model.env.pools;
        let family = PLACES[self.at.0].family();
        let ranked = pools.ranked(call).into_iter().filter(|p| PLACES[*p].family() == family);
        for pool in ranked {
            let mut unused = crate::cast::addresses(pool)
                .filter(|at| pools.usable(*at) && !self.model.rows.contains_key(at));
            if let Some(unused) = unused.next() {
                breach!("I9: {} rests, and {} is unused", key(self.at), key(unused));
            }
        }
        Ok(())
    }

    /// Whether anything can have proved the end of the last holder.
    fn may_be_proved(&self, before: &Lease) -> bool {
        let model = self.model;
        if !matches!(before.state, LeaseState::Released { proof: Proof::None, .. })
            || *before.node.boot != *model.boot
        {
            return true;
        }
        let Some(netns) = before.netns else { return false };
        let over = model.ended.get(&netns.cookie).is_some_and(|ended| {
            self.time.real.saturating_sub(*ended) >= SETTLING.as_millis() as u64
        });
        over || model.links.get(&(netns.cookie, self.at)).is_some_and(|link| !link.up)
    }

    fn is_not_retained(&self, call: &AddCall, before: &Known) -> Check {
        let Known { lease: before, expired, .. } = before;
        let LeaseState::Released { keep_until: Some(until), .. } = before.state else {
            return Ok(());
        };
        if *expired || self.time.wall >= until.0 {
            return Ok(());
        }
        let owner = &call.request.owner;
        let allowed = match &call.add.wish {
            Wish::Sticky { .. } => {
                let mine = before.sticky.as_ref().map(|sticky| &*sticky.key);
                mine == call.key().as_deref()
                    && before.attachment.network == call.request.attachment.network
                    && before.attachment.ifname == call.request.attachment.ifname
            }
            Wish::Policy { .. } => call.wants(self.at),
            Wish::Reuse(_) => {
                before.owner.is_same(owner)
                    || (!owner.name.is_empty() && before.owner.name == owner.name)
            }
            Wish::None | Wish::Fixed(_) => false,
        };
        self.model.reach("reused, retained");
        if !allowed {
            breach!("{} is kept for {:?} and was given away", key(self.at), before.sticky);
        }
        Ok(())
    }

    /// I1: no living namespace has it on a link, as far as anybody could know.
    fn is_not_in_use(&self, flight: &Flight, before: &Known) -> Check {
        let (model, lease) = (self.model, &before.lease);
        let own = self.after.netns.map(|netns| netns.cookie);
        let by_operator =
            matches!(lease.state, LeaseState::Released { proof: Proof::Operator, .. });
        for ((cookie, _), link) in model.links.iter().filter(|((_, at), _)| *at == self.at) {
            let in_use = link.up && !link.abandoned && model.kernel.is_alive(*cookie);
            let untold = flight.ever(|env| !env.tells(*cookie));
            let blind = lease.netns.is_none();
            if in_use && Some(*cookie) != own {
                model.reach("reused while on a link that nobody could see");
            }
            if in_use && Some(*cookie) != own && !untold && !blind && !by_operator {
                breach!("I1: {} stands on a link of living namespace {cookie}", key(self.at));
            }
        }
        self.has_settled(flight, lease)
    }

    /// The links of a namespace outlive it by a moment.
    fn has_settled(&self, flight: &Flight, before: &Lease) -> Check {
        let LeaseState::Released { proof: Proof::None, .. } = before.state else { return Ok(()) };
        let Some(netns) = before.netns.filter(|_| *before.node.boot == *self.model.boot) else {
            return Ok(());
        };
        // What ended while the call was under way, it may have seen alive, with the address on no link.
        let ended = self.model.ended.get(&netns.cookie);
        let began = flight.began().times.real;
        let ended = ended.filter(|ended| **ended < began || (flight.alone && **ended == began));
        let Some(ended) = ended else { return Ok(()) };
        let link = self.model.links.get(&(netns.cookie, self.at));
        let was_off = link.is_some_and(|link| !link.up);
        let age = self.time.real.saturating_sub(*ended);
        if age < SETTLING.as_millis() as u64 && !was_off && flight.always(|e| e.tells(netns.cookie))
        {
            breach!("I9: {} was given {age} ms after its namespace ended", key(self.at));
        }
        Ok(())
    }

    // === holds move ===

    /// The same attachment again, or another container of the same pod.
    fn rebound(&self, flight: &Flight, call: &AddCall, before: &Known) -> Check {
        let (old, new) = (&before.lease, self.after);
        self.is_recorded(flight, call)?;
        if new.generation != old.generation.next() {
            breach!("{} was bound again with generation {}", key(self.at), new.generation.0);
        }
        if old.config != new.config || old.sticky != new.sticky || old.families != new.families {
            breach!("I4: {} was bound again with another configuration", key(self.at));
        }
        let held = self.model.held_by(&old.attachment);
        let held: tenure_core::address::Families = held.map(|(at, _)| key(at).family()).collect();
        if held != old.families {
            breach!("I3: half a set of {} was bound again", old.attachment);
        }
        if old.attachment == new.attachment {
            let moved = old.netns != new.netns || old.node.boot != new.node.boot;
            self.model.reach(if moved { "moved" } else { "repeated" });
            if !old.is_bound() {
                self.model.reach("bound again out of quarantine");
            }
            return Ok(());
        }
        self.model.reach("taken over");
        let same_place = old.attachment.network == new.attachment.network
            && old.attachment.ifname == new.attachment.ifname;
        if !(old.is_bound() && old.owner.is_same(&new.owner) && same_place) {
            breach!("I1: {} of {} was given to {}", key(self.at), old.attachment, new.attachment);
        }
        proved_dead(self.model, self.at, old, flight).map(drop)
    }

    fn quarantined(&self, flight: &Flight, before: &Known) -> Check {
        let Call::Release(request) = &flight.call else {
            breach!("{} was quarantined and nobody asked for it", key(self.at));
        };
        let old = &before.lease;
        let right = (request.address, &request.space) == (old.address, &old.space)
            && request.generation == old.generation.0
            && (request.even_if_live || self.may_be_unknown(flight, old));
        self.model.reach("quarantined");
        if !right || self.after.generation != before.lease.generation {
            breach!("{} was quarantined otherwise than asked", key(self.at));
        }
        Ok(())
    }

    /// The key has another address now.
    fn lost_retention(&self, flight: &Flight, before: &Known) -> Check {
        let old = &before.lease;
        let Call::Add(call) = &flight.call else {
            breach!("{} was written anew by nobody", key(self.at));
        };
        let mut same = old.clone();
        if let LeaseState::Released { keep_until, .. } = &mut same.state {
            *keep_until = None;
        }
        let mine = old.sticky.as_ref().map(|sticky| &*sticky.key) == call.key().as_deref()
            && old.attachment.network == call.request.attachment.network
            && old.attachment.ifname == call.request.attachment.ifname;
        self.model.reach("lost its retention");
        if !mine || same != *self.after {
            breach!("{} lost its retention, or more, to another key", key(self.at));
        }
        Ok(())
    }

    // === holds end ===

    /// Whatever ends a hold changes nothing else of the record.
    fn released_as_recorded(&self, before: &Known) -> Check {
        let (old, new) = (&before.lease, self.after);
        let LeaseState::Released { at, keep_until, .. } = new.state else { return Ok(()) };
        let retain = new.sticky.as_ref().map_or(0, |sticky| u64::from(sticky.retain_s));
        let until = (retain > 0).then(|| at.plus_secs(retain));
        let same = Lease { state: old.state.clone(), sticky: old.sticky.clone(), ..new.clone() };
        if same != *old || keep_until != until {
            breach!("{} was released with another record: {new:?}", key(self.at));
        }
        Ok(())
    }

    fn ended(&self, flight: &Flight, before: &Known) -> Check {
        let old = &before.lease;
        let LeaseState::Released { proof, rest_s, .. } = self.after.state else { return Ok(()) };
        let proved = match &flight.call {
            Call::Del(request) => {
                self.deleted_by(request, old)?;
                Proof::None
            }
            Call::Add(call) => {
                let proof = self.ended_by_own_add(flight, call, old)?;
                self.model.reach("ended by its own ADD");
                proof
            }
            Call::Sweep => return self.swept(flight, before, proof, rest_s),
            Call::Gc(request) => self.collected(flight, request, before)?,
            Call::Release(request) => self.ended_by_hand(flight, request, old)?,
            Call::Check(_) | Call::Watch | Call::Import(_) | Call::Apply(_) => {
                breach!("I2: {} of {} was freed by nobody", key(self.at), old.attachment)
            }
        };
        if proof != proved {
            breach!("{} was freed with proof {proof:?}, not {proved:?}", key(self.at));
        }
        let rests = |env: &crate::world::Env| {
            env.pools.shape(self.at.0).map_or(120, |shape| shape.cooldown_s)
        };
        if !flight.ever(|env| rests(env) == rest_s) {
            breach!("I9: {} rests {rest_s} s", key(self.at));
        }
        Ok(())
    }

    fn deleted_by(&self, request: &DelRequest, old: &Lease) -> Check {
        if request.attachment != old.attachment {
            breach!("I5: {} was freed by the DEL of another", key(self.at));
        }
        if let Some(instant) = &request.bound_before {
            let before = if *old.node.boot == *instant.boot {
                old.bound_boottime_ms < instant.boottime_ms
            } else {
                *instant.boot == *self.model.boot
            };
            if !before {
                breach!("I5: {} was bound after its DEL was spooled", key(self.at));
            }
            self.model.reach("released by the spool");
        }
        self.model.reach("released");
        Ok(())
    }

    /// Its own attachment comes with another configuration, or with half a set.
    fn ended_by_own_add(&self, flight: &Flight, call: &AddCall, old: &Lease) -> Check<Proof> {
        if call.request.attachment != old.attachment {
            breach!("I2: {} of {} was freed by the ADD of another", key(self.at), old.attachment);
        }
        let held = self.model.held_by(&old.attachment).map(|(at, _)| key(at).family());
        let complete = held.collect::<tenure_core::address::Families>() == old.families;
        if complete && call.request.config == old.config {
            breach!("I4: {} was freed by the same ADD again", key(self.at));
        }
        let rebooted = *old.node.boot != *self.model.boot;
        if complete {
            proved_dead(self.model, self.at, old, flight)?;
        }
        Ok(if rebooted { Proof::Reboot } else { Proof::None })
    }

    /// I7: proof, a series of looks, and the grace.
    fn swept(&self, flight: &Flight, before: &Known, proof: Proof, rest_s: u32) -> Check {
        let old = &before.lease;
        let right = proved_dead(self.model, self.at, old, flight)?;
        if proof != right {
            breach!("I7: {} was reclaimed with proof {proof:?}, not {right:?}", key(self.at));
        }
        let looks = &self.model.looks;
        looks.may_reclaim(self.at, before.version, flight)?;
        let rests = |env: &crate::world::Env| {
            let floor = env.pools.shape(self.at.0).map_or(0, |shape| shape.floor_s);
            let said = u32::try_from(env.verdict.cooldown.as_secs()).unwrap_or(u32::MAX);
            said.clamp(floor, 86_400)
        };
        if !flight.ever(|env| rests(env) == rest_s) {
            breach!("I9: {} was reclaimed and rests {rest_s} s", key(self.at));
        }
        self.model.reach(match proof {
            Proof::Reboot => "reclaimed after a reboot",
            _ => "reclaimed",
        });
        if !old.is_bound() {
            self.model.reach("reclaimed out of quarantine");
        }
        if is_contested(old) { self.is_on_no_link(flight) } else { Ok(()) }
    }

    /// A row names one of several claimants; all must be gone.
    fn is_on_no_link(&self, flight: &Flight) -> Check {
        let what = key(self.at);
        let on = |((cookie, at), link): (&(u64, At), &Link)| {
            *at == self.at && link.up && self.model.kernel.is_alive(*cookie)
        };
        if self.model.links.iter().any(on) {
            breach!("I1: {what} was reclaimed, and still stands on a link");
        }
        if !flight.ever(Env::tells_all) {
            breach!("I7: {what} was reclaimed and no census was complete");
        }
        Ok(())
    }

    fn collected(
        &self,
        flight: &Flight,
        request: &tenure_engine::GcRequest,
        before: &Known,
    ) -> Check<Proof> {
        let (old, what) = (&before.lease, key(self.at));
        let (container, ifname) = (&old.attachment.container, &old.attachment.ifname);
        if old.attachment.network != request.network
            || request.valid.iter().any(|(c, i)| (c, i) == (container, ifname))
        {
            breach!("I7: GC freed {what}, which is listed, or of another network");
        }
        let began = flight.began().times;
        if began.mono.saturating_sub(before.since) < GC_MIN_AGE.as_millis() as u64 {
            breach!("I7: GC freed {what}, which is too young");
        }
        if self.time.mono.saturating_sub(began.mono) < LOOKS_APART.as_millis() as u64 {
            breach!("I7: GC freed {what} by looks too close to each other");
        }
        let ended = old.netns.and_then(|netns| self.model.ended.get(&netns.cookie));
        let proof = proved_dead(self.model, self.at, old, flight)?;
        let looks_apart = LOOKS_APART.as_millis() as u64;
        let over = ended.is_some_and(|ended| self.time.real.saturating_sub(*ended) >= looks_apart);
        if proof == Proof::Kernel && !over {
            breach!("I7: GC freed {what}, whose holder lived at the first look");
        }
        self.model.reach("collected");
        Ok(proof)
    }

    fn ended_by_hand(
        &self,
        flight: &Flight,
        request: &tenure_engine::ReleaseRequest,
        old: &Lease,
    ) -> Check<Proof> {
        let what = key(self.at);
        if (request.address, request.generation) != (old.address, old.generation.0) {
            breach!("{what} was freed by hand, but in another generation");
        }
        if let Ok(proof) = proved_dead(self.model, self.at, old, flight) {
            return Ok(if proof == Proof::Reboot { proof } else { Proof::Operator });
        }
        self.model.reach("freed by hand");
        if old.is_bound() {
            breach!("I7: {what} was freed by hand, not quarantined, and its holder may live");
        }
        if !request.even_if_live && !self.may_be_unknown(flight, old) {
            breach!("I7: {what} was freed by hand although its holder lives");
        }
        Ok(Proof::Operator)
    }

    /// The witness may have said nothing of its holder.
    fn may_be_unknown(&self, flight: &Flight, old: &Lease) -> bool {
        old.netns.is_none_or(|netns| flight.ever(|env| !env.tells(netns.cookie)))
    }
}

/// The holder of a row is dead, and the witness could say so. Answers by what.
pub fn proved_dead(model: &Model, at: At, lease: &Lease, flight: &Flight) -> Check<Proof> {
    let told = |netns: Netns| flight.ever(|env| env.tells(netns.cookie));
    is_dead(model, at, lease, lease.netns.is_some_and(told))
}

fn is_dead(model: &Model, at: At, lease: &Lease, told: bool) -> Check<Proof> {
    if *lease.node.boot != *model.boot {
        return Ok(Proof::Reboot);
    }
    let Some(netns) = lease.netns else {
        breach!("I7: {} of {} is blind, and was freed", key(at), lease.attachment);
    };
    if model.kernel.is_alive(netns.cookie) {
        breach!("I7: {} of {} was freed, and its namespace lives", key(at), lease.attachment);
    }
    if !told {
        breach!("I7: {} was freed although the witness cannot tell", key(at));
    }
    Ok(Proof::Kernel)
}

/// A census put it into quarantine.
pub fn is_contested(lease: &Lease) -> bool {
    let LeaseState::Quarantined { cause, .. } = &lease.state else { return false };
    matches!(cause, QuarantineCause::Found | QuarantineCause::TwoClaims)
}

/// The row is part of what an ADD wrote: bound, or bound again while another one claims it, too.
pub fn is_held_by_add(lease: &Lease, before: Option<&Lease>) -> bool {
    let LeaseState::Quarantined { cause, .. } = &lease.state else { return lease.is_bound() };
    let again = before.is_some_and(|before| before.generation != lease.generation);
    *cause == QuarantineCause::TwoClaims && again
}

/// A row goes only by a sweep, long rested, and beyond the bound or where no pool has it.
fn forgotten(
    model: &Model,
    time: Times,
    at: At,
    before: Option<&Known>,
    flights: &[Flight],
) -> Check {
    const HOUR: u64 = 3_600_000;
    let what = key(at);
    let Some(before) = before else { breach!("{what} had no row and lost it") };
    let LeaseState::Released { rest_s, .. } = before.lease.state else {
        breach!("I2: the row of {what} was deleted while it is held");
    };
    if time.mono.saturating_sub(before.since) < u64::from(rest_s) * 1000 + HOUR {
        breach!("the row of {what} was forgotten too early");
    }
    let released = model.rows.values().filter(|known| known.lease.is_released()).count();
    by_any(flights, |flight| {
        // A pool that leaves may be gone since another sweep.
        let leaves = |env: &Env| env.pools.pools[at.0].is_some_and(|pool| pool.leaving);
        let counted = flight.always(|env| env.pools.has(at) && !leaves(env));
        if !matches!(flight.call, Call::Sweep) || (flight.alone && counted && released <= ROWS_KEPT)
        {
            breach!("the row of {what} was forgotten for no reason");
        }
        model.reach("forgotten");
        Ok(())
    })
}

fn by_any(flights: &[Flight], mut check: impl FnMut(&Flight) -> Check) -> Check {
    let mut why = Vec::new();
    for flight in flights {
        match check(flight) {
            Ok(()) => return Ok(()),
            Err(Breach(text)) => why.push(text),
        }
    }
    why.dedup();
    breach!("no call under way may do so: {}", why.join("; "))
}
