//! `GET /v1/topics` and `PUT /v1/topics/{topic}`.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::{List, Made};
use crate::Gateway;
use crate::body::{self, Room, overloaded};
use crate::problem::{Kind, Problem};
use crate::shared::Shared;
use crate::topics;

/// Lists the topics that take events.
///
/// Those that are in the log and whose schema is registered under `<topic>-value`; at most 500.
#[utoipa::path(
    get,
    path = "/v1/topics",
    tag = "topics",
    responses((status = 200, description = "The topics, by name", body = List),
              (status = 503, description = "Log or registry did not answer; Retry-After says when to try again", body = Problem,
               content_type = "application/problem+json"))
)]
pub(crate) async fn get_topics(State(gateway): State<Arc<Gateway>>) -> Response {
    let began = Instant::now();
    let listed = off_executor(&gateway, topics::list).await;
    let response = listed.map_or_else(IntoResponse::into_response, |list| Json(list).into_response());
    told("GET", "/v1/topics", began, response)
}

/// Makes a topic and registers the schema of its events.
///
/// The same again changes nothing. A topic that is there is grown or kept longer if that is asked, and a new version of its schema
/// must be able to read what earlier ones wrote; nothing that loses records is done.
#[utoipa::path(
    put,
    path = "/v1/topics/{topic}",
    tag = "topics",
    params(("topic" = String, Path, description = "Name, best `domain.entity`: letters, digits, '.', '_', '-'", example = "access.events")),
    request_body(content = crate::openapi::TopicBody),
    responses((status = 200, description = "It was there; what was done is in the answer", body = Made),
              (status = 201, description = "It was made", body = Made),
              (status = 400, description = "The body cannot be read", body = Problem, content_type = "application/problem+json"),
              (status = 403, description = "The name is Tidemark's own", body = Problem,
               content_type = "application/problem+json"),
              (status = 409, description = "The topic or its schema is there and cannot become that", body = Problem,
               content_type = "application/problem+json"),
              (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
              (status = 422, description = "There can be no such topic or schema", body = Problem,
               content_type = "application/problem+json"),
              (status = 503, description = "Log or registry did not answer; Retry-After says when to try again", body = Problem,
               content_type = "application/problem+json"))
)]
pub(crate) async fn put_topic(
    State(gateway): State<Arc<Gateway>>,
    Path(topic): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let began = Instant::now();
    let made = put(&gateway, topic, &headers, body).await;
    let response = made.map_or_else(IntoResponse::into_response, |made| {
        let status = if made.created { StatusCode::CREATED } else { StatusCode::OK };
        (status, Json(made)).into_response()
    });
    told("PUT", "/v1/topics/{topic}", began, response)
}

async fn put(gateway: &Gateway, topic: String, headers: &HeaderMap, body: Body) -> Result<Made, Problem> {
    let mut room = Room::of(&gateway.bodies);
    let body = body::receive(headers, body, &mut room).await?;
    off_executor(gateway, move |shared| {
        let made = topics::make(shared, &topic, &body);
        drop(room);
        made
    })
    .await
}

/// Log and registry are asked on a thread of their own, a few requests at a time.
async fn off_executor<T: Send + 'static>(
    gateway: &Gateway,
    work: impl FnOnce(&Shared) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let turn = Arc::clone(&gateway.topics).try_acquire_owned().map_err(|_| overloaded("requests about topics"))?;
    let shared = Arc::clone(&gateway.shared);
    let done = tokio::task::spawn_blocking(move || {
        let done = work(&shared);
        drop(turn);
        done
    });
    done.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a request about topics failed");
        Err(Problem::new(Kind::NotReady, "the gateway failed while it worked on the request; report this"))
    })
}

fn told(method: &'static str, path: &'static str, began: Instant, response: Response) -> Response {
    let (status, ms) = (response.status().as_u16(), began.elapsed().as_millis() as u64);
    tracing::info!(target: "tidemark::access", method, path, status, ms);
    response
}
