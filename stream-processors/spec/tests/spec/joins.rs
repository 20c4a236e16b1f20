//! Streams joined with tables: what a record sees, and what is refused.

use crate::support::Schemas;
use serde_json::{Value as Json, json};
use std::sync::Arc;
use tidemark_core::join::{Change, KeyedTable, TABLE_BEHIND};
use tidemark_core::{Input, Job};
use tidemark_spec::datum::Maker;
use tidemark_spec::trial::Trial;
use tidemark_spec::{Problems, SpecJob, compile, inline};

const DONE: &str = r#"{"type": "record", "name": "Done", "fields": [
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "partner_id", "type": ["null", "long"]},
    {"name": "queue", "type": "string"},
    {"name": "pages", "type": "long"},
    {"name": "meta", "type": {"type": "record", "name": "Meta", "fields": [{"name": "source", "type": "string"}]}}]}"#;
const PARTNERS: &str = r#"{"type": "record", "name": "Partner", "fields": [
    {"name": "id", "type": "long"},
    {"name": "name", "type": "string"},
    {"name": "unused", "type": "string"},
    {"name": "rate", "type": ["null", "double"]},
    {"name": "logo", "type": "bytes"},
    {"name": "updated_at", "type": {"type": "long", "logicalType": "timestamp-millis"}}]}"#;
const QUEUES: &str = r#"{"type": "record", "name": "Queue", "fields": [
    {"name": "name", "type": "string"}, {"name": "owner", "type": "string"}]}"#;

const JOB: &str = r#"
job: done.by_partner
source: {topics: labeling.done, time: at}
join:
  partner:
    table: labeling.partners
    key: id
    on: partner_id
    time: updated_at
  queue_row: {table: labeling.queues, key: name, on: queue.lowerAscii()}
where: queue != "test"
let:
  cost: double(pages) * coalesce(partner.rate, 0.0)
key:
  - partner: coalesce(partner.name, "nobody")
  - owner: coalesce(queue_row.owner, "none")
window: {tumbling: 1h}
late: amend for 7d
aggregate:
  done: count()
  cost: sum(cost)
  named: count_if(partner.name != null && size(partner.name) > 1)
"#;

fn job(text: &str) -> Result<Arc<SpecJob>, Problems> {
    let schemas = [("labeling.done", DONE), ("labeling.partners", PARTNERS), ("labeling.queues", QUEUES)];
    compile("job.yaml", text, &Schemas(schemas.into())).map(Arc::new)
}

fn said(problems: Result<Arc<SpecJob>, Problems>) -> String {
    problems.map(|_| ()).unwrap_err().to_string()
}

#[track_caller]
fn passes(tests: &str) {
    let job = job(&format!("{JOB}tests:\n{tests}")).unwrap_or_else(|problems| panic!("{problems}"));
    for outcome in inline::run("job.yaml", &job).unwrap_or_else(|problems| panic!("{problems}")) {
        assert!(outcome.failures.is_empty(), "{outcome}");
    }
}

#[test]
fn a_record_sees_the_row_of_its_own_time() {
    passes(
        "
- steps:
    - table: {partner: [{id: 1, name: Old, rate: 2.0, updated_at: '2026-01-01T10:00:00Z'}, {id: 1, name: New, rate: 3.0, updated_at: '2026-01-01T10:30:00Z'}]}
    - push:
        - {at: '2026-01-01T10:31:00Z', partner_id: 1, queue: a, pages: 10}
        - {at: '2026-01-01T10:29:59Z', partner_id: 1, queue: a, pages: 10}
        - {at: '2026-01-01T10:30:00Z', partner_id: 1, queue: a, pages: 1}
        - {at: '2026-01-01T09:59:59Z', partner_id: 1, queue: a, pages: 10}
        - {at: '2026-01-01T10:30:00Z', partner_id: 2, queue: a, pages: 10}
        - {at: '2026-01-01T10:30:00Z', partner_id: null, queue: a, pages: 10}
        - {at: '2026-01-01T10:30:00Z', partner_id: 1, queue: test, pages: 10}
    - expect:
        filtered: 1
        rows:
          - {window_start: '2026-01-01T09:00:00Z', partner: nobody, owner: none, done: 1, cost: 0.0, named: 0}
          - {window_start: '2026-01-01T10:00:00Z', partner: Old, owner: none, done: 1, cost: 20.0, named: 1}
          - {window_start: '2026-01-01T10:00:00Z', partner: New, owner: none, done: 2, cost: 33.0, named: 2}
          - {window_start: '2026-01-01T10:00:00Z', partner: nobody, owner: none, done: 2, cost: 0.0, named: 0}
",
    );
}

#[test]
fn a_table_record_that_comes_late_counts_for_what_comes_after_it() {
    passes(
        "
- steps:
    - push: {at: '2026-01-01T10:05:00Z', partner_id: 1, queue: a, pages: 1}
    - table: {partner: {id: 1, name: Acme, rate: 1.0, updated_at: '2026-01-01T10:00:00Z'}}
      arrives: '2026-01-01T10:06:00Z'
    - push: {at: '2026-01-01T10:05:00Z', partner_id: 1, queue: a, pages: 1}
    - expect:
        rows:
          - {partner: nobody, owner: none, done: 1}
          - {partner: Acme, owner: none, done: 1, cost: 1.0}
",
    );
}

#[test]
fn a_deleted_row_is_gone_from_then_on() {
    passes(
        "
- steps:
    - table: {partner: {id: 1, name: Acme, rate: 1.0, updated_at: '2026-01-01T10:00:00Z'}}
    - delete: {partner: 1}
      arrives: '2026-01-01T10:30:00Z'
    - push:
        - {at: '2026-01-01T10:29:59Z', partner_id: 1, queue: a, pages: 1}
        - {at: '2026-01-01T10:30:00Z', partner_id: 1, queue: a, pages: 1}
    - expect: {rows: [{partner: Acme, owner: none, done: 1}, {partner: nobody, owner: none, done: 1}]}
    - table: {partner: {id: 1, name: Acme, rate: 1.0, updated_at: '2026-01-01T10:40:00Z'}}
    - push: {at: '2026-01-01T10:41:00Z', partner_id: 1, queue: a, pages: 1}
    - expect: {rows: [{partner: Acme, owner: none, done: 2}, {partner: nobody, owner: none, done: 1}]}
",
    );
}

#[test]
fn without_a_time_a_row_counts_from_its_arrival_and_two_tables_are_joined_at_once() {
    passes(
        "
- steps:
    - push: {at: '2026-01-01T10:00:00Z', partner_id: 1, queue: Maps, pages: 1}
    - table:
        queue_row: {name: maps, owner: ann}
        partner: {id: 1, name: Acme, rate: null, updated_at: '2026-01-01T09:00:00Z'}
      arrives: '2026-01-01T10:10:00Z'
    - push:
        - {at: '2026-01-01T10:10:00Z', partner_id: 1, queue: Maps, pages: 1}
        - {at: '2026-01-01T10:09:59Z', partner_id: 1, queue: Maps, pages: 1}
    - expect:
        rows:
          - {partner: nobody, owner: none, done: 1}
          - {partner: Acme, owner: ann, done: 1, cost: 0.0}
          - {partner: Acme, owner: none, done: 1}
",
    );
}

#[test]
fn each_test_begins_with_empty_tables() {
    passes(
        "
- steps: [{table: {partner: {id: 1, name: Acme, rate: 1.0, updated_at: '2026-01-01T10:00:00Z'}}}, {expect: {rows: []}}]
- steps:
    - push: {at: '2026-01-01T10:00:00Z', partner_id: 1, queue: a, pages: 1}
    - expect: {rows: [{partner: nobody, owner: none, done: 1}]}
",
    );
}

#[test]
fn nothing_is_said_of_a_record_beyond_what_is_read() {
    let job = job(JOB).unwrap();
    let maker = Maker::new(DONE, &[]).unwrap();
    let datum = maker.datum(&json!({"at": 5_000, "partner_id": 1})).unwrap();
    let key = |appended_at| {
        let mut scratch = Vec::new();
        let input = Input { appended_at, ..Input::of(&datum) };
        job.read(input, &mut scratch).map(|sample| sample.key.to_vec()).map_err(|reject| reject.rule)
    };
    assert_eq!(key(5_000), Err(TABLE_BEHIND));
    job.tables().iter().for_each(|table| table.is_read(6_000));
    assert_eq!(key(6_000), Err(TABLE_BEHIND), "in that millisecond more may come");
    assert!(key(5_999).is_ok());
    job.tables()[0].clear();
    assert_eq!(key(5_999), Err(TABLE_BEHIND));
}

#[test]
fn what_is_forgotten_is_asked_for_again() {
    let short = "coalesce(partner.name, \"nobody\").substring(0, 1)";
    let job = job(&JOB.replace("coalesce(partner.name, \"nobody\")", short)).unwrap();
    let maker = Maker::new(PARTNERS, &[]).unwrap();
    let table = &job.joins()[0].table;
    // 140 MiB of 256.
    let long = "x".repeat(100 << 10);
    let fill = |n: i64| {
        for offset in 0..n {
            let datum = maker.datum(&json!({"id": offset % 7, "name": long, "updated_at": offset})).unwrap();
            table.apply(Change { appended_at: offset, partition: 0, offset, key: None, datum: Some(&datum) }).unwrap();
        }
        job.settle();
    };
    let done = Maker::new(DONE, &[]).unwrap();
    let read = |at: i64| {
        let datum = done.datum(&json!({"at": at, "partner_id": 1})).unwrap();
        let (mut scratch, appended_at) = (Vec::new(), 2_000);
        let read = job.read(Input { appended_at, ..Input::of(&datum) }, &mut scratch);
        read.map(|_| ()).map_err(|reject| reject.rule)
    };
    let need = tidemark_core::versions::Need { event_time: 1_000, appended_at: 1_000 };
    fill(1_100);
    table.forget(need);
    assert_eq!(read(100), Ok(()), "a small table forgets nothing");
    fill(1_400);
    table.forget(need);
    assert_eq!((read(1_000), table.is_missed()), (Ok(()), false));
    assert_eq!((read(100), table.is_missed()), (Err(TABLE_BEHIND), true));
    table.clear();
    assert!(!table.is_missed());
    fill(1_400);
    table.forget(need);
    assert_eq!(read(100), Ok(()), "after that it keeps more");
}

#[test]
fn what_is_wrong_with_a_join_is_said() {
    let cases: &[(&str, &str, &str)] = &[
        (
            "table: labeling.partners",
            "table: labeling.partner",
            "job.yaml:6:12: there is no topic `labeling.partner` with a schema; did you mean `labeling.partners`?",
        ),
        (
            "key: id",
            "key: ident",
            "`join.partner.key` names `ident`, which is no field of labeling.partners; there is id, name",
        ),
        ("key: id", "key: nam", "did you mean `name`?"),
        ("key: id", "key: rate", "`join.partner.key` takes string or int; `rate` is double"),
        ("time: updated_at", "time: id", "`join.partner.time` takes timestamp; `id` is int"),
        (
            "on: partner_id",
            "on: queue",
            "`join.partner.on` is string, and the key `id` of labeling.partners is int; write an expression that is int: int(x)",
        ),
        ("on: partner_id", "on: partnerid", "did you mean `partner_id`?"),
        ("on: partner_id", "on: cost", "called `cost`"),
        (
            "partner.name, \"nobody\"",
            "partner.nam, \"nobody\"",
            "job.yaml:15:30: there is no field of labeling.done (nor of a table, nor `let`) called `partner.nam`; did you mean `partner.name`?",
        ),
        (
            "partner.name, \"nobody\"",
            "string(partner.logo), \"nobody\"",
            "`partner.logo`: bytes of a table cannot be used in expressions",
        ),
        ("coalesce(partner.name, \"nobody\")", "partner.name", "the key `partner` may be null"),
        (
            "  partner:\n    table",
            "  meta:\n    table",
            "`meta` is a field of the source already; give the join another name",
        ),
        ("  cost: double", "  partner: 1\n  cost: double", "`partner` is the name of a join already"),
        ("    key: id\n", "", "`join.partner.key` is missing; name the field of the table's records that is its key"),
        ("    key: id", "    kee: id", "there is no key `kee` under `join.partner`; did you mean `key`?"),
        ("  partner:\n    table", "  records:\n    table", "`records` is a column that every view has"),
        ("key: name, on", "key: name, time: owner, on", "`join.queue_row.time` takes timestamp; `owner` is string"),
    ];
    for (from, to, expected) in cases {
        let text = JOB.replacen(from, to, 1);
        assert_ne!(text, JOB, "{from}");
        let problems = said(job(&text));
        assert!(problems.contains(expected), "{to}: {expected}\n{problems}");
    }
    let tests = "- steps: [{table: {partnr: {id: 1}}}, {expect: {late: 0}}]\n";
    let wrong = inline::run("job.yaml", &job(&format!("{JOB}tests:\n{tests}")).unwrap()).unwrap_err().to_string();
    assert!(wrong.contains("the job has no join `partnr`; did you mean `partner`?"), "{wrong}");
    let tests = "- steps: [{table: {partner: {id: 1}}}, {expect: {late: 0}}]\n";
    let wrong = inline::run("job.yaml", &job(&format!("{JOB}tests:\n{tests}")).unwrap()).unwrap_err().to_string();
    assert!(wrong.contains("`name` is missing; the job reads it"), "{wrong}");
}

#[test]
fn a_join_is_part_of_what_a_job_means() {
    let spec = |text: &str| job(text).unwrap().spec().clone();
    let own = spec(JOB);
    assert_eq!(own.expressions[0], "join partner = labeling.partners by id on partner_id at updated_at");
    assert_eq!(own.expressions[1], "join queue_row = labeling.queues by name on queue.lowerAscii()");
    for (from, to) in
        [("    time: updated_at\n", ""), ("on: partner_id", "on: pages"), ("on: queue.lowerAscii()", "on: queue")]
    {
        assert_ne!(spec(&JOB.replacen(from, to, 1)).fingerprint(), own.fingerprint(), "{from}");
    }
    let schemas: Vec<&str> = own.sources.iter().map(String::as_str).collect();
    assert_eq!(schemas, ["labeling.done"], "a table is no source: it has no watermark");
}

/// An expression of the record that cannot be computed sends the record to the dead letters.
#[test]
fn a_key_that_cannot_be_computed_is_a_dead_letter() {
    let job = job(&JOB.replace("on: partner_id", "on: int(queue)")).unwrap();
    let mut trial = Trial::new(job, 1).unwrap();
    let push = |trial: &mut Trial<SpecJob>, record: Json| trial.push(0, &record, None).unwrap();
    push(&mut trial, json!({"at": "2026-01-01T10:00:00Z", "partner_id": 1, "queue": "x", "pages": 1}));
    push(&mut trial, json!({"at": "2026-01-01T10:00:00Z", "partner_id": 1, "queue": "7", "pages": 1}));
    let dead: Vec<String> = trial.dead_letters().map(|(_, _, why)| why.to_owned()).collect();
    assert_eq!(dead, ["join partner: `int(queue)`: \"x\" is not a whole number, with queue = \"x\""]);
    assert_eq!((trial.counts().records, trial.rows().len()), (2, 1));
}
