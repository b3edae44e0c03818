//! Keys and certificates of one lab.

use std::fs::write;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// Writes `ca.crt`, `server.crt`, `server.key` and `accounts.key` and `accounts.pub` (of service accounts) into the folder. Answers the CA's
/// certificate in DER.
pub(crate) fn make(folder: &Path) -> Vec<u8> {
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, "tenure-lab");
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let ca_key = KeyPair::generate().unwrap();
    let ca_certificate = ca.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(ca, ca_key);

    let names = ["127.0.0.1", "localhost", "kubernetes.default.svc"];
    let mut server = CertificateParams::new(names.map(str::to_owned)).unwrap();
    server.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let server_key = KeyPair::generate().unwrap();
    let server_certificate = server.signed_by(&server_key, &issuer).unwrap();

    write(folder.join("ca.crt"), ca_certificate.pem()).unwrap();
    write(folder.join("server.crt"), server_certificate.pem()).unwrap();
    write(folder.join("server.key"), server_key.serialize_pem()).unwrap();
    let accounts = KeyPair::generate().unwrap();
    write(folder.join("accounts.key"), accounts.serialize_pem()).unwrap();
    write(folder.join("accounts.pub"), accounts.public_key_pem()).unwrap();
    ca_certificate.der().to_vec()
}
