//! Which keys of a file are part of its version: every key of the reference is varied.

use crate::support::{ACCESS, Schemas};
use tidemark_core::Job;
use tidemark_spec::compile;
use tidemark_spec::file::KEYS;

const PARTNERS: &str = r#"{"type": "record", "name": "Partner", "fields": [
    {"name": "tenant", "type": "string"}, {"name": "id", "type": "string"}, {"name": "other", "type": "string"},
    {"name": "name", "type": "string"},
    {"name": "since", "type": {"type": "long", "logicalType": "timestamp-millis"}}]}"#;

const FILE: &str = "
job: events.hourly
version: 1
description: Events.
source:
  topics: events
  time: at
  grace: 10m
  idle_after: 30s
  max_future: 10m
  dedupe: {by: id, for: 1h}
join:
  partner: {table: partners, key: id, on: k, time: since}
where: n > 0
let:
  twice: n * 2
key: [k, k2]
window: {tumbling: 1h}
late: amend for 1d
aggregate:
  sum: sum(twice)
  named: count_if(partner.name != null)
emit:
  more: named * 2
view: {clustering: [k2, k], retention: 7d}
partitions: 4
freshness: 1h
tests: []
";

/// `source.views` is in the place of `source.topics`.
const OF_VIEWS: &str = "
job: events.daily
source: {views: access.hourly}
window: {tumbling: 1d}
late: amend for 1d
aggregate: {requests: sum(requests)}
";

/// A key, what is changed, and whether it is another version then.
const CHANGES: &[(&str, &str, &str, bool)] = &[
    ("job", "job: events.hourly", "job: events.daily", true),
    ("version", "version: 1", "version: 2", true),
    ("description", "description: Events.", "description: All events.", false),
    ("source.topics", "topics: events", "topics: [events, others]", true),
    ("source.views", "views: access.hourly", "views: access.sessions", true),
    ("source.time", "time: at", "time: seen_at", true),
    ("source.grace", "grace: 10m", "grace: 11m", true),
    ("source.idle_after", "idle_after: 30s", "idle_after: 31s", false),
    ("source.max_future", "max_future: 10m", "max_future: 11m", false),
    ("source.dedupe.by", "by: id", "by: k2", true),
    ("source.dedupe.for", "for: 1h", "for: 2h", true),
    (
        "join",
        "  partner: {table: partners, key: id, on: k, time: since}\n",
        "  partner: {table: partners, key: id, on: k, time: since}\n  another: {table: partners, key: id, on: k}\n",
        true,
    ),
    ("join.NAME.table", "table: partners", "table: customers", true),
    ("join.NAME.key", "key: id,", "key: other,", true),
    ("join.NAME.on", "on: k,", "on: k2,", true),
    ("join.NAME.time", ", time: since", "", true),
    ("where", "where: n > 0", "where: n > 1", true),
    ("let", "twice: n * 2", "twice: n * 3", true),
    ("key", "key: [k, k2]", "key: [k2, k]", true),
    ("window.tumbling", "tumbling: 1h", "tumbling: 2h", true),
    ("window.hopping", "tumbling: 1h", "hopping: 1h, every: 1h", true),
    ("window.every", "tumbling: 1h", "hopping: 1h, every: 30m", true),
    ("window.session", "tumbling: 1h", "session: 1h", true),
    ("late", "late: amend for 1d", "late: amend for 2d", true),
    ("aggregate", "sum: sum(twice)", "sum: max(twice)", true),
    ("emit", "more: named * 2", "more: named * 3", true),
    ("view.clustering", "clustering: [k2, k]", "clustering: [k, k2]", true),
    ("view.retention", "retention: 7d", "retention: 8d", false),
    ("partitions", "partitions: 4", "partitions: 5", true),
    ("freshness", "freshness: 1h", "freshness: 2h", false),
    ("tests", "tests: []\n", "", false),
];

fn fingerprint(text: &str) -> i64 {
    let more = crate::support::EVENT.replacen(
        "{\"name\": \"k\",",
        "{\"name\": \"seen_at\", \"type\": {\"type\": \"long\", \"logicalType\": \"timestamp-millis\"}}, {\"name\": \"k\",",
        1,
    );
    let more: &'static str = more.leak();
    let tables = [("partners", PARTNERS), ("customers", PARTNERS)];
    let schemas =
        Schemas([("events", more), ("others", more), ("logs.access", ACCESS)].into_iter().chain(tables).collect());
    compile("job.yaml", text, &schemas).unwrap_or_else(|problems| panic!("{problems}")).spec().fingerprint()
}

#[test]
fn every_key_is_part_of_the_version_or_is_not() {
    for key in KEYS {
        assert!(
            CHANGES.iter().any(|(path, ..)| *path == key.path),
            "say of `{}` whether it is part of the version",
            key.path
        );
    }
    for (path, from, to, changes) in CHANGES {
        let file = if *path == "source.views" { OF_VIEWS } else { FILE };
        assert!(file.contains(from), "{from}");
        assert_eq!(fingerprint(&file.replacen(from, to, 1)) != fingerprint(file), *changes, "{path}: {to}");
    }
}

/// The key's own order is the same order, said or not.
#[test]
fn the_order_that_is_the_keys_own_is_no_change() {
    let own = |view: &str| fingerprint(&FILE.replacen("clustering: [k2, k], ", view, 1));
    assert_eq!(own(""), own("clustering: [k, k2], "));
}
