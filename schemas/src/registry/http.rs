//! The Confluent REST API as a client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::{Response, StatusCode};

use super::{Error, Latest, Registry};

const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";
/// Of a whole call, connecting included.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long an unknown id stays unknown without asking again, so that a run of bad records does not become a run of calls.
const UNKNOWN_FOR: Duration = Duration::from_secs(1);
/// Most unknown ids kept.
const MAX_UNKNOWN: usize = 1_024;
/// Longest answer read, in bytes; a schema is JSON within JSON, so twice the longest schema and more.
const MAX_ANSWER_BYTES: u64 = 4 * 1024 * 1024;

/// A schema registry server. Blocks up to 5 s a call; what was once found is answered from memory.
pub struct HttpRegistry {
    base: String,
    agent: Agent,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    schemas: HashMap<u32, Arc<str>>,
    ids: HashMap<(String, String), u32>,
    unknown: HashMap<u32, Instant>,
}

impl HttpRegistry {
    /// A registry at `url`, path included where it has one (`http://127.0.0.1:8081/apis/ccompat/v7`). Nothing is asked yet.
    pub fn new(url: &str) -> Self {
        // No proxy: a registry is next to its broker, and a proxy from the environment would be asked for loopback too.
        let config =
            Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).proxy(None).build();
        Self { base: url.trim_end_matches('/').to_owned(), agent: config.into(), cache: Mutex::default() }
    }

    /// Names of all subjects.
    pub fn subjects(&self) -> Result<Vec<String>, Error> {
        let url = format!("{}/subjects", self.base);
        let (status, body) = self.get(&url)?;
        let names = body.as_array().map(|names| names.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        names.filter(|_| status.is_success()).ok_or_else(|| unexpected(&url, status, &body))
    }

    /// The schema of a subject's latest version; `None` when there is no such subject.
    pub fn latest(&self, subject: &str) -> Result<Option<Arc<str>>, Error> {
        self.find(&format!("{}/subjects/{}/versions/latest", self.base, escaped(subject)))
    }

    /// The `schema` of an answer; `None` when the registry itself says that there is none.
    fn find(&self, url: &str) -> Result<Option<Arc<str>>, Error> {
        let (status, body) = self.get(url)?;
        match text(&body, "schema") {
            Some(schema) if status.is_success() => match text(&body, "schemaType") {
                None | Some("AVRO") => Ok(Some(schema.into())),
                Some(other) => Err(Error::Invalid(format!("{url} is a schema of type {other}"))),
            },
            _ if status == StatusCode::NOT_FOUND && is_absence(&body) => Ok(None),
            _ => Err(unexpected(url, status, &body)),
        }
    }

    fn get(&self, url: &str) -> Result<(StatusCode, Value), Error> {
        self.answer(url, self.agent.get(url).header("accept", MEDIA_TYPE).call())
    }

    fn post(&self, url: &str, schema: &str) -> Result<(StatusCode, Value), Error> {
        let request = self.agent.post(url).header("accept", MEDIA_TYPE).content_type(MEDIA_TYPE);
        self.answer(url, request.send(json!({"schema": schema}).to_string()))
    }

    fn answer(
        &self,
        url: &str,
        answer: Result<Response<ureq::Body>, ureq::Error>,
    ) -> Result<(StatusCode, Value), Error> {
        let mut answer = answer.map_err(|e| unavailable(url, &e.to_string()))?;
        let body = answer.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec();
        let body = body.map_err(|e| unavailable(url, &e.to_string()))?;
        Ok((answer.status(), serde_json::from_slice(&body).unwrap_or_default()))
    }

    /// A panic elsewhere leaves the cache whole: each change is one insert.
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry for HttpRegistry {
    fn register(&self, subject: &str, schema: &str) -> Result<u32, Error> {
        let key = (subject.to_owned(), schema.to_owned());
        if let Some(id) = self.cache().ids.get(&key) {
            return Ok(*id);
        }
        let url = format!("{}/subjects/{}/versions", self.base, escaped(subject));
        let (mut status, mut body) = self.post(&url, schema)?;
        if status == StatusCode::CONFLICT {
            // Of two that register a first version at the same time Apicurio refuses one as "already exists"; asked again it
            // gives the id. A schema that is not compatible is refused again.
            (status, body) = self.post(&url, schema)?;
        }
        let id = registered(&url, subject, status, &body)?;
        self.cache().ids.insert(key, id);
        Ok(id)
    }

    fn schema(&self, id: u32) -> Result<Option<Arc<str>>, Error> {
        {
            let cache = self.cache();
            if let Some(schema) = cache.schemas.get(&id) {
                return Ok(Some(Arc::clone(schema)));
            }
            if cache.unknown.get(&id).is_some_and(|asked| asked.elapsed() < UNKNOWN_FOR) {
                return Ok(None);
            }
        }
        let found = self.find(&format!("{}/schemas/ids/{id}", self.base))?;
        let mut cache = self.cache();
        match &found {
            Some(schema) => {
                cache.schemas.insert(id, Arc::clone(schema));
                cache.unknown.remove(&id);
            }
            None => {
                if cache.unknown.len() >= MAX_UNKNOWN {
                    cache.unknown.clear();
                }
                cache.unknown.insert(id, Instant::now());
            }
        }
        Ok(found)
    }

    fn latest_of(&self, subject: &str) -> Result<Option<Latest>, Error> {
        let url = format!("{}/subjects/{}/versions/latest", self.base, escaped(subject));
        let (status, body) = self.get(&url)?;
        let number = |name: &str| body.get(name)?.as_u64().and_then(|n| u32::try_from(n).ok());
        match (text(&body, "schema"), number("id"), number("version")) {
            (Some(schema), Some(id), Some(version)) if status.is_success() => match text(&body, "schemaType") {
                None | Some("AVRO") => Ok(Some(Latest { id, version, schema: schema.into() })),
                Some(other) => Err(Error::Invalid(format!("{url} is a schema of type {other}"))),
            },
            _ if status == StatusCode::NOT_FOUND && is_absence(&body) => Ok(None),
            _ => Err(unexpected(&url, status, &body)),
        }
    }

    fn id_of(&self, subject: &str, schema: &str) -> Result<Option<u32>, Error> {
        let url = format!("{}/subjects/{}", self.base, escaped(subject));
        let (status, body) = self.post(&url, schema)?;
        match body.get("id").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok()) {
            Some(id) if status.is_success() => Ok(Some(id)),
            _ if status == StatusCode::NOT_FOUND && is_absence(&body) => Ok(None),
            _ => Err(unexpected(&url, status, &body)),
        }
    }

    fn subject_names(&self) -> Result<Vec<String>, Error> {
        self.subjects()
    }
}

/// 40401 to 40403. Any other 404 comes from a wrong path or another server, and taken for "no such schema" it would make
/// good records dead letters.
fn is_absence(body: &Value) -> bool {
    body.get("error_code").and_then(Value::as_u64).is_some_and(|code| (40_401..=40_403).contains(&code))
}

fn registered(url: &str, subject: &str, status: StatusCode, body: &Value) -> Result<u32, Error> {
    let id = body.get("id").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
    let message = || text(body, "message").unwrap_or("no reason given").to_owned();
    match (status, id) {
        (status, Some(id)) if status.is_success() => Ok(id),
        (StatusCode::CONFLICT, _) => Err(Error::Incompatible { subject: subject.to_owned(), reason: message() }),
        (StatusCode::UNPROCESSABLE_ENTITY, _) => Err(Error::Invalid(message())),
        _ => Err(unexpected(url, status, body)),
    }
}

fn unavailable(url: &str, cause: &str) -> Error {
    Error::Unavailable(format!("{url}: {cause}; check that the registry runs and that its address is right"))
}

fn unexpected(url: &str, status: StatusCode, body: &Value) -> Error {
    let message = text(body, "message").unwrap_or("not the answer of a schema registry");
    let check = "check the registry's base path (Apicurio: /apis/ccompat/v7)";
    Error::Unavailable(format!("{url} answered {status}: {message}; {check}"))
}

fn text<'v>(body: &'v Value, name: &str) -> Option<&'v str> {
    body.get(name)?.as_str()
}

/// A path segment: everything but unreserved characters (RFC 3986) is percent-encoded.
fn escaped(segment: &str) -> String {
    let escape = |b: u8| match b {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
        other => format!("%{other:02X}"),
    };
    segment.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests;
