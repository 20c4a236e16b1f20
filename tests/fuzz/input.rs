//! What publishers send: JSON, lines of it, and Avro files. Whatever is accepted is a flow within the rules; whatever is not
//! is refused with what to do.

use crate::corpus::fuzz;
use tidemark_gateway::check;
use tidemark_schemas::avro::{Avro, Reader};
use tidemark_schemas::flows::FlowObserved;
use tidemark_schemas::wire;

/// 2026-01-31T12:00:00.123Z.
const NOW: i64 = 1_769_860_800_123;
const MAX_FUTURE_MS: i64 = 600_000;

fn answered(content_type: &str, body: &[u8]) -> Result<(), String> {
    match check(content_type, body, NOW, MAX_FUTURE_MS) {
        Ok(accepted) if accepted.is_empty() => Err("accepted, and nothing in it".into()),
        Ok(accepted) => accepted.iter().try_for_each(|value| within_rules(value)),
        Err(problem) if !(400..500).contains(&problem.status) => Err(format!("answered {}", problem.status)),
        Err(problem) if problem.detail.is_empty() || problem.detail.len() > 2_048 => {
            Err(format!("a detail of {} bytes", problem.detail.len()))
        }
        Err(problem) => {
            let placed = problem.errors.iter().all(|error| !error.message.is_empty() && !error.fix.is_empty());
            if placed { Ok(()) } else { Err(format!("an error without place or advice: {problem:?}")) }
        }
    }
}

/// What is accepted is a flow in its one form, as the rules want it.
fn within_rules(value: &[u8]) -> Result<(), String> {
    let (_, datum) = wire::split(value).map_err(|error| format!("accepted a value that is none: {error}"))?;
    let mut reader = Reader::new(datum);
    let flow = FlowObserved::get(&mut reader).map_err(|error| format!("accepted what is no flow: {error}"))?;
    reader.finish().map_err(|error| format!("accepted more than a flow: {error}"))?;
    let mut again = Vec::new();
    flow.put(&mut again);
    let named = [flow.src_app, flow.dest_app, flow.vpc_id].iter().all(|name| (1..=256).contains(&name.len()));
    let counted = [flow.bytes_tx, flow.bytes_rx].iter().all(|bytes| (0..1 << 53).contains(bytes));
    let timed = (0..=NOW + MAX_FUTURE_MS).contains(&flow.observed_at);
    if again == datum && named && counted && timed { Ok(()) } else { Err(format!("accepted {flow:?}")) }
}

#[test]
fn json() {
    fuzz("json", |body| answered("application/json", body));
}

#[test]
fn ndjson() {
    fuzz("ndjson", |body| answered("application/x-ndjson", body));
}

#[test]
fn avro_files() {
    fuzz("container", |body| answered("application/avro", body));
}
