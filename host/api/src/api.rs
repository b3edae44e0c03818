//! What all routes share.

use std::sync::Arc;
use std::time::Duration;

use tenure_engine::{Engine, EngineError};
use tokio::sync::Semaphore;

use crate::error::ApiError;
use crate::metric::MetricFamily;
use crate::nodes::Nodes;

/// Where metrics of other edges come from; called once per scrape.
pub type MetricSource = Arc<dyn Fn() -> Vec<MetricFamily> + Send + Sync>;

/// Bounds of the API (invariant I12) and what it calls.
#[derive(Clone)]
pub struct ApiOptions {
    /// Requests served at once; one more is answered `BUSY`.
    pub max_requests: usize,
    /// A request must be answered after so long; the body of an export may take longer.
    pub deadline: Duration,
    /// Longest body, in bytes: as long as the longest frame of the CNI socket.
    pub max_body: usize,
    /// Longest import, in bytes; it is held in memory while it is checked.
    pub max_import: usize,
    /// Metrics of other edges.
    pub metrics: Vec<MetricSource>,
    /// Whoever knows the nodes of the cluster; nobody in standalone mode.
    pub nodes: Option<Arc<dyn Nodes>>,
}

/// The API over one engine. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    pub(crate) engine: Arc<Engine>,
    pub(crate) options: Arc<ApiOptions>,
    pub(crate) requests: Arc<Semaphore>,
    /// One at a time: an export holds a read view of the store while its reader is slow.
    pub(crate) exports: Arc<Semaphore>,
    /// One at a time: a second one would only wait for the same suspects.
    pub(crate) reclaims: Arc<Semaphore>,
}

/// Who calls, as the kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The user id of the peer.
    pub uid: u32,
}

// === impl ApiOptions ===

impl Default for ApiOptions {
    /// 64 requests at once, 30 s each, bodies of 1 MiB, imports of 256 MiB (some 300 000 leases).
    fn default() -> Self {
        Self {
            max_requests: 64,
            deadline: Duration::from_secs(30),
            max_body: 1024 * 1024,
            max_import: 256 * 1024 * 1024,
            metrics: Vec::new(),
            nodes: None,
        }
    }
}

// === impl Api ===

impl Api {
    /// The API over `engine`.
    #[must_use]
    pub fn new(engine: Arc<Engine>, options: ApiOptions) -> Self {
        Self {
            engine,
            requests: Arc::new(Semaphore::new(options.max_requests)),
            exports: Arc::new(Semaphore::new(1)),
            reclaims: Arc::new(Semaphore::new(1)),
            options: Arc::new(options),
        }
    }

    /// Runs a change to its end, even if the caller hangs up meanwhile.
    pub(crate) async fn to_its_end<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, ApiError>> + Send + 'static,
    ) -> Result<T, ApiError> {
        tokio::spawn(change).await.map_err(|e| ended_early(&e))?
    }

    /// Runs a piece that reads the store on a thread where blocking is allowed.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Engine>) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let engine = self.engine.clone();
        tokio::task::spawn_blocking(move || work(&engine)).await.map_err(|e| ended_early(&e))?
    }
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("engine", &self.engine).finish_non_exhaustive()
    }
}

fn ended_early(error: &tokio::task::JoinError) -> ApiError {
    EngineError::Bug { what: format!("a request ended without an answer: {error}") }.into()
}
