//! The stage `trust`: before a module is compiled, and whatever it was compiled for before, those whom the operator named must
//! have signed its digest. Without that setting every module is admitted.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use tenure_core::name::Digest;
use tenure_core::objects::PolicySource;
use tenure_trust::{SIGNATURES_BYTES, Signatures, Trust, signature_file};

use crate::error::PolicyHostError;

/// Checks the signatures that lie beside the component.
pub(crate) fn check(
    trust: Option<&Trust>,
    (source, path): (&PolicySource, &Path),
    digest: &Digest,
) -> Result<(), PolicyHostError> {
    let Some(trust) = trust.filter(|trust| !trust.exempts(source)) else { return Ok(()) };
    let beside = signature_file(path);
    let unreadable = |source| PolicyHostError::Signatures { path: beside.clone(), source };
    // Not there: signed by nobody.
    let bytes = match read(&beside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        read => read.map_err(|source| PolicyHostError::Read { path: beside.clone(), source })?,
    };
    let signatures = Signatures::parse(&bytes).map_err(unreadable)?;
    let vouching = trust.judge(digest, &signatures).map_err(Box::new)?;
    tracing::info!(digest = digest.as_str(), by = vouching.join(","), "the module is trusted");
    Ok(())
}

/// The signatures beside a component, as they lie there; none that can be read are none.
pub(crate) fn beside(path: &Path) -> Vec<u8> {
    read(&signature_file(path)).unwrap_or_default()
}

/// Without waiting, and one byte more than is allowed, so that too many are noticed.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file: File = rustix::fs::open(path, flags, Mode::empty())?.into();
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    let bound = u64::try_from(SIGNATURES_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    file.take(bound).read_to_end(&mut bytes)?;
    Ok(bytes)
}
