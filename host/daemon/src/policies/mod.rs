//! Policies as the daemon hosts them: the policy host, and before it what fetches modules of `oci:` sources.
//!
//! ```text
//! fetching  Policies for the engine: an apply waits for its module, a start and a cluster's news do not
//! kept      stateDir/policies: what was fetched, by digest
//! ```

mod fetching;
mod kept;

pub(crate) use fetching::Fetching;
pub(crate) use kept::Kept;
