//! One live read, told apart: the object is there, it is absent, or nothing is known.
//!
//! *Absent* is a strong word, by which holders are judged. So a 404 counts only if it is the API server's own answer about
//! this very name: load balancers, proxies and servers that still start answer 404 as well.

use std::time::Duration;

use http::header::{ACCEPT, HeaderValue};
use kube::Client;
use kube::api::ListParams;
use kube::client::Body;
use kube::core::Request;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tenure_core::error::{Coded, Kind};
use tokio::time::timeout;

use crate::protobuf::{self, ListOf, NoList, PROTOBUF, Wire};

/// The longest name of an object (RFC 1123 subdomain).
const LONGEST_NAME: usize = 253;

/// Sends requests that read, each with a deadline.
#[derive(Clone)]
pub(crate) struct Live {
    client: Client,
    deadline: Duration,
}

/// What a read of one object shows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub(crate) enum Read<T> {
    /// It stands thus.
    Is(T),
    /// The API server says that there is none of this name.
    Absent,
    /// Nothing is known.
    Silent(Unread),
}

/// A page of a list.
#[derive(Debug, Deserialize)]
pub(crate) struct Page<T> {
    #[serde(default)]
    metadata: PageMeta,
    items: Option<Vec<T>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PageMeta {
    resource_version: String,
    #[serde(rename = "continue")]
    next: Option<String>,
}

/// Why a page is not to be had.
#[derive(Debug)]
pub(crate) enum NoPage {
    /// The list took too long: it must begin anew.
    Expired,
    /// Perhaps the next time.
    Unread(Unread),
}

/// Something in the cluster could not be read or written now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the API server has no answer about {what}: {why}; try again")]
pub struct Unread {
    /// What was asked for.
    pub what: String,
    /// The cause.
    pub why: String,
}

// === impl Live ===

impl Live {
    pub(crate) fn new(client: Client, deadline: Duration) -> Self {
        Self { client, deadline }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Reads one object as it stands in etcd now.
    pub(crate) async fn get<T: DeserializeOwned>(&self, folder: &str, name: &str) -> Read<T> {
        let what = format!("{folder}/{name}");
        // What stands in a lease was written by nobody who must be trusted: it must not lead elsewhere.
        if !is_name(name) {
            return Read::Silent(Unread { what, why: "no object can have this name".to_owned() });
        }
        let request = match Request::new(folder).get(name, &Default::default()) {
            Ok(request) => request,
            Err(error) => return Read::Silent(Unread { what, why: error.to_string() }),
        };
        match timeout(self.deadline, self.client.request(request)).await {
            Ok(Ok(object)) => Read::Is(object),
            Ok(Err(error)) if is_absence(&error, name) => Read::Absent,
            Ok(Err(error)) => Read::Silent(Unread { what, why: error.to_string() }),
            Err(_) => Read::Silent(Unread { what, why: self.too_late() }),
        }
    }

    /// Reads a page of a consistent list.
    pub(crate) async fn page<T: DeserializeOwned>(
        &self,
        folder: &str,
        limit: u32,
        next: Option<&str>,
    ) -> Result<Page<T>, NoPage> {
        let no_page = |why: String| NoPage::Unread(Unread { what: folder.to_owned(), why });
        let request = list(folder, limit, next).map_err(&no_page)?;
        match timeout(self.deadline, self.client.request(request)).await {
            Ok(Ok(page)) => Ok(page),
            Ok(Err(kube::Error::Api(status))) if status.code == 410 => Err(NoPage::Expired),
            Ok(Err(error)) => Err(no_page(error.to_string())),
            Err(_) => Err(no_page(self.too_late())),
        }
    }

    /// The same of a built-in kind, in protobuf.
    pub(crate) async fn page_in_protobuf<T: Wire>(
        &self,
        folder: &str,
        limit: u32,
        next: Option<&str>,
    ) -> Result<ListOf<T>, NoPage> {
        let no_page = |why: String| NoPage::Unread(Unread { what: folder.to_owned(), why });
        let mut request = list(folder, limit, next).map_err(&no_page)?.map(Body::from);
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static(PROTOBUF));
        let read = async {
            let answer = self.client.send(request).await;
            protobuf::read(answer.map_err(|error| NoList::Unread(error.to_string()))?).await
        };
        match timeout(self.deadline, read).await {
            Ok(Ok(page)) => Ok(page),
            Ok(Err(NoList::Refused(410, _))) => Err(NoPage::Expired),
            Ok(Err(NoList::Refused(_, why) | NoList::Unread(why))) => Err(no_page(why)),
            Err(_) => Err(no_page(self.too_late())),
        }
    }

    fn too_late(&self) -> String {
        format!("no answer within {:?}", self.deadline)
    }
}

fn list(folder: &str, limit: u32, next: Option<&str>) -> Result<http::Request<Vec<u8>>, String> {
    let mut params = ListParams::default().limit(limit);
    if let Some(next) = next {
        params = params.continue_token(next);
    }
    Request::new(folder).list(&params).map_err(|error| error.to_string())
}

// === impl Page ===

impl<T> Page<T> {
    /// The objects, the version of the moment that the list shows, and where it goes on.
    pub(crate) fn into_parts(self) -> (Vec<T>, String, Option<String>) {
        let PageMeta { resource_version, next } = self.metadata;
        let next = next.filter(|next| !next.is_empty());
        (self.items.unwrap_or_default(), resource_version, next)
    }
}

// === impl Unread ===

impl Coded for Unread {
    fn code(&self) -> &'static str {
        "API_SILENT"
    }
    fn kind(&self) -> Kind {
        Kind::Retry
    }
}

/// Whether an object can have this name, and a path of it leads nowhere else.
pub(crate) fn is_name(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() <= LONGEST_NAME
        && name.bytes().all(|byte| is_inner(byte) || matches!(byte, b'-' | b'.'))
        && name.bytes().next().is_some_and(is_inner)
        && name.bytes().next_back().is_some_and(is_inner)
}

fn is_absence(error: &kube::Error, name: &str) -> bool {
    let kube::Error::Api(status) = error else { return false };
    status.code == 404
        && status.reason == "NotFound"
        && status.details.as_ref().is_some_and(|details| details.name == name)
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use serde_json::json;

    use super::*;

    fn answer(status: serde_json::Value) -> kube::Error {
        kube::Error::Api(serde_json::from_value::<Status>(status).unwrap().boxed())
    }

    #[test]
    fn only_the_api_servers_own_word_about_this_name_is_an_absence() {
        let own = |reason: &str, name: &str| {
            let details = json!({"name": name, "kind": "pods"});
            answer(json!({"code": 404, "reason": reason, "details": details}))
        };
        assert!(is_absence(&own("NotFound", "web-0"), "web-0"));
        assert!(!is_absence(&own("NotFound", "web"), "web-0"));
        assert!(!is_absence(&own("Failed to parse error data", "web-0"), "web-0"));
        // "the server could not find the requested resource", of one that still starts.
        assert!(!is_absence(&answer(json!({"code": 404, "reason": "NotFound"})), "web-0"));
        let forbidden = json!({"code": 403, "reason": "Forbidden", "details": {"name": "web-0"}});
        assert!(!is_absence(&answer(forbidden), "web-0"));
    }

    #[test]
    fn a_name_never_leads_elsewhere() {
        for name in ["web-0", "kube-proxy-10.0.0.1", "a"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "..", "a/b", "a?b", "a%2Fb", "A", "-a", "a.", &"a".repeat(254)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
