//! Modules to and from a registry.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use oci_client::RegistryOperation;
use oci_client::manifest::{
    ImageIndexEntry, OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, OciImageIndex,
};
use tenure_core::name::{Digest, OciRef};
use tenure_trust::{ENVELOPE_TYPE, SIGNATURES_BYTES, Signatures};

use crate::artifact::{Artifact, CONFIG_BYTES, Checked, MANIFEST_BYTES, size, to_json};
use crate::credentials::Credentials;
use crate::error::OciError;
use crate::referrer::{EMPTY, REFERRERS, Referrer, envelope_layer, take};
use crate::session::Session;

/// A pull is a few small answers and one of some MiB.
const PULL_WITHIN: Duration = Duration::from_secs(60);
const PUSH_WITHIN: Duration = Duration::from_secs(180);
/// Two who sign at once may overwrite each other's list of signatures.
const TRIES: usize = 3;
/// That a registry lists referrers itself, it says in the answer to an upload of one.
const SUBJECT_HEADER: &str = "oci-subject";
const DIGEST_HEADER: &str = "docker-content-digest";
const ANY_BLOB: &str = "*/*";
/// Indexes, too, so that one is told as such instead of not being found.
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// How registries are talked to.
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    /// Who calls.
    pub credentials: Credentials,
    /// Registries (host and port) that speak plain HTTP. Those on loopback do unless a CA is given.
    pub plain_http: Vec<String>,
    /// All do.
    pub all_plain_http: bool,
    /// The only CAs to trust, in PEM; those of the system by default.
    pub ca: Option<PathBuf>,
    /// Largest component that is taken.
    pub component_bytes: u64,
}

/// What was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The module.
    pub artifact: Artifact,
    /// Who vouches for it, as the registry has it; nothing of it has been verified.
    pub signatures: Signatures,
}

/// The way to registries.
///
/// *Guarantees*: what is answered has the digests that were asked for; nothing larger than the options allow is read; each call
/// ends within a deadline. *Assumes*: no secrets but the credentials of the registry that is named.
#[derive(Debug)]
pub struct Registry {
    options: RegistryOptions,
}

// === impl RegistryOptions ===

impl RegistryOptions {
    /// Nobody in particular calls, and components have at most so many bytes.
    #[must_use]
    pub fn new(component_bytes: u64) -> Self {
        Self {
            credentials: Credentials::default(),
            plain_http: Vec::new(),
            all_plain_http: false,
            ca: None,
            component_bytes,
        }
    }

    pub(crate) fn is_plain(&self, registry: &str) -> bool {
        let is_asked = self.all_plain_http || self.plain_http.iter().any(|one| one == registry);
        is_asked || (self.ca.is_none() && is_loopback(registry))
    }
}

// === impl Registry ===

impl Registry {
    /// Nothing is sent before something is asked for.
    #[must_use]
    pub fn new(options: RegistryOptions) -> Self {
        Self { options }
    }

    /// Pulls a module and what vouches for it. Where the reference names a digest, that of its manifest counts, not the tag.
    ///
    /// # Errors
    /// [`OciError`]: also for anything that is not exactly one component in the CNCF Wasm layout.
    pub async fn pull(&self, reference: &OciRef) -> Result<Pulled, OciError> {
        within(PULL_WITHIN, reference, self.pull_now(reference)).await
    }

    /// Pushes a module under the tag of the reference, with its signatures. Answers the digest of the manifest.
    ///
    /// # Errors
    /// [`OciError`]: also if the reference pins another manifest.
    pub async fn push(
        &self,
        reference: &OciRef,
        artifact: &Artifact,
        signatures: &Signatures,
    ) -> Result<Digest, OciError> {
        within(PUSH_WITHIN, reference, self.push_now(reference, artifact, signatures)).await
    }

    /// Adds signatures to a module that is there. None of those that are there is lost.
    ///
    /// # Errors
    /// [`OciError`].
    pub async fn add_signatures(
        &self,
        reference: &OciRef,
        artifact: &Artifact,
        signatures: &Signatures,
    ) -> Result<(), OciError> {
        within(PUSH_WITHIN, reference, async {
            let session = self.open(reference, RegistryOperation::Push).await?;
            attach(&session, artifact, signatures).await
        })
        .await
    }

    async fn pull_now(&self, reference: &OciRef) -> Result<Pulled, OciError> {
        let session = self.open(reference, RegistryOperation::Pull).await?;
        let place = session.shown();
        let limit = self.options.component_bytes;
        let manifest = manifest(&session).await?;
        let checked = Checked::read(&place, &manifest, limit)?;
        // Small, and enough to refuse what is no policy before its layer is fetched.
        let wanted = Digest::new(&checked.config.digest)
            .map_err(|error| OciError::layout(&place, error.to_string()))?;
        let config =
            session.get_exactly(("blobs", &wanted), ANY_BLOB, ("the config", CONFIG_BYTES)).await?;
        checked.check_config(&place, &config)?;
        // Never more than was claimed, and that is within the bound.
        let bound = ("the component", size(&place, &checked.layer)?);
        let component = session.get_exactly(("blobs", &checked.digest), ANY_BLOB, bound).await?;
        let artifact = Artifact { manifest, config, component };
        let signatures = signatures(&session, &artifact).await?;
        Ok(Pulled { artifact, signatures })
    }

    async fn push_now(
        &self,
        reference: &OciRef,
        artifact: &Artifact,
        signatures: &Signatures,
    ) -> Result<Digest, OciError> {
        let digest = artifact.manifest_digest();
        if let Some(wanted) = reference.manifest().filter(|wanted| *wanted != digest) {
            let reference = reference.to_string();
            return Err(OciError::Digest {
                reference,
                what: "the manifest",
                found: digest,
                wanted,
            });
        }
        Checked::read(reference.as_str(), &artifact.manifest, self.options.component_bytes)?;
        let session = self.open(reference, RegistryOperation::Push).await?;
        session.put_blob(&artifact.config).await?;
        session.put_blob(&artifact.component).await?;
        let name = session.tag().unwrap_or(digest.as_str()).to_owned();
        session.put_manifest(&name, OCI_IMAGE_MEDIA_TYPE, &artifact.manifest).await?;
        attach(&session, artifact, signatures).await?;
        Ok(digest)
    }

    async fn open(
        &self,
        reference: &OciRef,
        operation: RegistryOperation,
    ) -> Result<Session, OciError> {
        Session::open(&self.options, reference, operation).await
    }
}

/// The manifest that the reference names, of the digest that it names.
async fn manifest(session: &Session) -> Result<Vec<u8>, OciError> {
    let path = format!("manifests/{}", session.wanted());
    let bound = ("the manifest", MANIFEST_BYTES);
    let absent = || OciError::NotFound { reference: session.shown() };
    let (bytes, headers) = session.get(&path, MANIFESTS, bound).await?.ok_or_else(absent)?;
    let found = Digest::of(&bytes);
    // What was asked for by digest must have it; what a tag names must be what the registry says that it is.
    let said = headers.get(DIGEST_HEADER).and_then(|value| value.to_str().ok());
    for wanted in [Some(session.wanted()), said].into_iter().flatten() {
        if let Ok(wanted) = Digest::new(wanted)
            && wanted != found
        {
            let reference = session.shown();
            return Err(OciError::Digest { reference, what: "the manifest", found, wanted });
        }
    }
    Ok(bytes)
}

/// What the registry has of signatures of that module.
async fn signatures(session: &Session, artifact: &Artifact) -> Result<Signatures, OciError> {
    let subject = artifact.manifest_digest();
    let place = session.shown();
    let mut signatures = Signatures::default();
    let entries = referrers(session, &subject).await?.manifests;
    let ours = |entry: &&ImageIndexEntry| entry.artifact_type.as_deref() == Some(ENVELOPE_TYPE);
    for entry in entries.iter().filter(ours).take(REFERRERS) {
        match envelope(session, entry, &subject).await {
            Ok(Some(envelope)) => take(&mut signatures, &place, &envelope),
            Ok(None) => {}
            Err(error) if error.is_passing() => return Err(error),
            // Whoever may push may leave rubbish: it vouches for nothing, and hinders nobody.
            Err(error) => tracing::warn!(place, %error, "a signature is left out"),
        }
    }
    Ok(signatures)
}

async fn envelope(
    session: &Session,
    entry: &ImageIndexEntry,
    subject: &Digest,
) -> Result<Option<Vec<u8>>, OciError> {
    let Ok(digest) = Digest::new(&entry.digest) else { return Ok(None) };
    let bound = ("the manifest of a signature", MANIFEST_BYTES);
    let manifest = session.get_exactly(("manifests", &digest), MANIFESTS, bound).await?;
    let layer = envelope_layer(&session.shown(), &manifest, subject.as_str())?;
    let Some(digest) = layer.and_then(|layer| Digest::new(&layer.digest).ok()) else {
        return Ok(None);
    };
    let bound = ("a signature", u64::try_from(SIGNATURES_BYTES).unwrap_or(u64::MAX));
    session.get_exactly(("blobs", &digest), ANY_BLOB, bound).await.map(Some)
}

/// The list of referrers: the registry's own, or, where it keeps none, the one under the tag of the subject.
async fn referrers(session: &Session, subject: &Digest) -> Result<OciImageIndex, OciError> {
    let bound = ("the list of signatures", MANIFEST_BYTES);
    let path = format!("referrers/{subject}?artifactType={ENVELOPE_TYPE}").replace('+', "%2B");
    let listed = session.get(&path, OCI_IMAGE_INDEX_MEDIA_TYPE, bound).await?;
    match listed {
        Some((bytes, _)) => read_index(session, &bytes),
        None => tagged_referrers(session, subject).await,
    }
}

async fn tagged_referrers(session: &Session, subject: &Digest) -> Result<OciImageIndex, OciError> {
    let bound = ("the list of signatures", MANIFEST_BYTES);
    let path = format!("manifests/{}", referrers_tag(subject));
    match session.get(&path, OCI_IMAGE_INDEX_MEDIA_TYPE, bound).await? {
        Some((bytes, _)) => read_index(session, &bytes),
        None => Ok(index(Vec::new())),
    }
}

/// Uploads signatures beside a module that is there.
async fn attach(
    session: &Session,
    artifact: &Artifact,
    signatures: &Signatures,
) -> Result<(), OciError> {
    let subject = artifact.manifest_digest();
    for referrer in Referrer::all(artifact, signatures)? {
        session.put_blob(EMPTY).await?;
        session.put_blob(&referrer.envelope).await?;
        let digest = Digest::of(&referrer.manifest);
        let answer =
            session.put_manifest(digest.as_str(), OCI_IMAGE_MEDIA_TYPE, &referrer.manifest).await?;
        if !answer.contains_key(SUBJECT_HEADER) {
            list(session, &subject, &referrer).await?;
        }
    }
    Ok(())
}

/// Adds to the list under the tag, as the specification has it for registries that keep none.
async fn list(session: &Session, subject: &Digest, referrer: &Referrer) -> Result<(), OciError> {
    let descriptor = referrer.descriptor();
    for _ in 0..TRIES {
        let mut entries = tagged_referrers(session, subject).await?.manifests;
        if entries.iter().any(|entry| entry.digest == descriptor.digest) {
            return Ok(());
        }
        entries.push(ImageIndexEntry {
            media_type: descriptor.media_type.clone(),
            digest: descriptor.digest.clone(),
            size: descriptor.size,
            platform: None,
            annotations: None,
            artifact_type: Some(ENVELOPE_TYPE.to_owned()),
        });
        let bytes = to_json(&index(entries))?;
        let tag = referrers_tag(subject);
        session.put_manifest(&tag, OCI_IMAGE_INDEX_MEDIA_TYPE, &bytes).await?;
        // Once more round: somebody else may have written it at the same time.
    }
    let there = tagged_referrers(session, subject).await?;
    if there.manifests.iter().any(|entry| entry.digest == descriptor.digest) {
        return Ok(());
    }
    Err(OciError::Registry {
        act: "listing a signature of",
        reference: session.shown(),
        why: "others change the list at the same time; try again".to_owned(),
    })
}

fn read_index(session: &Session, bytes: &[u8]) -> Result<OciImageIndex, OciError> {
    let bad =
        |error| OciError::layout(&session.shown(), format!("its list of signatures: {error}"));
    serde_json::from_slice(bytes).map_err(bad)
}

fn index(manifests: Vec<ImageIndexEntry>) -> OciImageIndex {
    OciImageIndex {
        schema_version: 2,
        media_type: Some(OCI_IMAGE_INDEX_MEDIA_TYPE.to_owned()),
        manifests,
        artifact_type: None,
        annotations: None,
    }
}

/// `sha256-HEX`
fn referrers_tag(subject: &Digest) -> String {
    format!("sha256-{}", subject.hex())
}

fn is_loopback(registry: &str) -> bool {
    let host = match registry.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => host,
        _ => registry,
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

async fn within<T>(
    deadline: Duration,
    reference: &OciRef,
    work: impl Future<Output = Result<T, OciError>>,
) -> Result<T, OciError> {
    let late = |_| OciError::TooLong { reference: reference.to_string(), within: deadline };
    tokio::time::timeout(deadline, work).await.map_err(late)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_loopback_or_when_asked() {
        let mut options = RegistryOptions::new(1);
        for plain in ["127.0.0.1:5000", "127.8.8.8", "localhost", "localhost:5000", "[::1]:5000"] {
            assert!(options.is_plain(plain), "{plain}");
        }
        for secure in ["r.example", "10.0.0.1:5000", "127.0.0.1.r.example", "localhost.r.example"] {
            assert!(!options.is_plain(secure), "{secure}");
        }
        options.plain_http.push("r.example:5000".to_owned());
        assert!(options.is_plain("r.example:5000") && !options.is_plain("r.example"));
        options.ca = Some("/ca.pem".into());
        assert!(!options.is_plain("127.0.0.1:5000"), "a CA says that TLS is meant");
        options.all_plain_http = true;
        assert!(options.is_plain("r.example"));
    }
}
