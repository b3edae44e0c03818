//! Why the allocators of a cluster are not reached, and what to do.

use std::error::Error;

/// An error on the way to an allocator. Each names the object and the next step.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClusterError {
    #[error("{why}; name a kubeconfig with --kubeconfig or KUBECONFIG")]
    NoKubeconfig { why: String },
    #[error("{file} is no kubeconfig that can be used: {why}")]
    BadKubeconfig { file: String, why: String },
    #[error("{file} has no context {context:?}; it has {known}")]
    NoContext { file: String, context: String, known: String },
    #[error(
        "the API server {server} does not answer: {why}\nIs it the right cluster? --context names another; `kubectl get --raw /readyz` asks the same server."
    )]
    Unreachable { server: String, why: String },
    #[error(
        "the API server {server} does not know you: {why}\nRenew the credentials of the kubeconfig: `kubectl auth whoami` must name you."
    )]
    Unauthorized { server: String, why: String },
    #[error(
        "the API server {server} refuses you the right to {right} in namespace {namespace}: {why}\nThe Role tenure-operator of deploy/kubernetes has what `tenure` needs; whoever administers the cluster binds it: `kubectl -n {namespace} create rolebinding NAME --role=tenure-operator --user=YOU`."
    )]
    Forbidden { server: String, right: &'static str, namespace: String, why: String },
    #[error("the API server {server} refuses to {act}: {why}")]
    Refused { server: String, act: String, why: String },
    #[error(
        "no allocator is in namespace {namespace}: no pod there has the label {label}\nIs Tenure installed there? --tenure-namespace names another namespace. {KUBECTL}"
    )]
    NoAllocator { namespace: String, label: &'static str },
    #[error("no allocator is ready in namespace {namespace}: {pods}\n{KUBECTL}")]
    NoneReady { namespace: String, pods: String },
    #[error("no allocator can be spoken to: {tried}\n{KUBECTL}")]
    NotDialled { tried: String },
    #[error(
        "pod {pod} has no program `tenure` in its PATH: {why}\nIs its image as old as that? `tenure` and `tenured` come together. {KUBECTL}"
    )]
    NoProgram { pod: String, why: String },
    #[error("the stream to pod {pod} ended: {why}\n{KUBECTL}")]
    Ended { pod: String, why: String },
}

/// What works without us.
const KUBECTL: &str = "Meanwhile `kubectl get ippools,ipleases` still shows the objects.";

// === impl ClusterError ===

impl ClusterError {
    /// As `tenure --help` promises.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::NoKubeconfig { .. } | Self::BadKubeconfig { .. } | Self::NoContext { .. } => 2,
            _ => 5,
        }
    }

    /// Of a request to the API server, which was about to do something for which a right is needed.
    pub(super) fn of_request(
        error: &kube::Error,
        server: &str,
        namespace: &str,
        right: &'static str,
    ) -> Self {
        let server = server.to_owned();
        let status = match error {
            kube::Error::Api(status) => status,
            // It only says that it is one.
            kube::Error::Service(error) => {
                return Self::Unreachable { server, why: causes(&**error) };
            }
            error => return Self::Unreachable { server, why: causes(error) },
        };
        let why = status.message.clone();
        match status.code {
            401 => Self::Unauthorized { server, why },
            403 => Self::Forbidden { server, right, namespace: namespace.to_owned(), why },
            _ => Self::Refused { server, act: right.to_owned(), why },
        }
    }
}

/// An error with what it rests on: "service error" alone helps nobody.
pub(super) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        next = error.source();
    }
    text
}
