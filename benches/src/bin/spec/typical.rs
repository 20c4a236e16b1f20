//! A job of another shape than the flows': two conditions, a name for a sum, a key of fields that do not follow each other, and
//! three aggregates.

use tidemark_core::{Accumulator, Input, Job, JobSpec, Reject, Sample, ViewRow};
use tidemark_jobs::flows::{self, FlowsHourly};
use tidemark_schemas::avro::{self, Avro, Reader, put_long};

/// As a file.
pub(crate) const FILE: &str = "
job: flows.typical
source: {topics: flows.observed, time: observed_at}
let: {bytes: bytes_tx + bytes_rx}
where: bytes >= 50000 && src_app != 'web-frontend-0000'
key: [src_app, vpc_id]
window: {tumbling: 1h}
late: amend for 7d
aggregate: {total: sum(bytes), flows: count(), largest: max(bytes_tx)}
";

/// A row.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Row {
    bytes: i128,
    flows: i64,
    largest: i64,
}

/// Its numbers.
pub(crate) fn sums(row: &Row) -> Vec<i128> {
    vec![row.bytes, i128::from(row.flows), i128::from(row.largest)]
}

impl Accumulator for Row {
    type Item<'a> = Self;
    #[inline]
    fn add(&mut self, item: &Self) {
        self.merge(item);
    }
    #[inline]
    fn merge(&mut self, other: &Self) {
        // No record has less than nothing: the largest of no value is 0.
        (self.bytes, self.flows) = (self.bytes + other.bytes, self.flows + other.flows);
        self.largest = self.largest.max(other.largest);
    }
    fn put(&self, out: &mut Vec<u8>) {
        self.bytes.put(out);
        put_long(out, self.flows);
        put_long(out, self.largest);
    }
    fn get(reader: &mut Reader<'_>) -> Result<Self, avro::Error> {
        Ok(Self { bytes: Avro::get(reader)?, flows: reader.long()?, largest: reader.long()? })
    }
}

/// As one writes it in Rust.
pub(crate) struct Typical(JobSpec);

impl Typical {
    pub(crate) fn new() -> Self {
        let mut spec = FlowsHourly::new(&flows::Settings::default()).spec().clone();
        spec.name = "flows.typical_rust".to_owned();
        spec.key = ["tenant", "src_app", "vpc_id"].map(str::to_owned).into();
        Self(spec)
    }
}

fn malformed(error: avro::Error) -> Reject {
    Reject { rule: "malformed", detail: error.to_string() }
}

impl Job for Typical {
    type Accumulator = Row;

    fn spec(&self) -> &JobSpec {
        &self.0
    }

    #[inline]
    fn read<'a>(&'a self, input: Input<'a>, scratch: &'a mut Vec<u8>) -> Result<Sample<'a, Row>, Reject> {
        let datum = input.datum;
        let mut reader = Reader::new(datum);
        let at = |reader: &Reader<'_>| datum.len() - reader.left().len();
        reader.string().map_err(malformed)?;
        let src_app = reader.string().map_err(malformed)?;
        let first = datum.get(..at(&reader)).unwrap_or_default();
        reader.bytes().map_err(malformed)?;
        let start = at(&reader);
        reader.string().map_err(malformed)?;
        let second = datum.get(start..at(&reader)).unwrap_or_default();
        let event_time = reader.long().map_err(malformed)?;
        let (bytes_tx, bytes_rx) = (reader.long().map_err(malformed)?, reader.long().map_err(malformed)?);
        reader.bytes().map_err(malformed)?;
        reader.finish().map_err(malformed)?;
        if event_time < 0 {
            return Err(Reject { rule: "before_1970", detail: format!("observed_at is {event_time} ms") });
        }
        let Some(bytes) = bytes_tx.checked_add(bytes_rx) else {
            return Err(Reject { rule: "out_of_range", detail: format!("{bytes_tx} and {bytes_rx} bytes") });
        };
        let wanted = bytes >= 50_000 && src_app != "web-frontend-0000";
        if wanted {
            scratch.extend_from_slice(first);
            scratch.extend_from_slice(second);
        }
        let add = Row { bytes: i128::from(bytes), flows: 1, largest: bytes_tx };
        Ok(Sample { event_time, key: scratch, add, id: 0, wanted })
    }

    fn put_row(&self, row: &ViewRow<'_, Row>, out: &mut Vec<u8>) {
        out.extend_from_slice(row.key);
        put_long(out, row.window_start);
        row.accumulator.put(out);
    }
}
