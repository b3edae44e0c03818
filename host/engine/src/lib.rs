//! The use cases of Tenure: add, del, check, gc, status, reclaim, and what operators apply and read.
//!
//! What it is not: it knows no redb, no Wasm, no CNI version and no HTTP. It sees the store, the policies and
//! the kernel witness as ports.
//!
//! ```text
//! ADD: add.rs -> again.rs (own lease?) -> candidates.rs
//!      -> choose.rs (affinity, select) -> take.rs (reserve, one more look) -> commit
//!      -> a sticky key that is new here: rivals.rs (does anybody else use it?)
//!      nothing free: live.rs (one look at a shared store), wait.rs, then choose.rs once more
//! a set that nobody was told of: untold.rs (of this replica), unanswered.rs (of any)
//! DEL: del.rs -> commit -> proof.rs (is the holder really gone?)
//! zombies: sweep.rs -> assess.rs (evidence, policy, core::judge) -> a fresh look -> commit
//! others write the store as well, and look into it: follow.rs, show.rs
//! operators: suspects.rs, reclaim.rs, explain.rs, release.rs over the same evidence
//! ```
//!
//! Invariants: the store's conditional write is the lock (I1); the answer follows the durable write (I2); a set
//! is written in one commit (I3); own rows are found by attachment (I4, I5); only proof frees (I6, I7). No lock
//! is held over an `.await`; policies and looks run on blocking threads, bounded by `Options::jobs` (I12). What others write
//! is taken over only if it is newer than what is known, and is for speed: the conditional write decides.

mod add;
mod again;
mod assess;
mod background;
mod candidates;
mod census;
mod check;
mod choose;
mod claims;
mod clear;
mod counters;
mod del;
mod ends;
mod engine;
mod error;
mod explain;
mod follow;
mod gc;
mod history;
mod holds;
mod live;
mod locks;
mod objects;
mod policies;
mod proof;
mod reclaim;
mod release;
mod requests;
mod rivals;
mod show;
mod suspects;
mod sweep;
mod take;
mod testimony;
mod unanswered;
mod untold;
mod verbs;
mod views;
mod wait;

pub use background::Background;
pub use claims::Claim;
pub use counters::{Count, Counters};
pub use engine::{Engine, Options, Ports};
pub use error::EngineError;
pub use explain::Explanation;
pub use gc::GC_MIN_AGE;
pub use history::{HistoryRequest, HistoryView, MomentView};
pub use locks::{AttachmentGuard, AttachmentLocks, Guard};
pub use objects::{Applied, Change, Deleted};
pub use reclaim::{RECLAIM_PATIENCE, ReclaimAnswer, Reclaimed};
pub use release::ReleaseRequest;
pub use requests::{
    AddAnswer, AddRequest, AgentCall, Caller, CheckRequest, DelRequest, Facts, FixedAddress,
    GcAnswer, GcRequest, Granted, NetnsRef, Past, SpoolInstant,
};
pub use suspects::{Outlook, SuspectView, Suspects};
pub use sweep::Swept;
pub use testimony::Testimony;
pub use verbs::{EngineVerbs, StatusRequest, Verbs};
pub use views::{LeaseFilter, LeaseView, NotServed, Overview, PoolStatus, PoolView};
pub use wait::MAX_WAITERS;
