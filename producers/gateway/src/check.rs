//! What a body is decided to be, for those who want to know without sending it.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, header};
use tokio::sync::Semaphore;

use crate::batch::Basis;
use crate::body::{self, Room};
use crate::flow::Received;
use crate::ids::first_id;
use crate::problem::Problem;
use crate::receive::refuse;

/// The values, in the wire format of schema 0, that a body received at `received_at` (milliseconds since the epoch) is accepted
/// as; an event may be `max_future_ms` ahead of that. Nothing is published, and no gateway is needed.
///
/// # Errors
/// What a gateway would answer.
pub fn check(content_type: &str, body: &[u8], received_at: i64, max_future_ms: i64) -> Result<Vec<Vec<u8>>, Problem> {
    let mut headers = HeaderMap::new();
    if let Ok(content_type) = HeaderValue::from_str(content_type) {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    let format = body::format(&headers)?;
    let received = Received { at: received_at, max_future_ms };
    let basis = Basis { received, first_id: first_id(received_at), schema: 0, accepted_before: false };
    let mut room = Room::of(&Arc::new(Semaphore::new(crate::BODIES_KIB_MAX)));
    let (decided, read) = body::decide(format, body, basis, None, &mut room);
    read?;
    refuse(&decided, false)?;
    Ok(decided.batch.values().map(<[u8]>::to_vec).collect())
}
