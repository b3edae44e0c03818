//! I10: what the pools count is what the rows say.

use tenure_core::lease::{Lease, LeaseState, Proof};
use tenure_core::ledger::Counts;
use tenure_engine::PoolView;

use crate::cast::{At, PLACES, addresses, key};
use crate::model::{Known, Model};
use crate::rules::rows::is_contested;
use crate::world::{Check, breach};

/// What a released row certainly is, where that can be said from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    Ready,
    Resting,
    Retained,
    /// Depends on when the engine looked.
    Unclear,
}

impl Model {
    /// Nothing is under way: each pool counts exactly what the rows say.
    pub fn counts_agree(&self, views: &[PoolView]) -> Check {
        for view in views {
            let name = view.pool.metadata.name.as_str();
            let Some(pool) = PLACES.iter().position(|place| place.name == name) else {
                breach!("there is a pool {name}");
            };
            let counts = view.status.counts;
            if !counts.add_up() {
                breach!("I10: {name} does not add up: {counts:?}");
            }
            let (least, most) = self.counted(pool);
            let exact = |c: &Counts| (c.size, c.held, c.quarantined, c.out_of_range);
            let vague = |c: &Counts| [c.free, c.resting, c.retained];
            let within =
                (0..3).all(|n| (vague(&least)[n]..=vague(&most)[n]).contains(&vague(&counts)[n]));
            if exact(&least) != exact(&counts) || !within {
                breach!("I10: {name} counts {counts:?}, its rows say {least:?} to {most:?}");
            }
        }
        let there = self.env.pools.pools.iter().flatten().count();
        if there != views.len() {
            breach!("there are {} pools, not {there}", views.len());
        }
        Ok(())
    }

    /// A pool that was deleted goes once nobody holds anything of it.
    pub fn pools_left(&mut self, views: &[PoolView]) -> Check {
        for (pool, place) in PLACES.iter().enumerate() {
            let there = views.iter().any(|view| view.pool.metadata.name.as_str() == place.name);
            let Some(written) = self.env.pools.pools[pool].filter(|_| !there) else { continue };
            // What a census finds may become known only when the pool is gone.
            let is_held = |lease: &Lease| lease.has_holder() && !is_contested(lease);
            let held = addresses(pool)
                .find(|at| self.rows.get(at).is_some_and(|known| is_held(&known.lease)));
            if let Some(held) = held.or((!written.leaving).then_some((pool, 0))) {
                breach!("I2: pool {} is gone, and {} is held", place.name, key(held));
            }
            self.set_pools(|pools| pools.pools[pool] = None);
        }
        Ok(())
    }

    /// The least and the most that a pool may count.
    fn counted(&self, pool: usize) -> (Counts, Counts) {
        let (mut least, mut unclear) = (Counts::default(), 0);
        for at in addresses(pool) {
            let row = self.rows.get(&at);
            if !self.env.pools.has(at) {
                least.out_of_range += u128::from(row.is_some_and(|row| !row.lease.is_released()));
                continue;
            }
            least.size += 1;
            let count = match row.map(|row| (&row.lease.state, row)) {
                None => &mut least.free,
                Some((LeaseState::Bound, _)) => &mut least.held,
                Some((LeaseState::Quarantined { .. }, _)) => &mut least.quarantined,
                Some((LeaseState::Released { .. }, row)) => match self.released(at, row) {
                    Released::Ready => &mut least.free,
                    Released::Resting => &mut least.resting,
                    Released::Retained => &mut least.retained,
                    Released::Unclear => &mut unclear,
                },
            };
            *count += 1;
        }
        let most = Counts {
            free: least.free + unclear,
            resting: least.resting + unclear,
            retained: least.retained + unclear,
            ..least
        };
        (least, most)
    }

    /// What a released row is now.
    pub fn released(&self, at: At, row: &Known) -> Released {
        let LeaseState::Released { rest_s, keep_until, proof, .. } = row.lease.state else {
            return Released::Unclear;
        };
        if self.may_linger(at, row) {
            return Released::Unclear;
        }
        if keep_until.is_some_and(|until| until.0 > self.env.times.wall) {
            return if row.expired { Released::Unclear } else { Released::Retained };
        }
        let (now, rest) = (self.env.times.mono, u64::from(rest_s) * 1000);
        if now < row.since + rest {
            return Released::Resting;
        }
        if now < row.latest + rest || !self.has_settled(&row.lease, proof) {
            return Released::Unclear;
        }
        Released::Ready
    }

    /// A look may have seen it on a link since its release.
    fn may_linger(&self, at: At, row: &Known) -> bool {
        let Some(netns) = row.lease.netns.filter(|_| *row.lease.node.boot == *self.boot) else {
            return false;
        };
        let link = self.links.get(&(netns.cookie, at));
        link.is_some_and(|link| link.up || link.down_at >= row.real)
    }

    /// No proof of the end of its holder is still to come, or settling.
    fn has_settled(&self, lease: &Lease, proof: Proof) -> bool {
        let here = *lease.node.boot == *self.boot;
        !matches!(proof, Proof::None | Proof::Operator)
            || !here
            || lease.netns.is_none_or(|netns| self.kernel.is_alive(netns.cookie))
    }
}
