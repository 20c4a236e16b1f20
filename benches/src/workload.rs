//! The records of a workload: number `i` depends on the seed and `i` alone.

use crate::zipf::Zipf;
use tidemark_schemas::flows::FlowObserved;
use tidemark_schemas::wire;

const MINUTE_MS: i64 = 60_000;
/// Event time of record 0: 2020-01-01T00:00Z, long before any append time.
const FIRST_MS: i64 = 1_577_836_800_000;
/// Exponent of the law that keys are drawn by.
const KEY_EXPONENT: f64 = 1.1;
/// Keys that share a source application.
const KEYS_PER_SOURCE: u32 = 20;
/// The tenant of every record.
pub const TENANT: &str = "default";

/// What makes up a workload.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Number of records, 1 to 2^48.
    pub records: u64,
    /// Number of different keys, at least 1.
    pub keys: u32,
    /// Other seeds give other records.
    pub seed: u64,
    /// Event time from the first record to the last, milliseconds.
    pub span_ms: i64,
}

/// The names of a key.
#[derive(Debug, Clone)]
pub struct Key {
    /// Application that opened the connection.
    pub src_app: String,
    /// Application it connected to.
    pub dest_app: String,
    /// Virtual network of the source.
    pub vpc_id: String,
}

/// One record, before it is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// Number of its key.
    pub key: u32,
    /// Event time.
    pub observed_at: i64,
    /// Bytes sent.
    pub bytes_tx: i64,
    /// Bytes received.
    pub bytes_rx: i64,
}

/// A workload.
#[derive(Debug, Clone)]
pub struct Workload {
    settings: Settings,
    zipf: Zipf,
    keys: Vec<Key>,
}

impl Workload {
    /// Makes the keys; records are made when asked for.
    pub fn new(settings: Settings) -> Self {
        let keys = (0..settings.keys).map(key).collect();
        Self { settings, zipf: Zipf::new(settings.keys, KEY_EXPONENT), keys }
    }

    /// Number of records.
    pub fn records(&self) -> u64 {
        self.settings.records
    }

    /// The names of key `number`, less than the number of keys.
    pub fn name(&self, number: u32) -> &Key {
        #[expect(clippy::indexing_slicing, reason = "documented: less than the number of keys")]
        &self.keys[number as usize]
    }

    /// Event time of record `i` if it is in order: linear over the span.
    pub fn in_order_at(&self, i: u64) -> i64 {
        FIRST_MS + (i128::from(i) * i128::from(self.settings.span_ms) / i128::from(self.settings.records)) as i64
    }

    /// Record `i`.
    pub fn flow(&self, i: u64) -> Flow {
        let mut state = self.settings.seed ^ i.wrapping_mul(0xD134_2543_DE82_EF95);
        let key = self.zipf.draw(random(&mut state));
        let bytes = random(&mut state);
        let behind = match random(&mut state) % 1000 {
            0 => 30 * MINUTE_MS + below(&mut state, 150 * MINUTE_MS),
            1..=50 => below(&mut state, 30 * MINUTE_MS),
            _ => 0,
        };
        Flow {
            key,
            observed_at: self.in_order_at(i) - behind,
            bytes_tx: 40 + (bytes & 0x3_ffff) as i64,
            bytes_rx: 40 + (bytes >> 32 & 0xf_ffff) as i64,
        }
    }

    /// Appends the value of record `i`, in the wire format under the schema's id.
    pub fn put(&self, i: u64, schema: u32, out: &mut Vec<u8>) {
        let flow = self.flow(i);
        let key = self.name(flow.key);
        let record = FlowObserved {
            tenant: TENANT,
            src_app: &key.src_app,
            dest_app: &key.dest_app,
            vpc_id: &key.vpc_id,
            observed_at: flow.observed_at,
            bytes_tx: flow.bytes_tx,
            bytes_rx: flow.bytes_rx,
            event_id: &event_id(flow.observed_at, i),
        };
        wire::put(schema, &record, out);
    }
}

fn key(number: u32) -> Key {
    let (source, nth) = (number / KEYS_PER_SOURCE, number % KEYS_PER_SOURCE);
    let mut vpc = u64::from(number % 16) + 7;
    Key {
        src_app: format!("web-frontend-{source:04}"),
        dest_app: format!("svc-backend-{:04}", nth * 37 + source % 37),
        vpc_id: format!("vpc-{:08x}", random(&mut vpc) as u32),
    }
}

/// A UUIDv7 of the event time that ends in the record's number.
fn event_id(observed_at: i64, i: u64) -> String {
    format!("{:08x}-{:04x}-7000-8000-{i:012x}", observed_at >> 16, observed_at & 0xffff)
}

/// The record's number from its event id.
pub fn number(event_id: &str) -> Option<u64> {
    u64::from_str_radix(event_id.get(24..)?, 16).ok()
}

/// The next 64 random bits (SplitMix64).
#[inline]
pub(crate) fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut bits = *state;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

fn below(state: &mut u64, bound: i64) -> i64 {
    (random(state) % bound as u64) as i64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use tidemark_schemas::avro::{Avro, Reader};

    #[test]
    fn records_are_what_the_workload_says() {
        let settings = Settings { records: 100_000, keys: 10_000, seed: 42, span_ms: 24 * 60 * MINUTE_MS };
        let (workload, again) = (Workload::new(settings), Workload::new(settings));
        let (mut early, mut behind, mut far_behind) = (HashSet::new(), 0, 0);
        for i in 0..settings.records {
            let flow = workload.flow(i);
            assert_eq!(flow, again.flow(i));
            let delay = workload.in_order_at(i) - flow.observed_at;
            assert!((0..180 * MINUTE_MS).contains(&delay));
            behind += u32::from(delay > 0);
            far_behind += u32::from(delay >= 30 * MINUTE_MS);
            let key = workload.name(flow.key);
            early.insert((key.src_app.clone(), key.dest_app.clone(), key.vpc_id.clone()));
        }
        assert!((4_800..5_400).contains(&behind), "{behind}");
        assert!((60..150).contains(&far_behind), "{far_behind}");
        assert!(early.len() > 5_000, "{} keys", early.len());
        let names: HashSet<_> = workload.keys.iter().map(|key| (&key.src_app, &key.dest_app, &key.vpc_id)).collect();
        assert_eq!(names.len(), 10_000);
    }

    #[test]
    fn a_value_says_which_record_it_is() {
        let workload = Workload::new(Settings { records: 1 << 40, keys: 3, seed: 1, span_ms: 1_000 });
        for i in [0, 1, 77, (1 << 40) - 1] {
            let mut value = vec![];
            workload.put(i, 5, &mut value);
            let (schema, datum) = wire::split(&value).unwrap();
            let record = FlowObserved::get(&mut Reader::new(datum)).unwrap();
            assert_eq!((schema, record.event_id.len(), number(record.event_id)), (5, 36, Some(i)));
            assert_eq!(record.bytes_tx, workload.flow(i).bytes_tx);
        }
    }
}
