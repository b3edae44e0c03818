//! Who vouches for a policy module: keys, signatures over its digest, and the rules by which a daemon trusts it.
//!
//! What it is not: it fetches nothing, keeps nothing, and knows neither registries nor Wasm. There is no certificate authority, no
//! transparency log and no clock: a signature is by an ed25519 key, and it holds for as long as the key is trusted.
//!
//! ```text
//! keygen   -> SecretKey (PKCS #8 PEM, 0600) + PublicKey (SPKI PEM): what `openssl genpkey -algorithm ed25519` makes, too
//! sign     -> Signatures::sign(digest, key): a DSSE envelope around an in-toto statement whose subject is the digest
//! NAME.wasm.sig, or a referrer in the registry: the envelopes, one a line
//! admit    -> Trust::judge(digest, signatures): all of these names, and at least so many of those
//! ```
//!
//! Invariants:
//! - What is signed is never a bare digest: DSSE puts a fixed prefix, the payload's type and its length before it, and the statement
//!   names its purpose (`predicateType`). A signature made for anything else never counts here.
//! - `keyid` is a hint. A signature counts for a key only if it verifies with it, strictly (no small-order keys, no malleable form).
//! - Two names with one key are refused: else one signature could be counted twice.

mod envelope;
mod error;
mod key;
mod rules;

pub use envelope::{ENVELOPE_TYPE, PREDICATE_TYPE, SIGNATURES_BYTES, Signatures, signature_file};
pub use error::TrustError;
pub use key::{KeyId, PublicKey, SecretKey};
pub use rules::{AnyOf, Distrust, Trust, TrustSettings};
