//! What sweeps have seen: a row is taken back only after an unbroken series of looks that said gone, over its grace
//! (I7); and then it is (I6).

use std::collections::BTreeMap;
use std::time::Duration;

use tenure_core::judge::{LOOKS, LOOKS_APART};
use tenure_core::lease::Lease;
use tenure_engine::Swept;

use crate::cast::{At, at, key};
use crate::model::Model;
use crate::rules::rows::is_contested;
use crate::world::{Check, Env, Flight, breach};

/// An unbroken series of looks that said gone, in the time of this process.
#[derive(Debug, Clone, Copy)]
struct Series {
    version: u64,
    since: u64,
    last: u64,
    looks: u32,
}

/// The series of each row: what the engine may have seen, and what it must have seen.
#[derive(Debug, Default)]
pub struct Looks {
    possible: BTreeMap<At, Series>,
    certain: BTreeMap<At, Series>,
}

impl Looks {
    /// Whether a row may be taken back by this sweep.
    pub fn may_reclaim(&self, at: At, version: u64, flight: &Flight) -> Check {
        let last = flight.window.last().unwrap_or_else(|| flight.began());
        let now = if flight.alone { flight.began() } else { last }.times.mono;
        let series = self.possible.get(&at).filter(|series| series.version == version);
        let Some(series) = series else {
            breach!("I7: {} was reclaimed and no look had said gone", key(at));
        };
        let grace = flight.window.iter().map(|env| grace_of(env, at)).min().unwrap_or_default();
        if series.looks < LOOKS || now - series.since < grace {
            breach!(
                "I7: {} was reclaimed after {} looks in {} ms; its grace is {grace} ms",
                key(at),
                series.looks,
                now - series.since
            );
        }
        Ok(())
    }
}

impl Model {
    /// A sweep looks at all that is bound now. `certainly`: it does so undisturbed.
    pub fn sweep_looks(&mut self, certainly: bool) {
        let now = self.env.times.mono;
        let gone: BTreeMap<At, u64> = self
            .rows
            .iter()
            .filter(|(_, known)| known.lease.has_holder() && self.seems_gone(&known.lease))
            .map(|(at, known)| (*at, known.version))
            .collect();
        let mut looks = std::mem::take(&mut self.looks);
        looks.possible = observed(&looks.possible, &gone, now);
        if certainly {
            looks.certain = observed(&looks.certain, &gone, now);
        } else {
            looks.certain.retain(|at, series| gone.get(at) == Some(&series.version));
        }
        self.looks = looks;
    }

    /// What was bound while a sweep ran, it may have looked at; and one that was held up may look only now.
    pub fn late_looks(&mut self) {
        let possible = self.looks.possible.clone();
        self.sweep_looks(false);
        for (at, series) in possible {
            if self.rows.get(&at).is_some_and(|known| known.version == series.version) {
                self.looks.possible.entry(at).or_insert(series);
            }
        }
    }

    /// One of several claimants may be gone, and not the others.
    pub fn is_claimed(&self, at: At) -> bool {
        let contested = self.rows.get(&at).is_some_and(|known| is_contested(&known.lease));
        let mut links = self.env.linked.iter();
        contested && (!self.env.tells_all() || links.any(|(_, on)| *on == key(at).address))
    }

    pub fn seems_gone(&self, lease: &Lease) -> bool {
        if *lease.node.boot != *self.boot {
            return true;
        }
        let Some(netns) = lease.netns else { return false };
        self.env.tells(netns.cookie) && !self.kernel.is_alive(netns.cookie)
    }

    /// I6: what a sweep had to take back, it did. The sweep was alone, and has ended.
    pub fn must_have_reclaimed(&self, swept: &Swept) -> Check {
        let now = self.env.times.mono;
        for (at, series) in &self.looks.certain {
            let due = series.looks >= LOOKS && now - series.since >= grace_of(&self.env, *at);
            let still = self
                .rows
                .get(at)
                .is_some_and(|known| known.lease.has_holder() && known.version == series.version);
            if due && still && !self.is_claimed(*at) {
                breach!("I6: {} is gone for long, and a sweep left it", key(*at));
            }
        }
        for address in &swept.reclaimed {
            if self.rows.get(&at(address)).is_none_or(|known| !known.lease.is_released()) {
                breach!("{address} was said to be reclaimed, and is not");
            }
        }
        Ok(())
    }
}

fn observed(
    before: &BTreeMap<At, Series>,
    gone: &BTreeMap<At, u64>,
    now: u64,
) -> BTreeMap<At, Series> {
    let apart = LOOKS_APART.as_millis() as u64;
    let next = |(at, version): (&At, &u64)| {
        let new = Series { version: *version, since: now, last: now, looks: 1 };
        let old = before.get(at).filter(|series| series.version == *version);
        let series = match old {
            None => new,
            Some(old) if now - old.last < apart => *old,
            Some(old) => Series { last: now, looks: old.looks + 1, ..*old },
        };
        (*at, series)
    };
    gone.iter().map(next).collect()
}

/// The grace as the policy says, within the limits of the pool.
fn grace_of(env: &Env, at: At) -> u64 {
    let (least, most) = env.pools.shape(at.0).map_or((0, 86_400), |shape| shape.grace_s);
    let (least, most) = (Duration::from_secs(least.into()), Duration::from_secs(most.into()));
    env.verdict.grace.max(least).min(most).as_millis() as u64
}
