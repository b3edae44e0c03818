//! Keys, as PEM files that other tools read and write, too.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use ed25519_dalek::ed25519::pkcs8::KeypairBytes;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{
    DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _,
};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use rustix::fs::{Mode, OFlags};
use tenure_core::name::Digest;

use crate::error::TrustError;

/// Longer than any key file.
const KEY_BYTES: u64 = 16 << 10;
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----";
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----";

/// By what a key is known: the SHA-256 of its SubjectPublicKeyInfo, as
/// `openssl pkey -pubin -outform DER | sha256sum` shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Digest);

/// A key that signatures are checked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: VerifyingKey,
    id: KeyId,
}

/// A key that signs. It is wiped from memory when it is dropped, and has no `Debug` that shows it.
pub struct SecretKey {
    key: SigningKey,
    public: PublicKey,
}

// === impl KeyId ===

impl KeyId {
    /// `sha256:` and 64 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl PublicKey ===

impl PublicKey {
    /// Reads PEM; `place` is what an error names.
    ///
    /// # Errors
    /// [`TrustError::Key`]: it is something else, or a weak key that would verify anything.
    pub fn from_pem(place: &str, text: &str) -> Result<Self, TrustError> {
        let bad = |why: String| TrustError::Key {
            place: place.to_owned(),
            what: "public key",
            expected: PUBLIC,
            why,
        };
        let key = VerifyingKey::from_public_key_pem(text.trim())
            .map_err(|error| bad(error.to_string()))?;
        if key.is_weak() {
            return Err(
                bad("it is one of the few points that verify forged signatures".to_owned()),
            );
        }
        Self::of(key).map_err(|why| bad(why.to_string()))
    }

    /// Reads a PEM file.
    ///
    /// # Errors
    /// [`TrustError::File`], [`TrustError::Key`].
    pub fn read(path: &Path) -> Result<Self, TrustError> {
        Self::from_pem(&path.display().to_string(), &read(path)?)
    }

    /// The key in PEM.
    ///
    /// # Errors
    /// Never for a key that was read or made.
    pub fn to_pem(&self) -> Result<String, TrustError> {
        self.key.to_public_key_pem(LineEnding::LF).map_err(|error| TrustError::Key {
            place: self.id.to_string(),
            what: "public key",
            expected: PUBLIC,
            why: error.to_string(),
        })
    }

    /// By what it is known.
    #[must_use]
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// Whether it made that signature.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.key.verify_strict(message, &signature).is_ok())
    }

    fn of(key: VerifyingKey) -> Result<Self, ed25519_dalek::pkcs8::spki::Error> {
        let id = KeyId(Digest::of(key.to_public_key_der()?.as_bytes()));
        Ok(Self { key, id })
    }
}

// === impl SecretKey ===

impl SecretKey {
    /// Makes a new one from the random numbers of the system.
    ///
    /// # Errors
    /// [`TrustError::Random`].
    pub fn generate() -> Result<Self, TrustError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| TrustError::Random(error.to_string()))?;
        Self::of("a new key", SigningKey::from_bytes(&seed))
    }

    /// Reads a PEM file that only its owner can read.
    ///
    /// # Errors
    /// [`TrustError::File`], [`TrustError::Key`], [`TrustError::Exposed`].
    pub fn read(path: &Path) -> Result<Self, TrustError> {
        use std::os::unix::fs::PermissionsExt as _;

        let text = read(path)?;
        let place = path.display().to_string();
        let key = SigningKey::from_pkcs8_pem(text.trim())
            .map_err(|error| Self::bad(&place, error.to_string()))?;
        // After it was found to be a key at all: a public one given by mistake is told as such.
        let mode = fs::metadata(path)
            .map_err(|cause| TrustError::File { act: "reading", path: path.to_owned(), cause })?
            .permissions()
            .mode()
            & 0o7777;
        if mode & 0o077 != 0 {
            return Err(TrustError::Exposed { path: path.to_owned(), mode });
        }
        Self::of(&place, key)
    }

    /// Writes it in PEM into a new file with mode 0600. What lies there already stays.
    ///
    /// # Errors
    /// [`TrustError::File`]; also if there is such a file.
    pub fn write(&self, path: &Path) -> Result<(), TrustError> {
        // Without the public half: older OpenSSL reads only the first version of PKCS #8.
        let pair = KeypairBytes { secret_key: self.key.to_bytes(), public_key: None };
        let pem = pair
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|error| Self::bad("a new key", error.to_string()))?;
        write_new(path, pem.as_bytes(), Mode::RUSR | Mode::WUSR).map_err(|cause| TrustError::File {
            act: "writing",
            path: path.to_owned(),
            cause,
        })
    }

    /// The half that others check with.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }

    fn of(place: &str, key: SigningKey) -> Result<Self, TrustError> {
        let public = PublicKey::of(key.verifying_key())
            .map_err(|error| Self::bad(place, error.to_string()))?;
        Ok(Self { key, public })
    }

    fn bad(place: &str, why: String) -> TrustError {
        TrustError::Key { place: place.to_owned(), what: "private key", expected: PRIVATE, why }
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKey").field("public", &self.public.id).finish_non_exhaustive()
    }
}

fn read(path: &Path) -> Result<String, TrustError> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(KEY_BYTES).read_to_string(&mut text))
        .map_err(|cause| TrustError::File { act: "reading", path: path.to_owned(), cause })?;
    Ok(text)
}

fn write_new(path: &Path, bytes: &[u8], mode: Mode) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut file: File = rustix::fs::open(path, flags, mode)?.into();
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// RFC 8410, section 10: the private and the public key of its example.
    const RFC_PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
    const RFC_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

    #[test]
    fn keys_have_the_form_of_rfc_8410() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, RFC_PRIVATE).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let key = SecretKey::read(&path).unwrap();
        assert_eq!(key.public(), &PublicKey::from_pem("it", RFC_PUBLIC).unwrap());
        assert_eq!(key.public().to_pem().unwrap(), RFC_PUBLIC);
        key.write(&folder.path().join("again")).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("again")).unwrap(), RFC_PRIVATE);
        // `openssl pkey -pubin -in FILE -outform DER | sha256sum`
        assert_eq!(
            key.public().id().as_str(),
            "sha256:a1e9156054e04fac899ae9f275132cdc07a5dbc4ea2c2ad3a1ffc6e0d253681f"
        );
    }

    #[test]
    fn a_private_key_is_written_for_its_owner_only_and_never_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let key = SecretKey::generate().unwrap();
        key.write(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(SecretKey::read(&path).unwrap().public(), key.public());
        let error = SecretKey::generate().unwrap().write(&path).unwrap_err();
        assert!(matches!(error, TrustError::File { act: "writing", .. }), "{error}");
        assert_eq!(SecretKey::read(&path).unwrap().public(), key.public());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = SecretKey::read(&path).unwrap_err().to_string();
        assert!(error.contains("mode 0640") && error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn what_is_no_key_is_refused_by_name() {
        let error = PublicKey::from_pem("keys.release", RFC_PRIVATE).unwrap_err().to_string();
        assert!(error.contains("keys.release is no ed25519 public key"), "{error}");
        // The neutral element: it verifies a signature over anything.
        let mut point = [0; 32];
        point[0] = 1;
        let weak = VerifyingKey::from_bytes(&point).unwrap().to_public_key_pem(LineEnding::LF);
        let error = PublicKey::from_pem("weak", &weak.unwrap()).unwrap_err().to_string();
        assert!(error.contains("verify forged"), "{error}");
        assert!(!format!("{:?}", SecretKey::generate().unwrap()).contains("key:"));
    }
}
