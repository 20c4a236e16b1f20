//! Rows of views as records: of each the latest revision counts, and entries of progress say how far they are complete.

use super::{SpecJob, put_part};
use crate::cel::eval::{Frame, Val};
use crate::source::Walk;
use crate::view::View;
use smallvec::SmallVec;
use tidemark_core::aggregate::{Accumulators, Contribution, Function, Items, Latest};
use tidemark_core::value::{Place, Value};
use tidemark_core::{Accumulator, Input, Reject, Sample, UNTIMED, ViewRow, dedupe};
use tidemark_schemas::avro::{self, Avro, Reader, put_long};
use tidemark_schemas::catalog::{self, Schema};
use tidemark_schemas::engine::Progress;

/// What is read of each row besides what expressions name, before its key and `window_start`.
pub(crate) const TOLD: [&str; 3] = ["records", "epoch", "revision"];

/// All that a row of such a job holds.
const FUNCTIONS: &[Function] = &[Function::Latest];

/// What a job that reads views does with their rows.
#[derive(Debug)]
pub(crate) struct Rows {
    /// For each source schema: [`TOLD`], then what tells its rows apart.
    pub(crate) walks: Vec<Walk>,
    /// `where` may be true of one revision and false of the next: then the row adds nothing, but is known.
    pub(crate) filter_changes: bool,
    /// So many values of tables come before those of the `let`s.
    pub(crate) joined: usize,
}

/// What else is on the topic of a view, by what comes after the schemas of rows.
pub(crate) fn others() -> [Schema; 2] {
    [catalog::LEDGER, catalog::PROGRESS]
}

fn malformed(error: avro::Error) -> Reject {
    Reject { rule: "malformed", detail: error.to_string() }
}

impl SpecJob {
    /// A record that adds nothing: one with a time says how far the view is.
    fn untaken<'a>(event_time: i64, input: &Input<'_>) -> Sample<'a, Accumulators> {
        let place =
            Place { time: event_time, topic: input.topic as u32, partition: input.partition, offset: input.offset };
        let add = Items { functions: FUNCTIONS, values: SmallVec::new(), place };
        Sample { event_time, key: &[], add, id: 0, wanted: false }
    }

    /// Of views: rows, ledgers and progress.
    pub(super) fn read_view<'a>(
        &'a self,
        rows: &'a Rows,
        input: Input<'a>,
        scratch: &'a mut Vec<u8>,
    ) -> Result<Sample<'a, Accumulators>, Reject> {
        let Some(walk) = rows.walks.get(input.schema) else {
            let is_progress = input.schema == rows.walks.len() + 1;
            let progress = is_progress.then(|| Progress::get(&mut Reader::new(input.datum))).transpose();
            let reached = progress.map_err(malformed)?.and_then(|progress| progress.watermark);
            return Ok(Self::untaken(reached.unwrap_or(UNTIMED), &input));
        };
        let mut told = SmallVec::new();
        walk.read(input.datum, &mut told).map_err(malformed)?;
        let [Value::Long(records), Value::Long(epoch), Value::Long(revision), identity @ ..] = told.as_slice() else {
            return Err(malformed(avro::Error::Truncated));
        };
        let revision = (i32::try_from(*epoch).unwrap_or(i32::MAX), *revision);
        let mut own = Vec::new();
        put_long(&mut own, input.topic as i64);
        identity
            .iter()
            .try_for_each(|value| put_part(value, &mut own))
            .ok_or_else(|| malformed(avro::Error::Truncated))?;
        // Whose row it is stands among what tells it apart.
        let contributor = dedupe::id(&[], &own);
        let mut inner = Vec::new();
        let sample = self.read_record(input, &mut inner)?;
        if !sample.wanted && !rows.filter_changes {
            return Ok(Self::untaken(UNTIMED, &input));
        }
        let (event_time, id, place) = (sample.event_time, sample.id, sample.add.place);
        let sum = (sample.wanted && *records != 0).then(|| {
            let mut sum = Accumulators::default();
            sum.add(&sample.add);
            sum
        });
        scratch.clear();
        if sample.wanted {
            scratch.extend_from_slice(sample.key);
        } else {
            self.key_of_unwanted(rows, &input, scratch)?;
        }
        let key_end = scratch.len();
        Latest::of(contributor, Contribution { revision, sum }).put(scratch);
        let (key, bytes) = scratch.split_at_checked(key_end).unwrap_or_default();
        let values = SmallVec::from_iter([Value::Bytes(bytes)]);
        Ok(Sample { event_time, key, add: Items { functions: FUNCTIONS, values, place }, id, wanted: true })
    }

    /// The key of a row that `where` leaves out: what the key does not name may fail, as nobody asked for it.
    fn key_of_unwanted(&self, rows: &Rows, input: &Input<'_>, out: &mut Vec<u8>) -> Result<(), Reject> {
        let mut fields = SmallVec::new();
        let Some(walk) = self.walks.get(input.schema) else { return Ok(()) };
        walk.read(input.datum, &mut fields).map_err(malformed)?;
        let mut lets: SmallVec<[Val<'_>; 4]> = SmallVec::from_iter((0..rows.joined).map(|_| Val::NULL));
        for (_, checked) in &self.lets {
            let value = checked.node.eval(Frame { fields: &fields, lets: &lets }).unwrap_or(Val::NULL);
            lets.push(value);
        }
        self.put_key(&fields, &lets, out)
    }

    /// What rows of views came to: as many as count, and the sum of what they add.
    pub(super) fn of_latest(row: &ViewRow<'_, Accumulators>) -> (i64, Accumulators) {
        row.accumulator.latest()
    }

    /// The views that it reads.
    pub fn views(&self) -> impl Iterator<Item = View> {
        self.topics.iter().filter(|_| self.rows.is_some()).filter_map(|(_, avsc)| View::parse(avsc))
    }

    /// Whether its sources are views.
    pub fn reads_views(&self) -> bool {
        self.rows.is_some()
    }

    /// Of the schemas of a job that reads views, so many are of rows; what follows is of ledgers and progress.
    pub(crate) fn row_schemas(&self) -> Option<usize> {
        self.rows.as_ref().map(|rows| rows.walks.len())
    }

    /// An entry of progress as a view has it, and which of the job's schemas it is of; none of a job that reads no views.
    pub fn progress_to(&self, watermark: i64) -> Option<(usize, Vec<u8>)> {
        let schema = self.row_schemas()? + 1;
        let progress = Progress {
            fingerprint: 0,
            merge_partition: 0,
            merge_partitions: 1,
            watermark: Some(watermark),
            as_of: watermark,
            oldest_append: None,
            sources: Vec::new(),
            partition_counts: Vec::new(),
            epoch: 1,
            revision: 0,
        };
        let mut datum = Vec::new();
        progress.put(&mut datum);
        Some((schema, datum))
    }
}
