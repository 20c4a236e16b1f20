//! What a request asks for: query and headers.

use axum::http::HeaderMap;
use xxhash_rust::xxh3::Xxh3Default;

use crate::body::{self, Format};
use crate::problem::{Kind, Problem};
use crate::rule::shown;

/// Longest Idempotency-Key, bytes.
const KEY_MAX: usize = 255;

/// What a request asks for, body aside.
pub(crate) struct Ask {
    pub(crate) partial: bool,
    pub(crate) format: Format,
    pub(crate) gzipped: bool,
    pub(crate) key: Option<String>,
}

impl Ask {
    pub(crate) fn of(query: Option<&str>, headers: &HeaderMap) -> Result<Self, Problem> {
        Ok(Self {
            partial: partial(query)?,
            format: body::format(headers)?,
            gzipped: body::gzipped(headers)?,
            key: idempotency_key(headers)?,
        })
    }

    /// Hash of everything that the answer depends on but the time.
    pub(crate) fn request_hash(&self, topic: &str, body: &[u8]) -> u128 {
        let mut hash = Xxh3Default::new();
        hash.update(topic.as_bytes());
        hash.update(&[0, self.format as u8, u8::from(self.partial)]);
        hash.update(body);
        hash.digest128()
    }
}

fn partial(query: Option<&str>) -> Result<bool, Problem> {
    match query.unwrap_or_default() {
        "" | "partial=false" => Ok(false),
        "partial=true" => Ok(true),
        other => {
            let detail =
                format!("the query is {:?}; the only parameter is partial=true or partial=false", shown(other));
            Err(Problem::new(Kind::MalformedRequest, detail))
        }
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(key) if (1..=KEY_MAX).contains(&key.len()) && values.next().is_none() => Ok(Some(key.to_owned())),
        _ => {
            let detail =
                format!("send one Idempotency-Key of 1 to {KEY_MAX} visible ASCII characters, for example a UUID");
            Err(Problem::new(Kind::MalformedRequest, detail))
        }
    }
}
