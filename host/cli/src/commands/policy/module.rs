//! A module, wherever it lies: in a file with its signatures beside it, in a tarball, or in a registry.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use tenure_core::name::{Digest, OciRef};
use tenure_oci::{About, Artifact, Bundle};
use tenure_policy_host::COMPONENT_BYTES;
use tenure_trust::{SIGNATURES_BYTES, Signatures, signature_file};

use super::remote::Remote;
use crate::error::CliError;
use crate::output::{Format, print, print_document};
use crate::progress::with_progress;

/// Every Wasm file begins so.
const MAGIC: &[u8] = b"\0asm";
/// The bound of a signature file.
const SIGNATURES: u64 = SIGNATURES_BYTES as u64;
const TITLE: &str = "org.opencontainers.image.title";

/// Where a module lies: `./grace.wasm`, `grace.tar`, `registry.example.com/policies/grace:1.2.0`.
#[derive(Debug, Clone)]
pub(super) enum Place {
    File(PathBuf),
    Registry(OciRef),
}

/// A module and who vouches for it.
#[derive(Debug)]
pub(super) struct Module {
    /// What it was called where it lay.
    pub(super) name: Option<String>,
    pub(super) component: Vec<u8>,
    /// As it lay in a registry or tarball; none of a plain file.
    pub(super) artifact: Option<Artifact>,
    pub(super) signatures: Signatures,
}

/// What a command says of a module.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Said {
    /// As a participle, e.g. `pushed`.
    #[serde(skip)]
    pub(super) done: &'static str,
    /// Where it is now.
    pub(super) place: String,
    /// Digest of the component: `spec.digest`.
    pub(super) digest: Digest,
    /// Digest of the manifest: `REF@DIGEST`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) manifest: Option<Digest>,
    /// Bytes of the component.
    pub(super) size: usize,
    /// Whether there are signatures; whose they are, `verify` says.
    pub(super) signed: bool,
}

// === impl Place ===

impl Place {
    /// A file if there is one or it looks like a path, else a reference.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let path = Path::new(text);
        let is_path = text.starts_with(['/', '.']) || path.exists();
        if is_path {
            return Ok(Self::File(path.to_owned()));
        }
        OciRef::new(text)
            .map(Self::Registry)
            .map_err(|error| format!("there is no such file, and as a reference {error}"))
    }
}

// === impl Module ===

impl Module {
    /// Reads it.
    pub(super) async fn read(place: Place, remote: Remote) -> Result<Self, CliError> {
        match place {
            Place::File(path) => Self::read_file(&path),
            Place::Registry(reference) => Self::pull(&reference, remote).await,
        }
    }

    pub(super) async fn pull(reference: &OciRef, remote: Remote) -> Result<Self, CliError> {
        let registry = remote.registry()?;
        let pulled = Box::pin(registry.pull(reference));
        let pulled = with_progress(&format!("pulling {reference}"), pulled).await?;
        Ok(Self {
            name: Some(reference.to_string()),
            component: pulled.artifact.component.clone(),
            artifact: Some(pulled.artifact),
            signatures: pulled.signatures,
        })
    }

    /// A component, or a tarball of one.
    pub(super) fn read_file(path: &Path) -> Result<Self, CliError> {
        let shown = path.display().to_string();
        // A tarball has its module, and as much room again for the rest.
        let bytes = bounded(path, COMPONENT_BYTES.saturating_mul(3))?;
        if !bytes.starts_with(MAGIC) {
            return Self::read_bundle(&shown, &bytes);
        }
        let signatures = match bounded(&signature_file(path), SIGNATURES) {
            Ok(text) => Signatures::parse(&text)?,
            Err(CliError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Signatures::default()
            }
            Err(error) => return Err(error),
        };
        Ok(Self { name: None, component: bytes, artifact: None, signatures })
    }

    fn read_bundle(shown: &str, bytes: &[u8]) -> Result<Self, CliError> {
        let bundle = Bundle::read(shown, bytes, COMPONENT_BYTES)?;
        Ok(Self {
            name: bundle.name,
            component: bundle.artifact.component.clone(),
            artifact: Some(bundle.artifact),
            signatures: bundle.signatures,
        })
    }

    /// As it goes to a registry: as it lay there, else made now.
    pub(super) fn into_artifact(
        self,
        place: &str,
        author: Option<String>,
        annotations: BTreeMap<String, String>,
    ) -> Result<(Artifact, Signatures), CliError> {
        let artifact = match self.artifact {
            Some(artifact) => artifact,
            None => {
                let mut about = About { created: created(), author, annotations };
                let title = Path::new(place).file_stem().map(|stem| stem.to_string_lossy());
                if let Some(title) = title {
                    about.annotations.entry(TITLE.to_owned()).or_insert(title.into_owned());
                }
                Artifact::of(place, self.component, about, COMPONENT_BYTES)?
            }
        };
        Ok((artifact, self.signatures))
    }

    /// Writes component and signatures, each whole or not at all. Signatures of what lay there before are taken away.
    pub(super) fn write(&self, path: &Path) -> Result<(), CliError> {
        let beside = signature_file(path);
        if self.signatures.is_empty() {
            match fs::remove_file(&beside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("removing", &beside)(error));
                }
                _ => {}
            }
        } else {
            write_signatures(&beside, &self.signatures)?;
        }
        write_whole(path, &self.component)
    }

    pub(super) fn said(&self, done: &'static str, place: String) -> Said {
        Said {
            done,
            place,
            digest: Digest::of(&self.component),
            manifest: self.artifact.as_ref().map(Artifact::manifest_digest),
            size: self.component.len(),
            signed: !self.signatures.is_empty(),
        }
    }
}

// === impl Said ===

impl Said {
    pub(super) fn print(&self, format: Format) -> Result<(), CliError> {
        if format == Format::Name {
            return print(&format!("{}\n", self.place));
        }
        if print_document(format, self)? {
            return Ok(());
        }
        let mut text = format!("{} {}\n", self.done, self.place);
        text += &format!("  component  {}  ({} bytes)\n", self.digest, self.size);
        if let Some(manifest) = &self.manifest {
            text += &format!("  manifest   {manifest}\n");
        }
        text += match self.signed {
            true => "  signed     yes (`tenure policy verify` says by whom)\n",
            false => "  signed     no\n",
        };
        print(&text)
    }
}

/// Writes `PATH.sig`.
pub(super) fn write_signatures(path: &Path, signatures: &Signatures) -> Result<(), CliError> {
    write_whole(path, signatures.to_text()?.as_bytes())
}

/// It appears whole or not at all.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let partial = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let write = || -> io::Result<()> {
        let mut file = File::create(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&partial, path)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&partial);
        failed("writing", path)(error)
    })
}

fn bounded(path: &Path, limit: u64) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    let read = File::open(path)
        .and_then(|file| file.take(limit.saturating_add(1)).read_to_end(&mut bytes));
    read.map_err(failed("reading", path))?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > limit) {
        let what = format!("{} has more than {limit} bytes", path.display());
        return Err(CliError::NotDone { what });
    }
    Ok(bytes)
}

fn failed(act: &'static str, path: &Path) -> impl Fn(io::Error) -> CliError {
    let path = path.display().to_string();
    move |source| CliError::File { act, path: path.clone(), source }
}

/// `SOURCE_DATE_EPOCH`, so that a build can be repeated byte by byte, or now.
fn created() -> String {
    let set = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok());
    let set = set.and_then(|seconds: i64| Timestamp::from_second(seconds).ok());
    let now = set.unwrap_or_else(Timestamp::now);
    Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}
