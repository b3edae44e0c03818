//! Where components come from: files, read with a bound.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use tenure_core::name::ObjectName;
use tenure_core::objects::PolicySource;

use crate::error::PolicyHostError;
use crate::limits::COMPONENT_BYTES;

/// Reads the component that `source` names; `folder` holds the shipped ones as `NAME.wasm`.
pub(crate) fn read(folder: &Path, source: &PolicySource) -> Result<Vec<u8>, PolicyHostError> {
    let path = match source {
        PolicySource::File(path) => path.clone(),
        PolicySource::Bundled(name) => shipped(folder, name)?,
    };
    let failed = |source| PolicyHostError::Read { path: path.clone(), source };
    let file = File::open(&path).map_err(failed)?;
    let mut bytes = Vec::new();
    // Not by the length of the file: it may be a pipe, or grow.
    file.take(COMPONENT_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > COMPONENT_BYTES) {
        return Err(PolicyHostError::TooLarge { path });
    }
    Ok(bytes)
}

/// A name, never a path: `bundled: ../x` must not leave the folder.
fn shipped(folder: &Path, name: &str) -> Result<PathBuf, PolicyHostError> {
    let path = folder.join(format!("{name}.wasm"));
    if ObjectName::new(name).is_ok() && path.is_file() {
        return Ok(path);
    }
    Err(PolicyHostError::NotShipped {
        name: name.to_owned(),
        folder: folder.to_owned(),
        shipped: names(folder),
    })
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let wasm = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "wasm"));
    let mut names: Vec<String> =
        wasm.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    names.sort_unstable();
    names
}
