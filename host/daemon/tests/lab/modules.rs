//! Policy modules in a registry.

use std::fs;

use tenure_core::name::{Digest, OciRef};
use tenure_lab::Registry as Server;
use tenure_oci::{About, Artifact, Registry, RegistryOptions};
use tenure_policy_host::COMPONENT_BYTES;
use tenure_trust::{SecretKey, Signatures};

use super::policies;

/// Pushes a shipped policy under this tag, signed by these keys.
pub fn push(server: &Server, tag: &str, policy: &str, keys: &[&SecretKey]) -> Digest {
    let component = fs::read(policies().join(format!("{policy}.wasm"))).unwrap();
    let about = About { created: "2026-01-02T03:04:05Z".to_owned(), ..About::default() };
    let module = Artifact::of(policy, component, about, COMPONENT_BYTES).unwrap();
    let mut signatures = Signatures::default();
    for key in keys {
        signatures.sign(&module.digest(), key).unwrap();
    }
    let at = OciRef::new(reference(server, tag)).unwrap();
    let registry = Registry::new(RegistryOptions::new(COMPONENT_BYTES));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(registry.push(&at, &module, &signatures)).unwrap();
    module.digest()
}

/// Where it lies then.
pub fn reference(server: &Server, tag: &str) -> String {
    format!("{}/policies/mine:{tag}", server.address())
}
