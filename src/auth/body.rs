//! Bodies under watch: what comes in must come at some pace, what goes out ends when its token does.

use super::clients::Place;
use super::guard::Client;
use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// A body may be silent for so long at its start.
const GRACE: Duration = Duration::from_secs(5);
/// From then on it must have come at this pace on the whole, bytes a second.
const PACE: u64 = 4_096;
/// It must be there after so long, whatever its size; but for one that is stored as it comes.
const WHOLE: Duration = Duration::from_secs(60);
/// The same for that: documents may be large, and lines slow.
const WHOLE_STREAMED: Duration = Duration::from_secs(6 * 3_600);

/// When more must have come than `bytes`, from the body's start.
fn patience(bytes: u64, whole: Duration) -> Duration {
    GRACE.saturating_add(Duration::from_millis(bytes.saturating_mul(1_000) / PACE)).min(whole)
}

/// A body that fails when it comes too slowly.
pub(super) struct Paced {
    inner: Body,
    began: Instant,
    bytes: u64,
    whole: Duration,
    timer: Pin<Box<Sleep>>,
}

impl Paced {
    /// `streamed` says that the route stores the body as it comes, however long that takes.
    pub(super) fn over(inner: Body, streamed: bool) -> Body {
        if inner.is_end_stream() {
            return inner;
        }
        let (began, whole) = (Instant::now(), if streamed { WHOLE_STREAMED } else { WHOLE });
        let timer = Box::pin(tokio::time::sleep_until(began + patience(0, whole)));
        Body::new(Self { inner, began, bytes: 0, whole, timer })
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // What is there is taken, however late we ask for it.
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            if let Some(Ok(frame)) = &frame {
                self.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                let deadline = self.began + patience(self.bytes, self.whole);
                self.timer.as_mut().reset(deadline);
            }
            return Poll::Ready(frame);
        }
        self.timer.as_mut().poll(cx).map(|()| {
            let why = format!("only {} bytes of the body came within {:?}", self.bytes, self.began.elapsed());
            Some(Err(axum::Error::new(std::io::Error::new(std::io::ErrorKind::TimedOut, why))))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// An answer: holds its client's place until it is sent, and ends early when `revoked` is ready.
pub(super) struct Answer {
    inner: Body,
    revoked: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    _place: Place<Client>,
}

impl Answer {
    pub(super) fn over(
        inner: Body,
        revoked: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
        place: Place<Client>,
    ) -> Body {
        Body::new(Self { inner, revoked, _place: place })
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.revoked.as_mut().is_some_and(|revoked| revoked.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn patience_grows_with_what_came_and_ends() {
        assert_eq!(patience(0, WHOLE), GRACE);
        assert_eq!(patience(4_096, WHOLE), Duration::from_secs(6));
        assert_eq!(patience(16 << 20, WHOLE), WHOLE);
        assert_eq!(patience(u64::MAX, WHOLE), WHOLE);
        assert!(patience(16 << 20, WHOLE_STREAMED) > WHOLE, "a large document may take its time");
    }
}
