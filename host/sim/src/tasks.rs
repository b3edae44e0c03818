//! What runs beside a test.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tenure_engine::{AddRequest, Engine, EngineError};
use tokio::task::JoinHandle;

/// Begins an ADD; its answer are the addresses.
pub fn start_add(
    engine: &Arc<Engine>,
    request: AddRequest,
) -> JoinHandle<Result<Vec<IpAddr>, EngineError>> {
    let engine = engine.clone();
    tokio::spawn(async move {
        let answer = engine.add(request).await?;
        Ok(answer.addresses.iter().map(|granted| granted.address.addr()).collect())
    })
}

/// Lets the others run until it is so.
///
/// # Panics
/// It is not, after ten thousand turns.
pub async fn until(mut reached: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if reached() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("it never came");
}
