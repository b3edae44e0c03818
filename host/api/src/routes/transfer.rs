//! Export and import of the whole store.

use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tenure_core::time::WallMs;
use tenure_store::{ExportFormat, ImportMode};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::shapes::ImportAnswer;
use crate::api::Api;
use crate::error::ApiError;
use crate::extract::{Query, Raw};

/// Size of a piece of an export.
const PIECE: usize = 64 * 1024;
/// Pieces that wait for a slow reader.
const PIECES: usize = 4;
/// A reader that takes no piece for so long is given up: the read view of the store must end.
const READER_PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExportQuery {
    history: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImportQuery {
    #[serde(default)]
    replace: bool,
}

type Piece = Result<Bytes, io::Error>;

/// Answers JSON lines while they are read. An export that breaks off lacks its last line, and an import
/// of it is refused.
pub(crate) async fn export(
    State(api): State<Api>,
    Query(query): Query<ExportQuery>,
) -> Result<Response, ApiError> {
    let format = match query.history {
        Some(false) => ExportFormat::WithoutHistory,
        Some(true) | None => ExportFormat::Whole,
    };
    let busy = |_| ApiError::Busy { what: "export", bound: 1 };
    let permit = api.exports.clone().try_acquire_owned().map_err(busy)?;
    let (pieces, mut ready) = mpsc::channel::<Piece>(PIECES);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let out = PieceWriter { pieces: &pieces, runtime: &runtime };
        let mut out = io::BufWriter::with_capacity(PIECE, out);
        let store = &**api.engine.store();
        if let Err(error) = tenure_store::export(store, wall_now(), format, &mut out) {
            tracing::warn!(%error, "an export ended early");
            // The reader sees a broken body; if it is gone there is nobody to tell.
            let _ = pieces.try_send(Err(io::Error::other(error.to_string())));
        }
    });
    let body = futures_util::stream::poll_fn(move |context| ready.poll_recv(context));
    Ok(([(CONTENT_TYPE, "application/jsonl")], Body::from_stream(body)).into_response())
}

/// Checks the whole body first; then all or nothing is replaced and served.
pub(crate) async fn import(
    State(api): State<Api>,
    Query(query): Query<ImportQuery>,
    Raw(body): Raw,
) -> Result<Json<ImportAnswer>, ApiError> {
    let read = move |_: &_| Ok(tenure_store::read_export(&mut &body[..])?);
    let contents = api.blocking(read).await?;
    let mode = if query.replace { ImportMode::Replace } else { ImportMode::IntoEmpty };
    let engine = api.engine.clone();
    let change = async move {
        let (objects, leases) = (contents.objects.len(), contents.leases.len());
        let events = contents.history.as_ref().map_or(0, |history| history.entries.len());
        engine.import(contents, mode).await?;
        let epoch = engine.epoch().0;
        tracing::warn!(objects, leases, events, epoch, "an import replaced the store");
        Ok(ImportAnswer { objects, leases, events, epoch })
    };
    api.to_its_end(change).await.map(Json)
}

/// The engine keeps its clock to itself; the header's time is only for the reader.
fn wall_now() -> WallMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Hands pieces to the reader and waits for it, but not forever.
struct PieceWriter<'a> {
    pieces: &'a mpsc::Sender<Piece>,
    runtime: &'a Handle,
}

impl Write for PieceWriter<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let piece = Ok(Bytes::copy_from_slice(buffer));
        let sent = async { tokio::time::timeout(READER_PATIENCE, self.pieces.send(piece)).await };
        match self.runtime.block_on(sent) {
            Ok(Ok(())) => Ok(buffer.len()),
            Ok(Err(_)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the reader hung up")),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the reader took nothing")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
