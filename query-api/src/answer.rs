//! Conditional requests, the cache of answers, and the headers that say how complete an answer is.

use std::future::Future;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;

use crate::Api;
use crate::facts::Facts;
use crate::instant;
use crate::problem::Problem;
use crate::range::Range;
use crate::served::Served;
use crate::state::State;

/// Reads before an answer is given whose rows are partly newer than its ledger.
const READS_MAX: usize = 3;

/// Seconds that a sealed answer may be kept without asking again: no record changes it, but it may be recomputed.
const SEALED_AGE_S: i64 = 60;

/// Answers by (question, tag of the facts), bounded by their bytes.
pub(crate) type Cache = quick_cache::sync::Cache<(u128, u128), Arc<Made>, Weight>;

/// What an answer takes: its body, and about this much around it.
#[derive(Debug, Clone)]
pub(crate) struct Weight;

const OVERHEAD_BYTES: u64 = 256;
const TYPICAL_BYTES: u64 = 16 << 10;

impl quick_cache::Weighter<(u128, u128), Arc<Made>> for Weight {
    fn weight(&self, _: &(u128, u128), made: &Arc<Made>) -> u64 {
        OVERHEAD_BYTES + made.body.len() as u64
    }
}

pub(crate) fn cache(bytes: u64) -> Cache {
    Cache::with_weighter(usize::try_from(bytes / TYPICAL_BYTES).unwrap_or(usize::MAX), bytes, Weight)
}

/// A question: what it is about, and what tells it from others.
pub(crate) struct Question {
    pub(crate) range: Range,
    /// Hash of all that the answer depends on besides the facts.
    pub(crate) id: u128,
    /// Path and query without the cursor, for the link to the next page.
    pub(crate) link: String,
    pub(crate) media_type: &'static str,
    /// Name of the file it is saved as.
    pub(crate) file: Option<String>,
}

/// An answer's body and what it says of the next page.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) body: Bytes,
    pub(crate) next: Option<String>,
}

/// What was made of the facts.
pub(crate) enum Outcome {
    /// A whole answer of one revision.
    Whole(Made),
    /// A whole answer, some rows of which are newer than the ledger.
    Torn(Made),
    /// An answer too long to hold.
    Stream(Body),
}

impl Outcome {
    pub(crate) fn of(made: Made, torn: bool) -> Self {
        if torn { Self::Torn(made) } else { Self::Whole(made) }
    }
}

/// Answers from the caller's copy (304), from the cache, or by making the answer.
pub(crate) async fn answer<F, Fut>(
    api: &Api,
    served: &Served,
    headers: &HeaderMap,
    question: Question,
    make: F,
) -> Result<Response, Problem>
where
    F: Fn(Arc<Facts>) -> Fut,
    Fut: Future<Output = Result<Outcome, Problem>>,
{
    let mut reads = 1;
    loop {
        let facts = Arc::new(served.facts(question.range.from, question.range.to).await?);
        let head = Head::new(&facts, &question, api.now());
        if head.matches(headers) {
            return Ok(head.response(StatusCode::NOT_MODIFIED, Body::empty(), None, true));
        }
        let key = (question.id, facts.tag(question.range));
        if let Some(made) = api.cache.get(&key) {
            api.metrics.cache_hit();
            return Ok(head.whole(&made, true));
        }
        api.metrics.cache_miss();
        match make(facts).await? {
            Outcome::Whole(made) => {
                let made = Arc::new(made);
                api.cache.insert(key, made.clone());
                return Ok(head.whole(&made, true));
            }
            Outcome::Torn(made) if reads == READS_MAX => return Ok(head.whole(&made, false)),
            Outcome::Torn(_) => reads += 1,
            Outcome::Stream(body) => {
                let tagged = head.state != State::Open;
                return Ok(head.response(StatusCode::OK, body, None, tagged));
            }
        }
    }
}

/// What the headers say.
struct Head<'a> {
    question: &'a Question,
    state: State,
    etag: String,
    watermark: Option<i64>,
    records: i64,
    late: i64,
    /// Seconds that the answer stays as it is, whatever happens: until its first rows reach the end of their retention.
    max_age_s: i64,
}

impl<'a> Head<'a> {
    fn new(facts: &Facts, question: &'a Question, now: i64) -> Self {
        let state = facts.least_state(question.range);
        let count = crate::facts::Counts::of(&facts.ledgers);
        let left_ms = facts.expires_at().map_or(i64::MAX, |at| at.saturating_sub(now));
        Self {
            question,
            state,
            etag: format!("\"{:032x}\"", facts.tag(question.range) ^ question.id.rotate_left(1)),
            watermark: facts.watermark,
            records: count.records,
            late: count.late(),
            max_age_s: if state == State::Sealed { (left_ms / 1_000).clamp(0, SEALED_AGE_S) } else { 0 },
        }
    }

    fn matches(&self, headers: &HeaderMap) -> bool {
        let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok());
        let mut tags = known.flat_map(|v| v.split(',')).map(|tag| tag.trim());
        tags.any(|tag| tag == "*" || tag.trim_start_matches("W/") == self.etag)
    }

    fn whole(&self, made: &Made, tagged: bool) -> Response {
        self.response(StatusCode::OK, Body::from(made.body.clone()), made.next.as_deref(), tagged)
    }

    fn response(&self, status: StatusCode, body: Body, next: Option<&str>, tagged: bool) -> Response {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let mut set = |name: HeaderName, value: String| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        set(header::CONTENT_TYPE, self.question.media_type.to_owned());
        set(header::CACHE_CONTROL, self.cache_control());
        set(header::VARY, "accept".to_owned());
        if tagged {
            set(header::ETAG, self.etag.clone());
        }
        if let Some(file) = &self.question.file {
            set(header::CONTENT_DISPOSITION, format!("attachment; filename=\"{file}\""));
        }
        if let Some(cursor) = next {
            set(header::LINK, format!("<{}cursor={cursor}>; rel=\"next\"", self.question.link));
        }
        set(HeaderName::from_static("tidemark-state"), self.state.name().to_owned());
        if let Some(watermark) = self.watermark {
            set(HeaderName::from_static("tidemark-watermark"), instant::rfc3339(watermark));
        }
        set(HeaderName::from_static("tidemark-records"), self.records.to_string());
        set(HeaderName::from_static("tidemark-late"), self.late.to_string());
        response
    }

    fn cache_control(&self) -> String {
        match self.max_age_s {
            0 => "no-cache".to_owned(),
            age => format!("max-age={age}"),
        }
    }
}

/// Hash of a question from what it consists of.
pub(crate) fn question_id(parts: &impl std::fmt::Debug) -> u128 {
    xxhash_rust::xxh3::xxh3_128(format!("{parts:?}").as_bytes())
}
