//! What publishers send: events in order, late, repeated, from the future, and values that cannot be read.

use tidemark_log::simulated::Dice;
use tidemark_schemas::avro::Avro;
use tidemark_schemas::flows::FlowObserved;
use tidemark_schemas::wire;

use crate::job::MAX_FUTURE_MS;
use crate::schedule::Config;

/// A value and the id in it, if it has one that can be read.
pub(crate) struct Sent {
    pub(crate) id: String,
    pub(crate) value: Option<Vec<u8>>,
}

/// The next event, at `now`; repeats may name one of the first `known` ids.
pub(crate) fn event(config: &Config, dice: &mut Dice, now: i64, schema: u32, serial: u64, known: u64) -> Sent {
    let repeat = known > 0 && dice.strikes(120);
    let number = if repeat { known.saturating_sub(1 + dice.below(12)) } else { serial };
    let id = format!("e{number}");
    let lag = match dice.below(20) {
        0 => -(MAX_FUTURE_MS + 1 + dice.below(100_000) as i64),
        1 => -(dice.below(10_000) as i64),
        2 | 3 => dice.below(240_000) as i64,
        4 | 5 => dice.below(90_000) as i64,
        _ => dice.below(4_000) as i64,
    };
    let (app, db) = (dice.below(4), dice.below(2));
    // Fewer keys, so that their events are closer to each other.
    let (app, db) = if config.gap_ms.is_some() { (app % 2, 0) } else { (app, db) };
    let (src, dest) = (format!("app-{app}"), format!("db-{db}"));
    let mut flow = FlowObserved {
        tenant: if dice.strikes(200) { "other" } else { "default" },
        src_app: &src,
        dest_app: &dest,
        vpc_id: "v",
        observed_at: now - lag * config.speed(),
        bytes_tx: dice.below(1_000) as i64,
        bytes_rx: dice.below(1_000_000) as i64,
        event_id: &id,
    };
    let bad = dice.below(60);
    match bad {
        0 => flow.src_app = "",
        1 => flow.bytes_tx = -1,
        _ => {}
    }
    let mut value = Vec::new();
    wire::put(schema, &flow, &mut value);
    match bad {
        2 => value[0] = 7,
        3 => value.truncate(3),
        4 => value.truncate(value.len() - 1 - dice.below(8) as usize),
        5 => value[4] = 200,
        6 => return Sent { id, value: None },
        _ => {}
    }
    Sent { id, value: Some(value) }
}

/// Why a value cannot be counted, by the short name of the rule; or what it says.
pub(crate) fn read(value: Option<&[u8]>, schema: u32) -> Result<FlowObserved<'_>, &'static str> {
    let value = value.unwrap_or_default();
    let Some((head, datum)) = value.split_first_chunk::<5>() else { return Err("short") };
    if head[0] != 0 {
        return Err("bad_magic");
    }
    if u32::from_be_bytes([head[1], head[2], head[3], head[4]]) != schema {
        return Err("unknown_schema");
    }
    let mut reader = tidemark_schemas::avro::Reader::new(datum);
    let flow = FlowObserved::get(&mut reader).and_then(|flow| reader.finish().map(|()| flow));
    let flow = flow.map_err(|_| "malformed")?;
    if flow.src_app.is_empty() {
        return Err("empty_name");
    }
    if flow.bytes_tx < 0 {
        return Err("out_of_range");
    }
    Ok(flow)
}
