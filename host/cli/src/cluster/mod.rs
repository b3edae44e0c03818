//! The way to the admin API of an allocator in a Kubernetes cluster: `tenure dial-stdio` is started in its pod, as
//! `docker -H ssh://` starts `docker system dial-stdio`, and HTTP goes over its standard input and output.
//!
//! So there is no further port and no further kind of credentials: who may `pods/exec` in the namespace of Tenure may
//! administer it, and the audit log of the API server has each use.
//!
//! ```text
//! kubeconfig  file and context -> the API server
//! pods        which allocator: the leader, else a ready one
//! process     `tenure dial-stdio` there: the stream, and why it ended
//! ```

mod error;
mod kubeconfig;
mod pods;
mod process;

use std::time::Duration;

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::timeout;

pub(crate) use self::error::ClusterError;
use self::error::causes;
pub(crate) use self::process::{Process, Stream};
use crate::reach::Access;

/// How long the API server may take for an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// How long it may take to start a process: it asks the kubelet, which asks the runtime.
const START: Duration = Duration::from_secs(10);

/// A cluster.
pub(crate) struct Cluster {
    client: Client,
    /// The API server, for messages.
    server: String,
    namespace: String,
}

// === impl Cluster ===

impl Cluster {
    /// Reads the kubeconfig. Nothing is asked of the API server yet.
    pub(crate) async fn open(access: &Access) -> Result<Self, ClusterError> {
        let mut config = kubeconfig::read(access).await?;
        config.connect_timeout = Some(ANSWER);
        // A script hears at once that nobody answers, and tries again as it likes.
        config.default_retry = false;
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let client = Client::try_from(config).map_err(|error| ClusterError::BadKubeconfig {
            file: "the kubeconfig".to_owned(),
            why: causes(&error),
        })?;
        Ok(Self { client, server, namespace: access.namespace.clone() })
    }

    /// A stream to the admin API of an allocator.
    pub(crate) async fn dial(&self) -> Result<(Process, Box<dyn Stream>), ClusterError> {
        let found = pods::find(&self.client, &self.server, &self.namespace);
        let candidates = timeout(ANSWER, found).await.map_err(|_| self.no_answer())??;
        let mut tried = Vec::new();
        for candidate in candidates {
            let start = Process::start(&self.client, &self.namespace, &candidate.pod);
            let why = match timeout(START, start).await {
                Ok(Ok(started)) => return Ok(started),
                Ok(Err(error)) => match self.of_exec(&error) {
                    // The same of every pod.
                    ClusterError::Refused { why, .. } => why,
                    error => return Err(error),
                },
                Err(_) => format!("no answer within {} s", START.as_secs()),
            };
            // Its node may be off without anybody having noticed; nothing was asked of it yet.
            tried.push(format!("pod {} on {}: {why}", candidate.pod, candidate.node));
        }
        Err(ClusterError::NotDialled { tried: tried.join("; ") })
    }

    /// Whom the API server takes us for; nothing where it does not say.
    pub(crate) async fn user(&self) -> Option<String> {
        let reviews = Api::<SelfSubjectReview>::all(self.client.clone());
        let (params, review) = (PostParams::default(), SelfSubjectReview::default());
        let answer = timeout(ANSWER, reviews.create(&params, &review)).await.ok()?.ok()?;
        answer.status?.user_info?.username
    }

    fn of_exec(&self, error: &kube::Error) -> ClusterError {
        // With a WebSocket it is a GET, for which up to Kubernetes 1.34 the right to `get` is asked for.
        ClusterError::of_request(error, &self.server, &self.namespace, "create and get pods/exec")
    }

    fn no_answer(&self) -> ClusterError {
        let why = format!("no answer within {} s", ANSWER.as_secs());
        ClusterError::Unreachable { server: self.server.clone(), why }
    }
}
