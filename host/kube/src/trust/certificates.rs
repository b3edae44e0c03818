//! Keys and certificates: made, read, signed.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use tenure_core::time::WallMs;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use super::SERVER_NAME;
use super::rotation::{BACKDATE, Life, millis};

/// Why a certificate or key is of no use.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unusable(pub(super) String);

/// The certificate of a CA, without its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Root {
    pub(super) pem: String,
    pub(super) life: Life,
}

/// A CA. It is not `Debug`: its key is in it.
#[derive(Clone)]
pub(super) struct Ca {
    pub(super) root: Root,
    pub(super) key_pem: String,
}

/// What a replica shows.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub(super) served: Arc<CertifiedKey>,
    pub(super) life: Life,
    /// The certificate of the CA that signed it, in PEM.
    pub(super) signed_by: String,
}

// === impl Root ===

impl Root {
    /// The first certificate of the text.
    pub(super) fn read(pem: &str) -> Result<Self, Unusable> {
        let none = || Unusable("no certificate in PEM".to_owned());
        let pem = pieces(pem).next().ok_or_else(none)?;
        let der = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|e| Unusable(format!("no certificate in PEM ({e})")))?;
        let parsed = parse(&der)?;
        if !parsed.is_ca() {
            return Err(Unusable("the certificate is not that of a CA".to_owned()));
        }
        Ok(Self { pem: format!("{pem}\n"), life: life_of(&parsed) })
    }
}

// === impl Ca ===

impl Ca {
    /// A new one. Each has a name of its own: a client that trusts two of one name would have to try both keys.
    pub(super) fn make(now: WallMs, life: Duration) -> Result<Self, Unusable> {
        let number = getrandom::u64().map_err(|e| Unusable(e.to_string()))?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.distinguished_name = named(&format!("tenure-allocator-ca {number:016x}"));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_life(&mut params, now, WallMs(now.0.saturating_add(millis(life))));
        let key = KeyPair::generate().map_err(unmade)?;
        let pem = params.self_signed(&key).map_err(unmade)?.pem();
        Ok(Self { root: Root::read(&pem)?, key_pem: key.serialize_pem() })
    }

    pub(super) fn read(pem: &str, key_pem: &str) -> Result<Self, Unusable> {
        let root = Root::read(pem)?;
        let key = KeyPair::from_pem(key_pem).map_err(|e| Unusable(format!("no key ({e})")))?;
        let der =
            CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| Unusable(e.to_string()))?;
        if parse(&der)?.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(Unusable("the key is not that of the certificate".to_owned()));
        }
        Ok(Self { root, key_pem: key_pem.to_owned() })
    }

    /// A certificate of the allocators with a new key, which stays in memory. It does not outlive the CA: clients do not look at
    /// the end of a CA that they trust.
    pub(super) fn sign(
        &self,
        now: WallMs,
        life: Duration,
        provider: &CryptoProvider,
    ) -> Result<Leaf, Unusable> {
        let mut params = CertificateParams::new([SERVER_NAME.to_owned()]).map_err(unmade)?;
        params.distinguished_name = named(SERVER_NAME);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let ends = now.0.saturating_add(millis(life)).min(self.root.life.ends.0);
        set_life(&mut params, now, WallMs(ends));
        let ca_key = KeyPair::from_pem(&self.key_pem).map_err(unmade)?;
        let issuer = Issuer::from_ca_cert_pem(&self.root.pem, ca_key).map_err(unmade)?;
        let key = KeyPair::generate().map_err(unmade)?;
        let certificate = params.signed_by(&key, &issuer).map_err(unmade)?.der().clone();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let leaf = Leaf::of(vec![certificate], key, provider)?;
        Ok(Leaf { signed_by: self.root.pem.clone(), ..leaf })
    }
}

// === impl Leaf ===

impl Leaf {
    /// What stands in files that somebody else keeps.
    pub(super) fn read(
        chain_pem: &[u8],
        key_pem: &[u8],
        provider: &CryptoProvider,
    ) -> Result<Self, Unusable> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain_pem).collect();
        let chain = chain.map_err(|e| Unusable(format!("no certificates in PEM ({e})")))?;
        let key = PrivateKeyDer::from_pem_slice(key_pem)
            .map_err(|e| Unusable(format!("no key in PEM ({e})")))?;
        Self::of(chain, key, provider)
    }

    fn of(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        provider: &CryptoProvider,
    ) -> Result<Self, Unusable> {
        let first = chain.first().ok_or_else(|| Unusable("no certificate".to_owned()))?;
        let parsed = parse(first)?;
        let names = parsed.subject_alternative_name().ok().flatten();
        let names = names.into_iter().flat_map(|it| &it.value.general_names);
        if !names.into_iter().any(|name| matches!(name, GeneralName::DNSName(SERVER_NAME))) {
            let why = format!("agents ask for {SERVER_NAME}, which is none of its DNS names");
            return Err(Unusable(why));
        }
        let life = life_of(&parsed);
        let served = CertifiedKey::from_der(chain, key, provider)
            .map_err(|e| Unusable(format!("certificate and key ({e})")))?;
        Ok(Self { served: Arc::new(served), life, signed_by: String::new() })
    }
}

/// The certificates of a text in PEM, without what stands around them.
pub(super) fn pieces(pem: &str) -> impl Iterator<Item = &str> {
    let ends = pem.split_inclusive("-----END CERTIFICATE-----");
    ends.filter_map(|piece| piece.get(piece.find("-----BEGIN CERTIFICATE-----")?..))
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Unusable> {
    let parsed = X509Certificate::from_der(der);
    parsed.map(|(_, it)| it).map_err(|e| Unusable(format!("no certificate ({e})")))
}

fn life_of(certificate: &X509Certificate<'_>) -> Life {
    let validity = certificate.validity();
    let wall = |seconds: i64| WallMs(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000));
    Life { from: wall(validity.not_before.timestamp()), ends: wall(validity.not_after.timestamp()) }
}

/// X.509 counts in whole seconds.
fn set_life(params: &mut CertificateParams, now: WallMs, ends: WallMs) {
    let since_1970 =
        |at: WallMs| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(at.0 / 1000);
    params.not_before = since_1970(WallMs(now.0.saturating_sub(millis(BACKDATE))));
    params.not_after = since_1970(ends);
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

fn unmade(error: rcgen::Error) -> Unusable {
    Unusable(error.to_string())
}

#[cfg(test)]
mod tests {
    use rustls::crypto::aws_lc_rs;

    use super::*;

    const NOW: WallMs = WallMs(1_780_000_000_000);
    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn a_leaf_does_not_outlive_its_ca() {
        let ca = Ca::make(NOW, DAY * 10).unwrap();
        let leaf = |after: u32| {
            let now = WallMs(NOW.0 + millis(DAY * after));
            ca.sign(now, DAY * 3, &aws_lc_rs::default_provider()).unwrap()
        };
        assert_eq!(leaf(0).life.ends, WallMs(NOW.0 + millis(DAY * 3)));
        assert_eq!(leaf(8).life.ends, ca.root.life.ends);
    }

    #[test]
    fn text_around_certificates_is_passed_over() {
        let ca = Ca::make(NOW, DAY).unwrap();
        let noted = format!("# ours\n{}\n# and\n{0}", ca.root.pem);
        assert_eq!(Root::read(&noted).unwrap(), ca.root);
        assert_eq!(pieces(&noted).count(), 2);
        assert!(Root::read("nothing").is_err());
    }
}
