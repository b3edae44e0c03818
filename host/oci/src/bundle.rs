//! A module in one file, for sites without a way to a registry: an OCI image layout in a tar, signatures included.
//!
//! `oras`, `skopeo` and `crane` read and write the same. Nothing is unpacked to the disk: entries are read into memory up to a
//! bound, blobs are known by the digest of their bytes and never by the name of their entry.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};

use oci_client::manifest::{
    ImageIndexEntry, OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, OciImageIndex,
};
use tenure_core::name::Digest;
use tenure_trust::{ENVELOPE_TYPE, Signatures};

use crate::artifact::{Artifact, CONFIG_BYTES, Checked, MANIFEST_BYTES, bounded, to_json};
use crate::error::OciError;
use crate::referrer::{EMPTY, REFERRERS, Referrer, envelope_layer, take};

const LAYOUT: (&str, &[u8]) = ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
const INDEX: &str = "index.json";
/// Annotation: the name under which it lay in a registry.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The blobs of one module and its signatures, and room for some of others.
const ENTRIES: usize = 256;

/// A module, its signatures, and what it was called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// The module.
    pub artifact: Artifact,
    /// Who vouches for it.
    pub signatures: Signatures,
    /// Its reference in the registry from which it came, or another name.
    pub name: Option<String>,
}

/// What a tar holds, by digest.
struct Blobs {
    index: Option<Vec<u8>>,
    blobs: BTreeMap<String, Vec<u8>>,
}

// === impl Bundle ===

impl Bundle {
    /// Writes it. The same module and signatures always give the same bytes.
    ///
    /// # Errors
    /// [`OciError::File`]; `path` is only named in it.
    pub fn write(&self, path: &str, out: impl Write) -> Result<(), OciError> {
        let referrers = Referrer::all(&self.artifact, &self.signatures)?;
        let mut blobs = vec![
            self.artifact.manifest.as_slice(),
            &self.artifact.config,
            &self.artifact.component,
        ];
        if !referrers.is_empty() {
            blobs.push(EMPTY);
        }
        blobs.extend(referrers.iter().flat_map(|r| [r.manifest.as_slice(), &r.envelope]));
        let index = self.index(&referrers)?;
        let failed = |cause| OciError::File { act: "writing", path: path.into(), cause };
        let mut tar = tar::Builder::new(out);
        append(&mut tar, LAYOUT.0, LAYOUT.1).map_err(failed)?;
        append(&mut tar, INDEX, &index).map_err(failed)?;
        let mut written = BTreeSet::new();
        for blob in blobs {
            let digest = Digest::of(blob);
            if !written.contains(&digest) {
                let name = format!("blobs/sha256/{}", digest.hex());
                append(&mut tar, &name, blob).map_err(failed)?;
                written.insert(digest);
            }
        }
        tar.into_inner().and_then(|mut out| out.flush()).map_err(failed)
    }

    /// Reads one. Whatever is neither the module nor its signatures is left out.
    ///
    /// # Errors
    /// [`OciError::Layout`], [`OciError::TooLarge`], [`OciError::Digest`], [`OciError::File`].
    pub fn read(path: &str, from: impl Read, limit: u64) -> Result<Self, OciError> {
        let blobs = Blobs::read(path, from, limit)?;
        let index = blobs.index.as_deref().ok_or_else(|| {
            OciError::layout(path, "it has no index.json; is it a tarball of `tenure policy save`?")
        })?;
        let index: OciImageIndex = serde_json::from_slice(index)
            .map_err(|error| OciError::layout(path, format!("its index.json: {error}")))?;
        let is_signature =
            |entry: &&ImageIndexEntry| entry.artifact_type.as_deref() == Some(ENVELOPE_TYPE);
        let modules: Vec<&ImageIndexEntry> =
            index.manifests.iter().filter(|entry| !is_signature(entry)).collect();
        let [module] = modules.as_slice() else {
            let why = format!("it holds {} modules; one is taken", modules.len());
            return Err(OciError::layout(path, why));
        };
        let manifest = blobs.get(path, &module.digest)?;
        let checked = Checked::read(path, manifest, limit)?;
        let config = blobs.get(path, &checked.config.digest)?;
        checked.check_config(path, config)?;
        let component = blobs.get(path, &checked.layer.digest)?;
        let mut signatures = Signatures::default();
        for entry in index.manifests.iter().filter(is_signature).take(REFERRERS) {
            let manifest = blobs.get(path, &entry.digest)?;
            if let Some(layer) = envelope_layer(path, manifest, &module.digest)? {
                take(&mut signatures, path, blobs.get(path, &layer.digest)?);
            }
        }
        let name = module.annotations.as_ref().and_then(|all| all.get(REF_NAME)).cloned();
        let artifact = Artifact {
            manifest: manifest.to_vec(),
            config: config.to_vec(),
            component: component.to_vec(),
        };
        Ok(Self { artifact, signatures, name })
    }

    fn index(&self, referrers: &[Referrer]) -> Result<Vec<u8>, OciError> {
        let entry =
            |manifest: &[u8], artifact_type: Option<&str>, name: Option<&String>| ImageIndexEntry {
                media_type: OCI_IMAGE_MEDIA_TYPE.to_owned(),
                digest: Digest::of(manifest).to_string(),
                size: i64::try_from(manifest.len()).unwrap_or(i64::MAX),
                platform: None,
                artifact_type: artifact_type.map(str::to_owned),
                annotations: name.map(|name| [(REF_NAME.to_owned(), name.clone())].into()),
            };
        let module = entry(&self.artifact.manifest, None, self.name.as_ref());
        let signatures = referrers.iter().map(|r| entry(&r.manifest, Some(ENVELOPE_TYPE), None));
        to_json(&OciImageIndex {
            schema_version: 2,
            media_type: Some(OCI_IMAGE_INDEX_MEDIA_TYPE.to_owned()),
            manifests: std::iter::once(module).chain(signatures).collect(),
            artifact_type: None,
            annotations: None,
        })
    }
}

// === impl Blobs ===

impl Blobs {
    fn read(path: &str, from: impl Read, limit: u64) -> Result<Self, OciError> {
        let failed = |cause| OciError::File { act: "reading", path: path.into(), cause };
        // The module, and as much again for all else.
        let total = limit.saturating_mul(2).saturating_add(CONFIG_BYTES);
        let mut tar = tar::Archive::new(from.take(total.saturating_add(1 << 20)));
        let mut this = Self { index: None, blobs: BTreeMap::new() };
        let mut sum = 0_u64;
        for (count, entry) in tar.entries().map_err(failed)?.enumerate() {
            let entry = entry.map_err(failed)?;
            if count >= ENTRIES {
                return Err(OciError::layout(path, format!("it has more than {ENTRIES} entries")));
            }
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let is_index = {
                let name = entry.path_bytes();
                name.strip_prefix(b"./").unwrap_or(&name) == INDEX.as_bytes()
            };
            bounded(path, "an entry", entry.size(), if is_index { MANIFEST_BYTES } else { limit })?;
            sum = sum.saturating_add(entry.size());
            bounded(path, "all of it", sum, total)?;
            let mut bytes = Vec::new();
            let whole = entry.size();
            entry.take(whole).read_to_end(&mut bytes).map_err(failed)?;
            if is_index {
                this.index = Some(bytes);
            } else {
                this.blobs.insert(Digest::of(&bytes).to_string(), bytes);
            }
        }
        Ok(this)
    }

    /// A blob by the digest of what was read. One that was changed is not found under its digest.
    fn get(&self, path: &str, digest: &str) -> Result<&[u8], OciError> {
        self.blobs.get(digest).map(Vec::as_slice).ok_or_else(|| {
            let why = format!("the blob {digest} is missing or was changed; get the file again");
            OciError::layout(path, why)
        })
    }
}

fn append(tar: &mut tar::Builder<impl Write>, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    tar.append_data(&mut header, name, bytes)
}
