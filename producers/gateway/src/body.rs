//! The body of a request: its type, its encoding, its limits.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::batch::{Basis, Collector, Decided};
use crate::events::Events;
use crate::form::Form;
use crate::problem::{Kind, Problem};
use crate::{container, json};

/// Largest body, bytes, before and after decompression.
pub(crate) const BODY_MAX: usize = 16 << 20;
/// Longest time for a body to arrive.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How records are written in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Ndjson,
    Avro,
}

const ACCEPTED: &str = "application/json, application/x-ndjson, application/avro or application/vnd.apache.avro";

/// The format that the content type names.
pub(crate) fn format(headers: &HeaderMap) -> Result<Format, Problem> {
    let unsupported = |found: String| {
        Problem::new(Kind::UnsupportedMediaType, format!("{found}; send {ACCEPTED} with charset utf-8, if any"))
    };
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Err(unsupported("there is no content-type".to_owned()));
    };
    let value = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
    let mut parts = value.split(';').map(str::trim);
    let format = match parts.next() {
        Some("application/json") => Format::Json,
        Some("application/x-ndjson" | "application/ndjson") => Format::Ndjson,
        Some("application/avro" | "application/vnd.apache.avro") => Format::Avro,
        _ => {
            return Err(unsupported(format!("content-type {:?} is not taken", crate::rule::shown(&value))));
        }
    };
    let charset = parts.find_map(|part| part.strip_prefix("charset=")).map(|charset| charset.trim_matches('"'));
    match charset {
        None | Some("utf-8" | "utf8" | "us-ascii") => Ok(format),
        Some(other) => Err(unsupported(format!("charset {:?} is not taken", crate::rule::shown(other)))),
    }
}

/// Whether the body is gzipped.
pub(crate) fn gzipped(headers: &HeaderMap) -> Result<bool, Problem> {
    let encoding = headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase());
    match encoding.as_deref() {
        None | Some(b"identity") => Ok(false),
        Some(b"gzip" | b"x-gzip") => Ok(true),
        Some(other) => {
            let found = String::from_utf8_lossy(other);
            let detail = format!("content-encoding {:?} is not taken; send gzip or none", crate::rule::shown(&found));
            Err(Problem::new(Kind::UnsupportedMediaType, detail))
        }
    }
}

/// Memory for a request: its body and what is made of it, taken as they grow from what all requests may use together. It goes
/// where they go, also onto a thread that works on after the caller has gone.
#[derive(Debug)]
pub(crate) struct Room {
    kib: Arc<Semaphore>,
    taken: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Room {
    /// Nothing yet, of a total in KiB.
    pub(crate) fn of(kib: &Arc<Semaphore>) -> Self {
        Self { kib: Arc::clone(kib), taken: None, bytes: 0 }
    }

    /// Takes `bytes` more; fails when others have it all.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        let grown = self.bytes.saturating_add(bytes);
        let kib = u32::try_from(grown.div_ceil(1 << 10).saturating_sub(self.kib_taken())).unwrap_or(u32::MAX);
        let more = Arc::clone(&self.kib).try_acquire_many_owned(kib).map_err(|_| overloaded("bodies"))?;
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            None => self.taken = Some(more),
        }
        self.bytes = grown;
        Ok(())
    }

    /// Gives back all but `bytes`.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let spare = self.kib_taken().saturating_sub(bytes.div_ceil(1 << 10));
        drop(self.taken.as_mut().and_then(|taken| taken.split(spare)));
        self.bytes = self.bytes.min(bytes);
    }

    fn kib_taken(&self) -> usize {
        self.taken.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }
}

/// Waits for the body.
pub(crate) async fn receive(headers: &HeaderMap, body: Body, room: &mut Room) -> Result<Bytes, Problem> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > BODY_MAX) {
        return Err(too_large());
    }
    tokio::time::timeout(BODY_TIMEOUT, collect(body, room)).await.unwrap_or_else(|_| {
        let detail = format!("not all of it arrived within {} s; send it again", BODY_TIMEOUT.as_secs());
        Err(Problem::new(Kind::BodyTimeout, detail))
    })
}

async fn collect(mut body: Body, room: &mut Room) -> Result<Bytes, Problem> {
    let mut collected = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Problem::new(Kind::MalformedBody, format!("the body broke off: {error}")))?;
        let Ok(data) = frame.into_data() else {
            continue;
        }; // trailers
        if collected.len() + data.len() > BODY_MAX {
            return Err(too_large());
        }
        room.grow(data.len())?;
        collected.extend_from_slice(&data);
    }
    Ok(collected.freeze())
}

/// Too much at once; another try is of use.
pub(crate) fn overloaded(what: &str) -> Problem {
    let detail =
        format!("no room for more {what} at the moment; nothing was accepted, try again after Retry-After seconds");
    Problem::new(Kind::Overloaded, detail)
}

fn too_large() -> Problem {
    let detail = format!("at most {BODY_MAX} bytes are taken, after decompression; send fewer records at a time");
    Problem::new(Kind::BodyTooLarge, detail)
}

/// Unpacks a gzipped body.
pub(crate) fn gunzip(body: &[u8]) -> Result<Bytes, Problem> {
    let mut out = Vec::new();
    let read = flate2::read::MultiGzDecoder::new(body).take(BODY_MAX as u64 + 1).read_to_end(&mut out);
    if out.len() > BODY_MAX {
        return Err(too_large());
    }
    match read {
        Ok(_) => Ok(out.into()),
        Err(error) => {
            let detail = format!("the body is not gzip as content-encoding says: {error}; nothing was accepted");
            Err(Problem::new(Kind::MalformedBody, detail))
        }
    }
}

/// Reads, checks and encodes every record, as far as there is room. Otherwise pure: the same body on the same basis is decided
/// alike.
/// Records are flows, unless there is a form for them.
pub(crate) fn decide(
    format: Format,
    body: &[u8],
    basis: Basis,
    form: Option<&Form>,
    room: &mut Room,
) -> (Decided, Result<(), Problem>) {
    let mut decided = Decided::default();
    let mut records = Collector::new(basis, &mut decided, room);
    let read = match (format, form) {
        (Format::Json, None) => text(body).and_then(|text| json::read(text, &mut records)),
        (Format::Ndjson, None) => text(body).and_then(|text| json::read_lines(text, &mut records)),
        (Format::Avro, None) => container::read(body, &mut records),
        (Format::Json, Some(form)) => {
            text(body).and_then(|text| json::read(text, &mut Events::new(form, &mut records)))
        }
        (Format::Ndjson, Some(form)) => {
            text(body).and_then(|text| json::read_lines(text, &mut Events::new(form, &mut records)))
        }
        (Format::Avro, Some(form)) => container::read_events(body, form, &mut records),
    };
    (decided, read)
}

fn text(body: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(body).map_err(|error| {
        let detail = format!("not UTF-8 at byte {}; nothing was accepted, send UTF-8", error.valid_up_to());
        Problem::new(Kind::MalformedBody, detail)
    })
}
