//! CHECK and STATUS.

use std::sync::Arc;

use crate::{CheckRequest, Engine, EngineError};

impl Engine {
    /// Whether the attachment holds its lease and `prevResult` carries its addresses. Addresses that later
    /// plugins of the chain added are tolerated.
    ///
    /// # Errors
    /// [`EngineError::CheckFailed`] saying what is missing.
    pub async fn check(self: &Arc<Self>, request: CheckRequest) -> Result<(), EngineError> {
        let _guard = self.locks.lock(&request.attachment).await?;
        let rows = self.held_by(&request.attachment).await?;
        let failed = |why: String| EngineError::CheckFailed {
            attachment: request.attachment.to_string(),
            why,
        };
        if rows.is_empty() {
            return Err(failed("holds no address; its lease was released or reclaimed".to_owned()));
        }
        for row in &rows {
            if !request.addresses.contains(&row.lease.address) {
                let why = format!("holds {}, which prevResult does not have", row.lease.address);
                return Err(failed(why));
            }
        }
        let families = rows.iter().map(|row| row.lease.key().family()).collect();
        if rows.first().is_some_and(|row| row.lease.families != families) {
            return Err(failed("its set of addresses is not complete".to_owned()));
        }
        Ok(())
    }

    /// Whether ADDs can be served. An exhausted pool is not a failure: a pool cut to size always is, and a
    /// failing STATUS takes the whole node out of service.
    ///
    /// # Errors
    /// The store is broken.
    pub fn status(&self) -> Result<(), EngineError> {
        Ok(self.ports.store.health()?)
    }
}
