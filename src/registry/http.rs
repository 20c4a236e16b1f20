//! The Confluent REST API, the part of it that serializers and tools use.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRef, FromRequest, Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use tidemark_schemas::registry::{Refusal, Version};
use tidemark_schemas::resolve::MAX_SCHEMA_BYTES;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::store::{EmbeddedRegistry, Error};

const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";
/// A schema is JSON within JSON: escaping at most doubles it, short of `\u` escapes that nobody writes.
const MAX_BODY_BYTES: usize = 2 * MAX_SCHEMA_BYTES + 4_096;
/// Requests with a body at a time, from its first byte to the end of the work on it; more are told to come again.
const POSTS_MAX: usize = 64;
/// Of them worked on at a time: parsing a schema takes many times its size.
const TURNS: usize = 8;

type Registry = State<Arc<EmbeddedRegistry>>;
type Answer = Result<Json, Failure>;
type Flags = Query<HashMap<String, String>>;

/// Serves `registry`: subjects, versions, ids, compatibility tests and configuration, with Confluent's error codes and
/// media type. Deleting, modes, contexts and schema references are not served.
pub fn router(registry: Arc<EmbeddedRegistry>) -> Router {
    Router::new()
        .route("/", get(async || Json(json!({}))))
        .route("/subjects", get(subjects))
        .route("/subjects/{subject}", post(lookup))
        .route("/subjects/{subject}/versions", get(versions).post(register))
        .route("/subjects/{subject}/versions/{version}", get(version))
        .route("/subjects/{subject}/versions/{version}/schema", get(version_schema))
        .route("/schemas/types", get(async || Json(json!(["AVRO"]))))
        .route("/schemas/ids/{id}", get(schema))
        .route("/schemas/ids/{id}/schema", get(raw_schema))
        .route("/schemas/ids/{id}/versions", get(uses))
        .route("/compatibility/subjects/{subject}/versions/{version}", post(test))
        .route("/config", get(level).put(set_level))
        .route("/config/{subject}", get(subject_level).put(set_subject_level))
        .fallback(async || Failure::new(404, "HTTP 404 Not Found"))
        .method_not_allowed_fallback(async || Failure::new(405, "HTTP 405 Method Not Allowed"))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(Served::new(registry))
}

/// The registry, and how much is asked of it at a time.
#[derive(Clone)]
struct Served {
    registry: Arc<EmbeddedRegistry>,
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

impl Served {
    fn new(registry: Arc<EmbeddedRegistry>) -> Self {
        Self { registry, places: Arc::new(Semaphore::new(POSTS_MAX)), turns: Arc::new(Semaphore::new(TURNS)) }
    }
}

impl FromRef<Served> for Arc<EmbeddedRegistry> {
    fn from_ref(served: &Served) -> Self {
        Self::clone(&served.registry)
    }
}

/// A body that has its place among those that may be here at a time.
struct Post {
    bytes: Bytes,
    place: OwnedSemaphorePermit,
    turns: Arc<Semaphore>,
}

impl FromRequest<Served> for Post {
    type Rejection = Response;

    async fn from_request(request: Request, served: &Served) -> Result<Self, Response> {
        let busy = |_| Failure::new(503, "too many requests with schemas at the moment: try again in a second");
        let place = Arc::clone(&served.places).try_acquire_owned().map_err(|e| busy(e).into_response())?;
        let bytes = Bytes::from_request(request, served).await.map_err(IntoResponse::into_response)?;
        Ok(Self { bytes, place, turns: Arc::clone(&served.turns) })
    }
}

impl Post {
    /// Work that parses schemas or waits for the log, off the async threads. Once begun it goes on when the caller goes away,
    /// so its place and its turn are its own until it ends.
    async fn work<T: Send + 'static>(
        self,
        work: impl FnOnce(&Bytes) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let Self { bytes, place, turns } = self;
        // Only fails when the semaphore is closed, which it never is.
        let turn = turns.acquire_owned().await.ok();
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&bytes);
            drop((bytes, turn, place));
            done
        });
        done.await.unwrap_or_else(|e| Err(Failure::new(500, format!("internal error: {e}"))))
    }
}

/// JSON of the registry's media type.
struct Json(Value);

impl IntoResponse for Json {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, MEDIA_TYPE)], self.0.to_string()).into_response()
    }
}

/// `{"error_code", "message"}`; the code's first three digits are the status.
struct Failure {
    code: u32,
    message: String,
}

impl Failure {
    fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code(), refusal.to_string())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(refusal) => refusal.into(),
            // Confluent's "error in the backend data store".
            Error::Log(_) => Self::new(50001, error.to_string()),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = if self.code > 999 { self.code / 100 } else { self.code };
        let status = u16::try_from(status).ok().and_then(|s| StatusCode::from_u16(s).ok());
        let body = Json(json!({"error_code": self.code, "message": self.message}));
        (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), body).into_response()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SchemaBody {
    schema: String,
    schema_type: Option<String>,
    #[serde(default)]
    references: Option<Vec<Value>>,
}

#[derive(Deserialize)]
struct LevelBody {
    compatibility: String,
}

/// Any content type: clients send the media type, plain JSON or none.
fn body<'b, T: Deserialize<'b>>(bytes: &'b Bytes) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|e| Failure::new(400, format!("request body: {e}")))
}

fn avro(bytes: &Bytes) -> Result<String, Failure> {
    let body: SchemaBody = body(bytes)?;
    match body.schema_type.as_deref() {
        None | Some("AVRO") => {}
        Some(other) => {
            return Err(Refusal::InvalidSchema(format!("schema type {other} is not supported, only AVRO")).into());
        }
    }
    if body.references.is_some_and(|r| !r.is_empty()) {
        let reason = "schema references are not supported: put the referenced types into the schema";
        return Err(Refusal::InvalidSchema(reason.to_owned()).into());
    }
    Ok(body.schema)
}

fn full(v: &Version) -> Json {
    Json(json!({"subject": v.subject, "version": v.version, "id": v.id, "schema": &*v.schema}))
}

fn is_set(flags: &Flags, name: &str) -> bool {
    flags.get(name).is_some_and(|v| v == "true")
}

async fn subjects(State(registry): Registry) -> Json {
    Json(registry.read(|s| json!(s.subjects())))
}

async fn versions(State(registry): Registry, Path(subject): Path<String>) -> Answer {
    let numbers = |v: &[Version]| json!(v.iter().map(|v| v.version).collect::<Vec<_>>());
    Ok(Json(registry.read(|s| s.versions(&subject).map(numbers))?))
}

async fn version(State(registry): Registry, Path((subject, version)): Path<(String, String)>) -> Answer {
    Ok(registry.read(|s| s.version(&subject, &version).map(full))?)
}

async fn version_schema(
    State(registry): Registry,
    Path((subject, version)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let schema = registry.read(|s| s.version(&subject, &version).map(|v| v.schema.to_string()))?;
    Ok(raw(schema))
}

async fn register(State(registry): Registry, Path(subject): Path<String>, post: Post) -> Answer {
    let id = post.work(move |bytes| Ok(registry.register_schema(&subject, &avro(bytes)?)?)).await?;
    Ok(Json(json!({"id": id})))
}

async fn lookup(State(registry): Registry, Path(subject): Path<String>, post: Post) -> Answer {
    post.work(move |bytes| {
        let schema = avro(bytes)?;
        Ok(registry.read(|s| s.lookup(&subject, &schema).map(full))?)
    })
    .await
}

fn by_id(registry: &EmbeddedRegistry, id: &str) -> Result<String, Failure> {
    let schema = id.parse().ok().and_then(|id| registry.read(|s| s.schema(id)));
    schema.map(|s| s.to_string()).ok_or_else(|| Refusal::SchemaNotFound.into())
}

async fn schema(State(registry): Registry, Path(id): Path<String>) -> Answer {
    Ok(Json(json!({"schema": by_id(&registry, &id)?})))
}

async fn raw_schema(State(registry): Registry, Path(id): Path<String>) -> Result<Response, Failure> {
    Ok(raw(by_id(&registry, &id)?))
}

fn raw(schema: String) -> Response {
    ([(header::CONTENT_TYPE, MEDIA_TYPE)], schema).into_response()
}

async fn uses(State(registry): Registry, Path(id): Path<String>) -> Answer {
    let id = id.parse().map_err(|_| Refusal::SchemaNotFound)?;
    let pair = |v: &&Version| json!({"subject": v.subject, "version": v.version});
    Ok(Json(registry.read(|s| s.uses(id).map(|uses| uses.iter().map(pair).collect()))?))
}

async fn test(
    State(registry): Registry,
    Path((subject, version)): Path<(String, String)>,
    flags: Flags,
    post: Post,
) -> Answer {
    let tested = post.work(move |bytes| {
        let schema = avro(bytes)?;
        Ok(registry.read(|s| s.test(&subject, &version, &schema))?)
    });
    let messages = tested.await?;
    let mut answer = json!({"is_compatible": messages.is_empty()});
    if let (true, Some(answer)) = (is_set(&flags, "verbose"), answer.as_object_mut()) {
        answer.insert("messages".to_owned(), json!(messages));
    }
    Ok(Json(answer))
}

async fn level(State(registry): Registry) -> Json {
    Json(json!({"compatibilityLevel": registry.read(|s| s.level().to_string())}))
}

async fn subject_level(State(registry): Registry, Path(subject): Path<String>, flags: Flags) -> Answer {
    let level = registry.read(|s| match s.own_level(&subject) {
        Err(_) if is_set(&flags, "defaultToGlobal") => Ok(s.level()),
        own => own,
    })?;
    Ok(Json(json!({"compatibilityLevel": level.to_string()})))
}

async fn set_level(State(registry): Registry, post: Post) -> Answer {
    put_level(registry, None, post).await
}

async fn set_subject_level(State(registry): Registry, Path(subject): Path<String>, post: Post) -> Answer {
    put_level(registry, Some(subject), post).await
}

async fn put_level(registry: Arc<EmbeddedRegistry>, subject: Option<String>, post: Post) -> Answer {
    post.work(move |bytes| {
        let LevelBody { compatibility } = body(bytes)?;
        registry.set_level(subject.as_deref(), &compatibility)?;
        Ok(Json(json!({"compatibility": compatibility.to_ascii_uppercase()})))
    })
    .await
}

#[cfg(test)]
mod tests;
