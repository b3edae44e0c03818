//! The memory of one daemon about all rows: which address is what, found by address, attachment, owner or
//! key. It is derived from the store and never the truth: the store's conditional write is the lock.
//!
//! ```text
//! load/apply(lease, revision)    a row as the store has it
//! reserve -> Hold                an ADD takes an address, nothing is written yet
//!   apply(lease)  or  cancel     the write happened, or it did not
//! hear, hear_gone                what others wrote, if it is newer (news.rs)
//! ```
//!
//! Invariants: an address has at most one slot and one place (I1, I10); what rests is given only as
//! DESIGN section 4 allows (I9); a restart begins every rest anew (I8).

mod controls;
mod news;
mod nodes;
mod slot;
mod stock;
mod terms;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use news::News;
use nodes::Nodes;
use slot::Spot;
pub use slot::{Home, Print, Slot, Status};
pub use stock::Counts;
use stock::{Shelf, Stock};
pub use terms::{AfterRelease, For, Hold, Now, RowAt, SETTLING, Unavailable, Want};

use crate::address::{Family, from_number, to_number};
use crate::defaults::PROBES_APART;
use crate::lease::{Generation, Lease, LeaseKey, NodeRef};
use crate::name::{PoolName, SpaceName};
use crate::pool::{Pool, Reservation};
use crate::time::Moment;

/// A row and where it stands.
#[derive(Debug, Clone, Copy)]
struct Entry {
    slot: Slot,
    /// Index of the stock that counts it; none if no pool has its address.
    stock: Option<u32>,
    shelf: Shelf,
}

/// The rows of one daemon.
#[derive(Debug)]
pub struct Ledger {
    nodes: Nodes,
    /// The ticket of the next hold; never the same in two ledgers that follow each other.
    ticket: u64,
    spaces: Vec<SpaceName>,
    stocks: Vec<Stock>,
    /// (space, family, first address of the CIDR) -> index of the stock: CIDRs of one space never overlap.
    by_cidr: BTreeMap<(u16, Family, u128), usize>,
    /// The same calls list rows in the same order.
    rows: IndexMap<Spot, Entry>,
    /// Fingerprints of attachments, owners and sticky keys -> rows that may be theirs.
    index: BTreeSet<(Print, Spot)>,
    /// (pool, namespace) -> held addresses, for the quotas of policies.
    held_by_namespace: HashMap<(usize, Print), u64>,
    /// What was heard of reserved addresses: at most one entry for each.
    news: HashMap<Spot, News>,
}

// === impl Ledger ===

impl Ledger {
    /// An empty ledger, after the one before if there was one: a hold taken from that is nothing to this, and the
    /// agents that have spoken are the same.
    #[must_use]
    pub fn new(before: Option<&Self>) -> Self {
        Self {
            nodes: before.map_or_else(Nodes::default, |before| before.nodes.clone()),
            ticket: before.map_or(1, |before| before.ticket),
            spaces: vec![SpaceName::default()],
            stocks: Vec::new(),
            by_cidr: BTreeMap::new(),
            rows: IndexMap::new(),
            index: BTreeSet::new(),
            held_by_namespace: HashMap::new(),
            news: HashMap::new(),
        }
    }

    /// Takes over the pools and reservations. All rows are placed anew: cost follows the number of rows.
    ///
    /// The pools of one space must not overlap: the caller has refused that.
    pub fn configure(&mut self, pools: Vec<Pool>, reservations: &[Reservation], now: Now) {
        let cursors: HashMap<_, _> =
            self.stocks.iter().map(|s| (s.pool.name.clone(), s.cursor())).collect();
        self.by_cidr.clear();
        self.held_by_namespace.clear();
        self.stocks = Vec::with_capacity(pools.len());
        for pool in pools {
            let space = self.space_index(&pool.spec.space);
            let first = to_number(pool.spec.cidr.network());
            self.by_cidr.insert((space, pool.family(), first), self.stocks.len());
            let cursor = cursors.get(&pool.name).copied().unwrap_or(0);
            self.stocks.push(Stock::new(pool, reservations, cursor));
        }
        let spots: Vec<Spot> = self.rows.keys().copied().collect();
        for spot in spots {
            self.enter(spot, now);
        }
    }

    /// An agent has spoken: its present boot is that of `node`. Rows of it get their home anew; costs a pass over all
    /// rows when the boot is news.
    pub fn note_agent(&mut self, node: &NodeRef, now: Now) {
        if !self.nodes.hear(node) {
            return;
        }
        let of_agent = |entry: &Entry| {
            self.nodes.node(entry.slot.node).is_some_and(|known| known.agent == node.agent)
        };
        let rows = self.rows.iter().filter(|(_, entry)| of_agent(entry));
        let spots: Vec<Spot> = rows.map(|(spot, _)| *spot).collect();
        for spot in spots {
            let Some(mut slot) = self.drop_row(spot) else { continue };
            slot.rehome(self.home_of(&self.node(&slot)), now.moment);
            self.insert_row(spot, slot, now);
        }
    }

    /// Where a hold with this node in its record began.
    #[must_use]
    pub fn home_of(&self, node: &NodeRef) -> Home {
        self.nodes.home(node)
    }

    /// Whether it is the present boot of this agent, which has spoken.
    #[must_use]
    pub fn is_present(&self, agent: &str, boot: &str) -> bool {
        self.nodes.is_present(agent, boot)
    }

    /// The node and boot in which the hold of a row began.
    #[must_use]
    pub fn node(&self, slot: &Slot) -> Arc<NodeRef> {
        self.nodes.node(slot.node).cloned().unwrap_or_default()
    }

    /// Takes over a row as the store has it, in place of what stood there. `seen` is kept where the hold is
    /// the same: the address stays seen on its link across a release.
    pub fn apply(&mut self, lease: &Lease, revision: u64, now: Now) {
        let spot = self.spot(&lease.key());
        let slot = self.slot_of(lease, revision, now);
        self.replace_row(spot, slot, now);
        self.take_news(spot);
    }

    /// The row is gone from the store: the address counts as never used.
    pub fn forget(&mut self, key: &LeaseKey) {
        let spot = self.spot(key);
        self.drop_row(spot);
        self.take_news(spot);
    }

    /// Reserves the next address of a pool.
    ///
    /// # Errors
    /// [`Unavailable::Exhausted`] with the time when the next one is due.
    pub fn reserve(&mut self, pool: usize, want: Want, now: Now) -> Result<Hold, Unavailable> {
        self.promote(pool, now);
        let Some(stock) = self.stocks.get_mut(pool) else { return Err(Unavailable::NoPool) };
        if stock.pool.spec.disabled {
            return Err(Unavailable::NotUsable);
        }
        let chosen = match want {
            Want::Rested => stock.choose(now.moment, false),
            Want::Pressed => stock.choose(now.moment, true),
            Want::Quarantined => stock.choose_quarantined(now.moment),
        };
        let Some(number) = chosen else {
            return Err(Unavailable::Exhausted { due: stock.next_due(now.moment) });
        };
        let address = from_number(stock.pool.family(), number);
        let key = LeaseKey { space: stock.pool.spec.space.clone(), address };
        Ok(self.hold(key, now))
    }

    /// When the pool has something to give under pressure: now, in so long by time alone, or none that is known.
    pub fn next_due(&mut self, pool: usize, now: Now) -> Option<Duration> {
        self.promote(pool, now);
        let stock = self.stocks.get(pool).filter(|stock| !stock.pool.spec.disabled)?;
        if stock.has_some() { Some(Duration::ZERO) } else { stock.next_due(now.moment) }
    }

    /// When an address of the pool that is in quarantine may be given after a silent probe: now, in so long, or none.
    #[must_use]
    pub fn next_probe(&self, pool: usize, now: Now) -> Option<Duration> {
        let stock = self.stocks.get(pool).filter(|stock| !stock.pool.spec.disabled)?;
        stock.next_probe(now.moment)
    }

    /// Reserves exactly this address.
    ///
    /// # Errors
    /// [`Unavailable`], saying who or what has it.
    pub fn reserve_exact(
        &mut self,
        key: &LeaseKey,
        whom: For,
        now: Now,
    ) -> Result<Hold, Unavailable> {
        let Some(pool) = self.pool_of(key) else { return Err(Unavailable::NoPool) };
        let Some(stock) = self.stocks.get(pool) else { return Err(Unavailable::NoPool) };
        if !stock.is_usable(key.number()) || stock.pool.spec.disabled {
            return Err(Unavailable::NotUsable);
        }
        if let Some(slot) = self.slot(key) {
            check_exact(&slot, stock, whom, now)?;
        }
        Ok(self.hold(key.clone(), now))
    }

    /// Gives a reservation back: nothing was written. Whatever else stands there meanwhile is left alone.
    pub fn cancel(&mut self, hold: Hold, now: Now) {
        let ticket = hold.ticket;
        if self.slot(&hold.key).map(|slot| slot.status) != Some(Status::Reserved { ticket }) {
            return;
        }
        let spot = self.spot(&hold.key);
        self.drop_row(spot);
        if let Some(prior) = hold.prior {
            self.insert_row(spot, prior, now);
        }
        self.take_news(spot);
    }

    /// The write of a hold may have happened, and nobody could read whether. The address stays reserved, and whatever is
    /// read or heard of it counts as news, the row that stood there before as well.
    pub fn lose(&mut self, hold: &Hold) {
        let (spot, ticket) = (self.spot(&hold.key), hold.ticket);
        let entry = self.rows.get_mut(&spot);
        if let Some(entry) = entry.filter(|e| e.slot.status == Status::Reserved { ticket }) {
            entry.slot.revision = 0;
        }
    }

    /// The row of an address.
    #[must_use]
    pub fn slot(&self, key: &LeaseKey) -> Option<Slot> {
        let space = self.spaces.iter().position(|s| *s == key.space)?;
        let spot = Spot { space: u16::try_from(space).ok()?, address: key.address };
        self.rows.get(&spot).map(|entry| entry.slot)
    }

    /// Rows whose record may name this attachment.
    #[must_use]
    pub fn of_attachment(&self, print: Print) -> Vec<(LeaseKey, Slot)> {
        self.listed(print)
    }

    /// Rows whose record may name this owner, by uid or by name.
    #[must_use]
    pub fn of_owner(&self, print: Print) -> Vec<(LeaseKey, Slot)> {
        self.listed(print)
    }

    /// Rows whose record may carry this sticky key.
    #[must_use]
    pub fn of_sticky(&self, print: Print) -> Vec<(LeaseKey, Slot)> {
        self.listed(print)
    }

    /// The pools, by index.
    pub fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.stocks.iter().map(|s| &s.pool)
    }

    /// The pool of this index.
    #[must_use]
    pub fn pool(&self, index: usize) -> Option<&Pool> {
        self.stocks.get(index).map(|s| &s.pool)
    }

    /// The index of the pool whose CIDR has the address.
    #[must_use]
    pub fn pool_of(&self, key: &LeaseKey) -> Option<usize> {
        let space = u16::try_from(self.spaces.iter().position(|s| *s == key.space)?).ok()?;
        let (family, number) = (key.family(), key.number());
        let (_, index) =
            self.by_cidr.range((space, family, 0)..=(space, family, number)).next_back()?;
        self.stocks.get(*index).filter(|s| s.pool.spec.cidr.contains(&key.address))?;
        Some(*index)
    }

    /// The pool whose CIDR has the address.
    #[must_use]
    pub fn pool_at(&self, key: &LeaseKey) -> Option<&Pool> {
        self.pool(self.pool_of(key)?)
    }

    /// Whether a pool may hand the address out.
    #[must_use]
    pub fn is_usable(&self, key: &LeaseKey) -> bool {
        let stock = self.pool_of(key).and_then(|pool| self.stocks.get(pool));
        stock.is_some_and(|stock| stock.is_usable(key.number()) && !stock.pool.spec.disabled)
    }

    /// The index of the pool of this name.
    #[must_use]
    pub fn pool_named(&self, name: &PoolName) -> Option<usize> {
        self.stocks.iter().position(|s| s.pool.name == *name)
    }

    /// How many addresses of the pool are what, at this instant.
    pub fn counts(&mut self, pool: usize, now: Now) -> Counts {
        self.promote(pool, now);
        self.stocks.get(pool).map(Stock::counts).unwrap_or_default()
    }

    /// Addresses of the pool held by a namespace.
    #[must_use]
    pub fn held_by_namespace(&self, pool: usize, namespace: Option<Print>) -> u64 {
        namespace.and_then(|n| self.held_by_namespace.get(&(pool, n))).copied().unwrap_or(0)
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The addresses of all rows that satisfy `keep`. Whoever needs the rows takes them down in slices
    /// ([`Ledger::rows_at`]): all at once they are as large as the ledger.
    pub fn keys_where(&self, keep: impl Fn(&Slot) -> bool) -> Vec<LeaseKey> {
        let rows = self.rows.iter().filter(|(_, entry)| keep(&entry.slot));
        rows.filter_map(|(spot, _)| self.key(*spot)).collect()
    }

    /// The same with those of one node, in one boot, beside each other.
    pub fn keys_by_node(&self, keep: impl Fn(&Slot) -> bool) -> Vec<LeaseKey> {
        let rows = self.rows.iter().filter(|(_, entry)| keep(&entry.slot));
        let mut spots: Vec<_> = rows.map(|(spot, entry)| (entry.slot.node, *spot)).collect();
        spots.sort_unstable_by_key(|(node, _)| *node);
        spots.into_iter().filter_map(|(_, spot)| self.key(spot)).collect()
    }

    /// The nodes of all rows that satisfy `keep`, each once and in no order.
    pub fn nodes_where(&self, keep: impl Fn(&Slot) -> bool) -> Vec<Arc<NodeRef>> {
        let rows = self.rows.values().filter(|entry| keep(&entry.slot));
        let numbers: HashSet<u32> = rows.map(|entry| entry.slot.node).collect();
        numbers.into_iter().filter_map(|number| self.nodes.node(number).cloned()).collect()
    }

    /// How many rows that satisfy `keep` each node has, in no order.
    pub fn count_by_node(&self, keep: impl Fn(&Slot) -> bool) -> Vec<(Arc<NodeRef>, usize)> {
        let mut counts: HashMap<u32, usize> = HashMap::new();
        for entry in self.rows.values().filter(|entry| keep(&entry.slot)) {
            *counts.entry(entry.slot.node).or_default() += 1;
        }
        let counts = counts.into_iter();
        counts
            .filter_map(|(number, count)| Some((self.nodes.node(number)?.clone(), count)))
            .collect()
    }

    /// The same of one pool.
    pub fn keys_of_pool(&self, pool: usize, keep: impl Fn(&Slot) -> bool) -> Vec<LeaseKey> {
        let stock = u32::try_from(pool).ok();
        let rows = self.rows.iter();
        let of_pool = rows.filter(|(_, entry)| entry.stock == stock && keep(&entry.slot));
        of_pool.filter_map(|(spot, _)| self.key(*spot)).collect()
    }

    /// The rows of these addresses that satisfy `keep` now. A sweep takes them down *before* it looks.
    pub fn rows_at(&self, keys: &[LeaseKey], keep: impl Fn(&Slot) -> bool) -> Vec<RowAt> {
        let rows = keys.iter().filter_map(|key| Some((key, self.slot(key)?)));
        rows.filter(|(_, slot)| keep(slot))
            .map(|(key, slot)| RowAt { key: key.clone(), slot })
            .collect()
    }

    /// Rows that may be forgotten, longest released first: beyond the bound what has rested for over `rested_for`, and
    /// all such rows that no pool has any more.
    #[must_use]
    pub fn forgettable(
        &self,
        bound: usize,
        rested_for: Duration,
        now: Moment,
    ) -> Vec<(LeaseKey, Slot)> {
        let ready: usize = self.stocks.iter().map(Stock::ready_rows).sum();
        let excess = ready.saturating_sub(bound);
        let counted = |spot: &Spot, entry: &Entry| {
            let stock = entry.stock.and_then(|index| self.stocks.get(index as usize));
            stock.is_some_and(|stock| stock.is_usable(to_number(spot.address)))
        };
        let old = |(spot, entry): &(&Spot, &Entry)| {
            let here = excess > 0 && entry.shelf == Shelf::Ready;
            entry.slot.rested_for(now) > rested_for && (here || !counted(spot, entry))
        };
        let mut rows: Vec<_> = self.rows.iter().filter(old).collect();
        rows.sort_by_key(|(spot, entry)| (entry.slot.released_at(), **spot));
        let mut left = excess;
        rows.retain(|(spot, entry)| {
            let counted = counted(spot, entry);
            let keep = !counted || left > 0;
            left = left.saturating_sub(usize::from(counted));
            keep
        });
        let rows = rows.into_iter();
        rows.filter_map(|(spot, entry)| Some((self.key(*spot)?, entry.slot))).collect()
    }

    /// The address was seen on a link of its holder's namespace.
    pub fn note_seen(&mut self, key: &LeaseKey, generation: Generation) {
        let spot = self.spot(key);
        let entry = self.rows.get_mut(&spot).filter(|e| e.slot.generation == generation);
        if let Some(Entry { slot: Slot { status: Status::Bound { seen, .. }, .. }, .. }) = entry {
            *seen = true;
        }
    }

    /// Records what was found after a release, if the row is still the same hold and still released.
    pub fn note_released(
        &mut self,
        key: &LeaseKey,
        generation: Generation,
        found: AfterRelease,
        now: Now,
    ) {
        let Some(mut slot) = self.slot(key).filter(|s| s.generation == generation) else { return };
        let Status::Released { proved, lingering, seen, .. } = &mut slot.status else { return };
        match found {
            AfterRelease::Gone => {
                *lingering = false;
                *proved = proved.or(Some(now.moment.plus(SETTLING)));
            }
            AfterRelease::OffLink => {
                *lingering = false;
                *proved = Some(proved.map_or(now.moment, |from| from.min(now.moment)));
            }
            AfterRelease::Lingers => (*lingering, *seen) = (proved.is_none(), true),
            // What was last seen on a link stays so until a look says otherwise.
            AfterRelease::Silent => return,
        }
        let spot = self.spot(key);
        self.drop_row(spot);
        self.insert_row(spot, slot, now);
    }

    /// A probe of a quarantined address said nothing: it is tried again later.
    pub fn note_probed(&mut self, key: &LeaseKey, generation: Generation, now: Now) {
        let Some(mut slot) = self.slot(key).filter(|s| s.generation == generation) else { return };
        let Status::Quarantined { probe_from: Some(from), .. } = &mut slot.status else { return };
        *from = now.moment.plus(PROBES_APART);
        let spot = self.spot(key);
        self.drop_row(spot);
        self.insert_row(spot, slot, now);
    }

    // === internals ===

    fn slot_of(&mut self, lease: &Lease, revision: u64, now: Now) -> Slot {
        let node = self.nodes.number(&lease.node);
        let home = self.nodes.home(&lease.node);
        Slot::new(lease, revision, (node, home), now.moment)
    }

    /// Marks the address as reserved.
    fn hold(&mut self, key: LeaseKey, now: Now) -> Hold {
        let spot = self.spot(&key);
        let prior = self.drop_row(spot);
        let ticket = self.ticket;
        self.ticket = ticket.saturating_add(1);
        let reserved = Slot {
            revision: prior.map_or(0, |p| p.revision),
            generation: prior.map_or(Generation(0), |p| p.generation),
            attachment: Print::RESERVED,
            uid: None,
            holder: None,
            namespace: None,
            sticky: None,
            netns: None,
            node: 0,
            home: Home::Here,
            status: Status::Reserved { ticket },
        };
        self.insert_row(spot, reserved, now);
        Hold { key, prior, ticket }
    }

    /// Places rows anew whose rest or retention has ended.
    fn promote(&mut self, pool: usize, now: Now) {
        let Some(stock) = self.stocks.get(pool) else { return };
        let due = stock.due(now.moment, now.wall);
        if due.is_empty() {
            return;
        }
        let (family, space) = (stock.pool.family(), stock.pool.spec.space.clone());
        for number in due {
            let key = LeaseKey { space: space.clone(), address: from_number(family, number) };
            let spot = self.spot(&key);
            if let Some(slot) = self.drop_row(spot) {
                self.insert_row(spot, slot, now);
            }
        }
    }

    /// Puts a row in the place of what stood there; what was seen of the same hold stays seen.
    fn replace_row(&mut self, spot: Spot, mut slot: Slot, now: Now) {
        let old = self.drop_row(spot);
        if let Some(old) = old.filter(|old| old.generation == slot.generation) {
            slot.inherit(&old);
        }
        self.insert_row(spot, slot, now);
    }

    fn insert_row(&mut self, spot: Spot, slot: Slot, now: Now) {
        self.index.extend(slot.prints().map(|print| (print, spot)));
        self.rows.insert(spot, Entry { slot, stock: None, shelf: Shelf::Held });
        self.enter(spot, now);
    }

    fn drop_row(&mut self, spot: Spot) -> Option<Slot> {
        let entry = self.rows.swap_remove(&spot)?;
        for print in entry.slot.prints() {
            self.index.remove(&(print, spot));
        }
        if let Some(index) = entry.stock {
            self.count_namespace(index, &entry.slot, u64::saturating_sub);
            if let Some(stock) = self.stocks.get_mut(index as usize) {
                let place = entry.slot.place(entry.shelf, &stock.pool.spec);
                stock.take(to_number(spot.address), place);
            }
        }
        Some(entry.slot)
    }

    /// Puts the row on the shelf where it stands now, in the pool whose CIDR has its address.
    fn enter(&mut self, spot: Spot, now: Now) {
        let stock = self.key(spot).and_then(|key| self.pool_of(&key));
        let index = stock.and_then(|index| u32::try_from(index).ok());
        let Some(entry) = self.rows.get_mut(&spot) else { return };
        entry.stock = index;
        entry.shelf = entry.slot.shelf(now.moment, now.wall);
        let Entry { slot, shelf, .. } = *entry;
        let Some(index) = index else { return };
        if let Some(stock) = self.stocks.get_mut(index as usize) {
            let place = slot.place(shelf, &stock.pool.spec);
            stock.put(to_number(spot.address), place);
        }
        self.count_namespace(index, &slot, u64::saturating_add);
    }

    fn count_namespace(&mut self, pool: u32, slot: &Slot, change: fn(u64, u64) -> u64) {
        let Some(namespace) = slot.namespace.filter(|_| slot.is_bound()) else { return };
        let key = (pool as usize, namespace);
        let count = self.held_by_namespace.entry(key).or_default();
        *count = change(*count, 1);
        if *count == 0 {
            self.held_by_namespace.remove(&key);
        }
    }

    fn listed(&self, print: Print) -> Vec<(LeaseKey, Slot)> {
        self.index
            .range((print, Spot::FIRST)..)
            .take_while(|(p, _)| *p == print)
            .filter_map(|(_, spot)| Some((self.key(*spot)?, self.rows.get(spot)?.slot)))
            .collect()
    }

    fn key(&self, spot: Spot) -> Option<LeaseKey> {
        let space = self.spaces.get(usize::from(spot.space))?.clone();
        Some(LeaseKey { space, address: spot.address })
    }

    fn spot(&mut self, key: &LeaseKey) -> Spot {
        Spot { space: self.space_index(&key.space), address: key.address }
    }

    /// Spaces are few and never forgotten; the 65,536th would share the last index with the one before,
    /// which can only make addresses look taken.
    fn space_index(&mut self, space: &SpaceName) -> u16 {
        let index = self.spaces.iter().position(|s| s == space).unwrap_or_else(|| {
            self.spaces.push(space.clone());
            self.spaces.len().saturating_sub(1)
        });
        u16::try_from(index).unwrap_or(u16::MAX)
    }
}

/// Whether a row may be given to one who wants exactly this address.
fn check_exact(slot: &Slot, stock: &Stock, whom: For, now: Now) -> Result<(), Unavailable> {
    match slot.shelf(now.moment, now.wall) {
        Shelf::Held => return Err(Unavailable::Held { by: slot.attachment }),
        Shelf::Quarantined => return Err(Unavailable::Quarantined),
        Shelf::Lingering => return Err(Unavailable::Resting { due: None }),
        Shelf::Ready => return Ok(()),
        Shelf::Retained => {
            let allowed = match whom {
                For::Key(key) => slot.sticky == Some(key),
                For::Policy => true,
                For::Anyone => false,
            };
            if !allowed {
                return Err(Unavailable::Retained);
            }
        }
        Shelf::Resting => {}
    }
    // Whoever needs exactly this address has nothing else: the floors of pressure hold.
    match slot.earliest(&stock.pool.spec) {
        Some(from) if from <= now.moment => Ok(()),
        from => Err(Unavailable::Resting { due: from.map(|f| f.since(now.moment)) }),
    }
}

#[cfg(test)]
mod tests;
