//! What the model knows of the world around the engine: pools as the operator wrote them, what was true while a call was
//! under way, and the calls themselves.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;

use tenure_core::address::Family;
use tenure_core::decision::Verdict;
use tenure_core::lease::{Attachment, Generation};
use tenure_core::name::PoolName;
use tenure_core::objects::Object;
use tenure_engine::{
    AddAnswer, AddRequest, CheckRequest, DelRequest, EngineError, GcAnswer, GcRequest, LeaseView,
    ReleaseRequest, Swept,
};
use tenure_sim::Times;
use tokio::task::JoinHandle;

use crate::cast::{At, PLACES, POOLS, SLOTS, Shape, address, key, reserves};
use crate::ops::{Add, NetnsAt, Ranking, Wish};

/// A rule that does not hold, with what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach(pub String);

pub type Check<T = ()> = Result<T, Breach>;

/// Fails with the invariant that is broken.
macro_rules! breach {
    ($($text:tt)*) => { return Err($crate::world::Breach(format!($($text)*))) };
}
pub(crate) use breach;

// === pools ===

/// A pool as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    pub shape: Shape,
    /// Deleted, and waiting for its holders.
    pub leaving: bool,
}

/// What the operator has written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pools {
    pub pools: [Option<Written>; POOLS],
    pub reserved: [Option<u8>; SLOTS],
}

impl Pools {
    pub fn shape(&self, pool: usize) -> Option<&Shape> {
        self.pools[pool].as_ref().map(|written| &written.shape)
    }

    /// Whether ranges and reservations let its pool have this address.
    pub fn has(&self, at: At) -> bool {
        let reserved = self.reserved.iter().enumerate();
        let mut reserved = reserved.filter_map(|(slot, from)| from.map(|from| (slot, from)));
        self.shape(at.0).is_some_and(|shape| PLACES[at.0].gives(shape, at.1))
            && !reserved.any(|(slot, from)| reserves(slot, from, at))
    }

    /// Whether the pool gives anything at all.
    pub fn serves(&self, pool: usize) -> bool {
        self.pools[pool].is_some_and(|written| !written.leaving && !written.shape.disabled)
    }

    pub fn usable(&self, at: At) -> bool {
        self.serves(at.0) && self.has(at)
    }

    /// The pools that may serve an ADD, in the order in which policies see them; or the code of the error.
    pub fn candidates(
        &self,
        network: &str,
        named: &[PoolName],
    ) -> Result<Vec<usize>, &'static str> {
        let find = |name: &PoolName| {
            let pool = PLACES.iter().position(|place| place.name == name.as_str());
            pool.filter(|pool| self.pools[*pool].is_some()).ok_or("UNKNOWN_POOL")
        };
        let all = || (0..POOLS).filter(|pool| self.pools[*pool].is_some()).collect();
        let mut pools: Vec<usize> = match named {
            [] => all(),
            some => some.iter().map(find).collect::<Result<_, _>>()?,
        };
        pools.retain(|pool| self.serves(*pool) && PLACES[*pool].serves(network));
        if pools.is_empty() { Err("NO_POOL") } else { Ok(pools) }
    }

    /// Those of them that the select policy ranks.
    pub fn ranked(&self, call: &AddCall) -> Vec<usize> {
        let Ok(candidates) = self.candidates(call.network(), &call.request.pools) else {
            return Vec::new();
        };
        match &call.add.ranking {
            Ranking::Usual => candidates,
            Ranking::Rows(rows) => {
                rows.iter().filter_map(|row| candidates.get(usize::from(*row)).copied()).collect()
            }
            Ranking::Deny => Vec::new(),
        }
    }
}

// === calls ===

/// What is true at an instant.
#[derive(Debug, Clone)]
pub struct Env {
    pub times: Times,
    pub pools: Rc<Pools>,
    pub epoch: u64,
    pub verdict: Verdict,
    pub silent: bool,
    pub unsure: BTreeSet<u64>,
    /// One of those lives: a census cannot be complete.
    pub lacking: bool,
    /// Nothing is heard on the wire.
    pub deaf: bool,
    /// Foreign machines on the wire.
    pub foreign: Rc<BTreeSet<IpAddr>>,
    /// Living namespaces and the addresses on their links.
    pub linked: Rc<BTreeSet<(u64, IpAddr)>>,
}

/// What a probe on the wire hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    Answer,
    Silence,
    Nothing,
}

/// A call to the engine.
#[derive(Debug, Clone)]
pub enum Call {
    Add(Box<AddCall>),
    Del(DelRequest),
    Check(CheckRequest),
    Gc(GcRequest),
    Sweep,
    Watch,
    Release(ReleaseRequest),
    Import(Rc<Pools>),
    Apply(Box<Object>),
}

#[derive(Debug, Clone)]
pub struct AddCall {
    pub add: Add,
    pub request: AddRequest,
    /// The namespace in which the runtime runs the plugin.
    pub cookie: Option<u64>,
}

/// What the engine said.
#[derive(Debug)]
pub enum Answer {
    Add(Result<AddAnswer, EngineError>),
    Done(Result<(), EngineError>),
    Gc(Result<GcAnswer, EngineError>),
    Sweep(Result<Swept, EngineError>),
    Watch,
    Release(Box<Result<LeaseView, EngineError>>),
}

/// A call under way.
pub struct Flight {
    pub call: Call,
    /// What was true since it began; never empty.
    pub window: Vec<Env>,
    /// What its attachment held when it began.
    pub held: Vec<(At, Generation)>,
    /// What it takes over: the addresses of its pod's only other container, which is dead.
    pub takes: Option<BTreeSet<At>>,
    /// Sets that were bound for its attachment meanwhile: the addresses, and whether the hold is a new one.
    pub bound: Vec<(BTreeSet<At>, bool)>,
    /// Something of its attachment was released meanwhile.
    pub released: bool,
    /// The store went back in time meanwhile.
    pub imported: bool,
    /// Nothing else was under way since it began, and nothing failed.
    pub alone: bool,
    /// It began in this step.
    pub is_new: bool,
    /// Its caller has gone away.
    pub hung_up: bool,
    /// Which of all calls it is.
    pub number: u64,
    /// It certainly stands in line for an address, since an earlier step; the time of this process in which that was first
    /// seen.
    pub waits: Option<u64>,
    /// Addresses that were bound for it in this step, and had no holder before.
    pub fresh: Vec<At>,
    pub task: JoinHandle<Answer>,
}

impl AddCall {
    pub fn network(&self) -> &str {
        self.request.attachment.network.as_str()
    }

    /// Whether a policy or the runtime wants exactly this address.
    pub fn wants(&self, at: At) -> bool {
        let among = |list: &[u8]| list.iter().any(|n| address(*n) == key(at).address);
        match &self.add.wish {
            Wish::None => false,
            Wish::Fixed(list) | Wish::Policy { addresses: list, .. } => among(list),
            // Which addresses a key or a name had before is not followed that far.
            Wish::Sticky { .. } | Wish::Reuse(_) => true,
        }
    }

    pub fn key(&self) -> Option<String> {
        match &self.add.wish {
            Wish::Sticky { key, .. } => Some(key_name(*key)),
            _ => None,
        }
    }

    pub fn wait_ms(&self) -> u64 {
        u64::from(self.add.wait_s) * 1000
    }

    /// Whether the namespace could be seen, as far as the call says.
    pub fn is_visible(&self) -> bool {
        matches!(self.add.netns, NetnsAt::Its)
    }
}

pub fn key_name(key: u8) -> String {
    format!("key-{key}")
}

impl Call {
    pub fn attachment(&self) -> Option<&Attachment> {
        match self {
            Call::Add(call) => Some(&call.request.attachment),
            Call::Del(request) => Some(&request.attachment),
            Call::Check(request) => Some(&request.attachment),
            _ => None,
        }
    }
}

impl Flight {
    pub fn began(&self) -> &Env {
        &self.window[0]
    }

    pub fn is_of(&self, attachment: &Attachment) -> bool {
        self.call.attachment() == Some(attachment)
    }

    pub fn add_of(&self, attachment: &Attachment) -> Option<&AddCall> {
        match &self.call {
            Call::Add(call) if call.request.attachment == *attachment => Some(call),
            _ => None,
        }
    }

    pub fn is_new_sweep(&self) -> bool {
        self.is_new && matches!(self.call, Call::Sweep)
    }

    pub fn ever(&self, holds: impl FnMut(&Env) -> bool) -> bool {
        self.window.iter().any(holds)
    }

    pub fn always(&self, holds: impl FnMut(&Env) -> bool) -> bool {
        self.window.iter().all(holds)
    }

    /// The instant is part of what was true while the call was under way.
    pub fn see(&mut self, env: &Env) {
        let last = self.window.last_mut().unwrap();
        let same = Rc::ptr_eq(&last.pools, &env.pools)
            && (last.times, last.epoch) == (env.times, env.epoch)
            && (last.silent, &last.unsure, last.lacking, last.verdict)
                == (env.silent, &env.unsure, env.lacking, env.verdict)
            && (last.deaf, &last.foreign, &last.linked) == (env.deaf, &env.foreign, &env.linked);
        if !same {
            self.window.push(env.clone());
        }
    }
}

impl Env {
    /// Whether the witness can tell about this namespace.
    pub fn tells(&self, cookie: u64) -> bool {
        !self.silent && !self.unsure.contains(&cookie)
    }

    /// Whether a census would be complete.
    pub fn tells_all(&self) -> bool {
        !self.silent && !self.lacking
    }

    /// What a probe would hear of an address.
    pub fn heard(&self, address: IpAddr) -> Heard {
        if self.deaf {
            Heard::Nothing
        } else if self.foreign.contains(&address) || self.linked.iter().any(|(_, a)| *a == address)
        {
            Heard::Answer
        } else {
            Heard::Silence
        }
    }
}

pub fn families(pools: &[usize]) -> BTreeSet<Family> {
    pools.iter().map(|pool| PLACES[*pool].family()).collect()
}
