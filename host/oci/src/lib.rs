//! Policy modules on their way: to and from OCI registries, and in files for sites that have no way to one. It is named after
//! the formats that it speaks, those of the Open Container Initiative, which registries, tarballs and referrers share.
//!
//! What it is not: it compiles nothing, trusts nobody and keeps nothing; whether a module may serve is for `tenure-trust` and the
//! policy host to say, and where it is kept for the daemon. No code of the policy host depends on it: that one has no network.
//!
//! ```text
//! artifact     component <-> config + one layer + manifest (CNCF Wasm layout); whatever else is refused before it is fetched
//! registry     pull: manifest -> checked -> config -> checked -> layer -> signatures; push; add_signatures
//!   session    one repository: log in, bounded reads, uploads
//!   referrer   signatures as artifacts that refer to the manifest; the list under a tag where a registry keeps none
//! bundle       the same in one file: OCI image layout in a tar
//! credentials  names and passwords from Docker's configuration file; helpers are named and not run
//! ```
//!
//! Invariants:
//! - Every byte that is answered has the digest by which it was asked for; a tag is resolved once, and all else goes by digest.
//! - Sizes are checked as claimed before anything is fetched, and counted while it comes (I12). Not counted are the few answers that
//!   `oci-client` reads itself (tokens, errors of uploads); deadlines bound those.
//! - Plain HTTP only on loopback, or where it was asked for.
//! - Manifests are passed on byte by byte: their digests, and with them signatures, survive registries and tarballs.

mod artifact;
mod bundle;
mod credentials;
mod error;
mod referrer;
mod registry;
mod session;

pub use artifact::{About, Artifact, CONFIG_TYPE, ComponentFace, LAYER_TYPE, WasmConfig};
pub use bundle::Bundle;
pub use credentials::{Credentials, Login};
pub use error::OciError;
pub use registry::{Pulled, Registry, RegistryOptions};
