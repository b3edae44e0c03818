//! The port: what the engine asks of a store. One contract suite (`contract`) holds every engine to it.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tenure_core::address::Family;
use tenure_core::error::{Coded, Kind};
use tenure_core::history::{Entry, Kept};
use tenure_core::lease::{Attachment, Epoch, Lease, LeaseKey};
use tenure_core::ledger::Counts;
use tenure_core::name::{IfName, NetworkName, ObjectName, PoolName};
use tenure_core::objects::{Object, ObjectKind};
use tenure_core::ports::{PolicyRefusal, PolicyStatus};
use tenure_core::time::WallMs;

/// A boxed future, so that the port can be used as a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The version of a row as the store counts it, alone or with others. It changes at each write of the row and is never
/// reused for the same row within an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

/// A lease as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The record.
    pub lease: Lease,
    /// Its version.
    pub revision: Revision,
}

/// One conditional write: this is the lock of Tenure, there is no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// The address must have no row.
    Create(Lease),
    /// The row must still have this version.
    Replace {
        /// The new record.
        lease: Lease,
        /// The version that it replaces.
        expect: Revision,
    },
    /// The row must still have this version.
    Delete {
        /// Which row.
        key: LeaseKey,
        /// The version that it deletes.
        expect: Revision,
    },
}

/// What was promised about a store before it was opened, and what it says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Random, made with the store.
    pub store_id: String,
    /// Its present life.
    pub epoch: Epoch,
    /// The highest revision that it has given, or a higher one where others share its counter. One lower than a witness
    /// remembers means that the store went back in time.
    pub revision: Revision,
    /// It held no lease when it was opened: from its silence nothing follows about any address.
    pub fresh: bool,
}

/// What an export holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Epoch of the store that was exported.
    pub epoch: Epoch,
    /// Highest revision of the store that was exported.
    pub revision: Revision,
    /// All its objects.
    pub objects: Vec<Object>,
    /// All its leases, at most one per address.
    pub leases: Vec<Lease>,
    /// Its history, where the export has one.
    pub history: Option<History>,
}

/// The history of a store up to a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Oldest first, numbered without holes behind the horizon.
    pub entries: Vec<Entry>,
    /// What happened from here on is not in it.
    pub until: WallMs,
}

/// Whether an import may overwrite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportMode {
    /// Only into a store without leases and objects.
    IntoEmpty,
    /// What the store holds is thrown away.
    Replace,
}

/// What somebody may have changed, this process included: its own writes come back late.
///
/// What is said of rows goes by revisions: whoever knows of a higher one knows better.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A row as it stands now.
    Row(Box<Row>),
    /// The row of this revision, and any before it, is gone.
    Gone {
        /// Whose row.
        key: LeaseKey,
        /// That of its deletion.
        revision: Revision,
    },
    /// Some changes may not have been told. At this revision the store held exactly these rows, told as [`Change::Row`]
    /// before: any other row of it or of an earlier one is gone.
    Listed {
        /// Of the list.
        revision: Revision,
        /// All addresses that had a row.
        keys: HashSet<LeaseKey>,
    },
    /// Objects changed, or may have.
    Objects,
    /// The store has begun another life, or may have.
    Life,
    /// The store went back in time: it is at an earlier revision than it was seen at. What comes after is of what it went back to.
    WentBack,
}

/// Changes in the order in which they are heard. The channel is bounded: who does not read it holds up who tells, and
/// what could not be told meanwhile comes as a list. It ends with the store.
pub type Changes = tokio::sync::mpsc::Receiver<Change>;

/// What operators who look into the store themselves are shown with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// With a pool.
    Pool {
        /// Its name.
        name: ObjectName,
        /// How many addresses are what; else why it serves nothing.
        state: Result<Counts, Refusal>,
    },
    /// With a policy.
    Policy {
        /// Its name.
        name: ObjectName,
        /// The version that serves, if one does.
        serving: Option<Box<PolicyStatus>>,
        /// Why the newest version was not taken, if it was not.
        refusal: Option<PolicyRefusal>,
    },
}

/// Why an object serves nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// One word for programs, as conditions of Kubernetes have it.
    pub reason: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

/// Which rows to list. They are found by hints, such as hashes that may meet: the caller compares the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// What this attachment holds or held last.
    Attachment(Attachment),
    /// All that were written for a pool of this name.
    Pool(PoolName),
    /// All of a node, by its name.
    Node(String),
    /// What is held or kept for a sticky key.
    Key {
        /// The CNI network.
        network: NetworkName,
        /// The interface in the container.
        ifname: IfName,
        /// The family.
        family: Family,
        /// The key.
        key: String,
    },
}

/// Rows as they stood at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// That of the moment.
    pub revision: Revision,
    /// The rows.
    pub rows: Vec<Row>,
}

// === impl Write ===

impl Write {
    /// The address that it writes.
    #[must_use]
    pub fn key(&self) -> LeaseKey {
        match self {
            Self::Create(lease) | Self::Replace { lease, .. } => lease.key(),
            Self::Delete { key, .. } => key.clone(),
        }
    }

    /// The record that it leaves there; none for a delete.
    #[must_use]
    pub fn lease(&self) -> Option<&Lease> {
        match self {
            Self::Create(lease) | Self::Replace { lease, .. } => Some(lease),
            Self::Delete { .. } => None,
        }
    }
}

// === impl Shown ===

impl Shown {
    /// With which object.
    #[must_use]
    pub fn object(&self) -> (ObjectKind, &ObjectName) {
        match self {
            Self::Pool { name, .. } => (ObjectKind::IPPool, name),
            Self::Policy { name, .. } => (ObjectKind::IPAMPolicy, name),
        }
    }
}

// === impl Revision ===

impl Revision {
    /// The next one.
    pub(crate) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A store. Cheap to share; all methods may be called at once from many tasks.
pub trait Store: Send + Sync {
    /// Which store it is.
    fn identity(&self) -> Identity;

    /// Calls `each` with every lease, in any order. Used once at start: the rest of the time the
    /// engine's own index answers, which follows [`Store::changes`] where others write as well.
    fn scan(&self, each: &mut dyn FnMut(Row)) -> Result<(), StoreError>;

    /// One row, as durably stored.
    fn get<'a>(&'a self, key: &'a LeaseKey) -> BoxFuture<'a, Result<Option<Row>, StoreError>>;

    /// The row, if it is known in exactly this version without asking anybody. What is written upon it must be conditional
    /// on that version, for another one may stand there by now.
    fn recall(&self, key: &LeaseKey, revision: Revision) -> Option<Arc<Row>> {
        let _ = (key, revision);
        None
    }

    /// What changes after the first [`Store::scan`], own writes included; none where nobody else writes. A store that cannot
    /// tell all of it for a while tells what stands there afterwards.
    fn changes(&self) -> Option<Changes> {
        None
    }

    /// The rows of a selection, as durably stored now; none where nobody else writes, and the caller knows them all.
    fn list<'a>(
        &'a self,
        selection: &'a Selection,
    ) -> BoxFuture<'a, Result<Option<Listing>, StoreError>> {
        let _ = selection;
        Box::pin(std::future::ready(Ok(None)))
    }

    /// All writes or none, each seeing those before it of its address; durable when the future resolves; one revision per write, in
    /// the order of the writes (a delete answers the revision that it deleted).
    ///
    /// Dropping the future does not undo it: the writes may or may not happen.
    ///
    /// An engine without transactions may show others a part of a batch before it answers, and takes it back before it
    /// answers a conflict. Where somebody else has changed such a row in between, by a write of its own condition, theirs
    /// stands. So after any error the caller reads what it has to know; and rows of a set say which families it has, so
    /// that a part is known as such.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] names the first write that was found not to hold; nothing of the batch stands.
    /// After [`StoreError::Unknown`] each of the writes may have happened, or not: read back before going on.
    fn commit(&self, writes: Vec<Write>) -> BoxFuture<'_, Result<Vec<Revision>, StoreError>>;

    /// Calls `each` with what is kept of the history, oldest first: of one address, or of all. Gaps belong to every
    /// address. Answers how far back all of it goes. Each event was stored in one step with the write that made it.
    /// Blocks for as long as it takes to read through the history.
    ///
    /// A store without a history answers [`Kept::default`].
    fn history(
        &self,
        of: Option<&LeaseKey>,
        each: &mut dyn FnMut(Entry),
    ) -> Result<Kept, StoreError> {
        let _ = (of, each);
        Ok(Kept::default())
    }

    /// Shows operators what there is to say of objects, in a store that they write to and look into themselves. One of several
    /// engines tells it, again and again: the store writes what says something else than what stands there, of each object
    /// at most once in ten seconds.
    ///
    /// # Errors
    /// Something could not be written; it is tried again when it is told again.
    fn show(&self, shown: Vec<Shown>) -> BoxFuture<'_, Result<(), StoreError>> {
        drop(shown);
        Box::pin(std::future::ready(Ok(())))
    }

    /// All objects, those first that have been there for longer, where the store knows.
    fn objects(&self) -> Result<Vec<Object>, StoreError>;
    /// Creates or replaces objects, all or none, durably.
    fn put_objects(&self, objects: Vec<Object>) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Deletes an object; false if there was none.
    fn delete_object<'a>(
        &'a self,
        kind: ObjectKind,
        name: &'a ObjectName,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Replaces what the store holds by `contents`, all or nothing, durably. The rows get new
    /// revisions, above those of the store and, where it counts them itself, of the export, and the epoch rises above both: a
    /// restored store is one that went back in time. The history becomes that of the export and a gap since.
    ///
    /// # Errors
    /// [`StoreError::NotEmpty`] unless the store is empty or `mode` is [`ImportMode::Replace`].
    fn import(
        &self,
        contents: Contents,
        mode: ImportMode,
    ) -> BoxFuture<'_, Result<Identity, StoreError>>;

    /// Begins a new life, durably, and answers it: the caller found that the store went back in time. It leaves a gap in
    /// the history.
    fn raise_epoch(&self) -> BoxFuture<'_, Result<Epoch, StoreError>>;

    /// Whether writes can be served: what STATUS asks. Cheap.
    fn health(&self) -> Result<(), StoreError>;
}

/// Why a store did not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The condition of a write did not hold.
    #[error("{key} was changed by somebody else")]
    Conflict {
        /// Which of the writes.
        index: usize,
        /// Its address.
        key: LeaseKey,
        /// What stands there now.
        current: Option<Box<Row>>,
    },
    /// Another daemon has the store (invariant I13).
    #[error("the store {path} is in use by another process; stop it or choose another stateDir")]
    Locked {
        /// Where it is.
        path: String,
    },
    /// A newer Tenure wrote it (invariant I14).
    #[error(
        "the store was written by a newer Tenure (format {found}, this one knows {known}); it was not touched. Install that version, or export there and import here"
    )]
    Newer {
        /// Its format.
        found: u32,
        /// The newest known here.
        known: u32,
    },
    /// What it holds cannot be read. Nothing is guessed.
    #[error("the store is damaged at {place}: {why}; restore it from an export")]
    Corrupt {
        /// Which table and key.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// Reading or writing failed; nothing was written.
    #[error("{act} failed: {why}")]
    Io {
        /// What was tried.
        act: &'static str,
        /// What the system said.
        why: String,
    },
    /// It cannot be said whether the write happened.
    #[error("{act} ended without an answer: {why}")]
    Unknown {
        /// What was tried.
        act: &'static str,
        /// What the system said.
        why: String,
    },
    /// The queue is full (invariant I12).
    #[error("the store has {bound} writes waiting; try later")]
    Overloaded {
        /// The bound.
        bound: usize,
    },
    /// An import that may not overwrite found something.
    #[error(
        "the store already holds {leases} leases and {objects} objects; import into an empty store or ask to replace them"
    )]
    NotEmpty {
        /// Leases that it holds.
        leases: u64,
        /// Objects that it holds.
        objects: u64,
    },
    /// A text is not a whole export; nothing was imported.
    #[error("line {line} of the export is not valid: {why}; nothing was imported")]
    BadExport {
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
    /// The store has been shut down.
    #[error("the store is closed")]
    Closed,
}

impl Coded for StoreError {
    fn code(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "STORE_CONFLICT",
            Self::Locked { .. } => "STORE_LOCKED",
            Self::Newer { .. } => "STORE_NEWER",
            Self::Corrupt { .. } => "STORE_CORRUPT",
            Self::Io { .. } => "STORE_IO",
            Self::Unknown { .. } => "STORE_UNKNOWN",
            Self::Overloaded { .. } => "STORE_OVERLOADED",
            Self::NotEmpty { .. } => "STORE_NOT_EMPTY",
            Self::BadExport { .. } => "EXPORT_INVALID",
            Self::Closed => "STORE_CLOSED",
        }
    }
    fn kind(&self) -> Kind {
        match self {
            Self::Conflict { .. } | Self::Overloaded { .. } | Self::Closed => Kind::Retry,
            Self::Locked { .. } | Self::Newer { .. } | Self::Corrupt { .. } => Kind::Operator,
            Self::Io { .. } | Self::Unknown { .. } => Kind::Io,
            Self::NotEmpty { .. } => Kind::Refused,
            Self::BadExport { .. } => Kind::Invalid,
        }
    }
}
