//! Jobs in Rust: what is refused is said as of a file, and what runs gives what a file gives.

#[path = "../../../../examples/access-log/peaks.rs"]
#[allow(dead_code, unreachable_pub, reason = "its main is for people")]
mod peaks;

use crate::replay::sample;
use crate::support::{ACCESS, access};
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::time::Duration;
use tidemark_core::value::Place;
use tidemark_core::{Accumulator, Job, Reject, ViewRow};
use tidemark_schemas::avro::{self, Avro, Reader};
use tidemark_spec::builder::{Late, Table};
use tidemark_spec::trial::Trial;
use tidemark_spec::{Builder, Fold, Problems, RustJob, Viewed, compile, fold, replay};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// Count and sum, as the aggregates have them.
#[derive(Debug, Clone, Default, PartialEq)]
struct Sums {
    records: i64,
    bytes: Option<i128>,
}

impl Accumulator for Sums {
    type Item<'a> = Option<i64>;
    fn add(&mut self, bytes: &Option<i64>) {
        self.merge(&Self { records: 1, bytes: bytes.map(i128::from) });
    }
    fn merge(&mut self, other: &Self) {
        self.records += other.records;
        if let Some(bytes) = other.bytes {
            *self.bytes.get_or_insert(0) += bytes;
        }
    }
    fn put(&self, out: &mut Vec<u8>) {
        self.records.put(out);
        self.bytes.put(out);
    }
    fn get(reader: &mut Reader<'_>) -> Result<Self, avro::Error> {
        Ok(Self { records: Avro::get(reader)?, bytes: Avro::get(reader)? })
    }
}

impl Fold for Sums {
    const READS: &'static [&'static str] = &["bytes"];
    type Input<'a> = (Option<i64>,);
    fn item<'a>((bytes,): Self::Input<'a>, _: Place) -> Result<Self::Item<'a>, Reject> {
        Ok(bytes)
    }
}

/// The head of the job that files are compared with, and its columns.
fn sums() -> Builder<Sums> {
    Builder::new("access.sums").source("logs.access", ACCESS).time("at")
}

fn columns(builder: Builder<Sums>) -> Result<RustJob<Sums>, Problems> {
    builder.column("requests", "records", |sums| sums.records).column("bytes", "bytes", |sums| sums.bytes).build()
}

const SOURCE: &str = "job: access.sums\nsource: {topics: logs.access, time: at}\n";
const FOLD: &str = "\naggregate: {requests: count(), bytes: sum(bytes)}";

/// What is wrong, without the places.
fn said(problems: &Problems) -> Vec<String> {
    let placeless = |text: String| match text.split_once(", in line ") {
        Some((before, after)) => format!("{before}{}", after.trim_start_matches(|c: char| c.is_ascii_digit())),
        None => text,
    };
    problems.problems.iter().map(|problem| placeless(problem.sentence())).collect()
}

/// The head of a job, which is wrong, in Rust and in a file.
type Case = (fn(Builder<Sums>) -> Builder<Sums>, &'static str);

#[test]
fn a_wrong_head_is_refused_with_the_same_words_as_a_file() {
    let cases: &[Case] = &[
        (|job| job.tumbling(HOUR), "window: {tumbling: 1h}"),
        (|job| job.late(Late::Hold), "late: hold"),
        (|job| job.tumbling(HOUR).session(HOUR).late(Late::Hold), "window: {tumbling: 1h, session: 1h}\nlate: hold"),
        (
            |job| job.key("clientt").tumbling(HOUR).late(Late::Hold),
            "key: [clientt]\nwindow: {tumbling: 1h}\nlate: hold",
        ),
        (
            |job| job.key("referrer").tumbling(HOUR).late(Late::Hold),
            "key: [referrer]\nwindow: {tumbling: 1h}\nlate: hold",
        ),
        (
            |job| job.key_as("bytes", "status").tumbling(HOUR).late(Late::Hold),
            "key: [bytes: status]\nwindow: {tumbling: 1h}\nlate: hold",
        ),
        (
            |job| job.key("client").clustering("klient").tumbling(HOUR).late(Late::Hold),
            "key: [client]\nview: {clustering: [klient]}\nwindow: {tumbling: 1h}\nlate: hold",
        ),
        (
            |job| job.key("client").tumbling(HOUR).late(Late::AmendFor(8 * DAY)).retention(7 * DAY),
            "key: [client]\nwindow: {tumbling: 1h}\nlate: amend for 8d\nview: {retention: 7d}",
        ),
        (
            |job| job.tumbling(HOUR).late(Late::Hold).freshness(Duration::from_secs(60)),
            "window: {tumbling: 1h}\nlate: hold\nfreshness: 1m",
        ),
        (
            |job| job.hopping(HOUR, Duration::from_secs(1)).late(Late::Hold),
            "window: {hopping: 1h, every: 1s}\nlate: hold",
        ),
        (|job| job.tumbling(Duration::from_micros(1)).late(Late::Hold), "window: {tumbling: 1µs}\nlate: hold"),
        (
            |job| job.filter("stauts > 1").tumbling(HOUR).late(Late::Hold),
            "where: stauts > 1\nwindow: {tumbling: 1h}\nlate: hold",
        ),
        (
            |job| job.filter("status").tumbling(HOUR).late(Late::Hold),
            "where: status\nwindow: {tumbling: 1h}\nlate: hold",
        ),
        (
            |job| job.define("x", "status / 0.5").tumbling(HOUR).late(Late::Hold),
            "let: {x: status / 0.5}\nwindow: {tumbling: 1h}\nlate: hold",
        ),
        (|job| job.version(0).tumbling(HOUR).late(Late::Hold), "version: 0\nwindow: {tumbling: 1h}\nlate: hold"),
        (
            |job| job.partitions(1_001).tumbling(HOUR).late(Late::Hold),
            "partitions: 1001\nwindow: {tumbling: 1h}\nlate: hold",
        ),
    ];
    for (build, file) in cases {
        let in_rust = columns(build(sums())).expect_err(file);
        let of_file = compile("job.yaml", &format!("{SOURCE}{file}{FOLD}"), &access()).expect_err(file);
        assert_eq!(said(&in_rust), said(&of_file), "{file}");
        assert!(in_rust.to_string().contains("in_rust.rs:"), "{in_rust}");
    }
}

#[test]
fn sources_that_are_wrong_are_refused_with_the_same_words_as_a_file() {
    let rest = "\nwindow: {tumbling: 1h}\nlate: hold";
    let cases = [
        (
            Builder::new("access.sums").source("logs.access", ACCESS).time("att"),
            "source: {topics: logs.access, time: att}",
        ),
        (
            Builder::new("access.sums").source("logs.access", ACCESS).time("client"),
            "source: {topics: logs.access, time: client}",
        ),
        (Builder::new("access.sums").source("logs.access", ACCESS), "source: {topics: logs.access}"),
        (Builder::new("access.sums"), ""),
        (sums().source("logs.access", ACCESS), "source: {topics: [logs.access, logs.access], time: at}"),
        (sums().dedupe("event", DAY), "source: {topics: logs.access, time: at, dedupe: {by: event, for: 1d}}"),
    ];
    for (builder, source) in cases {
        let in_rust = columns(builder.tumbling(HOUR).late(Late::Hold)).unwrap_err();
        let text = format!("job: access.sums\n{source}{rest}{FOLD}");
        let of_file = compile("job.yaml", &text, &access()).unwrap_err();
        assert_eq!(said(&in_rust), said(&of_file), "{source}");
    }
    let bad = columns(Builder::new("1 x").source("t", "no schema").time("at").tumbling(HOUR).late(Late::Hold));
    assert!(bad.unwrap_err().to_string().contains("is no name for a job"));
    let bad = columns(Builder::new("x").source("t", "no schema").time("at").tumbling(HOUR).late(Late::Hold));
    assert!(bad.unwrap_err().to_string().contains("the schema of `t` cannot be used"));
}

/// A fold that reads what its job does not have.
#[derive(Debug, Clone, Default, PartialEq)]
struct Reading<const N: u8>;

impl<const N: u8> Accumulator for Reading<N> {
    type Item<'a> = ();
    fn add(&mut self, (): &()) {}
    fn merge(&mut self, _: &Self) {}
    fn put(&self, _: &mut Vec<u8>) {}
    fn get(_: &mut Reader<'_>) -> Result<Self, avro::Error> {
        Ok(Self)
    }
}

macro_rules! reading {
    ($($n:literal => $reads:expr, $input:ty;)*) => {$(
        impl Fold for Reading<$n> {
            const READS: &'static [&'static str] = &$reads;
            type Input<'a> = $input;
            fn item<'a>(_: Self::Input<'a>, _: Place) -> Result<Self::Item<'a>, Reject> {
                Ok(())
            }
        }
    )*};
}

reading! {
    0 => ["byte"], (Option<i64>,);
    1 => ["bytes"], (i64,);
    2 => ["path"], (i64,);
    3 => ["at"], (i64,);
    4 => ["status", "bytes"], (i64,);
    5 => ["null"], (i64,);
}

fn reading<F: Fold>() -> String
where
    for<'i> F::Item<'i>: Default,
{
    let head = Builder::<F>::new("access.reading").source("logs.access", ACCESS).time("at");
    head.tumbling(HOUR).late(Late::Hold).column("x", "x", |_| 1_i64).build().unwrap_err().to_string()
}

#[test]
fn what_a_fold_reads_is_checked_against_the_schema() {
    for (problem, wanted) in [
        (reading::<Reading<0>>(), "there is no field of logs.access (nor `let`) called `byte`; did you mean `bytes`?"),
        (
            reading::<Reading<1>>(),
            "`bytes` may be null, and the fold takes it as i64; take it as Option<i64>, or read `coalesce(bytes, …)`",
        ),
        (reading::<Reading<2>>(), "`path` is string, and the fold takes it as i64; take it as &str"),
        (reading::<Reading<3>>(), "`at` is timestamp, and the fold takes it as i64; take it as Timestamp"),
        (reading::<Reading<4>>(), "the fold names 2 values under `READS`, and its `Input` has 1"),
        (reading::<Reading<5>>(), "`null` is null, and the fold takes it as i64; leave it out"),
    ] {
        assert!(problem.contains(wanted), "{problem}");
        assert!(problem.contains("in_rust.rs:"), "{problem}");
    }
}

#[test]
fn what_only_a_builder_can_get_wrong_is_refused_too() {
    let none = sums().tumbling(HOUR).late(Late::Hold).build().unwrap_err().to_string();
    assert!(none.contains("the view has no column"), "{none}");
    let whole = || sums().tumbling(HOUR).late(Late::Hold);
    let twice = columns(whole().time("at")).unwrap_err().to_string();
    assert!(twice.contains("`time` stands twice, first in line"), "{twice}");
    let reserved = whole().column("records", "all", |sums| sums.records).build().unwrap_err().to_string();
    assert!(reserved.contains("`records` is a column that every view has"), "{reserved}");
    let column = |name| whole().column(name, "all", |sums| sums.records).column("n", "all", |sums| sums.records);
    let twice = column("n").build().unwrap_err().to_string();
    assert!(twice.contains("`n` stands twice"), "{twice}");
    let schema = column("m").build().unwrap().head().columns().schema.clone();
    let other = whole().column("m", "all", |sums| sums.bytes).column("n", "all", |sums| sums.records);
    let other = other.registered(schema.clone(), &["records", "m", "n"]).build().unwrap_err().to_string();
    assert!(other.contains("declare the columns in its order and with its types"), "{other}");
    let short = column("m").registered(schema.clone(), &["n", "m"]).build().unwrap_err().to_string();
    assert!(short.contains("the values of the table are records, m, n"), "{short}");
    let job = column("m").registered(schema.clone(), &["n", "records", "m"]).build().unwrap();
    let names: Vec<&str> = job.head().columns().view.values.iter().map(|column| column.name.as_str()).collect();
    assert_eq!((names, &job.head().columns().schema), (vec!["n", "records", "m"], &schema));
    let double = |sums: &Sums| 2 * sums.records;
    let job = whole().column("m", "all", |sums| sums.records).column("n", "twice", double);
    let job = job.registered(schema, &["n", "records", "m"]).build().unwrap();
    let row = job.head().columns().row(&row_of(&job, &Sums { records: 4, bytes: None })).unwrap();
    assert_eq!(row.values, [8, 3, 4].map(tidemark_views::Value::Long), "the values are in the table's order");
}

/// The datum of a row of three records without a key.
fn row_of<F: Fold>(job: &RustJob<F>, accumulator: &F) -> Vec<u8>
where
    for<'i> F::Item<'i>: Default,
{
    let (mut key, mut datum) = (vec![], vec![]);
    "default".put(&mut key);
    let (window_start, merge_partition, opened_at, records, epoch, revision) = (0, 1, 2, 3, 4, 5);
    let row = ViewRow { key: &key, window_start, merge_partition, opened_at, records, accumulator, epoch, revision };
    job.put_row(&row, &mut datum);
    datum
}

/// A head with everything in it, in Rust and in a file.
fn whole(session: bool) -> (RustJob<Sums>, tidemark_spec::SpecJob) {
    let builder = sums()
        .description("Sums by class.")
        .grace(Duration::from_secs(300))
        .idle_after(Duration::from_secs(20))
        .max_future(HOUR)
        .dedupe("event_id", Duration::from_secs(30))
        .filter("status < 500")
        .define("class", "string(status / 100) + 'xx'")
        .key("class")
        .key_as("who", "client")
        .late(Late::AmendFor(DAY))
        .clustering("who")
        .clustering("class")
        .retention(3 * DAY)
        .partitions(2)
        .freshness(HOUR);
    let builder = if session { builder.session(HOUR / 2) } else { builder.hopping(HOUR, HOUR / 2) };
    let window = if session { "session: 30m" } else { "hopping: 1h, every: 30m" };
    let file = format!(
        "job: access.sums
description: Sums by class.
source: {{topics: logs.access, time: at, grace: 5m, idle_after: 20s, max_future: 1h, dedupe: {{by: event_id, for: 30s}}}}
where: status < 500
let: {{class: string(status / 100) + 'xx'}}
key: [class, who: client]
window: {{{window}}}
late: amend for 1d
aggregate: {{requests: count(), bytes: sum(bytes)}}
view: {{clustering: [who, class], retention: 3d}}
partitions: 2
freshness: 1h
"
    );
    let in_rust = columns(builder).unwrap_or_else(|problems| panic!("{problems}"));
    (in_rust, compile("job.yaml", &file, &access()).unwrap_or_else(|problems| panic!("{problems}")))
}

#[test]
fn a_head_means_the_same_both_ways() {
    for session in [false, true] {
        let (in_rust, of_file) = whole(session);
        let (head, spec) = (in_rust.head(), of_file.spec().clone());
        let mut same = tidemark_core::JobSpec { aggregates: spec.aggregates.clone(), ..head.spec().clone() };
        assert_eq!(same, spec);
        assert_eq!(head.spec().aggregates, ["requests: long", "bytes: integer or null", "reads bytes: int or null"]);
        same.aggregates = head.spec().aggregates.clone();
        assert_ne!(same.fingerprint(), spec.fingerprint(), "another fold");
        assert_eq!(head.columns().view, of_file.columns().view);
        assert_eq!(head.file().freshness.as_ref().map(|f| f.value), of_file.file().freshness.as_ref().map(|f| f.value));
        assert_eq!(head.file().description, of_file.file().description);
        assert_eq!(head.topics(), of_file.topics());
    }
}

/// The rows of all that a driver took, as people see them.
fn rows<J: Viewed>(job: J, records: &[replay::Arrival]) -> (Vec<Json>, tidemark_spec::trial::Counts) {
    let mut trial = Trial::new(Arc::new(job), 3).unwrap();
    for record in records {
        trial.arrive(record.clone());
        trial.commit().unwrap();
    }
    let row = |(start, row): (i64, tidemark_spec::trial::Shown)| {
        let cells = row.iter().map(|(name, value)| (name.clone(), value.clone()));
        json!([start, Json::Object(cells.collect())])
    };
    (trial.rows().into_iter().map(row).collect(), trial.counts())
}

#[test]
fn a_fold_in_rust_gives_the_rows_of_the_same_aggregates() {
    for (session, seed) in [(false, 1), (false, 2), (true, 3), (true, 4)] {
        let (in_rust, of_file) = whole(session);
        let records = sample(&of_file, 300, 3, seed).records;
        let (rows_in_rust, rows_of_file) = (rows(in_rust, &records), rows(of_file, &records));
        assert!(
            rows_of_file.0.len() > 20 && rows_of_file.1.filtered > 10 && rows_of_file.1.late > 5,
            "{rows_of_file:?}"
        );
        assert_eq!(rows_in_rust, rows_of_file);
    }
}

#[test]
fn a_job_in_rust_gives_the_same_figures_however_its_records_come() {
    let job = Arc::new(peaks::job().unwrap());
    let mut late = 0;
    for seed in 0..6 {
        let sample = sample(job.head(), 150, 3, seed);
        let checked = replay::check(&job, &sample, 4, seed).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((checked.ways, checked.records), (10, 150));
        assert!(checked.rows > 5);
        late += checked.late;
    }
    assert!(late > 20, "{late} late");
}

/// The last value that came: it depends on the order.
#[derive(Debug, Clone, Default, PartialEq)]
struct Whichever(i64);

impl Accumulator for Whichever {
    type Item<'a> = i64;
    fn add(&mut self, status: &i64) {
        self.0 = *status;
    }
    fn merge(&mut self, other: &Self) {
        self.0 = other.0;
    }
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }
    fn get(reader: &mut Reader<'_>) -> Result<Self, avro::Error> {
        Avro::get(reader).map(Self)
    }
}

impl Fold for Whichever {
    const READS: &'static [&'static str] = &["status"];
    type Input<'a> = (i64,);
    fn item<'a>((status,): Self::Input<'a>, _: Place) -> Result<Self::Item<'a>, Reject> {
        Ok(status)
    }
}

#[test]
fn a_fold_that_depends_on_the_order_is_found_out() {
    let head = Builder::new("access.whichever").source("logs.access", ACCESS).time("at");
    let head = head.tumbling(HOUR).late(Late::AmendFor(DAY));
    let job = Arc::new(head.column("status", "whichever", |last: &Whichever| last.0).build().unwrap());
    let found = (0..4).any(|seed| replay::check(&job, &sample(job.head(), 150, 3, seed), 4, seed).is_err());
    assert!(found);
}

#[test]
fn a_record_that_the_fold_rejects_is_a_dead_letter() {
    let mut trial = Trial::new(Arc::new(peaks::job().unwrap()), 1).unwrap();
    trial.push(0, &json!({"event_id": "a", "at": "2026-01-01T10:00:00Z", "status": 200, "bytes": -1}), None).unwrap();
    trial.expect(&json!({"dead_letters": 1, "rows": []})).unwrap();
    let unmet = trial.expect(&json!({"rows": []})).unwrap_err();
    assert_eq!(unmet.lines, ["record 0 was dead-lettered: bytes is -1; a body has 0 or more"]);
    let unmet = trial.expect(&json!({"rows": [{"klass": "2xx"}]})).unwrap_err();
    assert!(unmet.to_string().contains("the view has no column `klass`; did you mean `class`?"), "{unmet}");
    let wrong = trial.push(0, &json!({"event_id": "a", "at": "2026-01-01T10:00:00Z"}), None).unwrap_err();
    assert!(wrong.contains("`status` is missing; the job reads it, so a test must give it"), "{wrong}");
}

/// The page shows the example as it stands, and what its test says when it fails.
#[test]
fn the_page_shows_the_example() {
    let page = include_str!("../../../../docs/jobs.md");
    let shown: Vec<&str> = page.split("```rust\n").skip(1).map(|after| after.split("```").next().unwrap()).collect();
    assert_eq!(shown, [include_str!("../../../../examples/access-log/peaks.rs")]);
    let mut trial = Trial::new(Arc::new(peaks::job().unwrap()), 1).unwrap();
    trial.push(0, &json!({"at": "2026-01-01T10:00:00Z", "status": 200, "bytes": 400}), None).unwrap();
    let unmet = trial.expect(&json!({"rows": [{"class": "2xx", "records": 1, "peak_bytes": 401}]})).unwrap_err();
    assert!(page.contains(&format!("Error: {unmet}\n")), "{unmet}");
}

/// Every type that is read and every kind of column.
#[derive(Debug, Clone, Default, PartialEq)]
struct Everything(Vec<String>);

impl Accumulator for Everything {
    type Item<'a> = String;
    fn add(&mut self, text: &String) {
        self.0.push(text.clone());
        self.0.sort_unstable();
    }
    fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|text| self.add(text));
    }
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }
    fn get(reader: &mut Reader<'_>) -> Result<Self, avro::Error> {
        Avro::get(reader).map(Self)
    }
}

impl Fold for Everything {
    const READS: &'static [&'static str] = &["flag", "n", "ratio", "big", "text", "raw", "at", "owner.name"];
    type Input<'a> = (bool, i64, f64, i128, &'a str, &'a [u8], fold::Timestamp, Option<&'a str>);
    fn item<'a>(input: Self::Input<'a>, place: Place) -> Result<Self::Item<'a>, Reject> {
        assert_eq!(place.time, input.6.0);
        Ok(format!("{input:?}"))
    }
}

#[test]
fn every_type_is_read_and_every_kind_of_column_written() {
    let source = r#"{"type": "record", "name": "All", "fields": [
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}}, {"name": "flag", "type": "boolean"},
        {"name": "n", "type": "int"}, {"name": "ratio", "type": "float"}, {"name": "text", "type": "string"},
        {"name": "big", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 0}},
        {"name": "raw", "type": "bytes"}]}"#;
    let owners = r#"{"type": "record", "name": "Owner", "fields": [
        {"name": "id", "type": "long"}, {"name": "name", "type": "string"}]}"#;
    let job = Builder::<Everything>::new("all.kinds")
        .source("all", source)
        .time("at")
        .join("owner", Table { topic: "owners", schema: owners, key: "id", time: None }, "n")
        .tumbling(HOUR)
        .late(Late::Hold)
        .column("boolean", "of a fold", |_| true)
        .column("long", "of a fold", |all| all.0.len() as i64)
        .column("double", "of a fold", |_| 0.5)
        .column("whole", "of a fold", |_| 1_i128 << 100)
        .column("text", "of a fold", |all| all.0.join(" "))
        .column("instant", "of a fold", |_| fold::Timestamp(0))
        .column("list", "of a fold", |_| fold::Json(json!([1, {"a": null}])))
        .column("none", "of a fold", |_| None::<f64>)
        .column("some", "of a fold", |_| Some("x".to_owned()))
        .build()
        .unwrap_or_else(|problems| panic!("{problems}"));
    let schema = apache_avro::Schema::parse_str(&job.head().columns().schema.avsc).unwrap();
    let datum = row_of(&job, &Everything::default());
    let mut trial = Trial::new(Arc::new(job), 1).unwrap();
    trial.table("owner", &json!({"id": 7, "name": "Ann"}), Some(0)).unwrap();
    let mut record = json!({"at": 60_000, "flag": true, "n": 7, "ratio": 0.25, "text": "é", "raw": "r"});
    record["big"] = json!("99999999999999999999");
    trial.push(0, &record, None).unwrap();
    let text = "(true, 7, 0.25, 99999999999999999999, \"é\", [114], Timestamp(60000), Some(\"Ann\"))";
    trial
        .expect(&json!({"rows": [{
            "records": 1, "boolean": true, "long": 1, "double": 0.5, "whole": (1_i128 << 100).to_string(), "text": text,
            "instant": "1970-01-01T00:00:00Z", "list": [1, {"a": null}], "none": null, "some": "x",
        }]}))
        .unwrap();
    // By its schema, apache-avro reads the very values that were put.
    let read = GenericDatumReader::builder(&schema).build().unwrap().read_value(&mut datum.as_slice()).unwrap();
    let Value::Record(fields) = read else { panic!("{read:?}") };
    let got = |name: &str| fields.iter().find(|(field, _)| field == name).unwrap().1.clone();
    assert_eq!(got("double"), Value::Double(0.5));
    assert_eq!(got("instant"), Value::TimestampMillis(0));
    assert_eq!(got("list"), Value::String(r#"[1,{"a":null}]"#.to_owned()));
    assert_eq!(got("none"), Value::Union(0, Box::new(Value::Null)));
    assert_eq!(got("some"), Value::Union(1, Box::new(Value::String("x".to_owned()))));
    assert_eq!((got("records"), got("revision")), (Value::Long(3), Value::Long(5)));
}
