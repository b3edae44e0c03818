//! Compiling on a thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use wasmtime::Engine;

/// How long it may take; the largest component takes some 10 s.
const TIME: Duration = Duration::from_secs(60);

/// On a thread of its own, because a compilation cannot be interrupted. One that never ends keeps
/// its thread, and `busy` makes sure that it is the only one.
pub(super) fn compile(
    engine: &Engine,
    bytes: Vec<u8>,
    busy: &Arc<AtomicBool>,
) -> Result<Vec<u8>, String> {
    if busy.swap(true, Ordering::AcqRel) {
        return Err("an earlier compilation still runs; try again later".to_owned());
    }
    let (done, result) = mpsc::sync_channel(1);
    let (engine, flag) = (engine.clone(), busy.clone());
    let work = move || {
        let compiled = catch_unwind(AssertUnwindSafe(|| engine.precompile_component(&bytes)));
        // First, because whoever gets the result may compile again at once.
        flag.store(false, Ordering::Release);
        // The receiver may have given up.
        let _ = done.send(compiled);
    };
    if let Err(error) = std::thread::Builder::new().name("policy-compile".into()).spawn(work) {
        busy.store(false, Ordering::Release);
        return Err(format!("no thread for the compiler: {error}"));
    }
    match result.recv_timeout(TIME) {
        Ok(Ok(Ok(code))) => Ok(code),
        Ok(Ok(Err(error))) => Err(format!("it is not valid: {error:#}")),
        Ok(Err(_)) => Err("the compiler panicked; report the component".to_owned()),
        Err(_) => Err(format!("the compiler did not end within {TIME:?}")),
    }
}
