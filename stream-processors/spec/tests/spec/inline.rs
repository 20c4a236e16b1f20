//! Tests in a file: that they can fail, and what they can say.

use crate::support::{EVENT, Schemas, event_job};
use std::sync::Arc;
use tidemark_spec::{compile, inline};

const PUSH: &str = "{push: {k: x, at: 2026-01-01T10:00:00Z}}";

/// What cannot fail proves nothing: it is refused where it stands.
#[test]
fn tests_that_cannot_fail_are_refused() {
    for (steps, place, what) in [
        ("{expect: {late: banana}}", "banana", "`late` is a whole number, not `banana`"),
        ("{expect: {dead_letters: none}}", "none", "`dead_letters` is a whole number, not `none`"),
        ("{expect: {duplicates: -1}}", "-1", "`duplicates` is a whole number, not `-1`"),
        ("{push: [], partition: two}, {expect: {late: 0}}", "two", "`partition` is a whole number, not `two`"),
        (
            "{expect: {window: 2026-01-01T10:30:00Z, rows: []}}",
            "2026-01-01T10:30:00Z",
            "no window starts at 2026-01-01T10:30:00Z; the one that holds it starts at 2026-01-01T10:00:00Z",
        ),
        ("{advance: 1h}", "steps", "the test expects nothing, so it cannot fail; add a step with `expect`"),
        ("{expect: {}}", "{}", "`expect` names nothing to compare"),
        ("{expect: {window: 2026-01-01T10:00:00Z}}", "{window", "`expect` names nothing to compare"),
        (
            "{expect: {state: opne, window: 2026-01-01T10:00:00Z}}",
            "opne",
            "there is no state `opne`; did you mean `open`?",
        ),
        ("{arrives: 2026-01-01T10:00:00Z}, {expect: {late: 0}}", "{arrives", "the step does nothing"),
    ] {
        let job = event_job(&format!("tests:\n  - steps: [{PUSH}, {steps}]\n")).unwrap();
        let problems = inline::run("job.yaml", &job).map(|_| ()).expect_err(steps);
        assert!(problems.to_string().contains(what), "{steps}: {what}\n{problems}");
        let at = problems.problems[0].at;
        let line = job.text().lines().nth(at.line - 1).unwrap();
        assert!(line[at.column - 1..].starts_with(place), "{steps}: {place}\n{problems}");
    }
}

/// A field that the job does not read is filled in, whatever its shape; defaults are read as Avro has them.
#[test]
fn what_the_job_does_not_read_is_filled_in() {
    let job = event_job(
        "
aggregate: {c: count(), whole: sum(whole), raw: max(size(raw))}
tests:
  - steps:
      - push:
          - {k: x, at: 2026-01-01T10:00:00Z}
          - {k: x, at: 2026-01-01T10:00:00Z, whole: 4, money: 12.30, raw: ab}
          - {k: x, at: 2026-01-01T10:00:00Z, money: '-0.5'}
      - expect: {rows: [{k: x, c: 3, whole: 6, raw: 2}]}
",
    );
    let job = job.unwrap_or_else(|problems| panic!("{problems}"));
    let outcomes = inline::run("job.yaml", &job).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(outcomes[0].failures.is_empty(), "{}", outcomes[0]);
    let job = event_job("tests:\n  - steps: [{push: {k: x, at: 5, money: 1.234}}, {expect: {late: 0}}]\n").unwrap();
    let said = inline::run("job.yaml", &job).unwrap_err().to_string();
    assert!(said.contains("`money` is a decimal of at most 2 digits after the point, not 1.234"), "{said}");
}

/// Each topic has a schema of its own.
#[test]
fn records_can_be_pushed_to_any_topic() {
    const OTHER: &str = r#"{"type": "record", "name": "Other", "fields": [
        {"name": "more", "type": "string"}, {"name": "k", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}}]}"#;
    let file = |topic: &str| {
        format!(
            "
job: events.both
source: {{topics: [events, others], time: at}}
key: [k]
window: {{tumbling: 1h}}
late: hold
aggregate: {{c: count()}}
tests:
  - steps:
      - push: {{k: x, at: 2026-01-01T10:00:00Z}}
      - push: {{k: x, at: 2026-01-01T10:00:00Z, more: y}}
        topic: {topic}
      - push: {{k: x, at: 2026-01-01T10:00:00Z, n: 1}}
        topic: events
      - expect: {{rows: [{{k: x, c: 3}}]}}
"
        )
    };
    let run = |topic| {
        let job = compile("job.yaml", &file(topic), &Schemas([("events", EVENT), ("others", OTHER)].into())).unwrap();
        inline::run("job.yaml", &Arc::new(job))
    };
    let outcomes = run("others").unwrap_or_else(|problems| panic!("{problems}"));
    assert!(outcomes[0].failures.is_empty(), "{}", outcomes[0]);
    let said = run("other").unwrap_err().to_string();
    assert!(said.contains("job.yaml:12:16: the job does not read `other`; did you mean `others`?"), "{said}");
}

/// What has no value on a record is told with it, and what is no number in JSON is no null.
#[test]
fn odd_values_are_what_they_are() {
    let job = event_job(
        "
aggregate: {c: count(), nan: max(d / d), up: max(1.0 / d), down: min(-1.0 / d)}
tests:
  - steps:
      - push: {k: x, at: 2026-01-01T10:00:00Z, d: 0}
      - expect: {rows: [{k: x, c: 1, nan: NaN, up: Infinity, down: -Infinity}]}
",
    );
    let job = job.unwrap_or_else(|problems| panic!("{problems}"));
    let outcome = &inline::run("job.yaml", &job).unwrap()[0];
    assert!(outcome.failures.is_empty(), "{outcome}");
    for (aggregate, value, why) in [
        ("max(timestamp(id))", "id: '1700000000'", "is not RFC 3339"),
        ("max(-whole)", "whole: '-170141183460469231731687303715884105728'", "does not fit 128 bits"),
    ] {
        let file = format!(
            "
aggregate: {{a: {aggregate}}}
tests:
  - steps:
      - push: {{k: x, at: 2026-01-01T10:00:00Z, {value}}}
      - expect: {{late: 0}}
"
        );
        let outcome = inline::run("job.yaml", &event_job(&file).unwrap()).unwrap()[0].to_string();
        assert!(outcome.contains("was dead-lettered") && outcome.contains(why), "{outcome}");
    }
}
