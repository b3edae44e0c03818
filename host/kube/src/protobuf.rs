//! Lists in protobuf, in which the API server writes built-in kinds for less than in JSON, the more so the larger they are: an
//! allocator that starts among fifty thousand pods waits for that. Custom resources it writes in JSON only.
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding>
//!
//! The numbers of fields are those of `generated.proto` in `k8s.io/api` and `k8s.io/apimachinery`. Only what is read here is
//! named; a decoder passes over the rest.

use http::Response;
use http_body_util::BodyExt as _;
use kube::client::Body;
use prost::Message;
use prost::bytes::Bytes;

/// What is asked for.
pub(crate) const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
/// It opens every message.
const MAGIC: &[u8] = b"k8s\0";

/// A message.
pub(crate) trait Wire: Message + Default + std::fmt::Debug {}
impl<T: Message + Default + std::fmt::Debug> Wire for T {}

/// `runtime.Unknown`: what every message is wrapped in.
#[derive(Clone, PartialEq, Message)]
struct Envelope {
    #[prost(bytes = "bytes", tag = "2")]
    raw: Bytes,
}

/// A list of some kind.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ListOf<T: Wire> {
    #[prost(message, required, tag = "1")]
    pub(crate) metadata: ListMeta,
    #[prost(message, repeated, tag = "2")]
    pub(crate) items: Vec<T>,
}

/// `meta.v1.ListMeta`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ListMeta {
    #[prost(string, tag = "2")]
    pub(crate) resource_version: String,
    #[prost(string, tag = "3")]
    pub(crate) next: String,
}

/// `meta.v1.Status`.
#[derive(Clone, PartialEq, Message)]
struct Refusal {
    #[prost(string, tag = "3")]
    message: String,
}

/// Why there is no list in an answer.
#[derive(Debug)]
pub(crate) enum NoList {
    /// The server refused with this HTTP status.
    Refused(u16, String),
    /// It broke, or is something else.
    Unread(String),
}

/// Reads the answer to a request for a list.
pub(crate) async fn read<T: Wire>(answer: Response<Body>) -> Result<ListOf<T>, NoList> {
    let status = answer.status();
    let body = answer.into_body().collect().await;
    let body = body.map_err(|error| NoList::Unread(error.to_string()))?.to_bytes();
    if !status.is_success() {
        // A load balancer, or a server that still starts, says it in another way.
        let said = opened::<Refusal>(&body).map(|refusal| refusal.message);
        return Err(NoList::Refused(status.as_u16(), said.unwrap_or_else(|_| status.to_string())));
    }
    opened(&body).map_err(NoList::Unread)
}

fn opened<T: Wire>(body: &Bytes) -> Result<T, String> {
    let Some(rest) = body.strip_prefix(MAGIC) else {
        return Err("the answer is no protobuf of Kubernetes".to_owned());
    };
    let envelope = Envelope::decode(body.slice_ref(rest)).map_err(|error| error.to_string())?;
    T::decode(envelope.raw).map_err(|error| error.to_string())
}
