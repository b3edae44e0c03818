//! How every history ends: all is well again, time passes, and nothing is lost (I6). In the end each pool serves as many
//! as it has addresses.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tenure_core::lease::{Attachment, LeaseState, Owner};
use tenure_core::name::{ContainerId, Digest, IfName, NetworkName, PoolName};
use tenure_engine::{AddRequest, Caller, NetnsRef, ReleaseRequest};
use tenure_sim::Gate;

use crate::acts::verdict;
use crate::cast::{PLACES, everybody, key};
use crate::machine::Machine;
use crate::ops::{Add, NetnsAt, Op, Ranking, Verb, Wish};
use crate::world::{AddCall, Breach, Call, Check, breach};

const SWEEP: Op = Op::Call(Verb::Sweep);

impl Machine {
    pub fn finish(&mut self) -> Check {
        self.all_is_well()?;
        self.the_dead_are_found()?;
        self.everybody_leaves()?;
        self.everything_is_free()?;
        self.every_address_can_be_given()
    }

    fn all_is_well(&mut self) -> Check {
        self.store.set_gate(Gate::Open);
        self.store.heal();
        self.store.fail_reads(false);
        self.kernel.be_silent(false);
        for (cookie, _) in self.timers.unsure.drain(..) {
            self.kernel.be_unsure(cookie, false);
        }
        (self.timers.hold, self.timers.reads, self.timers.silent, self.timers.deaf) = (0, 0, 0, 0);
        self.wire.be_blind(false);
        self.model.env.foreign = std::rc::Rc::default();
        *self.policies.verdict.lock() = verdict(0);
        // Who sleeps between two looks wakes, and ADDs that wait give up, one after the other.
        for turn in 0..20 {
            if turn < 3 || !self.flights.is_empty() {
                self.step(&Op::Pass { ms: 2_000 })?;
            }
        }
        match self.flights.first() {
            None => Ok(()),
            Some(flight) => breach!("I12: {:?} never ended", flight.call),
        }
    }

    fn sweeps(&mut self, times: u32, apart: Duration) -> Check {
        for _ in 0..times {
            self.step(&SWEEP)?;
            self.step(&Op::Pass { ms: apart.as_millis() as u32 })?;
        }
        self.step(&SWEEP)
    }

    /// I6: whoever is gone holds nothing after the longest grace and two looks.
    fn the_dead_are_found(&mut self) -> Check {
        self.sweeps(2, Duration::from_secs(25))?;
        let mut held = self.model.rows.iter().filter(|(at, known)| {
            known.lease.has_holder()
                && self.model.seems_gone(&known.lease)
                && !self.model.is_claimed(**at)
        });
        match held.next() {
            None => Ok(()),
            Some((at, known)) => {
                breach!("I6: {} of {} never came back", key(*at), known.lease.attachment)
            }
        }
    }

    fn everybody_leaves(&mut self) -> Check {
        for (who, actor) in everybody().enumerate() {
            let who = who as u8;
            if self.model.held_by(&actor.attachment).next().is_some() {
                self.step(&Op::Call(Verb::Del { who }))?;
            }
            self.step(&Op::End { who, kept: false })?;
        }
        while !self.kept.is_empty() {
            self.step(&Op::LetGo { nth: 0 })?;
        }
        Ok(())
    }

    fn everything_is_free(&mut self) -> Check {
        // A wall clock far ahead ends every retention; a day ends every rest.
        self.sweeps(1, Duration::from_secs(2))?;
        self.quarantine_ends()?;
        self.step(&Op::Wall { by_s: 40_000_000 })?;
        self.sweeps(1, Duration::from_secs(90_000))?;
        for slot in 0..crate::cast::SLOTS as u8 {
            self.step(&Op::Reserve { slot, from: None })?;
        }
        self.first_pools()?;
        self.observe();
        let views = self.process.engine.pools().map_err(|e| Breach(format!("no counts: {e}")))?;
        for view in views {
            let counts = view.status.counts;
            if counts.free != counts.size || counts.out_of_range != 0 {
                breach!("I6: not all of {} is free: {counts:?}", view.pool.metadata.name);
            }
        }
        Ok(())
    }

    /// What nobody proves is for an operator.
    fn quarantine_ends(&mut self) -> Check {
        let rows = self.model.rows.values().map(|known| &known.lease);
        let quarantined =
            rows.filter(|lease| matches!(lease.state, LeaseState::Quarantined { .. }));
        let requests: Vec<ReleaseRequest> = quarantined
            .map(|lease| ReleaseRequest {
                address: lease.address,
                space: lease.space.clone(),
                generation: lease.generation.0,
                even_if_live: true,
                reason: "the end".to_owned(),
            })
            .collect();
        requests.into_iter().try_for_each(|request| self.do_now(Call::Release(request)))
    }

    /// One call, on its own.
    fn do_now(&mut self, call: Call) -> Check {
        self.observe();
        self.wire.set_all(self.model.on_wire());
        self.start(call);
        self.run();
        self.absorb()?;
        self.collect(&SWEEP)
    }

    fn every_address_can_be_given(&mut self) -> Check {
        let mut last = 0;
        for (pool, place) in PLACES.iter().enumerate() {
            let size = crate::cast::addresses(pool).filter(|at| self.model.env.pools.has(*at));
            for nth in 0..=size.count() {
                last += 1;
                let call = self.newcomer(pool, last);
                let before = self.model.claims.len();
                self.do_now(Call::Add(Box::new(call)))?;
                let given = self.model.claims.len() - before;
                let size = crate::cast::addresses(pool).filter(|at| self.model.env.pools.has(*at));
                if given != usize::from(nth < size.count()) {
                    breach!("I6: {} gave {nth} addresses and {given} more", place.name);
                }
            }
        }
        Ok(())
    }

    fn newcomer(&mut self, pool: usize, number: u32) -> AddCall {
        let path = format!("z{number}");
        let cookie = self.kernel.make(&path);
        let network = if PLACES[pool].serves("net") { "net" } else { "other" };
        let add = Add {
            who: 0,
            config: 0,
            pools: 0,
            wish: Wish::None,
            ranking: Ranking::Usual,
            netns: NetnsAt::Its,
            link: false,
            wait_s: 0,
            wire: false,
        };
        let request = AddRequest {
            attachment: Attachment {
                network: NetworkName::new(network).unwrap(),
                container: ContainerId::new(&path).unwrap(),
                ifname: IfName::new("eth0").unwrap(),
            },
            caller: Caller::Here {
                netns: Some(NetnsRef { path: PathBuf::from(path), file: None }),
            },
            owner: Owner::default(),
            facts: None,
            attributes: BTreeMap::new(),
            pools: vec![PoolName::new(PLACES[pool].name).unwrap()],
            fixed: Vec::new(),
            config: Digest::of(b"newcomer"),
            wait: Duration::ZERO,
            link: None,
        };
        AddCall { add, request, cookie: Some(cookie) }
    }
}
