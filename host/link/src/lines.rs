//! Messages as lines of JSON on the body of a request or a response that stays open.

use std::convert::Infallible;

use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Body, Bytes, Frame};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

/// A longer line is not one of ours: as long as a CNI frame.
pub(crate) const MAX_LINE: usize = 1024 * 1024;

/// A body whose lines come from a channel; it ends when the channel does.
pub(crate) type Lines = StreamBody<Receiver>;

/// The receiving end of a channel, as a stream of frames.
#[derive(Debug)]
pub(crate) struct Receiver(mpsc::Receiver<Bytes>);

/// Why a line could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    /// The stream ended.
    #[error("the other side closed the stream")]
    Ended,
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Broken(String),
    /// More than [`MAX_LINE`] bytes.
    #[error("a line is longer than {MAX_LINE} bytes")]
    TooLong,
    /// No message of ours.
    #[error("a line is no message of this protocol: {0}")]
    NotOurs(#[from] serde_json::Error),
}

/// Reads lines from a body.
#[derive(Debug)]
pub(crate) struct Reader<B> {
    body: B,
    /// What came after the last line that was read.
    rest: Vec<u8>,
    /// So many bytes of it hold no line end.
    searched: usize,
}

/// Lines of a channel as a body.
pub(crate) fn body(lines: mpsc::Receiver<Bytes>) -> Lines {
    StreamBody::new(Receiver(lines))
}

/// A message as a line.
///
/// # Errors
/// It cannot be written as JSON, which no message of ours does.
pub(crate) fn line(message: &impl Serialize) -> Result<Bytes, serde_json::Error> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line.into())
}

// === impl Receiver ===

impl futures_util::Stream for Receiver {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

// === impl Reader ===

impl<B: Body<Data = Bytes> + Unpin> Reader<B>
where
    B::Error: std::fmt::Display,
{
    pub(crate) fn new(body: B) -> Self {
        Self { body, rest: Vec::new(), searched: 0 }
    }

    /// The next message. May be dropped at its await: nothing is lost then.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<T, LineError> {
        loop {
            let fresh = self.rest.get(self.searched..).unwrap_or_default();
            if let Some(at) = fresh.iter().position(|byte| *byte == b'\n') {
                let end = self.searched.saturating_add(at);
                let message = serde_json::from_slice(self.rest.get(..end).unwrap_or_default());
                self.rest.drain(..=end);
                self.searched = 0;
                return Ok(message?);
            }
            self.searched = self.rest.len();
            if self.rest.len() > MAX_LINE {
                return Err(LineError::TooLong);
            }
            match self.body.frame().await {
                None => return Err(LineError::Ended),
                Some(Err(error)) => return Err(LineError::Broken(error.to_string())),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.rest.extend_from_slice(&bytes);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    #[tokio::test]
    async fn lines_may_be_cut_anywhere() {
        let (sender, receiver) = mpsc::channel(16);
        for part in ["[1]\n[", "2", "]\n", "[3]\n[4"] {
            sender.send(Bytes::from(part)).await.unwrap();
        }
        drop(sender);
        let mut reader = Reader::new(body(receiver));
        for wanted in 1..=3 {
            assert_eq!(reader.next::<[u32; 1]>().await.unwrap(), [wanted]);
        }
        assert!(matches!(reader.next::<[u32; 1]>().await, Err(LineError::Ended)), "a half line");
    }

    #[tokio::test]
    async fn a_line_without_end_is_given_up() {
        let endless = Full::new(Bytes::from(vec![b' '; MAX_LINE + 1]));
        let mut reader = Reader::new(endless);
        assert!(matches!(reader.next::<()>().await, Err(LineError::TooLong)));
    }

    #[tokio::test]
    async fn a_line_that_is_no_message_breaks_nothing_after_it() {
        let mut reader = Reader::new(Full::new(Bytes::from("nonsense\n[1]\n")));
        assert!(matches!(reader.next::<[u32; 1]>().await, Err(LineError::NotOurs(_))));
        assert_eq!(reader.next::<[u32; 1]>().await.unwrap(), [1]);
    }
}
