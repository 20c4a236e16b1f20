//! `GET /v1/documents/live`: documents as they change, and how the queue stands.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};
use tokio::time::{Interval, MissedTickBehavior};
use utoipa::ToSchema;

use crate::Documents;
use crate::params::Params;
use crate::problem::{Kind, Problem};
use crate::queues::QueueAnswer;
use crate::topics::QUEUE;

/// Streams open at a time.
const STREAMS_MAX: usize = 100;
/// Changed documents that a slow stream may be behind.
const BEHIND_MAX: usize = 4_096;
/// How often a stream looks at the queue.
const QUEUE_EVERY: Duration = Duration::from_secs(1);

/// Where changed documents are told.
#[derive(Clone)]
pub(crate) struct Changes(broadcast::Sender<Arc<str>>);

impl Changes {
    /// Tells all streams; there may be none.
    pub(crate) fn tell(&self, documents: Vec<String>) {
        documents.into_iter().for_each(|json| drop(self.0.send(json.into())));
    }
}

/// What the streams share.
pub(crate) struct Live {
    changes: Changes,
    streams: Arc<Semaphore>,
}

impl Default for Live {
    fn default() -> Self {
        Self { changes: Changes(broadcast::Sender::new(BEHIND_MAX)), streams: Arc::new(Semaphore::new(STREAMS_MAX)) }
    }
}

impl Live {
    pub(crate) fn sender(&self) -> Changes {
        self.changes.clone()
    }

    /// Streams open now.
    pub(crate) fn open(&self) -> usize {
        STREAMS_MAX - self.streams.available_permits()
    }
}

/// Data of the event `queue`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LiveQueue {
    #[serde(flatten)]
    queue: QueueAnswer,
    /// Documents in each state.
    counts: BTreeMap<&'static str, usize>,
}

/// Server-sent events: `document` for each document that changes, `queue` at once and when the queue or its workers change.
///
/// Whoever has read the list after the stream began misses nothing. A stream that cannot keep up ends: open another, and read the
/// list again.
#[utoipa::path(
    get, path = "/v1/documents/live", tag = "documents", operation_id = "documents_live",
    responses(
        (status = 200, description = "`document`: as in the list; `queue`: counts and workers", body = LiveQueue, content_type = "text/event-stream"),
        crate::openapi::Failures
    )
)]
pub(crate) async fn live(
    State(documents): State<Arc<Documents>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Params::parse(query.as_deref(), &[])?;
    let place = Arc::clone(&documents.live.streams).try_acquire_owned().map_err(|_| {
        Problem::new(Kind::Overloaded, format!("{STREAMS_MAX} live streams are open, which is the limit"))
            .fix("close one, or read /v1/documents from time to time")
    })?;
    let mut looks = tokio::time::interval(QUEUE_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let viewer = Viewer {
        changes: documents.live.changes.0.subscribe(),
        closing: documents.closing.subscribe(),
        documents,
        looks,
        seen: String::new(),
        _place: place,
    };
    let events = stream::unfold(viewer, |mut viewer| async move {
        let event = viewer.next().await?;
        Some((Ok::<_, Infallible>(event), viewer))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

/// One open stream.
struct Viewer {
    changes: broadcast::Receiver<Arc<str>>,
    closing: watch::Receiver<bool>,
    documents: Arc<Documents>,
    looks: Interval,
    /// The queue as it was told last.
    seen: String,
    _place: OwnedSemaphorePermit,
}

impl Viewer {
    /// The next event; `None` when the server stops or the stream is too far behind.
    async fn next(&mut self) -> Option<Event> {
        loop {
            tokio::select! {
                _ = self.closing.wait_for(|closing| *closing) => return None,
                changed = self.changes.recv() => match changed {
                    Ok(json) => return Some(Event::default().event("document").data(json)),
                    Err(RecvError::Lagged(_) | RecvError::Closed) => return None,
                },
                _ = self.looks.tick() => {}
            }
            let now = self.queue();
            if now != self.seen {
                self.seen.clone_from(&now);
                return Some(Event::default().event("queue").data(now));
            }
        }
    }

    fn queue(&self) -> String {
        let counts = self.documents.index.counts(&self.documents.config.tenant);
        let queue = self.documents.queue(QUEUE);
        serde_json::to_string(&LiveQueue { queue, counts }).unwrap_or_default()
    }
}
