//! What the CNI server drives: the five verbs, whoever implements them: the engine in this process, or an agent that
//! asks one elsewhere.

use std::future::Future;
use std::sync::Arc;

use tenure_core::error::Coded;
use tenure_core::name::{NetworkName, PoolName};

use crate::{
    AddAnswer, AddRequest, CheckRequest, DelRequest, Engine, EngineError, GcAnswer, GcRequest,
};

/// The verbs of CNI, free of CNI's versions and shapes.
///
/// # Assumptions
/// A future may be dropped at any await: when the caller hangs up (ADD), and when its time is over (any verb). A dropped
/// ADD leaves nothing that a later DEL or sweep does not find; a dropped DEL is repeated.
///
/// # Errors
/// The CNI code of an error is that of its kind ([`tenure_core::error::Kind::cni_code`]), for STATUS always 50; its
/// stable code goes into `details`. Any error of DEL says that the release is not durable here: the plugin spools it
/// then, and the drain asks again.
pub trait Verbs: Send + Sync + 'static {
    /// What can go wrong.
    type Error: Coded + Send + 'static;

    /// Gives addresses to an attachment.
    fn add(
        &self,
        request: AddRequest,
    ) -> impl Future<Output = Result<AddAnswer, Self::Error>> + Send;

    /// Takes them back; success when there is nothing to take.
    fn del(&self, request: DelRequest) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Fails unless the attachment holds what the request says.
    fn check(&self, request: CheckRequest) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Judges the attachments of a network that are not listed.
    fn gc(&self, request: GcRequest) -> impl Future<Output = Result<GcAnswer, Self::Error>> + Send;

    /// Fails when no ADD could be served.
    fn status(
        &self,
        request: StatusRequest,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// A STATUS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusRequest {
    /// The network.
    pub network: NetworkName,
    /// `ipam.pools`.
    pub pools: Vec<PoolName>,
    /// `ipam.statusOnExhaustion`: fail also when these pools are exhausted. Off by default, for a failure
    /// makes the whole node NotReady.
    pub on_exhaustion: bool,
}

/// The engine as the server drives it.
#[derive(Debug, Clone)]
pub struct EngineVerbs(Arc<Engine>);

// === impl EngineVerbs ===

impl EngineVerbs {
    /// The verbs of this engine.
    #[must_use]
    pub fn new(engine: Arc<Engine>) -> Self {
        Self(engine)
    }
}

impl Verbs for EngineVerbs {
    type Error = EngineError;

    async fn add(&self, request: AddRequest) -> Result<AddAnswer, EngineError> {
        self.0.add(request).await
    }

    async fn del(&self, request: DelRequest) -> Result<(), EngineError> {
        self.0.del(request).await
    }

    async fn check(&self, request: CheckRequest) -> Result<(), EngineError> {
        self.0.check(request).await
    }

    async fn gc(&self, request: GcRequest) -> Result<GcAnswer, EngineError> {
        self.0.gc(request).await
    }

    async fn status(&self, request: StatusRequest) -> Result<(), EngineError> {
        let exhausted = request.on_exhaustion.then_some((&request.network, &*request.pools));
        self.0.status(exhausted)
    }
}
