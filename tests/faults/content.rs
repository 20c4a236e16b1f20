//! What is published: record `number` of a shape is always the same.

use tidemark_benches::Workload;
use tidemark_benches::workload::{Flow, TENANT};
use tidemark_jobs::flows::HOUR_MS;
use tidemark_schemas::flows::FlowObserved;
use tidemark_schemas::wire;

use crate::random::Random;

const TEN_YEARS_MS: i64 = 10 * 365 * 24 * HOUR_MS;
/// How far the flood of late records is behind: past grace, whatever the window.
const LATE_MS: i64 = 3 * HOUR_MS;

/// What the records are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Keys by Zipf's law, some behind, few late.
    Ordinary,
    /// Nine of ten have one key.
    HotKey,
    /// Half of them are late.
    LateFlood,
    /// No key comes twice.
    UniqueKeys,
    /// So many keys in turn, all in the hour that record `since` is in.
    OneHour { keys: u64, since: u64 },
}

/// Makes values.
pub struct Content {
    pub workload: Workload,
    pub schema: u32,
    /// Records go to the first so many partitions in turn.
    pub active: u32,
}

impl Content {
    /// A value that counts.
    pub fn put(&self, shape: Shape, number: u64, value: &mut Vec<u8>) {
        self.with(shape, number, |record| {
            value.clear();
            wire::put(self.schema, record, value);
        });
    }

    /// The same as a line of JSON, as a gateway takes it.
    pub fn put_json(&self, shape: Shape, number: u64, lines: &mut Vec<u8>) {
        self.with(shape, number, |record| {
            let FlowObserved { src_app, dest_app, vpc_id, observed_at, bytes_tx, bytes_rx, event_id, .. } = record;
            // Names of a workload need no escapes.
            let names = format!(r#""src_app":"{src_app}","dest_app":"{dest_app}","vpc_id":"{vpc_id}""#);
            let numbers = format!(r#""observed_at":{observed_at},"bytes_tx":{bytes_tx},"bytes_rx":{bytes_rx}"#);
            lines.extend_from_slice(format!("{{{names},{numbers},\"event_id\":\"{event_id}\"}}\n").as_bytes());
        });
    }

    fn with(&self, shape: Shape, number: u64, take: impl FnOnce(&FlowObserved<'_>)) {
        let mut random = Random::new(number);
        let mut flow = self.workload.flow(number);
        if shape == Shape::HotKey && !random.one_in(10) {
            flow.key = 0;
        }
        if shape == Shape::LateFlood && random.one_in(2) {
            flow.observed_at -= LATE_MS;
        }
        if let Shape::OneHour { since, .. } = shape {
            let start = self.workload.in_order_at(since).div_euclid(HOUR_MS) * HOUR_MS;
            flow.observed_at = start + random.below(HOUR_MS as u64) as i64;
        }
        let key = self.workload.name(flow.key);
        let src_app = match shape {
            Shape::UniqueKeys => format!("unique-{number}"),
            Shape::OneHour { keys, .. } => format!("key-{}", number % keys),
            Shape::Ordinary | Shape::HotKey | Shape::LateFlood => key.src_app.clone(),
        };
        let Flow { observed_at, bytes_tx, bytes_rx, .. } = flow;
        let (dest_app, vpc_id, tenant) = (&*key.dest_app, &*key.vpc_id, TENANT);
        // A UUIDv7 that ends in the number, as the workload's own.
        let event_id = &format!("{:08x}-{:04x}-7000-8000-{number:012x}", observed_at >> 16, observed_at & 0xffff);
        let src_app = &*src_app;
        take(&FlowObserved { tenant, src_app, dest_app, vpc_id, observed_at, bytes_tx, bytes_rx, event_id });
    }

    /// A value that cannot be counted.
    pub fn put_poison(&self, number: u64, random: &mut Random, value: &mut Vec<u8>) {
        let now = (tidemark_log::system_clock())();
        self.put(Shape::Ordinary, number, value);
        match random.below(7) {
            0 => value[0] = 7,
            1 => value.truncate(value.len() / 2),
            2 => value[1..5].copy_from_slice(&u32::MAX.to_be_bytes()),
            3 => value.truncate(2),
            4 => self.put_foreign(number, now + TEN_YEARS_MS, 1, value),
            5 => self.put_foreign(number, self.workload.in_order_at(number), -5, value),
            // A length of 2^62 bytes.
            _ => {
                value.truncate(5);
                value.extend_from_slice(&[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, b'x']);
            }
        }
    }

    fn put_foreign(&self, number: u64, observed_at: i64, bytes_tx: i64, value: &mut Vec<u8>) {
        let (src_app, dest_app, vpc_id) = ("poison", "poison", "poison");
        let event_id = &format!("01890000-0000-7000-8000-{number:012x}");
        let (tenant, bytes_rx) = (TENANT, 1);
        let record = FlowObserved { tenant, src_app, dest_app, vpc_id, observed_at, bytes_tx, bytes_rx, event_id };
        value.clear();
        wire::put(self.schema, &record, value);
    }
}
