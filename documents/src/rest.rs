//! What is left of a body that nobody reads any more.
//!
//! A server that closes a connection with bytes on their way makes the client lose the answer: it sees a reset. So the rest of a
//! body that was refused is read and dropped, for a while.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::HeaderMap;
use futures::{Stream, StreamExt};
use tokio::sync::Semaphore;

/// How long the rest is read.
const WITHIN: Duration = Duration::from_secs(10);
/// Bytes of the rest that are read.
const BYTES_MAX: usize = 256 << 20;
/// Rests that are read at a time; of more, the connections are closed.
const AT_A_TIME: usize = 64;

static PLACES: Semaphore = Semaphore::const_new(AT_A_TIME);

/// A body that is read to its end, or else dropped with what is left of it taken in.
pub(crate) struct Read {
    body: Option<BodyDataStream>,
    /// The client sends nothing before it is asked to, which the first read does.
    is_awaited: bool,
}

impl Read {
    pub(crate) fn new(headers: &HeaderMap, body: Body) -> Self {
        let is_awaited =
            headers.get("expect").is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        Self { body: Some(body.into_data_stream()), is_awaited }
    }
}

impl Stream for Read {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.is_awaited = false;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = body.poll_next_unpin(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
    }
}

impl Drop for Read {
    fn drop(&mut self) {
        let Some(body) = self.body.take().filter(|_| !self.is_awaited) else { return };
        let (Ok(runtime), Ok(place)) = (tokio::runtime::Handle::try_current(), PLACES.try_acquire()) else { return };
        runtime.spawn(async move {
            let _place = place;
            // Late or too long: the connection is closed.
            drop(tokio::time::timeout(WITHIN, drain(body)).await);
        });
    }
}

async fn drain(mut body: BodyDataStream) {
    let mut bytes = 0;
    while let Some(Ok(piece)) = body.next().await {
        bytes += piece.len();
        if bytes > BYTES_MAX {
            return;
        }
    }
}
