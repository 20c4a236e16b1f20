//! `flows.hourly`: bytes and records by (tenant, src_app, dest_app, vpc_id) and hour, from `flows.observed`.

use std::sync::Arc;
use tidemark_core::{Accumulator, Dedupe, Input, Job, JobSpec, LatePolicy, Reject, Sample, ViewRow, Windowing, dedupe};
use tidemark_runtime::run::Shape;
use tidemark_runtime::writer::ViewSource;
use tidemark_schemas::avro::{self, Avro, Reader, put_long};
use tidemark_schemas::catalog;
use tidemark_schemas::flows::FlowHourly;
use tidemark_views::{
    CatalogEntry, Column, ColumnNote, Kind, Revision, Row, RowPartition, Value, ViewSpec, ViewVersion,
};

/// The source topic.
pub const TOPIC: &str = "flows.observed";
/// Length of a window, milliseconds.
pub const HOUR_MS: i64 = 3_600_000;
/// Largest value of `bytes_tx` and `bytes_rx`, 2^53−1: what JSON numbers hold exactly.
pub const BYTES_MAX: i64 = (1 << 53) - 1;
/// Longest name, bytes.
pub const NAME_BYTES_MAX: usize = 256;

/// Sums of a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlowSums {
    /// Bytes sent.
    pub bytes_tx: i128,
    /// Bytes received.
    pub bytes_rx: i128,
}

impl Accumulator for FlowSums {
    type Item<'a> = Self;
    #[inline]
    fn add(&mut self, item: &Self) {
        self.merge(item);
    }
    #[inline]
    fn merge(&mut self, other: &Self) {
        self.bytes_tx += other.bytes_tx;
        self.bytes_rx += other.bytes_rx;
    }
    fn put(&self, out: &mut Vec<u8>) {
        self.bytes_tx.put(out);
        self.bytes_rx.put(out);
    }
    fn get(reader: &mut Reader<'_>) -> Result<Self, avro::Error> {
        Ok(Self { bytes_tx: Avro::get(reader)?, bytes_rx: Avro::get(reader)? })
    }
}

/// The job.
#[derive(Debug, Clone)]
pub struct FlowsHourly {
    spec: JobSpec,
}

/// What an operator may set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Version of the job; a new one reads its sources from their start, beside the old one.
    pub version: u32,
    /// Partitions of the partials topic, M.
    pub merge_partitions: u32,
    /// How long a window waits for stragglers, event-time milliseconds.
    pub grace_ms: i64,
    /// How long windows can be amended after they closed, milliseconds; rows are kept for as long and for what a window takes.
    pub retention_ms: i64,
    /// A partition is idle after so much silence, milliseconds.
    pub idle_after_ms: i64,
    /// A record further ahead of its append time is dead-lettered, milliseconds.
    pub max_future_ms: i64,
    /// Records with one `event_id` in one source partition count once within so much time, milliseconds; 0 counts each.
    pub dedupe_ms: i64,
}

impl Default for Settings {
    fn default() -> Self {
        const MINUTE: i64 = 60_000;
        Self {
            version: 1,
            merge_partitions: 4,
            grace_ms: 10 * MINUTE,
            retention_ms: 7 * 24 * 60 * MINUTE,
            idle_after_ms: MINUTE / 2,
            max_future_ms: 10 * MINUTE,
            dedupe_ms: 0,
        }
    }
}

impl FlowsHourly {
    /// With these settings; check the spec with [`JobSpec::validate`].
    pub fn new(settings: &Settings) -> Self {
        let strings = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let spec = JobSpec {
            name: "flows.hourly".into(),
            version: settings.version,
            sources: strings(&[TOPIC]),
            time: "observed_at".into(),
            dedupe: (settings.dedupe_ms != 0).then(|| Dedupe { by: "event_id".into(), for_ms: settings.dedupe_ms }),
            key: strings(&["tenant", "src_app", "dest_app", "vpc_id"]),
            aggregates: strings(&["sum(bytes_tx): decimal", "sum(bytes_rx): decimal"]),
            expressions: Vec::new(),
            window: Windowing::Tumbling { size_ms: HOUR_MS },
            grace_ms: settings.grace_ms,
            late: LatePolicy::Amend,
            amend_for_ms: settings.retention_ms,
            idle_after_ms: settings.idle_after_ms,
            max_future_ms: settings.max_future_ms,
            merge_partitions: settings.merge_partitions,
            retention_ms: 0,
        };
        Self { spec: JobSpec { retention_ms: spec.least_retention_ms(), ..spec } }
    }
}

impl Job for FlowsHourly {
    type Accumulator = FlowSums;

    fn spec(&self) -> &JobSpec {
        &self.spec
    }

    #[inline]
    fn read<'a>(&'a self, input: Input<'a>, _scratch: &'a mut Vec<u8>) -> Result<Sample<'a, FlowSums>, Reject> {
        let datum = input.datum;
        let mut reader = Reader::new(datum);
        let tenant = reader.string().map_err(malformed)?;
        name("tenant", tenant)?;
        for field in ["src_app", "dest_app", "vpc_id"] {
            name(field, reader.string().map_err(malformed)?)?;
        }
        // The four names stand first and together: their bytes are the key, as they are.
        let key = datum.get(..datum.len() - reader.left().len()).unwrap_or_default();
        let event_time = reader.long().map_err(malformed)?;
        let bytes_tx = bytes("bytes_tx", reader.long().map_err(malformed)?)?;
        let bytes_rx = bytes("bytes_rx", reader.long().map_err(malformed)?)?;
        let event_id = reader.bytes().map_err(malformed)?;
        let id = if self.spec.dedupe.is_some() { dedupe::id(tenant.as_bytes(), event_id) } else { 0 };
        reader.finish().map_err(malformed)?;
        if event_time < 0 {
            let detail = format!("observed_at is {event_time} ms, before 1970: check the unit, it is milliseconds");
            return Err(Reject { rule: "before_1970", detail });
        }
        Ok(Sample { event_time, key, add: FlowSums { bytes_tx, bytes_rx }, id, wanted: true })
    }

    fn put_row(&self, row: &ViewRow<'_, FlowSums>, out: &mut Vec<u8>) {
        out.extend_from_slice(row.key);
        put_long(out, row.window_start);
        put_long(out, i64::from(row.merge_partition));
        put_long(out, row.opened_at);
        put_long(out, row.records);
        row.accumulator.put(out);
        put_long(out, i64::from(row.epoch));
        put_long(out, row.revision);
    }
}

fn malformed(error: avro::Error) -> Reject {
    Reject { rule: "malformed", detail: error.to_string() }
}

#[inline]
fn name(field: &str, value: &str) -> Result<(), Reject> {
    if value.is_empty() {
        return Err(Reject { rule: "empty_name", detail: format!("{field} is empty") });
    }
    if value.len() > NAME_BYTES_MAX {
        let detail = format!("{field} has {} bytes; at most {NAME_BYTES_MAX} are taken", value.len());
        return Err(Reject { rule: "long_name", detail });
    }
    Ok(())
}

#[inline]
fn bytes(field: &str, value: i64) -> Result<i128, Reject> {
    if (0..=BYTES_MAX).contains(&value) {
        return Ok(i128::from(value));
    }
    Err(Reject { rule: "out_of_range", detail: format!("{field} is {value}; it must be 0 to {BYTES_MAX}") })
}

/// The view of the job.
pub fn view_spec(spec: &JobSpec) -> ViewSpec {
    let column = |name: &str, kind| Column { name: name.into(), kind };
    ViewSpec {
        name: spec.view_table(),
        clustering: ["src_app", "dest_app", "vpc_id"].map(|name| column(name, Kind::Text)).into(),
        values: vec![
            column("bytes_rx", Kind::Integer),
            column("bytes_tx", Kind::Integer),
            column("records", Kind::Long),
        ],
        retention_ms: spec.retention_ms,
    }
}

/// What the catalogue of views says of it. `revision` grows with each start: settings may have changed.
pub fn catalog_entry(spec: &JobSpec, revision: i64) -> CatalogEntry {
    let note = |name: &str, description: &str| ColumnNote {
        name: name.to_owned(),
        description: description.to_owned(),
        error: None,
    };
    let table = view_spec(spec);
    let version = ViewVersion {
        version: spec.version,
        key: table.clustering.iter().map(|column| column.name.clone()).collect(),
        table,
        window: crate::platform::windowing(spec),
        grace_ms: spec.grace_ms,
        amend_for_ms: spec.amend_for_ms,
        idle_after_ms: spec.idle_after_ms,
        sources: spec.sources.clone(),
        freshness_ms: None,
        description: "Bytes and records of network flows by hour, applications and network.".to_owned(),
        columns: vec![note("bytes_rx", "sum of bytes received"), note("bytes_tx", "sum of bytes sent")],
        spec: String::new(),
    };
    let (view, current) = (spec.name.clone(), Some(spec.version));
    CatalogEntry { view, revision, current, previous: None, versions: vec![version] }
}

/// The schemas and functions that make the job's records what they are.
pub fn shape(spec: &JobSpec) -> Shape {
    let schemas = Arc::new([catalog::FLOW_HOURLY, catalog::LEDGER, catalog::PROGRESS]);
    let view_source = ViewSource { schemas, row: Arc::new(view_row) };
    Shape { source: Arc::new([catalog::FLOW_OBSERVED]), row: catalog::FLOW_HOURLY, view_source, view: view_spec(spec) }
}

/// A row of the view from its datum on the view topic.
///
/// # Errors
/// The datum is not a `FlowHourly`.
pub fn view_row(datum: &[u8]) -> Result<Row, avro::Error> {
    let mut reader = Reader::new(datum);
    let row = FlowHourly::get(&mut reader)?;
    reader.finish()?;
    let text = |value: &str| Value::Text(value.to_owned());
    Ok(Row {
        partition: RowPartition {
            tenant: row.tenant.to_owned(),
            window_start: row.window_start,
            merge_partition: row.merge_partition,
        },
        clustering: vec![text(row.src_app), text(row.dest_app), text(row.vpc_id)],
        values: vec![Value::Integer(row.bytes_rx), Value::Integer(row.bytes_tx), Value::Long(row.records)],
        revision: Revision { epoch: row.epoch, offset: row.revision },
        written_at: row.opened_at,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tidemark_schemas::flows::FlowObserved;

    fn flow() -> FlowObserved<'static> {
        FlowObserved {
            tenant: "default",
            src_app: "web",
            dest_app: "db",
            vpc_id: "vpc-1",
            observed_at: 1_700_000_000_000,
            bytes_tx: 10,
            bytes_rx: 20,
            event_id: "0190c1f0-0000-7000-8000-000000000000",
        }
    }

    fn read(flow: &FlowObserved<'_>) -> Result<(i64, FlowSums), Reject> {
        let mut datum = vec![];
        flow.put(&mut datum);
        FlowsHourly::new(&Settings::default())
            .read(Input::of(&datum), &mut Vec::new())
            .map(|sample| (sample.event_time, sample.add))
    }

    #[test]
    fn reads_a_flow_and_names_what_is_wrong() {
        assert_eq!(read(&flow()).unwrap(), (1_700_000_000_000, FlowSums { bytes_tx: 10, bytes_rx: 20 }));
        let long = "x".repeat(257);
        let cases = [
            (FlowObserved { src_app: "", ..flow() }, "empty_name"),
            (FlowObserved { vpc_id: &long, ..flow() }, "long_name"),
            (FlowObserved { bytes_tx: -1, ..flow() }, "out_of_range"),
            (FlowObserved { bytes_rx: BYTES_MAX + 1, ..flow() }, "out_of_range"),
            (FlowObserved { observed_at: -1, ..flow() }, "before_1970"),
        ];
        for (bad, rule) in cases {
            assert_eq!(read(&bad).unwrap_err().rule, rule);
        }
    }

    #[test]
    fn every_truncation_is_rejected() {
        let mut datum = vec![];
        flow().put(&mut datum);
        let job = FlowsHourly::new(&Settings::default());
        for cut in 0..datum.len() {
            assert_eq!(
                job.read(Input::of(&datum[..cut]), &mut Vec::new()).unwrap_err().rule,
                "malformed",
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn the_view_row_is_what_was_put() {
        let mut datum = vec![];
        flow().put(&mut datum);
        let job = FlowsHourly::new(&Settings::default());
        let mut scratch = vec![];
        let sample = job.read(Input::of(&datum), &mut scratch).unwrap();
        let mut out = vec![];
        let accumulator = FlowSums { bytes_tx: 1 << 70, bytes_rx: 3 };
        let row = ViewRow {
            key: sample.key,
            window_start: 7_200_000,
            merge_partition: 3,
            opened_at: 9,
            records: 5,
            accumulator: &accumulator,
            epoch: 1,
            revision: 77,
        };
        job.put_row(&row, &mut out);
        let row = view_row(&out).unwrap();
        assert_eq!(
            row.partition,
            RowPartition { tenant: "default".into(), window_start: 7_200_000, merge_partition: 3 }
        );
        assert_eq!(row.clustering, ["web", "db", "vpc-1"].map(|s| Value::Text(s.into())));
        assert_eq!(row.values, [Value::Integer(3), Value::Integer(1 << 70), Value::Long(5)]);
        assert_eq!(row.revision, Revision { epoch: 1, offset: 77 });
        job.spec().validate().unwrap();
    }

    /// Whose ids they are is part of what they are: one tenant's cannot make another's records repeats.
    #[test]
    fn ids_of_two_tenants_are_two_ids() {
        let job = FlowsHourly::new(&Settings { dedupe_ms: HOUR_MS, ..Settings::default() });
        let id = |tenant| {
            let mut datum = vec![];
            FlowObserved { tenant, ..flow() }.put(&mut datum);
            job.read(Input::of(&datum), &mut Vec::new()).unwrap().id
        };
        assert_eq!(id("a"), id("a"));
        assert_ne!(id("a"), id("b"));
    }

    /// A running job stops when its fingerprint changes: this value changes only together with the job's version.
    #[test]
    fn the_fingerprint_is_pinned() {
        assert_eq!(FlowsHourly::new(&Settings::default()).spec().fingerprint(), -5_251_127_994_281_324_815);
    }
}
