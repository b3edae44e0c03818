//! Waiting inside an ADD: first come, first served, nobody in vain (I12).

use crate::cast::{PLACES, addresses, key};
use crate::model::Model;
use crate::ops::{Op, Wish};
use crate::world::{AddCall, Call, Check, Flight, breach, families};

impl Model {
    /// Whoever came later takes nothing of a pool for which an earlier one stands in line.
    pub fn nobody_is_overtaken(&self, open: &[Flight], ended: &[Flight], op: &Op) -> Check {
        let pools_change =
            matches!(op, Op::Pool { .. } | Op::DeletePool { .. } | Op::Reserve { .. });
        let imported = open.iter().chain(ended).any(|flight| flight.imported);
        if pools_change || imported {
            return Ok(());
        }
        for first in open.iter().filter(|flight| flight.waits.is_some() && flight.fresh.is_empty())
        {
            let Call::Add(its) = &first.call else { continue };
            // Whoever has reserved something steps aside, and is back in line if somebody answers for it.
            if its.add.wire && !self.on_wire().is_empty() {
                continue;
            }
            let all = || open.iter().chain(ended);
            // What was bound for an attachment may be the answer to any of its calls.
            let may_come_first = |one: &Flight| {
                let wants = |call: &AddCall| call.add.wish != Wish::None;
                one.number < first.number || matches!(&one.call, Call::Add(call) if wants(call))
            };
            let came_before = |later: &Flight| {
                let attachment = later.call.attachment();
                all().any(|one| one.call.attachment() == attachment && may_come_first(one))
            };
            for later in all().filter(|later| later.number > first.number && !came_before(later)) {
                let Call::Add(call) = &later.call else { continue };
                let ranked = self.env.pools.ranked(its);
                let taken = later.fresh.iter().find(|at| ranked.contains(&at.0));
                if let Some(at) = taken.filter(|_| call.add.wish == Wish::None) {
                    let (first, later) = (&its.request.attachment, &call.request.attachment);
                    breach!("I12: {later} was given {} while {first} waits", key(*at));
                }
            }
        }
        Ok(())
    }

    /// For each family a pool that it may use certainly has something.
    pub fn could_be_served(&self, flight: &Flight) -> bool {
        let Call::Add(call) = &flight.call else { return false };
        let asked = self.env.pools.candidates(call.network(), &call.request.pools);
        let Ok(asked) = asked else { return false };
        let served = families(&asked).into_iter().all(|family| {
            let ranked = self.env.pools.ranked(call);
            let mut ranked = ranked.into_iter().filter(|pool| PLACES[*pool].family() == family);
            ranked.any(|pool| addresses(pool).any(|at| self.is_free_for(call, at)))
        });
        served && !self.strict && !self.unsettled
    }

    fn is_free_for(&self, call: &AddCall, at: (usize, u8)) -> bool {
        let address = key(at).address;
        self.is_available(at) && !(call.add.wire && self.on_wire().contains(&address))
    }
}
