//! The flow job with windows of a minute, so that a few minutes of simulated time hold many; or with sessions, a joined table, or a
//! second topic.

use std::sync::Arc;

use tidemark_core::join::KeyedTable;
use tidemark_core::value::Value as Field;
use tidemark_core::{Dedupe, Input, Job, JobSpec, LatePolicy, Reject, Sample, ViewRow, Windowing};
use tidemark_jobs::flows::{self, FlowSums, FlowsHourly, Settings};
use tidemark_jobs::platform;
use tidemark_runtime::run::Shape;
use tidemark_runtime::writer::ViewSource;
use tidemark_schemas::avro::{self, Avro, Reader, put_long};
use tidemark_schemas::catalog::{self, Schema};
use tidemark_views::{Column, Kind, Revision, Row, RowPartition, Value};

use crate::joins;
use crate::schedule::Config;

pub(crate) const WINDOW_MS: i64 = 60_000;
pub(crate) const GRACE_MS: i64 = 10_000;
pub(crate) const MAX_FUTURE_MS: i64 = 30_000;
pub(crate) const RETENTION_MS: i64 = 7 * 86_400_000;

/// A row of the view of sessions.
const FLOW_SESSION: &str = r#"{"type": "record", "name": "FlowSession", "namespace": "tidemark.simulation", "fields": [
    {"name": "tenant", "type": "string"}, {"name": "src_app", "type": "string"}, {"name": "dest_app", "type": "string"},
    {"name": "vpc_id", "type": "string"}, {"name": "session_start", "type": "long"}, {"name": "window_start", "type": "long"},
    {"name": "merge_partition", "type": "int"}, {"name": "opened_at", "type": "long"}, {"name": "last", "type": "long"},
    {"name": "records", "type": "long"},
    {"name": "bytes_tx", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 0}},
    {"name": "bytes_rx", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 0}},
    {"name": "epoch", "type": "int"}, {"name": "revision", "type": "long"}]}"#;

/// The second topic, with records like those of the first.
pub(crate) const MORE: &str = "flows.edge";

/// `flows.hourly` with another specification.
pub(crate) struct MinuteFlows {
    job: FlowsHourly,
    spec: JobSpec,
    /// Reads the keys of runs with a join.
    by_team: Option<tidemark_spec::SpecJob>,
}

/// A source partition as one number.
pub(crate) fn place(topic: &str, partition: i32) -> i32 {
    partition + if topic == MORE { 100 } else { 0 }
}

impl MinuteFlows {
    pub(crate) fn new(config: &Config) -> Self {
        let job = flows::hourly(&Settings::default()).unwrap();
        let windows = Windowing::Tumbling { size_ms: WINDOW_MS };
        let sources = config.topics().into_iter().map(str::to_owned).collect();
        let spec = JobSpec {
            sources,
            window: config.gap_ms.map_or(windows, |gap_ms| Windowing::Session { gap_ms }),
            grace_ms: config.grace_ms(),
            late: if config.hold { LatePolicy::Hold } else { LatePolicy::Amend },
            amend_for_ms: config.amend_for_ms,
            idle_after_ms: config.idle_after_ms,
            max_future_ms: config.max_future_ms(),
            merge_partitions: config.merge_partitions,
            retention_ms: RETENTION_MS * config.speed(),
            dedupe: config.dedupe_ms.map(|for_ms| Dedupe { by: "event_id".into(), for_ms }),
            ..job.spec().clone()
        };
        let spec = JobSpec { retention_ms: spec.retention_ms.max(spec.least_retention_ms()), ..spec };
        let settings = Settings { dedupe_ms: config.dedupe_ms.unwrap_or(0), ..Settings::default() };
        spec.validate().unwrap();
        Self { job: flows::hourly(&settings).unwrap(), spec, by_team: config.joins.then(joins::job) }
    }

    /// As of any job, with another retention; sessions have a column more in their key, and one more beside it.
    pub(crate) fn shape(&self) -> Shape {
        let mut shape = platform::shape(self.job.head());
        shape.view.retention_ms = self.spec.retention_ms;
        if self.spec.window.gap_ms().is_none() {
            return shape;
        }
        let row = Schema { name: "tidemark.simulation.FlowSession".into(), avsc: FLOW_SESSION.into() };
        let schemas = Arc::new([row.clone(), catalog::LEDGER, catalog::PROGRESS]);
        let mut view = shape.view;
        view.clustering.push(Column { name: "session_start".into(), kind: Kind::Long });
        Shape { row, view, view_source: ViewSource { schemas, row: Arc::new(session_row) }, ..shape }
    }
}

impl Job for MinuteFlows {
    type Accumulator = FlowSums;
    fn spec(&self) -> &JobSpec {
        &self.spec
    }
    fn read<'a>(&'a self, input: Input<'a>, scratch: &'a mut Vec<u8>) -> Result<Sample<'a, FlowSums>, Reject> {
        let Some(by_team) = &self.by_team else { return self.job.read(input, scratch) };
        // What it refuses is refused before anything is looked up.
        let mut unused = Vec::new();
        let Sample { id, .. } = self.job.read(input, &mut unused)?;
        let Sample { event_time, key, add, wanted, .. } = by_team.read(input, scratch)?;
        let [Field::Long(tx), Field::Long(rx)] = *add.values else { panic!("{add:?}") };
        let add = FlowSums { bytes_tx: tx.into(), bytes_rx: rx.into() };
        Ok(Sample { event_time, key, add, id, wanted })
    }
    fn tables(&self) -> &[Arc<dyn KeyedTable>] {
        self.by_team.as_ref().map_or(&[], Job::tables)
    }
    fn put_row(&self, row: &ViewRow<'_, FlowSums>, out: &mut Vec<u8>) {
        assert!(self.spec.window.gap_ms().is_none());
        self.job.put_row(row, out);
    }
    fn put_session(&self, row: &ViewRow<'_, FlowSums>, last: i64, out: &mut Vec<u8>) {
        out.extend_from_slice(row.key);
        for field in [row.window_start, i64::from(row.merge_partition), row.opened_at, last, row.records] {
            put_long(out, field);
        }
        row.accumulator.bytes_tx.put(out);
        row.accumulator.bytes_rx.put(out);
        put_long(out, i64::from(row.epoch));
        put_long(out, row.revision);
    }
}

/// A row of the view of sessions from its datum: its last column is the record count, as of any other.
fn session_row(datum: &[u8]) -> Result<Row, avro::Error> {
    let mut reader = Reader::new(datum);
    let tenant = reader.string()?.to_owned();
    let mut clustering = Vec::new();
    for _ in 0..3 {
        clustering.push(Value::Text(reader.string()?.to_owned()));
    }
    clustering.push(Value::Long(reader.long()?));
    let (window_start, merge_partition) = (reader.long()?, reader.long()? as i32);
    let (written_at, last, records) = (reader.long()?, reader.long()?, reader.long()?);
    let (tx, rx) = (Avro::get(&mut reader)?, Avro::get(&mut reader)?);
    let revision = Revision { epoch: reader.long()? as i32, offset: reader.long()? };
    reader.finish()?;
    let values = vec![Value::Integer(rx), Value::Integer(tx), Value::Long(last), Value::Long(records)];
    Ok(Row {
        partition: RowPartition { tenant, window_start, merge_partition },
        clustering,
        values,
        revision,
        written_at,
    })
}
