//! `GET /v1/topics/{topic}/records`: what is on a topic.
//!
//! The answer is NDJSON: a line for each record, as JSON, or with `raw=true` as it is on the log beside the schemas that it
//! names, and in the end one `{"end": …}` or `{"error": "…"}`. `{"progress": …}` comes before them when reading takes its time.
//! Whoever hangs up ends the work.

use crate::jobs::http::{Problem, blocking};
use crate::topics::records::{self, Entry, Found, RECORDS_MAX, Which};
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemark_jobs::sources::Registered;
use tidemark_log::Log;
use tidemark_schemas::registry::Registry;
use tidemark_schemas::wire;
use tidemark_spec::readable::Readable;
use tidemark_spec::{Topics, instant, near};
use tokio::sync::{Semaphore, mpsc};

/// So many read at once: each holds what it has read in memory.
const READS_MAX: usize = 2;
/// Records unless it is said how many.
const LAST: usize = 100;
/// Pieces of the answer that wait for a slow reader, and how large they are about.
const PIECES_MAX: usize = 4;
const PIECE_BYTES: usize = 64 << 10;
/// When progress is told first, and how often.
const TELL_AFTER: Duration = Duration::from_secs(1);
const TELL_EVERY: Duration = Duration::from_millis(250);

/// What the route works on.
#[derive(Clone)]
pub struct Context {
    /// Has the topics.
    pub log: Arc<dyn Log>,
    /// Has their schemas.
    pub registry: Arc<dyn Registry>,
}

/// The route.
pub fn router(context: Context) -> Router {
    let reads = Arc::new(Semaphore::new(READS_MAX));
    Router::new().route("/v1/topics/{topic}/records", get(records)).with_state((context, reads))
}

/// What is asked.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    last: Option<usize>,
    from: Option<String>,
    to: Option<String>,
    #[serde(default)]
    raw: bool,
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_request", "the request cannot be used", detail)
}

impl Ask {
    fn which(&self) -> Result<(Which, usize), Problem> {
        let time = |name: &str, text: &Option<String>, without: i64| {
            let Some(text) = text else { return Ok(without) };
            instant::parse(text).ok_or_else(|| {
                bad(format!("`{name}` is {text:?}; write RFC 3339, as 2026-01-01T00:00:00Z, or milliseconds"))
            })
        };
        if self.from.is_none() && self.to.is_none() {
            let last = self.last.unwrap_or(LAST);
            if !(1..=RECORDS_MAX).contains(&last) {
                return Err(bad(format!("`last` is {last}; it is 1 to {RECORDS_MAX}")));
            }
            return Ok((Which::Last, last));
        }
        if self.last.is_some() {
            return Err(bad("`last` together with `from` or `to`; give one of them"));
        }
        let (from, to) = (time("from", &self.from, 0)?, time("to", &self.to, i64::MAX)?);
        if from >= to {
            return Err(bad("`from` is not before `to`"));
        }
        Ok((Which::Between(from, to), RECORDS_MAX))
    }
}

async fn records(
    State((context, reads)): State<(Context, Arc<Semaphore>)>,
    Path(topic): Path<String>,
    ask: Result<Query<Ask>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(ask) = ask.map_err(|error| {
        bad(format!("{}; this path takes last=100, or from=TIME and to=TIME, and raw=true", error.body_text()))
    })?;
    let (which, limit) = ask.which()?;
    let permit = reads.try_acquire_owned().map_err(|_| {
        Problem::unavailable(format!("topics are read {READS_MAX} times already; try again in a moment"))
    })?;
    let (of, name) = (context.clone(), topic.clone());
    blocking(move || known(&of, &name)).await?;
    let (pieces, reader) = mpsc::channel::<String>(PIECES_MAX);
    tokio::task::spawn_blocking(move || {
        let mut answer = Answer { pieces, piece: String::new() };
        let (began, mut told) = (Instant::now(), Instant::now());
        let mut on_progress = |done: i64, of: i64| {
            if began.elapsed() >= TELL_AFTER && told.elapsed() >= TELL_EVERY {
                told = Instant::now();
                let line = json!({"progress": {"offsets_done": done, "offsets": of}});
                let _ = answer.pieces.try_send(format!("{line}\n"));
            }
            !answer.pieces.is_closed()
        };
        let found = records::read(context.log.as_ref(), &topic, which, limit, &mut on_progress);
        let last = match found {
            Ok(Some(found)) => tell(&context, found, ask.raw, &mut answer),
            Ok(None) => json!({"error": format!("topic {topic} was deleted meanwhile")}),
            Err(error) => json!({"error": error.to_string()}),
        };
        answer.line(&last);
        answer.flush();
        drop(permit);
    });
    let stream = futures::stream::unfold(reader, |mut reader| async move {
        let piece = reader.recv().await?;
        Some((Ok::<_, Infallible>(piece), reader))
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(stream)).into_response())
}

fn known(context: &Context, topic: &str) -> Result<(), Problem> {
    let there = context.log.partitions(topic).map_err(|error| Problem::unavailable(error.to_string()))?;
    if there.is_some() {
        return Ok(());
    }
    let names = Registered { log: context.log.as_ref(), registry: context.registry.as_ref() }.names();
    let fix = near::advice(topic, names.iter().map(String::as_str));
    let detail = format!("there is no topic {topic}; {fix}");
    Err(Problem::new(StatusCode::NOT_FOUND, "no_such_topic", "no such topic", detail))
}

/// The answer, in pieces.
struct Answer {
    pieces: mpsc::Sender<String>,
    piece: String,
}

impl Answer {
    fn line(&mut self, line: &Value) {
        self.piece += &line.to_string();
        self.piece.push('\n');
        if self.piece.len() >= PIECE_BYTES {
            self.flush();
        }
    }

    /// Waits for a slow reader; for one that is gone it does nothing.
    fn flush(&mut self) {
        let _ = self.pieces.blocking_send(std::mem::take(&mut self.piece));
    }
}

/// A schema that records name: its text, and how they are read by it.
type Known = Result<(Arc<str>, Readable), String>;

/// Tells the records, and gives the last line.
fn tell(context: &Context, found: Found, raw: bool, answer: &mut Answer) -> Value {
    let Found { entries, partitions, cut } = found;
    let (mut schemas, records) = (HashMap::<u32, Known>::new(), entries.len());
    for entry in entries {
        if answer.pieces.is_closed() {
            break;
        }
        let id = entry.value.as_deref().and_then(|value| wire::split(value).ok()).map(|(id, _)| id);
        if let Some(id) = id
            && !schemas.contains_key(&id)
        {
            let known = match schema(context, id) {
                Ok(known) => known,
                Err(error) => return json!({"error": error}),
            };
            if let (true, Ok((avsc, _))) = (raw, &known) {
                answer.line(&json!({"schema": {"id": id, "avsc": &**avsc}}));
            }
            schemas.insert(id, known);
        }
        answer.line(&if raw { as_it_is(&entry) } else { as_json(&entry, &schemas) });
    }
    json!({"end": {"records": records, "partitions": partitions, "cut": cut}})
}

/// An error says that nothing can be said of it now.
fn schema(context: &Context, id: u32) -> Result<Known, String> {
    use tidemark_schemas::registry::Error;
    match context.registry.schema(id) {
        Ok(Some(avsc)) => Ok(Readable::new(&avsc).map(|readable| (avsc, readable))),
        Ok(None) => Ok(Err(wire::Error::UnknownSchema(id).to_string())),
        Err(error @ Error::Unavailable(_)) => Err(error.to_string()),
        Err(error) => Ok(Err(error.to_string())),
    }
}

fn as_it_is(entry: &Entry) -> Value {
    let text = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| BASE64.encode(bytes));
    json!({
        "partition": entry.partition,
        "offset": entry.offset,
        "appended_at": entry.appended_at,
        "key": text(&entry.key),
        "wire": text(&entry.value),
    })
}

fn as_json(entry: &Entry, schemas: &HashMap<u32, Known>) -> Value {
    let read = entry.value.as_deref().map(|value| {
        let (id, datum) = wire::split(value).map_err(|error| error.to_string())?;
        match schemas.get(&id) {
            Some(Ok((_, readable))) => readable.json(datum),
            Some(Err(why)) => Err(why.clone()),
            None => Err(wire::Error::UnknownSchema(id).to_string()),
        }
    });
    let (value, unreadable) = match read {
        None => (Value::Null, None),
        Some(Ok(value)) => (value, None),
        Some(Err(why)) => (Value::Null, Some(why)),
    };
    let mut line = json!({
        "partition": entry.partition,
        "offset": entry.offset,
        "appended_at": instant::rfc3339(entry.appended_at),
        "key": entry.key.as_ref().map(|key| String::from_utf8_lossy(key)),
        "value": value,
    });
    if let (Some(why), Some(line)) = (unreadable, line.as_object_mut()) {
        line.insert("unreadable".into(), why.into());
    }
    line
}
