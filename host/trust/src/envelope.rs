//! Signatures: DSSE envelopes (<https://github.com/secure-systems-lab/dsse>) around an in-toto statement.
//!
//! The statement has nothing in it but the digest and its purpose, so that all who sign one module sign the same bytes and
//! their signatures stand side by side in one envelope.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use data_encoding::{BASE64, BASE64URL};
use serde::{Deserialize, Serialize};
use tenure_core::name::Digest;

use crate::error::TrustError;
use crate::key::{PublicKey, SecretKey};

/// The media type of an envelope.
pub const ENVELOPE_TYPE: &str = "application/vnd.dsse.envelope.v1+json";
/// What a signature says: this module may serve as a policy.
pub const PREDICATE_TYPE: &str = "https://tenure.dev/policy-signature/v1";
/// Most bytes of signatures of one module.
pub const SIGNATURES_BYTES: usize = 64 << 10;

const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// Each is checked with each trusted key, which takes some 50 us.
const SIGNATURES: usize = 32;

/// All signatures of one module: what stands in `NAME.wasm.sig`, one envelope a line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signatures {
    envelopes: Vec<Envelope>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Signature {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    keyid: String,
    sig: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    predicate_type: String,
    #[serde(default)]
    predicate: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Subject {
    digest: std::collections::BTreeMap<String, String>,
}

// === impl Signatures ===

impl Signatures {
    /// Reads them.
    ///
    /// # Errors
    /// [`TrustError::Signatures`]: they are too many, too long, or no envelopes.
    pub fn parse(bytes: &[u8]) -> Result<Self, TrustError> {
        let bad = |why: String| Err(TrustError::Signatures(why));
        if bytes.len() > SIGNATURES_BYTES {
            return bad(format!("they have more than {SIGNATURES_BYTES} bytes"));
        }
        let mut all = Self::default();
        // Also without a line break between them, and over several lines.
        for envelope in serde_json::Deserializer::from_slice(bytes).into_iter::<Envelope>() {
            match envelope {
                Ok(envelope) => all.take(envelope)?,
                Err(error) => return bad(format!("they are not DSSE envelopes: {error}")),
            }
        }
        Ok(all)
    }

    /// One line of JSON for each envelope.
    ///
    /// # Errors
    /// Never for what was read or signed.
    pub fn to_text(&self) -> Result<String, TrustError> {
        let mut text = String::new();
        for envelope in &self.envelopes {
            let line = serde_json::to_string(envelope);
            text.push_str(&line.map_err(|error| TrustError::Signatures(error.to_string()))?);
            text.push('\n');
        }
        Ok(text)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.envelopes.is_empty()
    }

    /// Adds the signature of `key` for the component of that digest. One that is there stays as it is.
    ///
    /// # Errors
    /// [`TrustError::Signatures`]: there would be too many.
    pub fn sign(&mut self, digest: &Digest, key: &SecretKey) -> Result<(), TrustError> {
        let payload = statement(digest)?;
        let sig = key.sign(&authenticated(PAYLOAD_TYPE, &payload));
        let keyid = key.public().id().to_string();
        self.take(Envelope {
            payload: BASE64.encode(&payload),
            payload_type: PAYLOAD_TYPE.to_owned(),
            signatures: vec![Signature { keyid, sig: BASE64.encode(&sig) }],
        })
    }

    /// Takes those of `others`, too.
    ///
    /// # Errors
    /// [`TrustError::Signatures`]: there would be too many.
    pub fn merge(&mut self, others: Self) -> Result<(), TrustError> {
        others.envelopes.into_iter().try_for_each(|envelope| self.take(envelope))
    }

    /// Which of these keys have signed the component of that digest, by their place in the list.
    #[must_use]
    pub fn signers(&self, digest: &Digest, keys: &[&PublicKey]) -> BTreeSet<usize> {
        let speaking = self.envelopes.iter().filter_map(|envelope| envelope.speaks_of(digest));
        let made = |(message, signatures): (Vec<u8>, &[Signature])| {
            let signatures: Vec<Vec<u8>> =
                signatures.iter().filter_map(|signature| base64(&signature.sig)).collect();
            let has_signed = |key: &PublicKey| {
                signatures.iter().any(|signature| key.has_signed(&message, signature))
            };
            let signers = keys.iter().enumerate().filter(|(_, key)| has_signed(key));
            signers.map(|(place, _)| place).collect::<Vec<_>>()
        };
        speaking.flat_map(made).collect()
    }

    /// The key ids that the signatures claim, without proof; for a message.
    #[must_use]
    pub fn claimed(&self) -> BTreeSet<&str> {
        let signatures = self.envelopes.iter().flat_map(|envelope| &envelope.signatures);
        signatures.map(|signature| signature.keyid.as_str()).filter(|id| !id.is_empty()).collect()
    }

    /// Whether any of them is about this digest at all.
    #[must_use]
    pub fn speak_of(&self, digest: &Digest) -> bool {
        self.envelopes.iter().any(|envelope| envelope.speaks_of(digest).is_some())
    }

    /// Signatures of one payload stand in one envelope.
    fn take(&mut self, new: Envelope) -> Result<(), TrustError> {
        let same = |known: &&mut Envelope| {
            known.payload == new.payload && known.payload_type == new.payload_type
        };
        match self.envelopes.iter_mut().find(same) {
            Some(known) => {
                for signature in new.signatures {
                    if !known.signatures.contains(&signature) {
                        known.signatures.push(signature);
                    }
                }
            }
            None => self.envelopes.push(new),
        }
        let count: usize = self.envelopes.iter().map(|e| e.signatures.len().max(1)).sum();
        if count > SIGNATURES {
            return Err(TrustError::Signatures(format!("there are more than {SIGNATURES}")));
        }
        Ok(())
    }
}

// === impl Envelope ===

impl Envelope {
    /// The bytes that were signed, if they say that the component of that digest may serve.
    fn speaks_of(&self, digest: &Digest) -> Option<(Vec<u8>, &[Signature])> {
        let payload = (self.payload_type == PAYLOAD_TYPE).then(|| base64(&self.payload))??;
        let statement: Statement = serde_json::from_slice(&payload).ok()?;
        let named =
            |subject: &Subject| subject.digest.get("sha256").is_some_and(|hex| hex == digest.hex());
        let fits = statement.kind == STATEMENT_TYPE
            && statement.predicate_type == PREDICATE_TYPE
            && statement.subject.iter().any(named);
        fits.then(|| (authenticated(PAYLOAD_TYPE, &payload), self.signatures.as_slice()))
    }
}

/// Where the signatures of a module in a file lie: `PATH.sig`.
#[must_use]
pub fn signature_file(module: &Path) -> PathBuf {
    let mut name = OsString::from(module);
    name.push(".sig");
    name.into()
}

fn statement(digest: &Digest) -> Result<Vec<u8>, TrustError> {
    let subject = Subject { digest: [("sha256".to_owned(), digest.hex().to_owned())].into() };
    let statement = Statement {
        kind: STATEMENT_TYPE.to_owned(),
        subject: vec![subject],
        predicate_type: PREDICATE_TYPE.to_owned(),
        predicate: serde_json::Map::new(),
    };
    serde_json::to_vec(&statement).map_err(|error| TrustError::Signatures(error.to_string()))
}

/// DSSE's pre-authentication encoding: what is signed says of what type and how long it is.
fn authenticated(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out
}

/// DSSE allows both alphabets.
fn base64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text.as_bytes()).or_else(|_| BASE64URL.decode(text.as_bytes())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SecretKey {
        SecretKey::generate().unwrap()
    }

    #[test]
    fn the_encoding_is_that_of_the_specification() {
        // The example of DSSE's protocol.md.
        assert_eq!(
            authenticated("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn a_signature_counts_for_its_key_and_its_digest_alone() {
        let (mine, other, digest) = (key(), key(), Digest::of(b"module"));
        let mut signatures = Signatures::default();
        signatures.sign(&digest, &mine).unwrap();
        let keys = [other.public(), mine.public()];
        assert_eq!(signatures.signers(&digest, &keys), [1].into());
        assert!(signatures.signers(&Digest::of(b"tampered"), &keys).is_empty());
        signatures.sign(&digest, &other).unwrap();
        signatures.sign(&digest, &other).unwrap();
        let text = signatures.to_text().unwrap();
        assert_eq!(text.lines().count(), 1, "one payload, one envelope");
        assert_eq!(text.matches("keyid").count(), 2, "a second signature of a key adds nothing");
        let read = Signatures::parse(text.as_bytes()).unwrap();
        assert_eq!(read.signers(&digest, &keys), [0, 1].into());
    }

    #[test]
    fn a_payload_that_was_changed_after_it_was_signed_counts_for_nobody() {
        let (mine, digest, evil) = (key(), Digest::of(b"module"), Digest::of(b"evil"));
        let mut signatures = Signatures::default();
        signatures.sign(&digest, &mine).unwrap();
        let envelope = signatures.envelopes.first_mut().unwrap();
        envelope.payload = BASE64.encode(&statement(&evil).unwrap());
        assert!(signatures.speak_of(&evil));
        assert!(signatures.signers(&evil, &[mine.public()]).is_empty());
    }

    #[test]
    fn a_signature_for_another_purpose_or_over_a_bare_digest_counts_for_nobody() {
        let (mine, digest) = (key(), Digest::of(b"module"));
        let payload = statement(&digest).unwrap();
        let as_if = |message: &[u8], payload: &[u8], kind: &str| Signatures {
            envelopes: vec![Envelope {
                payload: BASE64.encode(payload),
                payload_type: kind.to_owned(),
                signatures: vec![Signature {
                    keyid: mine.public().id().to_string(),
                    sig: BASE64.encode(&mine.sign(message)),
                }],
            }],
        };
        let signers = |signatures: Signatures| signatures.signers(&digest, &[mine.public()]);
        let right = as_if(&authenticated(PAYLOAD_TYPE, &payload), &payload, PAYLOAD_TYPE);
        assert_eq!(signers(right), [0].into());
        for bare in [&payload[..], digest.as_str().as_bytes(), b"module"] {
            assert!(signers(as_if(bare, &payload, PAYLOAD_TYPE)).is_empty());
        }
        let other = String::from_utf8(payload).unwrap().replace("policy-signature", "provenance");
        let signed = authenticated(PAYLOAD_TYPE, other.as_bytes());
        assert!(signers(as_if(&signed, other.as_bytes(), PAYLOAD_TYPE)).is_empty());
        let plain = other.replace("provenance", "policy-signature");
        let signed = authenticated("text/plain", plain.as_bytes());
        assert!(signers(as_if(&signed, plain.as_bytes(), "text/plain")).is_empty());
    }

    #[test]
    fn floods_and_garbage_are_refused() {
        let digest = Digest::of(b"module");
        let mut signatures = Signatures::default();
        for _ in 0..SIGNATURES {
            signatures.sign(&digest, &key()).unwrap();
        }
        assert!(signatures.sign(&digest, &key()).unwrap_err().to_string().contains("more than 32"));
        let long = vec![b' '; SIGNATURES_BYTES + 1];
        assert!(Signatures::parse(&long).unwrap_err().to_string().contains("bytes"));
        let error = Signatures::parse(b"-----BEGIN").unwrap_err().to_string();
        assert!(error.contains("not DSSE envelopes"), "{error}");
        assert!(Signatures::parse(b"").unwrap().is_empty());
        // Empty envelopes count, too: they would only be carried around.
        let empty = r#"{"payload":"A","payloadType":"t","signatures":[]}"#;
        let many: String = (0..40).map(|n| empty.replace('A', &format!("{n}"))).collect();
        assert!(Signatures::parse(many.as_bytes()).is_err());
    }
}
