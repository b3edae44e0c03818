//! One conversation with one repository of a registry.
//!
//! Logging in and uploading blobs are `oci-client`'s. Whatever is read goes through [`Session::get`], because a registry may send more than it
//! was asked for, and what is read is bounded here while it comes.

use std::path::Path;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use reqwest::{RequestBuilder, Response};
use tenure_core::name::{Digest, OciRef};

use crate::artifact::bounded;
use crate::credentials::Login;
use crate::error::OciError;
use crate::registry::RegistryOptions;

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Between two pieces of an answer.
const SILENT_AT_MOST: Duration = Duration::from_secs(20);
const AGENT: &str = concat!("tenure/", env!("CARGO_PKG_VERSION"));

/// A repository that was logged in to.
pub(crate) struct Session {
    client: Client,
    http: reqwest::Client,
    image: Reference,
    /// `https://HOST/v2/REPOSITORY`
    base: String,
    token: Option<String>,
    login: Option<Login>,
    /// What to do when it refuses.
    hint: String,
}

// === impl Session ===

impl Session {
    /// Finds out how the registry wants to be talked to, and logs in.
    pub(crate) async fn open(
        options: &RegistryOptions,
        reference: &OciRef,
        operation: RegistryOperation,
    ) -> Result<Self, OciError> {
        let image: Reference = reference.as_str().parse().map_err(|error| OciError::Reference {
            reference: reference.to_string(),
            why: format!("{error}"),
        })?;
        let is_plain = options.is_plain(reference.registry());
        let ca = options.ca.as_deref().map(read_ca).transpose()?;
        let client = client(is_plain, ca.as_deref())
            .map_err(|error| failed("preparing to reach", reference.as_str(), &error))?;
        let http = http_client(ca.as_deref())
            .map_err(|error| failed("preparing to reach", reference.as_str(), &error))?;
        let login = options.credentials.of(reference.registry()).cloned();
        let scheme = if is_plain { "http" } else { "https" };
        let base = format!("{scheme}://{}/v2/{}", image.resolve_registry(), image.repository());
        let hint = options.credentials.hint(reference.registry());
        let mut this = Self { client, http, image, base, token: None, login, hint };
        let auth = this.login.as_ref().map_or(RegistryAuth::Anonymous, |login| {
            RegistryAuth::Basic(login.user.clone(), login.password.clone())
        });
        let token = this.client.auth(&this.image, &auth, operation).await;
        this.token = token.map_err(|error| this.refused("reaching", &error))?;
        Ok(this)
    }

    /// The reference, for messages.
    pub(crate) fn shown(&self) -> String {
        self.image.whole()
    }

    /// The tag or digest that was asked for: the digest where there are both.
    pub(crate) fn wanted(&self) -> &str {
        self.image.digest().or(self.image.tag()).unwrap_or("latest")
    }

    /// The tag, where there is one.
    pub(crate) fn tag(&self) -> Option<&str> {
        self.image.tag()
    }

    /// Reads `PATH` of the repository, up to `limit` bytes. None if there is no such thing.
    pub(crate) async fn get(
        &self,
        path: &str,
        accept: &str,
        (what, limit): (&str, u64),
    ) -> Result<Option<(Vec<u8>, HeaderMap)>, OciError> {
        let request = self.http.get(format!("{}/{path}", self.base)).header(ACCEPT, accept);
        let mut response = self.send("reading", request).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let headers = response.headers().clone();
        let place = self.shown();
        bounded(&place, what, response.content_length().unwrap_or_default(), limit)?;
        let mut bytes = Vec::new();
        while let Some(piece) =
            response.chunk().await.map_err(|error| failed("reading", &place, &error))?
        {
            let size = bytes.len().saturating_add(piece.len());
            bounded(&place, what, u64::try_from(size).unwrap_or(u64::MAX), limit)?;
            bytes.extend_from_slice(&piece);
        }
        Ok(Some((bytes, headers)))
    }

    /// Reads what must have that digest.
    pub(crate) async fn get_exactly(
        &self,
        (folder, digest): (&str, &Digest),
        accept: &str,
        (what, limit): (&'static str, u64),
    ) -> Result<Vec<u8>, OciError> {
        let path = format!("{folder}/{digest}");
        let absent = || OciError::NotFound { reference: format!("{} ({digest})", self.shown()) };
        let (bytes, _) = self.get(&path, accept, (what, limit)).await?.ok_or_else(absent)?;
        let found = Digest::of(&bytes);
        if found == *digest {
            return Ok(bytes);
        }
        Err(OciError::Digest { reference: self.shown(), what, found, wanted: digest.clone() })
    }

    /// Uploads a blob, unless it is there.
    pub(crate) async fn put_blob(&self, bytes: &[u8]) -> Result<(), OciError> {
        let digest = Digest::of(bytes);
        let there = self.client.blob_exists(&self.image, digest.as_str()).await;
        if there.map_err(|error| self.refused("asking", &error))? {
            return Ok(());
        }
        let pushed = self.client.push_blob(&self.image, bytes.to_vec(), digest.as_str()).await;
        pushed.map(drop).map_err(|error| self.refused("uploading to", &error))
    }

    /// Uploads a manifest under a tag or its digest, byte by byte as it is. Answers the headers.
    pub(crate) async fn put_manifest(
        &self,
        name: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<HeaderMap, OciError> {
        let request = self.http.put(format!("{}/manifests/{name}", self.base));
        let request = request.header(CONTENT_TYPE, media_type).body(bytes.to_vec());
        let response = self.send("uploading to", request).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Err(OciError::NotFound { reference: self.shown() });
        }
        Ok(response.headers().clone())
    }

    /// Sends it as whoever logged in. Answers success and 404.
    async fn send(&self, act: &'static str, request: RequestBuilder) -> Result<Response, OciError> {
        let request = match (&self.token, &self.login) {
            (Some(token), _) => request.bearer_auth(token),
            (None, Some(login)) => request.basic_auth(&login.user, Some(&login.password)),
            (None, None) => request,
        };
        let place = self.shown();
        let response = request.send().await.map_err(|error| failed(act, &place, &error))?;
        let status = response.status();
        if status.is_success() || status == StatusCode::NOT_FOUND {
            return Ok(response);
        }
        let why = format!("it answers {status}");
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                OciError::Denied { reference: place, why, hint: self.hint.clone() }
            }
            _ => OciError::Registry { act, reference: place, why },
        })
    }

    fn refused(&self, act: &'static str, error: &OciDistributionError) -> OciError {
        let status = match error {
            OciDistributionError::UnauthorizedError { .. }
            | OciDistributionError::AuthenticationFailure(_) => Some(StatusCode::UNAUTHORIZED),
            OciDistributionError::RequestError(error) => error.status(),
            OciDistributionError::ServerError { code, .. } => StatusCode::from_u16(*code).ok(),
            _ => None,
        };
        match status {
            Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => OciError::Denied {
                reference: self.shown(),
                why: error.to_string(),
                hint: self.hint.clone(),
            },
            _ => failed(act, &self.shown(), error),
        }
    }
}

fn client(is_plain: bool, ca: Option<&[u8]>) -> Result<Client, OciDistributionError> {
    let protocol = if is_plain { ClientProtocol::Http } else { ClientProtocol::Https };
    let certificate =
        |pem: &[u8]| Certificate { encoding: CertificateEncoding::Pem, data: pem.to_vec() };
    Client::try_from(ClientConfig {
        protocol,
        tls_certs_only: ca.map(certificate).into_iter().collect(),
        platform_resolver: None,
        read_timeout: Some(SILENT_AT_MOST),
        connect_timeout: Some(CONNECT_WITHIN),
        user_agent: AGENT,
        ..ClientConfig::default()
    })
}

fn http_client(ca: Option<&[u8]>) -> reqwest::Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .user_agent(AGENT)
        .connect_timeout(CONNECT_WITHIN)
        .read_timeout(SILENT_AT_MOST);
    if let Some(pem) = ca {
        builder = builder.tls_certs_only(vec![reqwest::Certificate::from_pem(pem)?]);
    }
    builder.build()
}

fn read_ca(path: &Path) -> Result<Vec<u8>, OciError> {
    let failed = |cause| OciError::File { act: "reading the CA", path: path.to_owned(), cause };
    std::fs::read(path).map_err(failed)
}

/// With all causes: the first only says that sending failed.
fn failed(act: &'static str, reference: &str, error: &dyn std::error::Error) -> OciError {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    let mut why = error.to_string();
    for cause in causes.map(ToString::to_string) {
        if !why.contains(&cause) {
            why = format!("{why}: {cause}");
        }
    }
    OciError::Registry { act, reference: reference.to_owned(), why }
}
