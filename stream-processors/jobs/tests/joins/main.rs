//! Streams joined with tables, and jobs of several topics, on the embedded log with real stages: against a computation on what
//! is on the topics, over restarts, in a version that reads everything again, and while the table cannot be read.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, in its helpers too")]

#[path = "../support/registry.rs"]
mod registry;
mod world;

use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use world::{Disk, HOUR_MS, NOON, Process};

const JOB: &str = "
job: done.by_partner
version: VERSION
source: {topics: labeling.done, time: at, grace: 10m, max_future: 3650d}
join:
  partner: {table: labeling.partners, key: id, on: partner_id, time: updated_at}
key: [name: 'coalesce(partner.name, \"nobody\")']
window: {tumbling: 1h}
late: amend for 7d
aggregate: {n: count()}
";

fn job(version: u32) -> String {
    JOB.replace("VERSION", &version.to_string())
}

/// The two sentences of docs/jobs.md, over what is on the topics.
fn expected(disk: &Disk) -> BTreeMap<(i64, String), i64> {
    let (stream, table) = (disk.read("labeling.done"), disk.read("labeling.partners"));
    let mut counts = BTreeMap::new();
    for record in &stream {
        let value = record.value.as_ref().unwrap();
        let (t, id) = (value["at"].as_i64().unwrap(), value["partner_id"].as_i64());
        let of_key = |change: &&world::Appended| Some(change.key.clone()) == id.map(|id| id.to_string());
        let time = |change: &world::Appended| {
            change.value.as_ref().map_or(change.appended_at, |value| value["updated_at"].as_i64().unwrap())
        };
        let seen =
            table.iter().filter(of_key).filter(|change| change.appended_at <= record.appended_at && time(change) <= t);
        let row = seen.max_by_key(|change| (time(change), change.appended_at, change.partition, change.offset));
        let name =
            row.and_then(|change| change.value.as_ref()).map_or("nobody", |value| value["name"].as_str().unwrap());
        *counts.entry((t.div_euclid(HOUR_MS) * HOUR_MS, name.to_owned())).or_default() += 1;
    }
    counts
}

fn done(process: &Process<'_>, n: i64, partner: Option<i64>, at: i64) {
    process.publish("labeling.done", n as u32 % 3, None, Some(&json!({"at": at, "partner_id": partner})));
}

fn partner(process: &Process<'_>, id: i64, name: &str, updated_at: i64) {
    let row = json!({"id": id, "name": name, "updated_at": updated_at});
    process.publish("labeling.partners", id as u32 % 2, Some(&id.to_string()), Some(&row));
}

#[test]
fn every_record_is_joined_with_the_row_of_its_time_over_restarts_and_again() {
    let disk = Disk::new();
    let mut records = 0;
    for life in 0..3_i64 {
        // What is there before the process starts is folded with the whole table.
        let quiet = Process::idle(&disk);
        for n in 0..30 {
            done(&quiet, n, Some(n % 4), NOON + life * HOUR_MS + n);
        }
        quiet.stop();
        let process = Process::start(&disk);
        if life == 0 {
            process.apply(&job(1));
        }
        for n in 0..120_i64 {
            let at = NOON + life * HOUR_MS + n * 1_000;
            match n % 10 {
                0 => partner(&process, n / 10 % 3, &format!("name {life} {n}"), at),
                // Of an earlier time than much that is folded already.
                5 => partner(&process, n / 10 % 3, &format!("late {life} {n}"), at - 20_000),
                _ => {}
            }
            if n == 77 {
                process.publish("labeling.partners", 1, Some("1"), None);
            }
            done(&process, n, (n % 7 != 0).then_some(n % 4), at);
        }
        records += 150;
        process.until_counted("done.by_partner", 1, records);
        assert_eq!(process.rows("done.by_partner", 1), expected(&disk), "life {life}");
        if life == 2 {
            let names: Vec<String> = expected(&disk).into_keys().map(|(_, name)| name).collect();
            assert!(
                names.len() > 20 && names.contains(&"nobody".to_owned()),
                "the test is of different rows: {names:?}"
            );
            process.apply(&job(2));
            process.until_counted("done.by_partner", 2, records);
            assert_eq!(process.rows("done.by_partner", 2), expected(&disk), "read again from the start");
        }
        process.stop();
    }
}

#[test]
fn nothing_is_folded_while_the_table_cannot_be_read() {
    let disk = Disk::new();
    let process = Process::start(&disk);
    partner(&process, 1, "Acme", NOON);
    process.log.away.store(true, Ordering::SeqCst);
    process.apply(&job(1));
    (0..50).for_each(|n| done(&process, n, Some(1), NOON + n));
    process.until("somebody says what is in the way", || {
        process.why("done.by_partner").is_some_and(|why| why.contains("the table is away"))
    });
    process.until_missed_again();
    assert_eq!(process.counted("done.by_partner", 1), 0);
    process.log.away.store(false, Ordering::SeqCst);
    process.until_counted("done.by_partner", 1, 50);
    assert_eq!(process.rows("done.by_partner", 1), [((NOON, "Acme".to_owned()), 50)].into());
    // Once more, in the middle of work: what was read stays read.
    process.log.away.store(true, Ordering::SeqCst);
    (0..50).for_each(|n| done(&process, n, Some(1), NOON + n));
    process.until_missed_again();
    assert_eq!(process.counted("done.by_partner", 1), 50);
    process.log.away.store(false, Ordering::SeqCst);
    partner(&process, 1, "Other", NOON);
    process.until_counted("done.by_partner", 1, 100);
    assert_eq!(process.rows("done.by_partner", 1), expected(&disk));
    process.stop();
}

/// A record that cannot be read holds nobody up.
#[test]
fn a_table_record_that_cannot_be_used_is_passed_over() {
    let disk = Disk::new();
    let process = Process::start(&disk);
    process.publish_raw("labeling.partners", 0, b"no avro");
    partner(&process, 1, "Acme", NOON);
    process.apply(&job(1));
    done(&process, 0, Some(1), NOON);
    process.until_counted("done.by_partner", 1, 1);
    assert_eq!(process.rows("done.by_partner", 1), [((NOON, "Acme".to_owned()), 1)].into());
    process.stop();
}

#[test]
fn the_records_of_both_topics_are_counted_and_add_up() {
    const BOTH: &str = "
job: clicks.all
source: {topics: [site.clicks, app.clicks], time: at, max_future: 3650d}
where: path != 'health'
key: [name: path]
window: {tumbling: 1h}
late: amend for 7d
aggregate: {n: count(), first: first(device), total: sum(weight)}
";
    let disk = Disk::new();
    let (mut records, mut wanted, mut weights) = (0, BTreeMap::new(), 0);
    for life in 0..2_i64 {
        let process = Process::start(&disk);
        if life == 0 {
            process.apply(BOTH);
        }
        for n in 0..300_i64 {
            let path = ["a", "b", "health"][n as usize % 3];
            // The topics have schemas of their own, with the fields in another order, and partitions of another number.
            let (topic, partition) = if n % 2 == 0 { ("site.clicks", n % 3) } else { ("app.clicks", n % 2) };
            let at = NOON + n;
            process.publish(
                topic,
                partition as u32,
                None,
                Some(&json!({"at": at, "path": path, "device": topic, "weight": n})),
            );
            if path != "health" {
                *wanted.entry((NOON, path.to_owned())).or_default() += 1;
                weights += n;
            }
        }
        records += 300;
        process.until_counted("clicks.all", 1, records);
        assert_eq!(process.rows("clicks.all", 1), wanted);
        let folded: i64 = wanted.values().sum();
        assert_eq!(process.ledger("clicks.all"), (folded, records - folded), "in windows and filtered, of both topics");
        assert_eq!(
            process.sources("clicks.all"),
            [("app.clicks".to_owned(), 150 * (life + 1)), ("site.clicks".to_owned(), 150 * (life + 1))].into()
        );
        assert_eq!(process.values("clicks.all", "total").iter().sum::<i64>(), weights);
        process.stop();
    }
}
