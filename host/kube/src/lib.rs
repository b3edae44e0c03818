//! Kubernetes mode: custom resources, and the store on the Kubernetes API.
//!
//! What it is not: it decides nothing, as no store and no witness does. It remembers rows and facts, but answers no question
//! from memory that asks what stands in the store, or whether a holder is gone.
//!
//! ```text
//! crds         the custom resources from core's own types, CEL rules, the guard on leases -> deploy/crds
//! lease        a lease as an object: its name is the address; labels for live LISTs; its shape
//! store/calls  one request with our deadline; what its failure says about its effect
//! store/rows   create, replace and delete of one row, until the outcome is known
//! store/object a lease as an object, and what is read of it
//! store/known  rows as they were last written, read or heard of
//! store/feed   what others change: watches of leases, objects and the ConfigMap (store/watch: one of them)
//! store/set    several rows: taken in one order, undone if one is refused
//! store/objects  pools, reservations and policies
//! store/told   what operators see of them: when a status is written
//! store/life   id and epoch, in one ConfigMap
//! store/import an import that is all or nothing to whoever opens the store
//! facts        pods, namespaces and nodes from watches, for pool selection and policies: fast, and perhaps some seconds old
//! live         one read of what stands there now, which tells absent from not known
//! protobuf     lists of built-in kinds, as the API server writes them cheapest
//! witness      what the API says of nodes and owners, for reclaim: by live reads and fences alone
//! leader       who of the allocators is asked first: a preference, by a Lease
//! replicas     where the allocators are: EndpointSlices
//! trust        Tenure's CA and its bundle; reviews of agents' tokens
//! ```
//!
//! # What is promised of one row
//!
//! POST is the lock: the name of a lease is its address, and the API makes one object of a name. Replace and delete carry
//! uid and resourceVersion, so that they touch the row that was read and no later one. A revision is the resourceVersion,
//! a counter that the whole cluster shares.
//!
//! A request whose outcome is not known (no answer in time, a broken connection, a 5xx) is sent again *for the same name*
//! until it is: each write carries a random mark, by which it is told from what others wrote. Only if that takes longer than
//! [`KubeOptions::settle_within`] the answer is [`StoreError::Unknown`](tenure_store::StoreError::Unknown): the engine
//! then keeps the address to itself until it could read it. kube's own retry is off.
//!
//! # What is promised of several rows
//!
//! The API knows no transaction, so a batch is *not* atomic. It is promised instead:
//!
//! - An answer of success means that all rows stand, as everywhere.
//! - After a conflict or a refusal nothing of the batch stands when it is answered, unless somebody else has changed such
//!   a row meanwhile: then theirs stands. Until then others may see a part of it, and their conditional writes decide.
//! - Of batches that want some of the same pair of addresses one wins: all take the lowest address first, and alone.
//! - After [`StoreError::Unknown`](tenure_store::StoreError::Unknown), or the end of the process in the middle, a part may
//!   stay. It carries the attempt id and the families of its set, so that it is seen to be no whole set: it is never
//!   answered, and the next verb of its attachment, or its agent, ends it.
//! - Revisions of a batch follow the order in which the rows were written, not the order of the batch.
//!
//! # What is promised of what others change
//!
//! - A store that was scanned tells everything from the moment of that scan on: so who scans at its start and follows then
//!   has a full view before it serves, and never lists twice.
//! - What is told goes by revisions. Events come late, and those of own writes come as well: whoever knows of a higher
//!   revision knows better.
//! - A watch that breaks or freezes is begun again where it was, after pauses that grow. Where that is not possible (410, or
//!   a server at an earlier revision) all rows are listed, and it is told that these are all: what is missing and is of the
//!   list's revision or an earlier one is gone.
//! - A row that is remembered is given out in exactly the version that is asked for, to be replaced in that version.
//! - Memory is bounded: by the rows remembered, and by the changes that wait for a slow reader.
//!
//! It keeps no history of its own: the last holders of an address stand in its lease.
//!
//! Invariants kept here: I1 and I2 (one object per address, answered means stored by etcd), I3 (with the engine: a part is
//! not a set), I12 (bounded requests and commits), I14 (a field that is not known is an error).

mod crds;
mod facts;
mod leader;
mod lease;
mod live;
mod protobuf;
mod replicas;
mod store;
mod trust;
mod witness;

pub use crds::{GROUP, VERSION, manifests};
pub use facts::{
    Controller, Deletion, Facts, FactsOptions, NamespaceFacts, NodeFacts, OUT_OF_SERVICE, PodFacts,
    Restart, Texts, Unread,
};
pub use leader::{Leader, LeaderOptions, Leadership};
pub use lease::{LeaseSpec, Unreadable};
pub use replicas::{Replicas, ReplicasError};
pub use store::{KubeOptions, KubeStore};
pub use trust::{
    Authority, AuthorityError, AuthorityOptions, Refusal, ReviewError, ReviewOptions, Reviewed,
    Reviewer, SERVER_NAME, ServingFiles, TrustBundle, TrustError,
};
pub use witness::{FenceLook, FencedBy, NodeLook, NodeOptions, NodeWitness, PodWitness};
