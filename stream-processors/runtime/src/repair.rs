//! Publishing recomputed rows of sealed windows: on the partials topic, where the merge fold takes them in as it does
//! partials. So there is one writer of a view, and a repair is as exact as any commit of it.

use crate::{Error, Plan};
use tidemark_core::JobSpec;
use tidemark_log::{Log, Outgoing};
use tidemark_schemas::catalog;
use tidemark_schemas::engine::{PartialRow, Repair, RepairedLedger};
use tidemark_schemas::registry::Registry;
use tidemark_schemas::wire;

/// Bytes of rows in one record, unless one row alone has more: as in a partial, well below what a broker takes.
const REPAIR_BYTES_MAX: usize = 256 << 10;

/// A row as it is to be: its key, its records, and their sum, encoded. One of no records takes the row away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairRow {
    /// Avro-encoded key fields.
    pub key: Vec<u8>,
    /// Records folded.
    pub records: i64,
    /// Avro-encoded accumulators.
    pub accumulator: Vec<u8>,
}

/// What becomes of a window in one merge partition.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowRepair {
    /// Start of the window, milliseconds.
    pub window_start: i64,
    /// Which merge partition.
    pub merge_partition: u32,
    /// Epoch of the ledger that it was computed from.
    pub replaces: i32,
    /// Rows that differ.
    pub rows: Vec<RepairRow>,
    /// What the window holds then.
    pub ledger: RepairedLedger,
}

/// Publishes repairs of one job version.
pub struct Repairs<'l> {
    plan: Plan,
    log: &'l dyn Log,
    schema: u32,
    record_bytes: usize,
}

impl<'l> Repairs<'l> {
    /// Of a job that runs, somewhere.
    ///
    /// # Errors
    /// The registry does not take the schema.
    pub fn new(spec: &JobSpec, log: &'l dyn Log, registry: &dyn Registry) -> Result<Self, Error> {
        let plan = Plan::new(spec.clone())?;
        let subject = format!("{}-{}", plan.partials, catalog::REPAIR.name);
        let schema = registry.register(&subject, &catalog::REPAIR.avsc)?;
        Ok(Self { plan, log, schema, record_bytes: REPAIR_BYTES_MAX })
    }

    /// With records of so many bytes of rows, in place of 256 KiB.
    pub fn with_record_bytes(mut self, bytes_max: usize) -> Self {
        self.record_bytes = bytes_max;
        self
    }

    /// The transactional id of a merge partition. Who takes it ends the transaction of who had it, so that the records of two
    /// repairs never mix.
    pub fn id(&self, merge_partition: u32) -> String {
        format!("{}-{merge_partition}", self.plan.group("repair"))
    }

    /// Publishes a repair, all of it or nothing; durable on return. Whether it fits the window is found out by the merge fold.
    ///
    /// # Errors
    /// Somebody else repairs the same merge partition ([`tidemark_log::Error::Fenced`]); the log fails.
    pub fn publish(&self, repair: &WindowRepair) -> Result<(), tidemark_log::Error> {
        let mut producer = self.log.producer(&self.id(repair.merge_partition))?;
        let values = self.records(repair);
        producer.commit(&mut |sink| {
            values.iter().try_for_each(|value| {
                tidemark_log::failpoint::hit("repair-record", &self.plan.partials);
                sink.send(Outgoing {
                    topic: &self.plan.partials,
                    partition: repair.merge_partition,
                    value: Some(value),
                    ..Outgoing::default()
                })
            })
        })
    }

    /// The records of a repair. The last one has the ledger.
    fn records(&self, repair: &WindowRepair) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        let mut rows = repair.rows.as_slice();
        loop {
            let (now, later) = rows.split_at(count_within(rows, self.record_bytes));
            let put =
                now.iter().map(|row| PartialRow { key: &row.key, records: row.records, accumulator: &row.accumulator });
            let record = Repair {
                fingerprint: self.plan.spec.fingerprint(),
                window_start: repair.window_start,
                replaces: repair.replaces,
                rows: put.collect(),
                ledger: later.is_empty().then(|| repair.ledger.clone()),
            };
            let mut value = Vec::new();
            wire::put(self.schema, &record, &mut value);
            records.push(value);
            if later.is_empty() {
                return records;
            }
            rows = later;
        }
    }
}

/// How many of the first rows stay within `bytes_max`: one at least, where there is one.
fn count_within(rows: &[RepairRow], bytes_max: usize) -> usize {
    let mut bytes = 0_usize;
    let fits = rows.iter().take_while(|row| {
        let is_first = bytes == 0;
        bytes += row.key.len() + row.accumulator.len() + 16;
        is_first || bytes <= bytes_max
    });
    fits.count()
}
