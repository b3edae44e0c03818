//! The API server by itself, as full as it is then: leases are created and replaced at the pace of ADDs and DELs, and nobody else
//! asks for anything. What an ADD takes beyond it is Tenure's. And it is asked for all leases and all pods, as by an allocator
//! that starts, by somebody who throws the answers away.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use kube::api::{DynamicObject, PostParams};
use kube::client::Body;
use kube::{Api, Client};
use parking_lot::Mutex;
use tenure_kube::{FactsOptions, KubeOptions};
use tenure_lab::cluster::resource;
use tokio::time::Instant;

use super::pace::{self, Outcome};
use crate::cluster::floor::{addresses, at, released};

/// How long.
const LASTS: Duration = Duration::from_secs(30);
/// A lease is replaced so long after its creation.
const HELD: Duration = Duration::from_secs(2);

/// Asks for all leases and all pods at once, and answers how long that took.
pub(crate) async fn lists(client: &Client) -> Duration {
    let began = Instant::now();
    // In the pages in which an allocator asks for them.
    let pages = (KubeOptions::default().page, FactsOptions::default().page);
    let leases = list(client, "/apis/tenure.dev/v1alpha1/ipleases", "application/json", pages.0);
    let pods = list(client, "/api/v1/pods", "application/vnd.kubernetes.protobuf", pages.1);
    tokio::join!(leases, pods);
    began.elapsed()
}

async fn list(client: &Client, path: &str, accept: &str, page: u32) {
    let mut next = String::new();
    loop {
        let request = http::Request::get(format!("{path}?limit={page}{next}"));
        let request = request.header(http::header::ACCEPT, accept).body(Body::empty()).unwrap();
        let answer = client.send(request).await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        match token(&body) {
            Some(token) => next = format!("&continue={token}"),
            None => return,
        }
    }
}

/// Where a list goes on: in the metadata of the list, which opens the answer in protobuf (as field 3, of less than 128 bytes)
/// and ends it in JSON.
fn token(body: &[u8]) -> Option<String> {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=');
    let token = match body.starts_with(b"k8s\0") {
        true => (0..body.len().min(300)).find_map(|at| {
            let [0x1a, length, rest @ ..] = body.get(at..)? else { return None };
            let token = rest.get(..usize::from(*length))?;
            (token.len() > 50 && token.iter().all(is_word)).then_some(token)
        }),
        false => {
            let end = &body[body.len().saturating_sub(300)..];
            end.split(|byte| !is_word(byte)).find(|word| word.len() > 50)
        }
    };
    String::from_utf8(token?.to_vec()).ok()
}

/// What came of creates and of replaces.
pub(crate) async fn measure(
    client: &Client,
    template: &DynamicObject,
    rate: usize,
) -> (Outcome, Outcome) {
    let leases = Api::<DynamicObject>::all_with(client.clone(), &resource("IPLease"));
    let apart = Duration::from_secs(1) / rate as u32;
    let count = rate * LASTS.as_secs() as usize;
    let made = Arc::new(Mutex::new(vec![None; count]));
    let objects = addresses(count, false).into_iter().map(|address| at(template, address));
    let creates = objects.enumerate().map(|(number, object)| {
        let (leases, made) = (leases.clone(), made.clone());
        async move {
            let answer = leases.create(&PostParams::default(), &object).await;
            made.lock()[number] = Some(answer.map_err(|error| error.to_string())?);
            Ok(())
        }
    });
    let replaces = (0..count).map(|number| {
        let (leases, made) = (leases.clone(), made.clone());
        async move {
            let object = made.lock()[number].take().ok_or("its create was not answered in time")?;
            let (name, object) =
                (object.metadata.name.clone().unwrap_or_default(), released(object));
            let answer = leases.replace(&name, &PostParams::default(), &object).await;
            answer.map(drop).map_err(|error| error.to_string())
        }
    });
    let begin = Instant::now() + apart;
    tokio::join!(
        pace::stream(begin, apart, creates),
        pace::stream(begin + HELD + apart / 2, apart, replaces)
    )
}
