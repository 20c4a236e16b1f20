//! `GET /v1/live`: the newest hours and the progress, again each time they change.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use utoipa::ToSchema;

use crate::Api;
use crate::cached::Cached;
use crate::hours::{self, HourSummary};
use crate::instant;
use crate::params::Params;
use crate::problem::Problem;
use crate::progress::{self, ProgressAnswer};

/// Streams open at a time.
pub(crate) const STREAMS_MAX: usize = 100;

/// How often a stream looks for changes; all streams share one look.
const EVERY: Duration = Duration::from_secs(1);

/// Hours in an event.
const HOURS: usize = 48;

/// One event of the stream: its data as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LiveEvent {
    /// The newest 48 windows, newest first.
    pub hours: Vec<HourSummary>,
    /// As of `/v1/progress`.
    pub progress: ProgressAnswer,
}

/// What the streams share.
pub(crate) struct Live {
    streams: Arc<Semaphore>,
    latest: Cached<Arc<str>>,
}

impl Default for Live {
    fn default() -> Self {
        Self { streams: Arc::new(Semaphore::new(STREAMS_MAX)), latest: Cached::default() }
    }
}

impl Live {
    /// Streams open now.
    pub(crate) fn open(&self) -> usize {
        STREAMS_MAX - self.streams.available_permits()
    }
}

/// Server-sent events, at most one a second, each with the newest 48 hours and the progress.
#[utoipa::path(
    get, path = "/v1/live", tag = "query", operation_id = "live",
    responses(
        (status = 200, description = "Events named `state`; one at once, then one after each change", body = LiveEvent, content_type = "text/event-stream"),
        (status = 400, description = "A parameter was given", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "As many streams as allowed are open", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn live(State(api): State<Arc<Api>>, RawQuery(raw): RawQuery) -> Result<Response, Problem> {
    Params::parse::<&str>(raw.as_deref(), &[])?;
    let permit = api.live.streams.clone().try_acquire_owned();
    let permit = permit.map_err(|_| Problem::too_many_streams(STREAMS_MAX))?;
    let viewer = Viewer { closing: api.closing.subscribe(), api, seen: None, _permit: permit };
    let events = stream::unfold(viewer, |mut viewer| async move {
        let event = viewer.next().await?;
        Some((Ok::<_, Infallible>(event), viewer))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

/// One open stream.
struct Viewer {
    api: Arc<Api>,
    seen: Option<Arc<str>>,
    closing: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
}

impl Viewer {
    /// The next change; `None` when the server stops.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if self.seen.is_some() {
                tokio::select! {
                    () = tokio::time::sleep(EVERY) => {}
                    _ = self.closing.wait_for(|closing| *closing) => return None,
                }
            }
            if *self.closing.borrow() {
                return None;
            }
            let (name, data) = match latest(&self.api).await {
                Ok(data) => ("state", data),
                Err(error) => ("unavailable", Arc::from(error.to_string().replace(['\r', '\n'], " "))),
            };
            if self.seen.as_ref() != Some(&data) {
                self.seen = Some(data.clone());
                return Some(Event::default().event(name).data(data));
            }
        }
    }
}

/// What there is to show, at most a second old; read once for all streams.
async fn latest(api: &Api) -> Result<Arc<str>, tidemark_views::Error> {
    let read = async {
        let facts = api.flows.facts(0, instant::MAX_MS).await?;
        let event = LiveEvent {
            hours: hours::newest(api, &facts, HOURS).await?.hours,
            progress: progress::summary(&facts, &api.flows, api.now()),
        };
        Ok(Arc::from(serde_json::to_string(&event).unwrap_or_default()))
    };
    api.live.latest.get(read).await
}
