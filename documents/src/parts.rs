//! The parts of a multipart body, in bounded memory.
//!
//! `multer` takes all that is ready before it looks at any of it, and looks for the end of a part's header without a bound. So it
//! is given one piece at a time, and no more than [`AHEAD_MAX`] bytes beyond what has come out of it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;

use crate::problem::Problem;
use crate::rest::Read;

/// Bytes taken in that have not come out: a header, a boundary, and a piece of the body.
const AHEAD_MAX: u64 = 1 << 20;
/// Bytes of a field that is no file.
const FIELD_BYTES_MAX: usize = 4 << 10;

/// The parts of a body.
pub(crate) struct Parts {
    parts: multer::Multipart<'static>,
    ahead: Arc<AtomicU64>,
}

/// One part.
pub(crate) struct Part {
    field: multer::Field<'static>,
    ahead: Arc<AtomicU64>,
}

impl Parts {
    pub(crate) fn new(content_type: &str, body: Read) -> Result<Self, Problem> {
        let boundary = multer::parse_boundary(content_type).map_err(|error| {
            Problem::field(
                "Content-Type",
                format!("the body cannot be read: {error}"),
                "multipart/form-data; boundary=…",
            )
        })?;
        let ahead = Arc::new(AtomicU64::new(0));
        let stream = Metered { body, ahead: Arc::clone(&ahead), rested: true };
        Ok(Self { parts: multer::Multipart::new(stream, boundary), ahead })
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Part>, Problem> {
        let field = self.parts.next_field().await.map_err(broken)?;
        // Header and boundary have come out; of what follows at most a piece is in.
        self.ahead.store(0, Ordering::Relaxed);
        Ok(field.map(|field| Part { field, ahead: Arc::clone(&self.ahead) }))
    }
}

impl Part {
    pub(crate) fn name(&self) -> &str {
        self.field.name().unwrap_or_default()
    }

    pub(crate) fn headers(&self) -> &axum::http::HeaderMap {
        self.field.headers()
    }

    pub(crate) fn file_name(&self) -> Option<&str> {
        self.field.file_name()
    }

    /// A short text.
    pub(crate) async fn text(&mut self) -> Result<String, Problem> {
        let mut text = Vec::new();
        while let Some(piece) = self.piece().await? {
            if text.len() + piece.len() > FIELD_BYTES_MAX {
                let name = self.name().to_owned();
                let rule = format!("{FIELD_BYTES_MAX} bytes at most");
                return Err(Problem::field(&name, format!("the field {name:?} is too long"), rule));
            }
            text.extend_from_slice(&piece);
        }
        let name = self.name().to_owned();
        String::from_utf8(text).map_err(|_| Problem::field(&name, format!("the field {name:?} is not UTF-8"), "UTF-8"))
    }

    /// The part's contents.
    pub(crate) fn pieces(&mut self) -> impl Stream<Item = Result<Bytes, Problem>> + '_ {
        futures::stream::try_unfold(self, |part| async move { Ok(part.piece().await?.map(|piece| (piece, part))) })
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, Problem> {
        let piece = self.field.chunk().await.map_err(broken)?;
        let out = piece.as_ref().map_or(0, |piece| piece.len() as u64);
        // One reader, one writer, and both on this task.
        let ahead = self.ahead.load(Ordering::Relaxed);
        self.ahead.store(ahead.saturating_sub(out), Ordering::Relaxed);
        Ok(piece)
    }
}

fn broken(error: multer::Error) -> Problem {
    let detail = match std::error::Error::source(&error) {
        Some(cause) => format!("the body cannot be read: {error}: {cause}"),
        None => format!("the body cannot be read: {error}"),
    };
    Problem::field("body", detail, "multipart/form-data as of RFC 7578, complete")
}

/// The body, one piece for each poll.
struct Metered {
    body: Read,
    ahead: Arc<AtomicU64>,
    rested: bool,
}

impl Stream for Metered {
    type Item = Result<Bytes, String>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !std::mem::replace(&mut self.rested, true) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let polled = Pin::new(&mut self.body).poll_next(context);
        let Poll::Ready(Some(piece)) = polled else { return polled.map(|end| end.map(|_| Err(String::new()))) };
        self.rested = false;
        let piece = piece.map_err(|error| error.to_string())?;
        let length = piece.len() as u64;
        let ahead = self.ahead.fetch_add(length, Ordering::Relaxed) + length;
        // One piece may be as long as it likes: it is in memory already.
        if ahead > AHEAD_MAX.max(2 * length) {
            return Poll::Ready(Some(Err(format!("the header of a part is longer than {AHEAD_MAX} bytes"))));
        }
        Poll::Ready(Some(Ok(piece)))
    }
}
