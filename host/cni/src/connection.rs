//! One connection: who calls, one frame in, one frame out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::ReadHalf;

use tenure_engine::Verbs;

use crate::answer::Failure;
use crate::dispatch::{self, Blame, Outcome};
use crate::error::Error;
use crate::frame::{FrameError, HEADER, Header, Request, Response};
use crate::metrics::{Metrics, count};
use crate::translate::Verb;

/// A caller that does not take its answer is left after so long.
const WRITE_DEADLINE: Duration = Duration::from_secs(5);

/// What every connection needs.
pub(crate) struct Shared<V> {
    pub(crate) verbs: Arc<V>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) allowed_uids: Vec<u32>,
    pub(crate) read_deadline: Duration,
    pub(crate) add_wait: Duration,
}

/// Serves one caller.
pub(crate) async fn serve<V: Verbs>(shared: Arc<Shared<V>>, mut stream: UnixStream) {
    if let Err(error) = authorize(&shared, &stream) {
        count(&shared.metrics.callers_refused);
        return respond(&mut stream, &refusal(Blame::Request, error)).await;
    }
    let frame = tokio::time::timeout(shared.read_deadline, read_request(&mut stream)).await;
    let request = match frame {
        Ok(Ok(request)) => request,
        // Nobody is left to answer, or nobody who deserves it.
        Err(_) | Ok(Err(FrameError::Io(_))) => return count(&shared.metrics.bad_frames),
        Ok(Err(error)) => {
            count(&shared.metrics.bad_frames);
            // A plugin of another release spools its DELs.
            return respond(&mut stream, &refusal(Blame::Daemon, Error::Frame(error))).await;
        }
    };
    if let Some(response) = answer(&shared, &mut stream, &request).await {
        respond(&mut stream, &response).await;
    }
}

/// The answer to a connection beyond the limit, written without waiting: a fresh socket takes it at once.
pub(crate) fn turn_away(stream: &UnixStream, limit: usize) {
    if let Ok(frame) = refusal(Blame::Daemon, Error::Overloaded { limit }).encode() {
        let _ = stream.try_write(&frame);
    }
}

/// The response to a request; none when an ADD's caller hung up and the ADD was dropped.
async fn answer<V: Verbs>(
    shared: &Shared<V>,
    stream: &mut UnixStream,
    request: &Request,
) -> Option<Response> {
    let verb = match Verb::of(&request.command) {
        Ok(verb) => verb,
        Err(error) => return Some(refusal(Blame::Request, error)),
    };
    let began = Instant::now();
    let serve = dispatch::serve(shared.verbs.as_ref(), verb, request, shared.add_wait);
    let outcome: Outcome = if verb == Verb::Add {
        let (mut reader, _writer) = stream.split();
        tokio::select! {
            biased;
            outcome = serve => outcome,
            () = hung_up(&mut reader) => {
                count(&shared.metrics.hung_up);
                return None;
            }
        }
    } else {
        serve.await
    };
    shared.metrics.answered(verb, outcome.code, began.elapsed());
    Some(outcome.response)
}

/// Ends when the caller closes its end, or sends what nobody asked for: both ways it is no caller of ours any more.
async fn hung_up(reader: &mut ReadHalf<'_>) {
    let _ = reader.read(&mut [0]).await;
}

fn authorize<V>(shared: &Shared<V>, stream: &UnixStream) -> Result<(), Error> {
    // Without credentials nobody is known, so nobody is let in.
    let uid = stream.peer_cred().map_or(u32::MAX, |caller| caller.uid());
    if shared.allowed_uids.contains(&uid) { Ok(()) } else { Err(Error::Caller { uid }) }
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Result<Request, FrameError> {
    let mut head = [0; HEADER];
    stream.read_exact(&mut head).await.map_err(FrameError::Io)?;
    let header = Header::decode(head)?;
    // The buffer grows with what arrives, not with what is announced.
    let mut payload = Vec::new();
    let announced = u64::try_from(header.length).unwrap_or(u64::MAX);
    stream.take(announced).read_to_end(&mut payload).await.map_err(FrameError::Io)?;
    if payload.len() < header.length {
        return Err(FrameError::Io(std::io::ErrorKind::UnexpectedEof.into()));
    }
    Request::decode(header, &payload)
}

fn refusal(blame: Blame, error: Error) -> Response {
    dispatch::failed(blame, &[], &Failure::from(error)).response
}

async fn respond(stream: &mut UnixStream, response: &Response) {
    let Ok(frame) = response.encode() else {
        return tracing::error!("an answer is longer than a frame");
    };
    let written = tokio::time::timeout(WRITE_DEADLINE, stream.write_all(&frame)).await;
    if !matches!(written, Ok(Ok(()))) {
        tracing::info!("a caller left without its answer");
    }
}
