//! What each operation does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tenure_core::address::{Families, Family};
use tenure_core::decision::{Affinity, RETAIN_AS_AT_ADD, Selection, Verdict};
use tenure_core::error::Coded as _;
use tenure_core::lease::Attachment;
use tenure_core::name::{Digest, IfName, NetworkName, ObjectName, SpaceName};
use tenure_core::objects::{Object, ObjectKind};
use tenure_core::ports::WireLink;
use tenure_engine::{
    AddRequest, Caller, CheckRequest, DelRequest, Deleted, FixedAddress, GcRequest, NetnsRef,
    ReleaseRequest, SpoolInstant,
};
use tenure_sim::{AFFINITY, Gate, SELECTION};
use tenure_store::{Contents, ImportMode, read_export};

use crate::cast::{ACTORS, Actor, PLACES, address, cast, everybody, key, named};
use crate::cast::{reservation, shape, slot_name};
use crate::machine::{MOST_FLIGHTS, Machine, boot_name};
use crate::ops::{Add, Fault, HeldAt, NetnsAt, Op, Ranking, Verb, Wish};
use crate::rules::rows::proved_dead;
use crate::world::{AddCall, Answer, Call, Check, Flight, Written, breach, key_name};

impl Machine {
    pub fn act(&mut self, op: &Op) -> Check {
        match op {
            Op::Call(verb) => self.launch(std::slice::from_ref(verb)),
            Op::Together { verbs, noise } => {
                self.store.set_noise(Some(*noise));
                self.launch(verbs);
            }
            Op::HangUp { nth } => {
                let at = usize::from(*nth) % self.flights.len().max(1);
                if let Some(flight) = self.flights.get_mut(at) {
                    flight.hung_up = true;
                    flight.task.abort();
                }
            }
            Op::Spool { who } => {
                let instant = SpoolInstant {
                    boot: boot_name(self.boots),
                    boottime_ms: self.clock.times().boottime,
                };
                self.spool.push_back((*who, instant));
            }
            Op::Pool { .. } | Op::DeletePool { .. } | Op::Reserve { .. } => {
                return self.operate(op);
            }
            Op::Export => {
                let mut text = Vec::new();
                let wall = tenure_core::time::WallMs(self.clock.times().wall);
                tenure_store::export(
                    &*self.store,
                    wall,
                    tenure_store::ExportFormat::default(),
                    &mut text,
                )
                .unwrap();
                self.exported = Some((text, self.model.env.pools.clone()));
            }
            Op::Restart { sent, reboot, back } => return self.restart(*sent, *reboot, *back),
            Op::Pass { ms } => self.pass(Duration::from_millis(u64::from(*ms))),
            Op::Wall { by_s } => self.clock.jump_wall(i64::from(*by_s) * 1000),
            Op::Suspend { s } => self.clock.suspend(Duration::from_secs(u64::from(*s))),
            _ => self.disturb(op),
        }
        Ok(())
    }

    /// What happens to namespaces, links, the witness, the policy and the store.
    fn disturb(&mut self, op: &Op) {
        match op {
            Op::End { who, kept } => self.end(cast(*who).path, *kept),
            Op::LetGo { nth } if !self.kept.is_empty() => {
                let cookie = self.kept.remove(usize::from(*nth) % self.kept.len());
                self.end_cookie(cookie);
            }
            Op::Link { who, up: true } => self.link(&cast(*who).attachment),
            Op::Link { who, up: false } => self.unlink(cast(*who).path),
            Op::Silent { steps } => {
                self.timers.silent = *steps;
                self.kernel.be_silent(true);
            }
            Op::Unsure { who, steps } => {
                if let Some(cookie) = self.cookie_of(cast(*who)) {
                    self.timers.unsure.retain(|(known, _)| *known != cookie);
                    self.timers.unsure.push((cookie, *steps));
                    self.kernel.be_unsure(cookie, true);
                }
            }
            Op::Foreign { address: number, answers } => {
                let foreign = Rc::make_mut(&mut self.model.env.foreign);
                match answers {
                    // More of them and no address is left to be given.
                    true if foreign.len() < 3 => drop(foreign.insert(address(*number))),
                    true => {}
                    false => drop(foreign.remove(&address(*number))),
                }
            }
            Op::Deaf { steps } => {
                self.timers.deaf = *steps;
                self.wire.be_blind(true);
            }
            Op::Verdict { number } => *self.policies.verdict.lock() = verdict(*number),
            Op::Hold { at, steps } => {
                self.timers.hold = *steps;
                self.store.set_gate(match at {
                    HeldAt::Before => Gate::Before,
                    HeldAt::After => Gate::After,
                    HeldAt::Reads => Gate::Reads,
                });
            }
            Op::Fault { fault, nth } => self.store.fail_commit(u64::from(*nth), of_store(*fault)),
            Op::ReadsFail { steps } => {
                self.timers.reads = *steps;
                self.store.fail_reads(true);
            }
            _ => {}
        }
    }

    // === namespaces ===

    fn end(&mut self, path: &str, kept: bool) {
        let Some(cookie) = self.kernel.leave(path) else { return };
        if kept {
            self.kept.push(cookie);
        } else {
            self.end_cookie(cookie);
        }
    }

    pub fn end_cookie(&mut self, cookie: u64) {
        self.kernel.end_cookie(cookie);
        self.observe();
        self.model.namespace_ended(cookie);
    }

    /// The main plugin removes the links: of holds that have ended, too.
    fn unlink(&mut self, path: &str) {
        let Some(cookie) = self.kernel.cookie(path) else { return };
        self.observe();
        let links: Vec<_> = self.model.links.keys().filter(|(c, _)| *c == cookie).collect();
        let links: Vec<_> = links.into_iter().map(|(_, at)| *at).collect();
        for at in links {
            self.kernel.set_link(cookie, key(at).address, false);
            self.model.set_link(cookie, at, false);
        }
    }

    /// The namespace of a container, also when it has lost its path.
    fn cookie_of(&self, actor: &Actor) -> Option<u64> {
        let claim = self.model.claims.get(&actor.attachment);
        claim.and_then(|claim| claim.cookie).or_else(|| self.kernel.cookie(actor.path))
    }

    // === the operator ===

    fn operate(&mut self, op: &Op) -> Check {
        // An import that waits has the right to change objects, and so has whoever changes one.
        let changes = |flight: &Flight| matches!(flight.call, Call::Import(_) | Call::Apply(_));
        if self.flights.iter().any(changes) {
            return Ok(());
        }
        match op {
            Op::Pool { pool, shape: number } => {
                let (pool, shape) = (usize::from(*pool), shape(*number));
                self.apply(PLACES[pool].object(&shape))?;
                self.model.set_pools(|written| {
                    let leaving = written.pools[pool].is_some_and(|before| before.leaving);
                    written.pools[pool] = Some(Written { shape, leaving });
                });
                Ok(())
            }
            Op::DeletePool { pool } => self.delete_pool(usize::from(*pool)),
            Op::Reserve { slot, from } => {
                let slot = usize::from(*slot);
                match from {
                    Some(from) => self.apply(reservation(slot, *from))?,
                    None => {
                        self.model.unsettled = true;
                        drop(self.delete(ObjectKind::IPReservation, &slot_name(slot)));
                    }
                }
                self.model.set_pools(|written| written.reserved[slot] = *from);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Objects count at once; the census that follows may wait for the store.
    fn apply(&mut self, object: Object) -> Check {
        self.model.unsettled = true;
        self.start(Call::Apply(Box::new(object)));
        self.run();
        let ended = self.flights.last().is_some_and(|flight| flight.task.is_finished());
        match self.flights.pop_if(|_| ended) {
            None => Ok(()),
            Some(mut flight) => match self.process.runtime.block_on(&mut flight.task) {
                Ok(Answer::Done(Ok(()))) => Ok(()),
                answer => breach!("an object was refused: {answer:?}"),
            },
        }
    }

    fn delete(
        &mut self,
        kind: ObjectKind,
        name: &str,
    ) -> Result<Deleted, tenure_engine::EngineError> {
        let engine = self.process.engine.clone();
        let name = ObjectName::new(name).unwrap();
        self.process.runtime.block_on(async move { engine.delete(kind, &name).await })
    }

    fn delete_pool(&mut self, pool: usize) -> Check {
        let there = self.model.env.pools.pools[pool].is_some();
        match self.delete(ObjectKind::IPPool, PLACES[pool].name) {
            Err(error) if !there && error.code() == "NOT_FOUND" => Ok(()),
            Ok(_) if there => {
                self.model.set_pools(|written| {
                    written.pools[pool].as_mut().unwrap().leaving = true;
                });
                Ok(())
            }
            outcome => breach!("deleting a pool answered {outcome:?}"),
        }
    }

    // === calls ===

    fn launch(&mut self, verbs: &[Verb]) {
        let quiet = self.flights.is_empty() && self.store.is_idle();
        for verb in verbs {
            if self.flights.len() < MOST_FLIGHTS
                && let Some(call) = self.call(verb)
            {
                self.observe();
                self.start(call);
            }
        }
        let alone = quiet && self.flights.len() == 1 && self.timers.reads == 0;
        self.flights.iter_mut().for_each(|flight| flight.alone = alone);
    }

    pub fn start(&mut self, call: Call) {
        let held = call.attachment().map_or_else(Vec::new, |attachment| {
            let held = self.model.held_by(attachment);
            held.map(|(at, known)| (at, known.lease.generation)).collect()
        });
        self.calls += 1;
        let task = self.process.runtime.spawn(self.run_call(call.clone()));
        let mut flight = Flight {
            call,
            window: vec![self.model.env.clone()],
            held,
            takes: None,
            bound: Vec::new(),
            released: false,
            imported: false,
            alone: true,
            is_new: true,
            hung_up: false,
            number: self.calls,
            waits: None,
            fresh: Vec::new(),
            task,
        };
        flight.takes = self.takes(&flight);
        self.flights.push(flight);
    }

    fn run_call(&self, call: Call) -> impl Future<Output = Answer> + Send + 'static {
        let engine = self.process.engine.clone();
        // What only the model needs stays on this thread.
        let sent = match call {
            Call::Add(call) => Sent::Add(call.request),
            Call::Del(request) => Sent::Del(request),
            Call::Check(request) => Sent::Check(request),
            Call::Gc(request) => Sent::Gc(request),
            Call::Release(request) => Sent::Release(request),
            Call::Sweep => Sent::Sweep,
            Call::Watch => Sent::Watch,
            Call::Apply(object) => Sent::Apply(object),
            Call::Import(_) => {
                let (text, _) = self.exported.as_ref().unwrap();
                Sent::Import(read_export(&mut &text[..]).unwrap())
            }
        };
        async move {
            match sent {
                Sent::Add(request) => Answer::Add(engine.add(request).await),
                Sent::Del(request) => Answer::Done(engine.del(request).await),
                Sent::Check(request) => Answer::Done(engine.check(request).await),
                Sent::Gc(request) => Answer::Gc(engine.gc(request).await),
                Sent::Release(request) => {
                    Answer::Release(Box::new(engine.release_by_hand(request, "root").await))
                }
                Sent::Sweep => Answer::Sweep(engine.sweep().await),
                Sent::Watch => {
                    engine.look_after_releases();
                    Answer::Watch
                }
                Sent::Apply(object) => {
                    Answer::Done(engine.apply(vec![*object], false).await.map(drop))
                }
                Sent::Import(contents) => {
                    Answer::Done(engine.import(contents, ImportMode::Replace).await)
                }
            }
        }
    }

    fn call(&mut self, verb: &Verb) -> Option<Call> {
        Some(match verb {
            Verb::Add(add) => Call::Add(Box::new(self.add_call(add))),
            Verb::Del { who } => Call::Del(del(*who, None)),
            Verb::Drain => {
                let (who, instant) = self.spool.pop_front()?;
                Call::Del(del(who, Some(instant)))
            }
            Verb::Check { who, right } => {
                let attachment = cast(*who).attachment.clone();
                let held = self.model.held_by(&attachment).map(|(at, _)| key(at).address);
                let addresses = held.skip(usize::from(!*right)).collect();
                Call::Check(CheckRequest { attachment, node: None, addresses })
            }
            Verb::Gc { listed, allow_empty } => Call::Gc(gc(*listed, *allow_empty)),
            Verb::Sweep => Call::Sweep,
            Verb::Watch => Call::Watch,
            Verb::Release { address: number, stale, even_if_live } => {
                let space = SpaceName::default();
                let at_key = tenure_core::lease::LeaseKey { space, address: address(*number) };
                let known = self.model.rows.iter().find(|(at, _)| *key(**at) == at_key);
                let generation = known.map_or(1, |(_, known)| known.lease.generation.0);
                Call::Release(ReleaseRequest {
                    address: at_key.address,
                    space: at_key.space,
                    generation: if *stale { generation.wrapping_sub(1) } else { generation },
                    even_if_live: *even_if_live,
                    reason: "model".to_owned(),
                })
            }
            Verb::Import => Call::Import(Rc::clone(&self.exported.as_ref()?.1)),
        })
    }

    fn add_call(&mut self, add: &Add) -> AddCall {
        let actor = cast(add.who);
        let cookie = match add.netns {
            NetnsAt::Its | NetnsAt::OtherFile => Some(self.kernel.make(actor.path)),
            NetnsAt::Nowhere | NetnsAt::Absent => None,
        };
        let path = PathBuf::from(if cookie.is_some() { actor.path } else { "nowhere" });
        let file = cookie.map(|cookie| match add.netns {
            NetnsAt::OtherFile => (4, 99),
            _ => (4, cookie % 3),
        });
        let netns = (add.netns != NetnsAt::Absent).then_some(NetnsRef { path, file });
        let request = AddRequest {
            attachment: actor.attachment.clone(),
            caller: Caller::Here { netns },
            owner: actor.owner.clone(),
            facts: None,
            attributes: attributes(add),
            pools: named(add.pools),
            fixed: fixed(&add.wish),
            config: Digest::of(&[add.config]),
            wait: Duration::from_secs(add.wait_s.into()),
            link: add.wire.then(|| WireLink::Macvlan { parent: IfName::new("eth1").unwrap() }),
        };
        AddCall { add: add.clone(), request, cookie }
    }

    /// What an ADD must take over: the addresses of its pod's only other container, if that is dead.
    fn takes(&self, flight: &Flight) -> Option<BTreeSet<crate::cast::At>> {
        let Call::Add(call) = &flight.call else { return None };
        if self.model.unsettled {
            // A census may come first, and find somebody else there.
            return None;
        }
        let request = &call.request;
        let others = self.model.rows.iter().filter(|(_, known)| {
            let lease = &known.lease;
            lease.is_bound()
                && lease.owner.is_same(&request.owner)
                && lease.attachment.network == request.attachment.network
                && lease.attachment.ifname == request.attachment.ifname
        });
        let others: Vec<_> = others.map(|(at, known)| (*at, &known.lease)).collect();
        let (_, first) = others.first()?;
        let attachments: BTreeSet<&Attachment> =
            others.iter().map(|(_, l)| &l.attachment).collect();
        let families: Families = others.iter().map(|(at, _)| key(*at).family()).collect();
        let dead = others.iter().all(|(at, l)| proved_dead(&self.model, *at, l, flight).is_ok());
        let takes = flight.held.is_empty()
            && attachments.len() == 1
            && !attachments.contains(&request.attachment)
            && families == first.families
            && first.config == request.config
            && call.add.netns != NetnsAt::Nowhere
            && dead;
        takes.then(|| others.iter().map(|(at, _)| *at).collect())
    }
}

/// What the engine is sent.
enum Sent {
    Add(AddRequest),
    Del(DelRequest),
    Check(CheckRequest),
    Gc(GcRequest),
    Release(ReleaseRequest),
    Sweep,
    Watch,
    Import(Contents),
    Apply(Box<Object>),
}

fn del(who: u8, bound_before: Option<SpoolInstant>) -> DelRequest {
    DelRequest { bound_before, ..DelRequest::of(cast(who).attachment.clone()) }
}

fn gc(listed: u16, allow_empty: bool) -> GcRequest {
    let network = NetworkName::new("net").unwrap();
    let among = |n: usize| listed & (1 << (n % usize::from(ACTORS))) != 0;
    let actors = everybody()
        .enumerate()
        .filter(|(n, actor)| among(*n) && actor.attachment.network == network);
    let valid = actors
        .map(|(_, actor)| (actor.attachment.container.clone(), actor.attachment.ifname.clone()));
    GcRequest { node: None, valid: valid.collect(), network, allow_empty }
}

/// At most one per family, as the plugin sends them.
fn fixed(wish: &Wish) -> Vec<FixedAddress> {
    let Wish::Fixed(numbers) = wish else { return Vec::new() };
    let mut families = BTreeSet::new();
    let addresses = numbers.iter().map(|number| address(*number));
    let addresses = addresses.filter(|address| families.insert(Family::of(*address)));
    addresses.map(|address| FixedAddress { address, prefix: None }).collect()
}

/// What the policies will say to this request.
fn attributes(add: &Add) -> BTreeMap<String, String> {
    let list = |numbers: &[u8]| numbers.iter().map(|number| address(*number)).collect();
    let affinity = match &add.wish {
        Wish::None | Wish::Fixed(_) => None,
        Wish::Sticky { key, if_held, retain_s, preferred } => Some(Affinity::Sticky {
            key: key_name(*key),
            if_held: *if_held,
            retain_s: *retain_s,
            preferred: list(preferred),
        }),
        Wish::Policy { addresses, if_held } => {
            Some(Affinity::Fixed { addresses: list(addresses), if_held: *if_held })
        }
        Wish::Reuse(rows) => {
            Some(Affinity::Reuse(rows.iter().map(|row| u32::from(*row)).collect()))
        }
    };
    let selection = match &add.ranking {
        Ranking::Usual => None,
        Ranking::Rows(rows) => {
            Some(Selection::Ranked(rows.iter().map(|row| u32::from(*row)).collect()))
        }
        Ranking::Deny => Some(Selection::Deny("the model says no".to_owned())),
    };
    let mut attributes = BTreeMap::new();
    if let Some(affinity) = affinity {
        attributes.insert(AFFINITY.to_owned(), serde_json::to_string(&affinity).unwrap());
    }
    if let Some(selection) = selection {
        attributes.insert(SELECTION.to_owned(), serde_json::to_string(&selection).unwrap());
    }
    attributes
}

/// Figures of a reclaim policy, senseless ones among them.
pub fn verdict(number: u8) -> Verdict {
    let usual = Verdict {
        grace: Duration::from_secs(2),
        retain: RETAIN_AS_AT_ADD,
        cooldown: Duration::from_secs(120),
        permits_unfenced: true,
    };
    match number {
        1 => Verdict { grace: Duration::ZERO, ..usual },
        2 => Verdict { grace: Duration::MAX, ..usual },
        3 => Verdict { cooldown: Duration::ZERO, ..usual },
        4 => Verdict { cooldown: Duration::MAX, ..usual },
        5 => Verdict { retain: Duration::ZERO, ..usual },
        6 => Verdict { retain: Duration::from_secs(90_000_000), ..usual },
        _ => usual,
    }
}

fn of_store(fault: Fault) -> tenure_store::Fault {
    match fault {
        Fault::Refused => tenure_store::Fault::Io,
        Fault::Overloaded => tenure_store::Fault::Overloaded,
        Fault::UnknownLost => tenure_store::Fault::UnknownLost,
        Fault::UnknownDone => tenure_store::Fault::UnknownDone,
    }
}
