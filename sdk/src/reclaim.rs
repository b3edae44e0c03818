//! The hook `reclaim`: suspect leases as rows, and the verdicts.

use crate::bindings::reclaim::exports::tenure::policy::reclaim as raw;
use crate::select::column;

/// Suspect leases and how hard their pools are pressed: columns that read as rows.
#[derive(Debug, Clone)]
pub struct ReclaimRequest(raw::Request);

/// What kind of thing holds an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Owner {
    /// A Kubernetes pod.
    #[default]
    Pod,
    /// A virtual machine.
    Vm,
    /// A claim made ahead of any container.
    Claim,
    /// A container of which only the id is known.
    Container,
}

/// A suspect lease. Seconds are observed time; 0 where it does not apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lease {
    /// Its place in the request, for [`crate::lease_holder`].
    pub row: u32,
    /// The affinity policy's mark.
    pub tag: u64,
    /// Index of its pool.
    pub pool: u32,
    /// Who holds it.
    pub owner: Owner,
    /// The kernel says that the holder is gone.
    pub kernel_gone: bool,
    /// The API says so.
    pub api_gone: bool,
    /// The API says that it lives.
    pub api_alive: bool,
    /// The pod is Terminating.
    pub terminating: bool,
    /// The pod has finished.
    pub finished: bool,
    /// Its node is lost and not fenced.
    pub node_lost: bool,
    /// Its node is fenced or was rebooted.
    pub node_fenced: bool,
    /// It has a sticky key.
    pub sticky: bool,
    /// How long it was held.
    pub held_s: u32,
    /// How long it has been suspect without a break.
    pub suspect_s: u32,
    /// How long the pod has been Terminating.
    pub terminating_s: u32,
    /// The pod's own termination grace.
    pub termination_grace_s: u32,
    /// How long the node has been lost.
    pub node_lost_s: u32,
}

/// How hard a pool is pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pressure {
    /// Index of the pool.
    pub pool: u32,
    /// Addresses that could be given now.
    pub free: u64,
    /// Usable addresses.
    pub size: u64,
    /// ADDs that wait.
    pub waiting: u32,
}

/// What to do with one lease. It shapes *when*, never *whether*: without the proof that the host
/// asks for, nothing is taken back. Every figure is clamped to the limits of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// How long it must be continuously suspect first.
    pub grace_s: u32,
    /// How long the address stays kept for its sticky key; [`Verdict::OWN_RETENTION`] leaves that
    /// to the lease.
    pub retain_s: u32,
    /// How long the address rests.
    pub cooldown_s: u32,
    /// Its node being lost and not fenced, it may be given away after a silent probe.
    pub permits_unfenced: bool,
}

/// One verdict, or no opinion, per lease. Collect it from an iterator over the leases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdicts(Vec<Option<Verdict>>);

// === impl ReclaimRequest ===

impl ReclaimRequest {
    pub(crate) fn new(request: raw::Request) -> Self {
        Self(request)
    }

    /// A request for a test; rows are numbered in their order.
    #[must_use]
    pub fn of(leases: &[Lease], pressure: &[Pressure]) -> Self {
        Self(raw::Request {
            leases: raw::Leases {
                tag: column(leases, |l| l.tag),
                pool: column(leases, |l| l.pool),
                owner: column(leases, |l| l.owner as u32),
                bits: column(leases, Lease::bits),
                held_s: column(leases, |l| l.held_s),
                suspect_s: column(leases, |l| l.suspect_s),
                terminating_s: column(leases, |l| l.terminating_s),
                termination_grace_s: column(leases, |l| l.termination_grace_s),
                node_lost_s: column(leases, |l| l.node_lost_s),
            },
            pressure: raw::Pressure {
                pool: column(pressure, |p| p.pool),
                free: column(pressure, |p| p.free),
                size: column(pressure, |p| p.size),
                waiting: column(pressure, |p| p.waiting),
            },
            now_ms: 0,
            seed: 0,
        })
    }

    /// The same at that time and with that random number.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn at(mut self, now_ms: u64, seed: u64) -> Self {
        (self.0.now_ms, self.0.seed) = (now_ms, seed);
        self
    }

    /// Wall time in milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.0.now_ms
    }

    /// A random number.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// The leases, in order.
    pub fn leases(&self) -> impl Iterator<Item = Lease> + '_ {
        (0..self.0.leases.pool.len()).filter_map(|row| self.lease(row))
    }

    /// The pressure on that pool.
    #[must_use]
    pub fn pressure(&self, pool: u32) -> Option<Pressure> {
        let p = &self.0.pressure;
        let row = p.pool.iter().position(|p| *p == pool)?;
        Some(Pressure {
            pool,
            free: *p.free.get(row)?,
            size: *p.size.get(row)?,
            waiting: *p.waiting.get(row)?,
        })
    }

    fn lease(&self, row: usize) -> Option<Lease> {
        let l = &self.0.leases;
        let bits = *l.bits.get(row)?;
        let bit = |number: u32| bits >> number & 1 == 1;
        Some(Lease {
            row: u32::try_from(row).ok()?,
            tag: *l.tag.get(row)?,
            pool: *l.pool.get(row)?,
            owner: Owner::of(*l.owner.get(row)?),
            kernel_gone: bit(0),
            api_gone: bit(1),
            api_alive: bit(2),
            terminating: bit(3),
            finished: bit(4),
            node_lost: bit(5),
            node_fenced: bit(6),
            sticky: bit(7),
            held_s: *l.held_s.get(row)?,
            suspect_s: *l.suspect_s.get(row)?,
            terminating_s: *l.terminating_s.get(row)?,
            termination_grace_s: *l.termination_grace_s.get(row)?,
            node_lost_s: *l.node_lost_s.get(row)?,
        })
    }
}

// === impl Lease ===

impl Lease {
    fn bits(&self) -> u32 {
        let flags = [
            self.kernel_gone,
            self.api_gone,
            self.api_alive,
            self.terminating,
            self.finished,
            self.node_lost,
            self.node_fenced,
            self.sticky,
        ];
        flags.iter().rev().fold(0, |bits, flag| bits << 1 | u32::from(*flag))
    }
}

impl Owner {
    fn of(number: u32) -> Self {
        match number {
            0 => Self::Pod,
            1 => Self::Vm,
            2 => Self::Claim,
            _ => Self::Container,
        }
    }
}

// === impl Verdict ===

impl Verdict {
    /// For `retain_s`: as long as was decided at ADD.
    pub const OWN_RETENTION: u32 = u32::MAX;
}

// === impl Verdicts ===

impl FromIterator<Option<Verdict>> for Verdicts {
    fn from_iter<T: IntoIterator<Item = Option<Verdict>>>(verdicts: T) -> Self {
        Self(verdicts.into_iter().collect())
    }
}

impl Verdicts {
    /// The verdicts, in order.
    pub fn iter(&self) -> impl Iterator<Item = Option<Verdict>> + '_ {
        self.0.iter().copied()
    }

    /// No opinion on any row abstains.
    pub(crate) fn into_raw(self) -> raw::Decision {
        if self.0.iter().all(Option::is_none) {
            return raw::Decision::Abstain;
        }
        const NO_OPINION: u32 = 0b10;
        let figure = |of: fn(&Verdict) -> u32| column(&self.0, |v| v.as_ref().map_or(0, of));
        raw::Decision::Verdicts(raw::Verdicts {
            grace_s: figure(|v| v.grace_s),
            retain_s: figure(|v| v.retain_s),
            cooldown_s: figure(|v| v.cooldown_s),
            bits: column(&self.0, |v| v.map_or(NO_OPINION, |v| u32::from(v.permits_unfenced))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_come_back_from_columns_as_they_went_in() {
        let lease = Lease {
            tag: 9,
            pool: 3,
            owner: Owner::Claim,
            api_alive: true,
            node_lost: true,
            sticky: true,
            node_lost_s: 45,
            ..Lease::default()
        };
        let request =
            ReclaimRequest::of(&[lease], &[Pressure { pool: 3, free: 1, size: 2, waiting: 4 }]);
        assert_eq!(request.leases().collect::<Vec<_>>(), [lease]);
        assert_eq!(request.pressure(3).map(|p| p.waiting), Some(4));
        assert_eq!(request.pressure(4), None);
    }

    #[test]
    fn a_row_without_opinion_is_marked_and_nothing_but_such_rows_abstains() {
        let verdict = Verdict { grace_s: 1, retain_s: 2, cooldown_s: 3, permits_unfenced: true };
        let mixed: Verdicts = [None, Some(verdict)].into_iter().collect();
        let raw::Decision::Verdicts(raw) = mixed.into_raw() else { panic!("abstained") };
        assert_eq!((raw.bits, raw.grace_s), (vec![0b10, 0b01], vec![0, 1]));
        let none: Verdicts = [None, None].into_iter().collect();
        assert_eq!(none.into_raw(), raw::Decision::Abstain);
    }
}
