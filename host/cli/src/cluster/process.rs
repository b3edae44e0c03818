//! `tenure dial-stdio` in the pod of an allocator: its standard input and output are the stream.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{AttachParams, AttachedProcess};
use kube::{Api, Client};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::error::ClusterError;

/// The container of the manifests.
const CONTAINER: &str = "allocator";
/// What runs there.
const COMMAND: [&str; 2] = ["tenure", "dial-stdio"];
/// Bytes under way in each direction: pieces of an export are as long.
const BUFFER: usize = 64 * 1024;
/// So much of what it says on its standard error is kept.
const WORDS: u64 = 4 * 1024;
/// How long its last words may take once the stream has ended, and how long its end may once the stream is closed.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A stream of bytes in both directions.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The process. The stream lives as long as this does.
pub(crate) struct Process {
    pod: String,
    /// How it ended, and what it said on its standard error.
    ended: oneshot::Receiver<(Option<Status>, String)>,
    _attached: AttachedProcess,
}

// === impl Process ===

impl Process {
    /// Starts it.
    pub(super) async fn start(
        client: &Client,
        namespace: &str,
        pod: &str,
    ) -> Result<(Self, Box<dyn Stream>), kube::Error> {
        let params = AttachParams {
            container: Some(CONTAINER.to_owned()),
            ..AttachParams::default().stdin(true).max_stdin_buf_size(BUFFER)
        };
        let params = params.max_stdout_buf_size(BUFFER).max_stderr_buf_size(BUFFER);
        let pods = Api::<Pod>::namespaced(client.clone(), namespace);
        let mut attached = pods.exec(pod, COMMAND, &params).await?;
        let (status, words) = (attached.take_status(), attached.stderr());
        let (tell, ended) = oneshot::channel();
        tokio::spawn(async move {
            let mut said = Vec::new();
            if let Some(mut words) = words {
                // What is broken off says nothing either way; what is more than that is thrown away.
                let _ = (&mut words).take(WORDS).read_to_end(&mut said).await;
                let _ = tokio::io::copy(&mut words, &mut tokio::io::sink()).await;
            }
            let status = match status {
                Some(status) => status.await,
                None => None,
            };
            let _ = tell.send((status, String::from_utf8_lossy(&said).trim().to_owned()));
        });
        let (Some(output), Some(input)) = (attached.stdout(), attached.stdin()) else {
            // Both were asked for above.
            return Err(kube::Error::Service("it has neither input nor output".into()));
        };
        let stream = Box::new(tokio::io::join(output, input));
        Ok((Self { pod: pod.to_owned(), ended, _attached: attached }, stream))
    }

    /// Why the stream has ended.
    pub(crate) async fn why(self, error: &dyn std::fmt::Display) -> ClusterError {
        let ended = timeout(LAST_WORDS, self.ended).await.ok().and_then(Result::ok);
        let (status, said) = ended.unwrap_or_default();
        why(self.pod, status, said, &error.to_string())
    }

    /// Waits for its end, once the stream is closed: a process that nobody waits for may stay in the container.
    pub(crate) async fn finished(self) {
        let _ = timeout(LAST_WORDS, self.ended).await;
    }
}

fn why(pod: String, status: Option<Status>, said: String, error: &str) -> ClusterError {
    let status = status.filter(|status| status.status.as_deref() != Some("Success"));
    let told = status.and_then(|status| status.message).unwrap_or_default();
    // The words of the container runtime: runc, crun, containerd and CRI-O agree on these two.
    if ["executable file not found", "no such file or directory"].iter().any(|no| told.contains(no))
    {
        return ClusterError::NoProgram { pod, why: told };
    }
    let why = [said.as_str(), told.as_str(), error].into_iter().find(|text| !text.is_empty());
    ClusterError::Ended { pod, why: why.unwrap_or("nothing was said").to_owned() }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::serde_json::{from_value, json};

    use super::*;

    fn told(status: Option<&str>, said: &str) -> String {
        let status = status.map(|message| {
            from_value::<Status>(json!({"status": "Failure", "message": message})).unwrap()
        });
        why("a".into(), status, said.into(), "connection closed").to_string()
    }

    #[test]
    fn the_nearest_cause_is_told() {
        let runc = r#"OCI runtime exec failed: exec failed: unable to start container process: exec: "tenure": executable file not found in $PATH"#;
        assert!(told(Some(runc), "").starts_with("pod a has no program `tenure` in its PATH"));
        let said = told(Some("command terminated with exit code 5"), "error: no socket");
        assert!(said.starts_with("the stream to pod a ended: error: no socket\n"), "{said}");
        assert!(told(None, "").contains("ended: connection closed"), "{}", told(None, ""));
    }
}
