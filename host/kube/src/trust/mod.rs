//! How agents and allocators trust one another: the allocator shows a certificate of Tenure's own CA (or of cert-manager), the
//! agent the token of its pod, which the API server reviews.
//!
//! ```text
//! authority     the CA and the leaf that a replica serves; one round of keeping both
//! rotation      the pure rule: what is to be done about the CA at a time
//! roots         what the Secret holds, read and written; the bundle that follows from it
//! objects       the Secret and the ConfigMap, read and written
//! certificates  keys and certificates: made, read, signed
//! files         a certificate that somebody else keeps in files
//! shown         the leaf that a server shows
//! bundle        what an agent trusts
//! review        which node and pod a token speaks for, asked and remembered; verdict: what an answer says
//! ```

mod authority;
mod bundle;
mod certificates;
mod error;
mod files;
mod objects;
mod options;
mod review;
mod roots;
mod rotation;
mod shown;
mod verdict;

pub use authority::Authority;
pub use bundle::{TrustBundle, TrustError};
pub use error::AuthorityError;
pub use files::ServingFiles;
pub use options::AuthorityOptions;
pub use review::{ReviewError, ReviewOptions, Reviewed, Reviewer};
pub use verdict::Refusal;

/// The name that the allocators' certificates carry, and that agents ask for, whatever address they dial.
pub const SERVER_NAME: &str = "tenure-allocator";
/// The name of the Secret with the CA and of the ConfigMap with its public bundle.
const OBJECT: &str = "tenure-allocator-ca";
/// The bundle in the ConfigMap: CA certificates in PEM, newest first.
const BUNDLE: &str = "ca.crt";
/// The one protocol spoken between agents and allocators.
const ALPN: &[u8] = b"h2";
