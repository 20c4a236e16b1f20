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
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, broadcast, watch};
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
/// How often the queue is looked at while there is a stream.
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
    /// The queue as it was when it was looked at last, for all.
    queue: Arc<watch::Sender<Arc<str>>>,
    /// A stream was opened: it is to see the queue at once.
    opened: Arc<Notify>,
    streams: Arc<Semaphore>,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            changes: Changes(broadcast::Sender::new(BEHIND_MAX)),
            queue: Arc::new(watch::Sender::new("".into())),
            opened: Arc::default(),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        }
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
    let viewer = Viewer {
        changes: documents.live.changes.0.subscribe(),
        closing: documents.closing.subscribe(),
        queue: documents.live.queue.subscribe(),
        seen: "".into(),
        _place: place,
    };
    documents.live.opened.notify_one();
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
    queue: watch::Receiver<Arc<str>>,
    /// The queue as it was told last.
    seen: Arc<str>,
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
                looked = self.queue.changed() => looked.ok()?,
            }
            let now = Arc::clone(&self.queue.borrow_and_update());
            if now != self.seen {
                self.seen = Arc::clone(&now);
                return Some(Event::default().event("queue").data(now));
            }
        }
    }
}

/// Looks at the queue for all streams, until the service closes.
pub(crate) fn start(documents: &Arc<Documents>, runtime: &tokio::runtime::Handle) {
    let (all, closing) = (Arc::downgrade(documents), documents.closing.subscribe());
    let queue = move || all.upgrade().map(|documents| documents.live_queue());
    let (tell, opened) = (Arc::clone(&documents.live.queue), Arc::clone(&documents.live.opened));
    runtime.spawn(look(tell, opened, closing, QUEUE_EVERY, queue));
}

/// Looks when a stream is opened, and `every` so often while there is one; ends when `queue` gives none.
async fn look(
    tell: Arc<watch::Sender<Arc<str>>>,
    opened: Arc<Notify>,
    mut closing: watch::Receiver<bool>,
    every: Duration,
    queue: impl Fn() -> Option<String> + Clone + Send + 'static,
) {
    loop {
        let listened = tell.receiver_count() > 0;
        tokio::select! {
            _ = closing.wait_for(|closing| *closing) => return,
            () = opened.notified() => {}
            () = tokio::time::sleep(every), if listened => {}
        }
        match tokio::task::spawn_blocking(queue.clone()).await {
            Ok(Some(now)) => drop(tell.send_replace(now.into())),
            Ok(None) => return,
            Err(error) => tracing::error!(%error, "the queue could not be looked at"),
        }
    }
}

impl Documents {
    /// Blocks.
    fn live_queue(&self) -> String {
        let counts = self.index.counts(&self.config.tenant);
        let queue = self.queue(QUEUE);
        serde_json::to_string(&LiveQueue { queue, counts }).unwrap_or_default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_looks_for_all_and_only_while_somebody_listens() {
        let (tell, opened, closing) =
            (Arc::new(watch::Sender::new("".into())), Arc::<Notify>::default(), watch::Sender::new(false));
        let looks = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&looks);
        let queue = move || Some(counted.fetch_add(1, Ordering::SeqCst).to_string());
        let every = Duration::from_millis(10);
        let looking = tokio::spawn(look(Arc::clone(&tell), Arc::clone(&opened), closing.subscribe(), every, queue));
        let mut streams: Vec<_> = (0..50).map(|_| tell.subscribe()).collect();
        opened.notify_one();
        for stream in &mut streams {
            stream.wait_for(|now| now.parse::<usize>().is_ok_and(|n| n >= 5)).await.unwrap();
        }
        assert!(looks.load(Ordering::SeqCst) < 250, "not five for each");
        drop(streams);
        // One may be under way.
        tokio::time::sleep(20 * every).await;
        let before = looks.load(Ordering::SeqCst);
        tokio::time::sleep(20 * every).await;
        assert_eq!(looks.load(Ordering::SeqCst), before, "nobody listens");
        opened.notify_one();
        tell.subscribe().wait_for(|now| **now == *before.to_string()).await.unwrap();
        closing.send_replace(true);
        looking.await.unwrap();
    }
}
