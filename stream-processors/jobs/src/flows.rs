//! `flows.hourly`: bytes and records by (tenant, src_app, dest_app, vpc_id) and hour, from `flows.observed`.

use std::time::Duration;
use tidemark_core::value::Place;
use tidemark_core::{Accumulator, Input, Job, Reject, Sample, Windowing, dedupe};
use tidemark_schemas::avro::{self, Avro, Reader};
use tidemark_schemas::catalog;
use tidemark_spec::builder::Late;
use tidemark_spec::{Builder, Fold, Problems, RustJob, SpecJob};

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

/// The job; [`hourly`] makes it.
pub type FlowsHourly = RustJob<FlowSums>;

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

/// The job with these settings.
///
/// # Errors
/// A setting breaks a rule of the job file's key that it stands for.
pub fn hourly(settings: &Settings) -> Result<FlowsHourly, Problems> {
    // What is negative is beyond every limit, and is refused as that.
    let length = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX));
    let window = Windowing::Tumbling { size_ms: HOUR_MS };
    let job = Builder::new("flows.hourly")
        .version(settings.version)
        .description("Bytes and records of network flows by hour, applications and network.")
        .source(TOPIC, &catalog::FLOW_OBSERVED.avsc)
        .time("observed_at")
        .grace(length(settings.grace_ms))
        .idle_after(length(settings.idle_after_ms))
        .max_future(length(settings.max_future_ms))
        .key("src_app")
        .key("dest_app")
        .key("vpc_id")
        .tumbling(length(HOUR_MS))
        .late(Late::AmendFor(length(settings.retention_ms)))
        .retention(length(window.least_retention_ms([
            settings.grace_ms,
            settings.idle_after_ms,
            settings.max_future_ms,
            settings.retention_ms,
        ])))
        .partitions(settings.merge_partitions)
        .column("bytes_tx", "sum of bytes sent", |sums: &FlowSums| sums.bytes_tx)
        .column("bytes_rx", "sum of bytes received", |sums| sums.bytes_rx)
        .registered(catalog::FLOW_HOURLY, &["bytes_rx", "bytes_tx", "records"]);
    let job = if settings.dedupe_ms == 0 { job } else { job.dedupe("event_id", length(settings.dedupe_ms)) };
    job.build()
}

impl Fold for FlowSums {
    const READS: &'static [&'static str] = &["src_app", "dest_app", "vpc_id", "bytes_tx", "bytes_rx"];
    // As they stood before there was a builder: part of the fingerprint of every partial.
    const AGGREGATES: &'static [&'static str] = &["sum(bytes_tx): decimal", "sum(bytes_rx): decimal"];
    type Input<'a> = (&'a str, &'a str, &'a str, i64, i64);

    fn item<'a>((src, dest, vpc, tx, rx): Self::Input<'a>, _: Place) -> Result<Self::Item<'a>, Reject> {
        [("src_app", src), ("dest_app", dest), ("vpc_id", vpc)]
            .into_iter()
            .try_for_each(|(field, of)| name(field, of))?;
        Ok(Self { bytes_tx: bytes("bytes_tx", tx)?, bytes_rx: bytes("bytes_rx", rx)? })
    }

    /// Straight from the datum, of which the key is a part as it stands.
    #[inline]
    fn read<'a>(head: &'a SpecJob, input: Input<'a>, _: &'a mut Vec<u8>) -> Result<Sample<'a, Self>, Reject> {
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
        let id = if head.spec().dedupe.is_some() { dedupe::id(tenant.as_bytes(), event_id) } else { 0 };
        reader.finish().map_err(malformed)?;
        if event_time < 0 {
            let detail = format!("observed_at is {event_time} ms, before 1970: check the unit, it is milliseconds");
            return Err(Reject { rule: "before_1970", detail });
        }
        Ok(Sample { event_time, key, add: FlowSums { bytes_tx, bytes_rx }, id, wanted: true })
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tidemark_core::ViewRow;
    use tidemark_schemas::flows::{FlowHourly, FlowObserved};
    use tidemark_spec::fold;
    use tidemark_spec::replay::{self, Sample as Replayed};
    use tidemark_views::{Column, Kind, Revision, RowPartition, Value};

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
        hourly(&Settings::default())
            .unwrap()
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
        let job = hourly(&Settings::default()).unwrap();
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
        let job = hourly(&Settings::default()).unwrap();
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
        let typed = FlowHourly::get(&mut Reader::new(&out)).unwrap();
        assert_eq!((typed.records, typed.bytes_tx, typed.bytes_rx), (5, 1 << 70, 3));
        let row = job.head().columns().row(&out).unwrap();
        assert_eq!(
            row.partition,
            RowPartition { tenant: "default".into(), window_start: 7_200_000, merge_partition: 3 }
        );
        assert_eq!(row.clustering, ["web", "db", "vpc-1"].map(|s| Value::Text(s.into())));
        assert_eq!(row.values, [Value::Integer(3), Value::Integer(1 << 70), Value::Long(5)]);
        assert_eq!(row.revision, Revision { epoch: 1, offset: 77 });
        job.spec().validate().unwrap();
    }

    /// Tables and schemas of installations that are there: they stay what they are.
    #[test]
    fn the_view_is_pinned() {
        let job = hourly(&Settings::default()).unwrap();
        let (columns, column) = (job.head().columns(), |name: &str, kind| Column { name: name.into(), kind });
        assert_eq!(columns.schema, catalog::FLOW_HOURLY);
        assert_eq!(columns.view.name, "flows_hourly_v1");
        assert_eq!(columns.view.clustering, ["src_app", "dest_app", "vpc_id"].map(|name| column(name, Kind::Text)));
        let values =
            [column("bytes_rx", Kind::Integer), column("bytes_tx", Kind::Integer), column("records", Kind::Long)];
        assert_eq!(
            (columns.view.values.as_slice(), columns.view.retention_ms),
            (&values[..], job.spec().least_retention_ms())
        );
    }

    #[test]
    fn its_own_reading_gives_what_the_head_gives() {
        let flows = [
            flow(),
            FlowObserved { tenant: "other", bytes_tx: 0, bytes_rx: BYTES_MAX, ..flow() },
            FlowObserved { dest_app: "", ..flow() },
            FlowObserved { bytes_rx: -1, ..flow() },
            FlowObserved { observed_at: -1, ..flow() },
        ];
        for dedupe_ms in [0, HOUR_MS] {
            let job = hourly(&Settings { dedupe_ms, ..Settings::default() }).unwrap();
            for flow in &flows {
                let mut datum = vec![];
                flow.put(&mut datum);
                let (mut own, mut of_head) = (vec![], vec![]);
                let own = job.read(Input::of(&datum), &mut own);
                let of_head = fold::read::<FlowSums>(job.head(), Input::of(&datum), &mut of_head);
                match (own, of_head) {
                    (Ok(own), Ok(of_head)) => assert_eq!(
                        (own.event_time, own.key, own.add, own.id, own.wanted),
                        (of_head.event_time, of_head.key, of_head.add, of_head.id, of_head.wanted)
                    ),
                    (Err(_), Err(_)) => {}
                    (own, of_head) => panic!("{flow:?}: {own:?} and {of_head:?}"),
                }
            }
        }
    }

    #[test]
    fn settings_that_break_a_rule_are_refused() {
        for settings in [
            Settings { grace_ms: -1, ..Settings::default() },
            Settings { merge_partitions: 0, ..Settings::default() },
            Settings { version: 0, ..Settings::default() },
            Settings { idle_after_ms: 0, ..Settings::default() },
        ] {
            assert!(hourly(&settings).is_err(), "{settings:?}");
        }
    }

    #[test]
    fn its_figures_do_not_depend_on_how_records_come() {
        let job = Arc::new(hourly(&Settings { dedupe_ms: HOUR_MS, ..Settings::default() }).unwrap());
        let data = (0..400_i64).map(|n| {
            // Five hours, not in order, so that some are late; some ids come twice, some records cannot be read.
            let observed_at = 1_700_000_000_000 + n * 45_000 + (n % 7) * 900_000;
            let event_id = format!("id-{}", n - n % 10 / 9);
            let (src_app, bytes_tx) = (["a", "b", "c"][(n % 3) as usize], if n % 50 == 0 { -1 } else { n });
            let mut datum = vec![];
            FlowObserved { src_app, observed_at, bytes_tx, event_id: &event_id, ..flow() }.put(&mut datum);
            datum
        });
        let records = replay::arrivals(job.as_ref(), data, 3);
        let checked = replay::check(&job, &Replayed { records, ..Replayed::default() }, 3, 1).unwrap();
        assert!(checked.ways > 5 && checked.records == 400 && checked.rows > 10 && checked.late > 0, "{checked:?}");
    }

    /// Whose ids they are is part of what they are: one tenant's cannot make another's records repeats.
    #[test]
    fn ids_of_two_tenants_are_two_ids() {
        let job = hourly(&Settings { dedupe_ms: HOUR_MS, ..Settings::default() }).unwrap();
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
        assert_eq!(hourly(&Settings::default()).unwrap().spec().fingerprint(), -5_251_127_994_281_324_815);
    }
}
