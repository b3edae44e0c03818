//! Signatures as artifacts that refer to the manifest of a module (OCI 1.1 referrers): they travel with it and change nothing of it.

use std::collections::BTreeMap;

use oci_client::manifest::{OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest};
use tenure_trust::{ENVELOPE_TYPE, SIGNATURES_BYTES, Signatures};

use crate::artifact::{Artifact, bounded, descriptor, size, to_json};
use crate::error::OciError;

/// The config of an artifact that needs none.
pub(crate) const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
pub(crate) const EMPTY: &[u8] = b"{}";
/// More referrers than these are not read: others may add as many as they like.
pub(crate) const REFERRERS: usize = 32;
/// So that whoever lists referrers sees what they are for.
const TITLE: &str = "org.opencontainers.image.title";

/// One envelope with its manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Referrer {
    pub(crate) manifest: Vec<u8>,
    pub(crate) envelope: Vec<u8>,
}

// === impl Referrer ===

impl Referrer {
    /// One for each envelope. The same signatures always give the same bytes.
    pub(crate) fn all(artifact: &Artifact, signatures: &Signatures) -> Result<Vec<Self>, OciError> {
        let text = signatures.to_text().map_err(|error| OciError::Bug(error.to_string()))?;
        text.lines().map(|line| Self::of(artifact, line.as_bytes())).collect()
    }

    fn of(artifact: &Artifact, envelope: &[u8]) -> Result<Self, OciError> {
        let title = (TITLE.to_owned(), "signatures of a Tenure policy".to_owned());
        let manifest = OciImageManifest {
            media_type: Some(OCI_IMAGE_MEDIA_TYPE.to_owned()),
            artifact_type: Some(ENVELOPE_TYPE.to_owned()),
            config: descriptor(EMPTY_TYPE, EMPTY),
            layers: vec![descriptor(ENVELOPE_TYPE, envelope)],
            subject: Some(descriptor(OCI_IMAGE_MEDIA_TYPE, &artifact.manifest)),
            annotations: Some(BTreeMap::from([title])),
            ..OciImageManifest::default()
        };
        Ok(Self { manifest: to_json(&manifest)?, envelope: envelope.to_owned() })
    }

    /// The entry of a list of referrers.
    pub(crate) fn descriptor(&self) -> OciDescriptor {
        descriptor(OCI_IMAGE_MEDIA_TYPE, &self.manifest)
    }
}

/// The layer that holds the envelope, if this manifest is one of signatures of that subject.
pub(crate) fn envelope_layer(
    place: &str,
    manifest: &[u8],
    subject: &str,
) -> Result<Option<OciDescriptor>, OciError> {
    // Others may refer to it with whatever they like.
    let Ok(manifest) = serde_json::from_slice::<OciImageManifest>(manifest) else {
        return Ok(None);
    };
    let refers = manifest.subject.as_ref().is_some_and(|found| found.digest == subject);
    let is_ours = manifest.artifact_type.as_deref() == Some(ENVELOPE_TYPE);
    let [layer] = manifest.layers.as_slice() else { return Ok(None) };
    if !refers || !is_ours || layer.media_type != ENVELOPE_TYPE {
        return Ok(None);
    }
    let limit = u64::try_from(SIGNATURES_BYTES).unwrap_or(u64::MAX);
    bounded(place, "a signature", size(place, layer)?, limit)?;
    Ok(Some(layer.clone()))
}

/// Adds the envelopes of a referrer. What is no envelope is left out: it vouches for nothing.
pub(crate) fn take(signatures: &mut Signatures, place: &str, envelope: &[u8]) {
    let mut all = signatures.clone();
    match Signatures::parse(envelope).and_then(|more| all.merge(more)) {
        Ok(()) => *signatures = all,
        Err(error) => tracing::warn!(place, %error, "a signature is left out"),
    }
}
