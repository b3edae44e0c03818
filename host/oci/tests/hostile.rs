//! Against a server that says what the test wants: answers without end, and a list of referrers of its own, which `distribution` does
//! not keep.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod support;

use std::collections::BTreeMap;

use serde_json::json;
use support::{anybody, artifact, key, signed};
use tenure_core::name::{Digest, OciRef};
use tenure_oci::{Artifact, OciError};
use tenure_trust::ENVELOPE_TYPE;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What is answered to a path.
#[derive(Clone)]
enum Say {
    Bytes(&'static str, Vec<u8>),
    /// For as long as somebody listens.
    Forever,
}

type Script = BTreeMap<String, Say>;

/// Answers where it listens. It ends with the test's runtime.
async fn serve(script: Script) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, script.clone()));
        }
    });
    address
}

async fn answer(stream: TcpStream, script: Script) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut request, mut line) = (String::new(), String::new());
    stream.read_line(&mut request).await?;
    while line != "\r\n" {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
    }
    let path = request.split(' ').nth(1).unwrap_or_default();
    let said = script.get(path.split('?').next().unwrap_or_default());
    let (status, kind, body) = match said {
        Some(Say::Bytes(kind, body)) => ("200 OK", *kind, body.as_slice()),
        Some(Say::Forever) => {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
            stream.write_all(head.as_bytes()).await?;
            let piece = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
            loop {
                stream.write_all(piece.as_bytes()).await?;
            }
        }
        None if path == "/v2/" => ("200 OK", "application/json", b"{}".as_slice()),
        None => ("404 Not Found", "application/json", b"{}".as_slice()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    stream.flush().await
}

fn script(module: &Artifact) -> Script {
    let blob = |bytes: &Vec<u8>| {
        let path = format!("/v2/grace/blobs/{}", Digest::of(bytes));
        (path, Say::Bytes("application/octet-stream", bytes.clone()))
    };
    let manifest = Say::Bytes(MANIFEST, module.manifest.clone());
    [("/v2/grace/manifests/v1".to_owned(), manifest), blob(&module.config), blob(&module.component)]
        .into()
}

fn at(address: &str) -> OciRef {
    OciRef::new(format!("{address}/grace:v1")).unwrap()
}

#[tokio::test]
async fn a_registrys_own_list_of_referrers_is_asked_first() {
    let (module, alice) = (artifact("a"), key());
    let envelope = signed(&module, &[&alice]).to_text().unwrap().trim_end().as_bytes().to_vec();
    let of = |bytes: &[u8], kind: &str| json!({"mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len()});
    let subject = of(&module.manifest, MANIFEST);
    let referrer = |subject: &serde_json::Value| {
        json!({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": ENVELOPE_TYPE,
            "config": of(b"{}", "application/vnd.oci.empty.v1+json"),
            "layers": [of(&envelope, ENVELOPE_TYPE)], "subject": subject})
        .to_string()
        .into_bytes()
    };
    let signers = async |referrer: Vec<u8>| {
        let mut script = script(&module);
        let mut entry = of(&referrer, MANIFEST);
        entry["artifactType"] = json!(ENVELOPE_TYPE);
        let list = json!({"schemaVersion": 2, "manifests": [entry]}).to_string().into_bytes();
        let subject = module.manifest_digest();
        let index = "application/vnd.oci.image.index.v1+json";
        script.insert(format!("/v2/grace/referrers/{subject}"), Say::Bytes(index, list));
        let path = format!("/v2/grace/manifests/{}", Digest::of(&referrer));
        script.insert(path, Say::Bytes(MANIFEST, referrer));
        let path = format!("/v2/grace/blobs/{}", Digest::of(&envelope));
        script.insert(path, Say::Bytes(ENVELOPE_TYPE, envelope.clone()));
        let pulled = anybody().pull(&at(&serve(script).await)).await.unwrap();
        pulled.signatures.signers(&module.digest(), &[alice.public()])
    };
    assert_eq!(signers(referrer(&subject)).await, [0].into());
    let foreign = of(b"another manifest", MANIFEST);
    assert!(signers(referrer(&foreign)).await.is_empty(), "it refers to something else");
}

#[tokio::test]
async fn answers_without_end_are_cut_off() {
    let module = artifact("a");
    let layer = format!("/v2/grace/blobs/{}", module.digest());
    let list = format!("/v2/grace/referrers/{}", module.manifest_digest());
    for path in ["/v2/grace/manifests/v1".to_owned(), layer, list] {
        let mut script = script(&module);
        script.insert(path.clone(), Say::Forever);
        let error = anybody().pull(&at(&serve(script).await)).await.unwrap_err();
        assert!(matches!(error, OciError::TooLarge { .. }), "{path}: {error}");
    }
}

#[tokio::test]
async fn other_bytes_under_a_digest_are_not_taken() {
    let (module, other) = (artifact("a"), artifact("b"));
    let mut script = script(&module);
    let path = format!("/v2/grace/blobs/{}", module.digest());
    script.insert(path, Say::Bytes("application/wasm", other.component.clone()));
    let address = serve(script).await;
    let error = anybody().pull(&at(&address)).await.unwrap_err();
    assert!(matches!(error, OciError::Digest { what: "the component", .. }), "{error}");
    let pinned = format!("{address}/grace:v1@{}", other.manifest_digest());
    let error = anybody().pull(&OciRef::new(pinned).unwrap()).await.unwrap_err();
    assert!(matches!(error, OciError::NotFound { .. }), "by digest, not by tag: {error}");
}
