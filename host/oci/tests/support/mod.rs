//! What the tests against a registry share.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

use tenure_core::name::OciRef;
use tenure_lab::Registry as Server;
use tenure_oci::{About, Artifact, Credentials, Registry, RegistryOptions};
use tenure_trust::{SecretKey, Signatures};

pub const LIMIT: u64 = 1 << 20;

/// A component with the face of a policy; `salt` makes it another one.
pub fn component(salt: &str) -> Vec<u8> {
    let text = format!(
        r#"(component (import "tenure:policy/host@0.1.0" (instance)) (instance $i)
            (core module (data "{salt}"))
            (export "tenure:policy/lifecycle@0.1.0" (instance $i))
            (export "tenure:policy/select@0.1.0" (instance $i)))"#
    );
    wat::parse_str(text).unwrap()
}

pub fn artifact(salt: &str) -> Artifact {
    let about = About { created: "2026-01-02T03:04:05Z".to_owned(), ..About::default() };
    Artifact::of("a.wasm", component(salt), about, LIMIT).unwrap()
}

pub fn signed(artifact: &Artifact, keys: &[&SecretKey]) -> Signatures {
    let mut signatures = Signatures::default();
    for key in keys {
        signatures.sign(&artifact.digest(), key).unwrap();
    }
    signatures
}

pub fn reference(server: &Server, rest: &str) -> OciRef {
    OciRef::new(format!("{}/{rest}", server.address())).unwrap()
}

pub fn anybody() -> Registry {
    Registry::new(RegistryOptions::new(LIMIT))
}

pub fn as_user(user: &str, password: &str) -> Registry {
    let credentials = Credentials::given(user.to_owned(), password.to_owned());
    Registry::new(RegistryOptions { credentials, ..RegistryOptions::new(LIMIT) })
}

pub fn key() -> SecretKey {
    SecretKey::generate().unwrap()
}
