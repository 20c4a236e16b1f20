//! The service over HTTP.
//!
//! Each call is one try; whoever calls decides by the error whether and when to try again.

use std::io::Read;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::Response;
use ureq::{Agent, Body, RequestBuilder, SendBody};

use crate::wire::{HeartbeatAnswer, HeartbeatBody, LeaseAnswer, LeaseBody, RevokedLease, Task};

const CONNECT: Duration = Duration::from_secs(5);
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Without a byte moved for so long, a connection is given up.
const SILENCE: Duration = Duration::from_secs(30);
/// An answer may take so much longer than it was asked to wait.
const WAIT_SLACK: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// Over it the service is asked whether it wants the body before it is sent.
const EXPECT_BYTES: u64 = 1 << 20;

/// What a worker shows to be let in.
#[derive(Clone)]
pub enum Token {
    /// The token itself.
    Text(String),
    /// A file that holds it; read again when it is no longer taken.
    File(PathBuf),
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(…)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers, or not now, or not to this worker: later it may.
    #[error("the service at {base} is away: {message}")]
    Away {
        /// Its address.
        base: String,
        /// Why.
        message: String,
        /// When it asks to be asked again.
        retry_after: Option<Duration>,
    },
    /// The lease is stale (409).
    #[error("the lease is stale: {0}")]
    Stale(String),
    /// It will never take this.
    #[error("the service does not take it: {0}")]
    Refused(String),
    /// There is no such thing.
    #[error("the service does not have it: {0}")]
    Missing(String),
}

impl Error {
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Away { retry_after, .. } => *retry_after,
            Self::Stale(_) | Self::Refused(_) | Self::Missing(_) => None,
        }
    }
}

/// A client of one service. Blocks; may be used by many threads at a time.
pub struct Client {
    agent: Agent,
    base: String,
    source: Option<Token>,
    token: Mutex<Option<String>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Client {
    /// For the service at `base` (`http://host:port`), with `connections` kept open for the next call.
    pub fn new(base: &str, token: Option<Token>, connections: usize) -> Self {
        // No proxy: a platform on this machine is not to be asked for through one. No redirects: a token is for one service.
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(SILENCE))
            .timeout_per_write(Some(SILENCE))
            .max_idle_connections(connections)
            .max_idle_connections_per_host(connections);
        let client = Self {
            agent: config.build().into(),
            base: base.trim_end_matches('/').to_owned(),
            source: token,
            token: Mutex::default(),
        };
        client.read_token();
        client
    }

    /// Asks for a task and waits for one up to `wait`; none if there is none. `key` names the request: the same one again is given the
    /// same task.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub fn lease(
        &self,
        queue: &str,
        worker: &str,
        capacity: usize,
        wait: Duration,
        key: &str,
    ) -> Result<Option<Task>, Error> {
        let request = self.post(&format!("/v1/queues/{}/lease", escaped(queue)));
        let request = request
            .header("prefer", format!("wait={}", wait.as_secs()))
            .header("idempotency-key", key)
            .config()
            .timeout_per_read(Some(wait + WAIT_SLACK))
            .timeout_global(Some(wait + WAIT_SLACK))
            .build();
        let answer: LeaseAnswer = self.send_json(request, &LeaseBody { worker, capacity })?;
        Ok(answer.task)
    }

    pub(crate) fn heartbeat(&self, queue: &str, body: &HeartbeatBody<'_>) -> Result<Vec<RevokedLease>, Error> {
        let request = self.post(&format!("/v1/queues/{}/heartbeat", escaped(queue)));
        let request = request.config().timeout_global(Some(HEARTBEAT)).build();
        self.send_json::<HeartbeatAnswer>(request, body).map(|answer| answer.revoked)
    }

    /// `verb` is complete, fail or refuse; `body` has `length` bytes of JSON.
    pub(crate) fn report(
        &self,
        queue: &str,
        task: &str,
        verb: &str,
        length: u64,
        body: &mut dyn Read,
    ) -> Result<(), Error> {
        let request = self.post(&format!("/v1/queues/{}/tasks/{}/{verb}", escaped(queue), escaped(task)));
        let request = request.header("content-length", length.to_string());
        let request = if length > EXPECT_BYTES { request.header("expect", "100-continue") } else { request };
        self.taken(request.send(SendBody::from_reader(body))).map(drop)
    }

    /// The contents of a document, as they come.
    pub(crate) fn contents(&self, file_id: &str) -> Result<impl Read + use<>, Error> {
        let request = self.agent.get(format!("{}/v1/documents/{}/contents", self.base, escaped(file_id)));
        Ok(self.taken(self.authorized(request).call())?.into_body().into_reader())
    }

    fn post(&self, path: &str) -> RequestBuilder<ureq::typestate::WithBody> {
        let request = self.agent.post(format!("{}{path}", self.base));
        self.authorized(request).header("content-type", "application/json")
    }

    fn authorized<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &*self.token.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    fn send_json<A: DeserializeOwned>(
        &self,
        request: RequestBuilder<ureq::typestate::WithBody>,
        body: &impl Serialize,
    ) -> Result<A, Error> {
        let body = serde_json::to_vec(body).map_err(|error| Error::Refused(error.to_string()))?;
        let mut answer = self.taken(request.send(body.as_slice()))?;
        let read = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let read = read.map_err(|error| self.away(format!("its answer broke off: {error}"), None))?;
        serde_json::from_slice(&read).map_err(|error| self.away(format!("its answer cannot be read: {error}"), None))
    }

    fn taken(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>, Error> {
        let mut answer = answer.map_err(|error| self.away(error.to_string(), None))?;
        let status = answer.status().as_u16();
        let meant = meaning(status);
        if matches!(meant, Meaning::Taken) {
            return Ok(answer);
        }
        let header = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let retry_after = header.and_then(|value| value.parse().ok()).map(Duration::from_secs);
        let message = format!("{status}{}", told(answer.body_mut()));
        Err(match meant {
            Meaning::Stale => Error::Stale(message),
            Meaning::Refused => Error::Refused(message),
            Meaning::Missing => Error::Missing(message),
            Meaning::Unauthorized => {
                self.read_token();
                self.away(format!("{message}; give the worker a token that may work on the queue"), retry_after)
            }
            Meaning::Taken | Meaning::Away => self.away(message, retry_after),
        })
    }

    fn away(&self, message: String, retry_after: Option<Duration>) -> Error {
        Error::Away { base: self.base.clone(), message, retry_after }
    }

    fn read_token(&self) {
        let read = match &self.source {
            None => None,
            Some(Token::Text(token)) => Some(token.trim().to_owned()),
            Some(Token::File(path)) => match std::fs::read_to_string(path) {
                Ok(token) => Some(token.trim().to_owned()),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "cannot read the token");
                    return;
                }
            },
        };
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = read;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Taken,
    Stale,
    Missing,
    Refused,
    Unauthorized,
    Away,
}

/// What a status means for the worker. What only an operator can mend, as a wrong token, counts as away: work waits for them.
fn meaning(status: u16) -> Meaning {
    match status {
        200..=299 => Meaning::Taken,
        401 | 403 => Meaning::Unauthorized,
        404 | 410 => Meaning::Missing,
        409 => Meaning::Stale,
        408 | 421 | 425 | 429 => Meaning::Away,
        400..=499 => Meaning::Refused,
        _ => Meaning::Away,
    }
}

/// What a problem document says, if the body is one.
fn told(body: &mut Body) -> String {
    let text = body.with_config().limit(ANSWER_BYTES_MAX).read_to_vec().unwrap_or_default();
    let json: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    let said = ["detail", "message", "title"].iter().find_map(|key| json.get(key)?.as_str());
    said.map(|said| format!(", {said}")).unwrap_or_default()
}

/// A path segment: everything but unreserved characters (RFC 3986) is percent-encoded.
fn escaped(segment: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    segment.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_status_means() {
        use Meaning::{Away, Missing, Refused, Stale, Taken, Unauthorized};
        let cases = [
            (200, Taken),
            (204, Taken),
            (302, Away),
            (400, Refused),
            (401, Unauthorized),
            (403, Unauthorized),
            (404, Missing),
            (408, Away),
            (409, Stale),
            (413, Refused),
            (422, Refused),
            (429, Away),
            (500, Away),
            (503, Away),
        ];
        for (status, meant) in cases {
            assert_eq!(meaning(status), meant, "{status}");
        }
    }

    #[test]
    fn tokens_are_never_shown() {
        let client = Client::new("http://127.0.0.1:1/", Some(Token::Text("secret".into())), 1);
        assert_eq!(client.base, "http://127.0.0.1:1");
        let shown = format!("{:?} {client:?}", Token::Text("secret".into()));
        assert!(!shown.contains("secret"), "{shown}");
        assert_eq!(escaped("a/b?ü"), "a%2Fb%3F%C3%BC");
    }
}
