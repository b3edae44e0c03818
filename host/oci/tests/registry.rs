//! Against the CNCF's `distribution`, run for each test on loopback.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod support;

use std::fs;

use oci_client::manifest::{OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use serde_json::{Value, json};
use support::{LIMIT, anybody, artifact, as_user, component, key, reference, signed};
use tenure_core::name::{Digest, OciRef};
use tenure_lab::Registry as Server;
use tenure_oci::{Bundle, Credentials, OciError, Registry, RegistryOptions};
use tenure_trust::Signatures;

const NONE: fn() -> Signatures = Signatures::default;

/// A manifest of others' making.
async fn put(at: &OciRef, blobs: &[&[u8]], manifest: &Value, media_type: &str) {
    let client = Client::new(oci_client::client::ClientConfig {
        protocol: oci_client::client::ClientProtocol::Http,
        ..Default::default()
    });
    let image: Reference = at.as_str().parse().unwrap();
    client.auth(&image, &RegistryAuth::Anonymous, RegistryOperation::Push).await.unwrap();
    for blob in blobs {
        client.push_blob(&image, blob.to_vec(), Digest::of(blob).as_str()).await.unwrap();
    }
    let media_type = media_type.parse().unwrap();
    client.push_manifest_raw(&image, manifest.to_string(), media_type).await.unwrap();
}

#[tokio::test]
async fn what_was_pushed_is_pulled_by_tag_and_by_digest() {
    let server = Server::start();
    let (module, at) = (artifact("a"), reference(&server, "site/policies/grace:v1"));
    let manifest = anybody().push(&at, &module, &NONE()).await.unwrap();
    assert_eq!(manifest, module.manifest_digest());
    assert_eq!(anybody().pull(&at).await.unwrap().artifact, module);
    let by_digest = reference(&server, &format!("site/policies/grace@{manifest}"));
    assert_eq!(anybody().pull(&by_digest).await.unwrap().artifact, module);

    let second = artifact("b");
    anybody().push(&at, &second, &NONE()).await.unwrap();
    assert_eq!(anybody().pull(&at).await.unwrap().artifact, second, "the tag was moved");
    let both = reference(&server, &format!("site/policies/grace:v1@{manifest}"));
    assert_eq!(anybody().pull(&both).await.unwrap().artifact, module, "the digest was not");
    let error = anybody().push(&both, &second, &NONE()).await.unwrap_err();
    assert!(matches!(error, OciError::Digest { .. }), "{error}");
    let absent = anybody().pull(&reference(&server, "site/policies/grace:v9")).await.unwrap_err();
    assert!(matches!(absent, OciError::NotFound { .. }), "{absent}");
}

#[tokio::test]
async fn a_registry_with_a_password_serves_its_user_only() {
    let server = Server::with_password();
    let (module, at) = (artifact("a"), reference(&server, "grace:v1"));
    let denied = anybody().push(&at, &module, &NONE()).await.unwrap_err();
    assert!(matches!(denied, OciError::Denied { .. }), "{denied}");
    let (user, password) = Server::user();
    let wrong = as_user(user, "wrong").push(&at, &module, &NONE()).await.unwrap_err();
    assert!(matches!(wrong, OciError::Denied { .. }), "{wrong}");
    as_user(user, password).push(&at, &module, &NONE()).await.unwrap();
    let denied = anybody().pull(&at).await.unwrap_err().to_string();
    assert!(denied.contains("401") && denied.contains("docker login"), "{denied}");

    let folder = tempfile::tempdir().unwrap();
    let auth = data_encoding::BASE64.encode(format!("{user}:{password}").as_bytes());
    let config = json!({"auths": {server.address(): {"auth": auth}}}).to_string();
    fs::write(folder.path().join("config.json"), config).unwrap();
    let credentials = Credentials::read(&folder.path().join("config.json")).unwrap();
    let known = Registry::new(RegistryOptions { credentials, ..RegistryOptions::new(LIMIT) });
    assert_eq!(known.pull(&at).await.unwrap().artifact, module);
}

#[tokio::test]
async fn tls_is_by_the_ca_that_was_given_and_by_no_other() {
    let server = Server::with_tls();
    let (module, at) = (artifact("a"), reference(&server, "grace:v1"));
    let with_ca =
        |ca| Registry::new(RegistryOptions { ca: Some(ca), ..RegistryOptions::new(LIMIT) });
    with_ca(server.ca()).push(&at, &module, &NONE()).await.unwrap();
    assert_eq!(with_ca(server.ca()).pull(&at).await.unwrap().artifact, module);
    let other = Server::with_tls();
    let error = with_ca(other.ca()).pull(&at).await.unwrap_err();
    assert!(error.is_passing() && error.to_string().contains("certificate"), "{error}");
}

#[tokio::test]
async fn signatures_are_pulled_with_their_module_and_none_is_lost() {
    let server = Server::start();
    let (module, at) = (artifact("a"), reference(&server, "grace:v1"));
    let (alice, bob, carol) = (key(), key(), key());
    let keys = [alice.public(), bob.public(), carol.public()];
    anybody().push(&at, &module, &signed(&module, &[&alice])).await.unwrap();
    let signers = async || {
        let pulled = anybody().pull(&at).await.unwrap();
        assert_eq!(pulled.artifact, module, "a signature changes nothing of the module");
        pulled.signatures.signers(&module.digest(), &keys)
    };
    assert_eq!(signers().await, [0].into());
    let registry = anybody();
    let (first, second) = (signed(&module, &[&bob]), signed(&module, &[&carol]));
    registry.add_signatures(&at, &module, &first).await.unwrap();
    registry.add_signatures(&at, &module, &second).await.unwrap();
    registry.add_signatures(&at, &module, &second).await.unwrap();
    assert_eq!(signers().await, [0, 1, 2].into());
    assert!(signed(&artifact("b"), &[&alice]).signers(&module.digest(), &keys).is_empty());
}

#[tokio::test]
async fn bytes_that_were_changed_in_the_registry_are_not_taken() {
    let server = Server::start();
    let (module, at) = (artifact("a"), reference(&server, "grace:v1"));
    anybody().push(&at, &module, &NONE()).await.unwrap();
    let file = server.blob(module.digest().as_str());
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    let error = anybody().pull(&at).await.unwrap_err();
    assert!(matches!(&error, OciError::Digest { what: "the component", .. }), "{error}");

    let file = server.blob(module.manifest_digest().as_str());
    let text = fs::read_to_string(&file).unwrap().replace("select", "SELECT");
    fs::write(&file, text).unwrap();
    let pinned = reference(&server, &format!("grace@{}", module.manifest_digest()));
    for at in [&at, &pinned] {
        let error = anybody().pull(at).await.unwrap_err();
        assert!(!error.to_string().contains("no policy module"), "{error}");
    }
}

#[tokio::test]
async fn two_layers_an_index_and_images_are_refused_before_a_layer_is_fetched() {
    let server = Server::start();
    let module = artifact("a");
    let (more, other) = (component("b"), b"{}".as_slice());
    let layer = |bytes: &[u8], kind: &str| json!({"mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len()});
    let mut manifest: Value = serde_json::from_slice(&module.manifest).unwrap();
    manifest["layers"].as_array_mut().unwrap().push(layer(&more, "application/wasm"));
    let two = reference(&server, "grace:two");
    let blobs = [module.config.as_slice(), &module.component, &more, other];
    put(&two, &blobs, &manifest, OCI_IMAGE_MEDIA_TYPE).await;
    let error = anybody().pull(&two).await.unwrap_err().to_string();
    assert!(error.contains("2 layers; a policy has exactly one"), "{error}");

    let image = json!({"schemaVersion": 2, "mediaType": OCI_IMAGE_MEDIA_TYPE,
        "config": layer(other, "application/vnd.oci.image.config.v1+json"),
        "layers": [layer(&module.component, "application/vnd.oci.image.layer.v1.tar")]});
    let at = reference(&server, "grace:image");
    put(&at, &[], &image, OCI_IMAGE_MEDIA_TYPE).await;
    let error = anybody().pull(&at).await.unwrap_err().to_string();
    assert!(error.contains("its config is application/vnd.oci.image.config.v1+json"), "{error}");

    let entry = layer(manifest.to_string().as_bytes(), OCI_IMAGE_MEDIA_TYPE);
    let index =
        json!({"schemaVersion": 2, "mediaType": OCI_IMAGE_INDEX_MEDIA_TYPE, "manifests": [entry]});
    let at = reference(&server, "grace:index");
    put(&at, &[], &index, OCI_IMAGE_INDEX_MEDIA_TYPE).await;
    let error = anybody().pull(&at).await.unwrap_err().to_string();
    assert!(error.contains("an index of several manifests"), "{error}");
    assert!(!was_fetched(&server, &module.digest()), "{}", server.log());
}

#[tokio::test]
async fn what_is_too_large_is_refused_by_its_manifest() {
    let server = Server::start();
    let (module, at) = (artifact(&"x".repeat(4096)), reference(&server, "grace:v1"));
    anybody().push(&at, &module, &NONE()).await.unwrap();
    let strict = Registry::new(RegistryOptions::new(4096));
    let error = strict.pull(&at).await.unwrap_err();
    assert!(matches!(error, OciError::TooLarge { limit: 4096, .. }), "{error}");
    assert!(!was_fetched(&server, &module.digest()));
    // The log has what is fetched: the check above can fail.
    anybody().pull(&at).await.unwrap();
    assert!(was_fetched(&server, &module.digest()));
}

#[tokio::test]
async fn a_tarball_carries_module_and_signatures_into_another_registry() {
    let (here, there) = (Server::start(), Server::start());
    let (alice, bob) = (key(), key());
    let (module, at) = (artifact("a"), reference(&here, "grace:v1"));
    anybody().push(&at, &module, &signed(&module, &[&alice, &bob])).await.unwrap();
    let pulled = anybody().pull(&at).await.unwrap();
    let name = Some(at.to_string());
    let bundle = Bundle { artifact: pulled.artifact, signatures: pulled.signatures, name };
    let mut tar = Vec::new();
    bundle.write("grace.tar", &mut tar).unwrap();
    drop(here);

    let read = Bundle::read("grace.tar", tar.as_slice(), LIMIT).unwrap();
    assert_eq!(read, bundle);
    let at = reference(&there, "site/grace:v1");
    let manifest = anybody().push(&at, &read.artifact, &read.signatures).await.unwrap();
    assert_eq!(manifest, module.manifest_digest(), "the digest survives");
    let pulled = anybody().pull(&at).await.unwrap();
    let signers = pulled.signatures.signers(&module.digest(), &[alice.public(), bob.public()]);
    assert_eq!((pulled.artifact, signers), (module, [0, 1].into()));
}

#[tokio::test]
async fn a_registry_that_is_away_is_told_as_passing() {
    let mut server = Server::start();
    let (module, at) = (artifact("a"), reference(&server, "grace:v1"));
    anybody().push(&at, &module, &NONE()).await.unwrap();
    server.stop();
    let error = anybody().pull(&at).await.unwrap_err();
    assert!(error.is_passing() && error.to_string().contains(at.as_str()), "{error}");
    server.start_again();
    assert_eq!(anybody().pull(&at).await.unwrap().artifact, module);
}

fn was_fetched(server: &Server, digest: &Digest) -> bool {
    let got = |line: &str| line.contains("GET") && line.contains(&format!("blobs/{digest}"));
    server.log().lines().any(got)
}
