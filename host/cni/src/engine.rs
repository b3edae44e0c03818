//! The verbs of the engine in this process: standalone mode.

use std::sync::Arc;

use tenure_engine::{
    AddAnswer, AddRequest, CheckRequest, DelRequest, Engine, EngineError, GcAnswer, GcRequest,
};

use crate::verbs::{StatusRequest, Verbs};

/// The engine as the server drives it.
#[derive(Debug, Clone)]
pub struct EngineVerbs(Arc<Engine>);

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
