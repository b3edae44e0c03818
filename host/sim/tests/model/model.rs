//! The naive model: what the store holds by its own log, what was promised by answers, and what is physically so.
//!
//! It predicts no choice of the engine. It says of each thing that became durable, and of each answer, whether DESIGN
//! allows it; and of each answer that refuses, whether it had to.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use tenure_core::lease::{Attachment, Lease, LeaseKey, LeaseState, QuarantineCause};
use tenure_sim::{Event, FakeKernel, Times};

use crate::cast::{At, at, key};
use crate::rules::looks::Looks;
use crate::rules::rows;
use crate::world::{Check, Env, Flight, Pools, breach};

/// A row as the log shows it.
#[derive(Debug, Clone)]
pub struct Known {
    pub lease: Lease,
    /// Another one with each write, as the store's revision.
    pub version: u64,
    /// Since when this process can have known it, at the earliest, in its monotonic time.
    pub since: u64,
    /// And at the latest: whoever doubts a row reads it again, and its rest begins anew.
    pub latest: u64,
    /// When it was written.
    pub real: u64,
    /// The wall clock had once passed the end of its retention. It may have been set back since: a retention that has
    /// ended stays so, or begins again; it is no safety clock.
    pub expired: bool,
}

/// What an answered ADD promised.
#[derive(Debug, Clone)]
pub struct Claim {
    pub addresses: BTreeSet<At>,
    /// The namespace that lives by it.
    pub cookie: Option<u64>,
}

/// An address on a link of a namespace.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    pub up: bool,
    /// When it was last taken down.
    pub down_at: u64,
    /// Nobody can know of it any more, and by no fault of the engine: its holder told of another namespace, an
    /// operator freed it alive, or the store went back in time.
    pub abandoned: bool,
    /// The store knew nothing of it once it had gone back in time; a census must find it before anything is given.
    pub lost: bool,
}

pub struct Model {
    pub kernel: Arc<FakeKernel>,
    /// Now.
    pub env: Env,
    pub boot: String,
    pub rows: BTreeMap<At, Known>,
    pub claims: BTreeMap<Attachment, Claim>,
    pub links: BTreeMap<(u64, At), Link>,
    /// When namespaces of this boot ended.
    pub ended: BTreeMap<u64, u64>,
    pub looks: Looks,
    version: u64,
    /// The ledger may know something else than the store: a row could not be read after a failure.
    pub doubt: bool,
    /// A census may be taken: something began since the last one that was surely complete.
    pub unsettled: bool,
    /// Since the store went back in time no census can have been complete: a silent probe alone permits an address.
    pub strict: bool,
    /// The store went back in the life of this process: a second census comes later.
    pub went_back: bool,
    /// What the process knew to be held before imports.
    pub remembered: BTreeSet<(At, Option<u64>)>,
    /// When a census last could not be complete, in the time of this process.
    lacked_at: Option<u64>,
    /// The pools of an export that is put in the place of the store while no daemon runs.
    pub restoring: Option<std::rc::Rc<Pools>>,
    /// What this history came to, and how often.
    reached: RefCell<BTreeMap<String, u64>>,
}

// === impl Model ===

impl Model {
    pub fn new(kernel: Arc<FakeKernel>, env: Env, boot: String) -> Self {
        Self {
            kernel,
            env,
            boot,
            rows: BTreeMap::new(),
            claims: BTreeMap::new(),
            links: BTreeMap::new(),
            ended: BTreeMap::new(),
            looks: Looks::default(),
            version: 0,
            doubt: false,
            unsettled: true,
            strict: false,
            went_back: false,
            remembered: BTreeSet::new(),
            lacked_at: None,
            restoring: None,
            reached: RefCell::default(),
        }
    }

    /// The history came to something worth a history.
    pub fn reach(&self, what: &str) {
        let mut reached = self.reached.borrow_mut();
        match reached.get_mut(what) {
            Some(times) => *times += 1,
            None => drop(reached.insert(what.to_owned(), 1)),
        }
    }

    pub fn reached(&self) -> BTreeMap<String, u64> {
        self.reached.borrow().clone()
    }

    /// What an attachment holds by the log.
    pub fn held_by(&self, attachment: &Attachment) -> impl Iterator<Item = (At, &Known)> {
        let rows = self.rows.iter().map(|(at, known)| (*at, known));
        rows.filter(move |(_, known)| {
            known.lease.attachment == *attachment && known.lease.has_holder()
        })
    }

    // === what happens around the engine ===

    pub fn namespace_ended(&mut self, cookie: u64) {
        self.ended.insert(cookie, self.env.times.real);
    }

    pub fn set_link(&mut self, cookie: u64, at: At, up: bool) {
        let now = self.env.times.real;
        let link = Link { up, down_at: 0, abandoned: false, lost: false };
        let link = self.links.entry((cookie, at)).or_insert(link);
        if link.up && !up {
            link.down_at = now;
        }
        link.up = up;
    }

    /// The store may not know of it.
    pub fn lose_link(&mut self, cookie: u64, at: At) {
        let row = self.rows.get(&at).map(|known| &known.lease);
        let knows = row.is_some_and(|lease| lease.netns.map(|netns| netns.cookie) == Some(cookie));
        if let Some(link) = self.links.get_mut(&(cookie, at)) {
            link.lost |= !knows;
        }
    }

    /// What stands on the links of living namespaces now.
    pub fn links_now(&mut self) {
        let up = self
            .links
            .iter()
            .filter(|((cookie, _), link)| link.up && self.kernel.is_alive(*cookie));
        let linked = up.map(|((cookie, at), _)| (*cookie, key(*at).address)).collect();
        if *self.env.linked != linked {
            self.env.linked = std::rc::Rc::new(linked);
        }
    }

    /// Who answers on the wire: foreign machines, and all that stands on links.
    pub fn on_wire(&self) -> BTreeSet<IpAddr> {
        let linked = self.env.linked.iter().map(|(_, address)| *address);
        linked.chain(self.env.foreign.iter().copied()).collect()
    }

    /// Whether a census could be complete now.
    pub fn census_may_be(&mut self) {
        if self.env.tells_all() {
            self.strict = false;
        } else {
            self.lacked_at = Some(self.env.times.mono);
        }
    }

    /// Whether a census of now may be lacking: it is taken again only some seconds after one that was not complete.
    pub fn may_lack(&self) -> bool {
        const CENSUSES_APART: u64 = 5_000;
        let now = self.env.times.mono;
        !self.env.tells_all() || self.lacked_at.is_some_and(|at| now - at < CENSUSES_APART)
    }

    /// The process ended: all that it had observed is lost.
    pub fn restarted(&mut self) {
        self.unsettled = true;
        if !self.went_back {
            // What was passed over, for no pool gave it, nobody remembers.
            let pools = self.env.pools.clone();
            for ((_, at), link) in &mut self.links {
                link.abandoned |= link.lost && !pools.usable(*at);
            }
        }
        self.lacked_at = None;
        self.remembered.clear();
        for known in self.rows.values_mut() {
            (known.since, known.latest) = (self.env.times.mono, self.env.times.mono);
            known.expired = false;
        }
        self.retentions();
        self.looks = Looks::default();
        self.doubt = false;
    }

    pub fn rebooted(&mut self, boot: String) {
        self.boot = boot;
        self.ended.clear();
        self.links.clear();
        for claim in self.claims.values_mut() {
            claim.cookie = None;
        }
    }

    /// The clocks have moved.
    pub fn retentions(&mut self) {
        let wall = self.env.times.wall;
        for known in self.rows.values_mut() {
            if let LeaseState::Released { keep_until: Some(until), .. } = known.lease.state {
                known.expired |= until.0 <= wall;
            }
        }
    }

    /// Something failed, or calls met: the engine may have read any row anew.
    pub fn unsettle(&mut self) {
        for known in self.rows.values_mut() {
            known.latest = self.env.times.mono;
        }
    }

    // === what the engine did ===

    /// Takes in what became durable.
    pub fn absorb(&mut self, event: Event, flights: &mut [Flight]) -> Check {
        match event {
            Event::Committed { at, rows } => self.committed(at, rows, flights),
            Event::Imported { at, epoch, rows } => self.imported(at, epoch.0, rows, flights),
        }
    }

    fn committed(
        &mut self,
        time: Times,
        rows: Vec<(LeaseKey, Option<Lease>)>,
        flights: &mut [Flight],
    ) -> Check {
        let changes: Vec<(At, Option<Lease>)> =
            rows.into_iter().map(|(key, lease)| (at(&key), lease)).collect();
        for (at, after) in &changes {
            rows::change(self, time, *at, after.as_ref(), flights)?;
        }
        rows::whole_sets(self, &changes)?;
        self.tell_flights(&changes, flights);
        for (at, after) in &changes {
            self.end_claim(*at, after.as_ref());
            self.move_links(*at, after.as_ref());
        }
        for (at, after) in changes {
            match after {
                Some(lease) => self.put(at, lease, time),
                None => drop(self.rows.remove(&at)),
            }
        }
        self.standing()
    }

    fn put(&mut self, at: At, lease: Lease, time: Times) {
        let (since, latest) = (time.mono, time.mono);
        self.version += 1;
        let (version, real) = (self.version, time.real);
        let mut known = Known { lease, version, since, latest, real, expired: false };
        if let Some(before) = self.rows.get(&at).filter(|b| b.lease.is_released())
            && known.lease.is_released()
        {
            // Only its retention changed.
            (known.since, known.real) = (before.since, before.real);
        }
        self.rows.insert(at, known);
    }

    fn tell_flights(&self, changes: &[(At, Option<Lease>)], flights: &mut [Flight]) {
        let mut sets: BTreeMap<&Attachment, (BTreeSet<At>, bool)> = BTreeMap::new();
        let mut taken = Vec::new();
        for (at, after) in changes {
            let before = self.rows.get(at).filter(|known| known.lease.has_holder());
            match after {
                Some(lease) if rows::is_held_by_add(lease, before.map(|b| &b.lease)) => {
                    let set = sets.entry(&lease.attachment).or_default();
                    set.0.insert(*at);
                    set.1 |= before.is_none();
                    if let Some(before) = before.filter(|b| b.lease.attachment != lease.attachment)
                    {
                        taken.push(&before.lease.attachment);
                    }
                }
                Some(lease)
                    if lease.has_holder()
                        && before.is_none_or(|b| b.lease.attachment == lease.attachment) => {}
                _ => {
                    let holder = before.map(|known| &known.lease.attachment);
                    let of_holder = |flight: &&mut Flight| holder.is_some_and(|h| flight.is_of(h));
                    flights.iter_mut().filter(of_holder).for_each(|flight| flight.released = true);
                }
            }
        }
        for flight in flights.iter_mut() {
            flight.released |= taken.iter().any(|attachment| flight.is_of(attachment));
        }
        for (attachment, set) in sets {
            for flight in flights.iter_mut().filter(|flight| flight.is_of(attachment)) {
                flight.bound.push(set.clone());
                if set.1 {
                    flight.fresh.extend(&set.0);
                }
            }
        }
    }

    /// Whoever loses an address has no claim on it.
    fn end_claim(&mut self, at: At, after: Option<&Lease>) {
        let Some(Known { lease: before, .. }) = self.rows.get(&at) else { return };
        let still =
            after.is_some_and(|lease| lease.has_holder() && lease.attachment == before.attachment);
        let attachment = before.attachment.clone();
        if !still && let Some(claim) = self.claims.get_mut(&attachment) {
            claim.addresses.remove(&at);
            if claim.addresses.is_empty() {
                self.claims.remove(&attachment);
            }
        }
    }

    /// Links that nobody can know of from here on.
    fn move_links(&mut self, at: At, after: Option<&Lease>) {
        let Some(after) = after else { return };
        let here = after.netns.map(|netns| netns.cookie);
        let by_operator = matches!(
            after.state,
            LeaseState::Released { proof: tenure_core::lease::Proof::Operator, .. }
        );
        for ((cookie, _), link) in self.links.iter_mut().filter(|((_, a), _)| *a == at) {
            let its = Some(*cookie) == here;
            link.abandoned |= (after.is_bound() && !its) || by_operator;
            if its && after.has_holder() {
                (link.abandoned, link.lost) = (false, false);
            }
        }
    }

    /// The store went back in time. Of those who came after the export only a census can know: DESIGN section 5, new epoch.
    fn imported(
        &mut self,
        time: Times,
        epoch: u64,
        rows: Vec<Lease>,
        flights: &mut [Flight],
    ) -> Check {
        if self.restoring.is_none() {
            let held = self.rows.iter().filter(|(_, known)| {
                known.lease.has_holder() && *known.lease.node.boot == *self.boot
            });
            let netns = |known: &Known| known.lease.netns.map(|netns| netns.cookie);
            self.remembered.extend(held.map(|(at, known)| (*at, netns(known))));
        }
        self.rows.clear();
        for lease in rows {
            self.put(at(&lease.key()), lease, time);
        }
        let mut imports = flights.iter().filter_map(|flight| match &flight.call {
            crate::world::Call::Import(pools) => Some(pools.clone()),
            _ => None,
        });
        let Some(pools) = imports.next_back().or(self.restoring.take()) else {
            breach!("an import that nobody asked for")
        };
        self.env.pools = pools;
        (self.unsettled, self.strict) = (true, !self.env.tells_all());
        self.went_back = true;
        self.reach("imported");
        self.retentions();
        self.env.epoch = epoch;
        let (rows, boot) = (&self.rows, &self.boot);
        let is_known = |attachment: &Attachment, at: &At, cookie: Option<u64>| {
            rows.get(at).is_some_and(|known| {
                let lease = &known.lease;
                lease.has_holder()
                    && lease.attachment == *attachment
                    && *lease.node.boot == **boot
                    && lease.netns.map(|netns| netns.cookie) == cookie
            })
        };
        self.claims.retain(|attachment, claim| {
            claim.addresses.iter().all(|at| is_known(attachment, at, claim.cookie))
        });
        for ((cookie, at), link) in &mut self.links {
            let lease = rows.get(at).map(|known| &known.lease);
            let known = lease.is_some_and(|lease| {
                *lease.node.boot == **boot && lease.netns.is_some_and(|n| n.cookie == *cookie)
            });
            link.lost |= !known && link.up;
        }
        for flight in flights {
            (flight.released, flight.imported) = (true, true);
            flight.see(&self.env);
        }
        Ok(())
    }

    /// What holds at any time, whatever happened.
    fn standing(&self) -> Check {
        let held = || self.rows.iter().filter(|(_, known)| known.lease.has_holder());
        let mut sets = BTreeSet::new();
        let mut keys = BTreeSet::new();
        let found = |lease: &Lease| {
            matches!(lease.state, LeaseState::Quarantined { cause: QuarantineCause::Found, .. })
        };
        for (at, Known { lease, .. }) in held().filter(|(_, known)| !found(&known.lease)) {
            let family = key(*at).family();
            if !sets.insert((&lease.attachment, family)) {
                breach!("I4: {} has two addresses of one family", lease.attachment);
            }
            let Some(sticky) = &lease.sticky else { continue };
            let (network, ifname) = (&lease.attachment.network, &lease.attachment.ifname);
            if !keys.insert((network, ifname, family, &sticky.key)) {
                breach!("sticky key {} has two holders", sticky.key);
            }
        }
        Ok(())
    }

    /// What answers have promised is kept, and no address is promised twice.
    pub fn promises(&self) -> Check {
        let mut promised = BTreeSet::new();
        for (attachment, claim) in &self.claims {
            for at in &claim.addresses {
                if !promised.insert(at) {
                    breach!("I1: {} was answered to two attachments", key(*at));
                }
                let row = self.rows.get(at).map(|known| &known.lease);
                if !row.is_some_and(|row| row.has_holder() && row.attachment == *attachment) {
                    breach!("I2: {attachment} was answered {}, and no longer holds it", key(*at));
                }
            }
        }
        Ok(())
    }

    pub fn set_pools(&mut self, change: impl FnOnce(&mut Pools)) {
        change(std::rc::Rc::make_mut(&mut self.env.pools));
    }
}
