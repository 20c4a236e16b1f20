//! The life of a job with a join on real Kafka, a real CQL store and a real registry: its figures against plain arithmetic, their
//! proof, another version beside it, both ways of the switch, and the end of a version, whose number is then used again.

use crate::jobs::rows;
use crate::process::{Tidemark, eventually, get, post};
use crate::recompute::job;
use crate::servers::Servers;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tidemark_log::{At, Log, TopicPartition};

const VIEW: &str = "labeling.by_partner";
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/labeling/");
const MIDNIGHT: i64 = 1_767_225_600_000; // 1 January 2026
const HOUR_MS: i64 = 3_600_000;
/// When the price of partner 1 rises.
const RISE: i64 = MIDNIGHT + 3 * HOUR_MS;

/// Hour and partner → tasks and cents.
type Figures = BTreeMap<(i64, String), (i64, i64)>;

/// A task: when, for whom, how many pages.
type Task = (i64, Option<i64>, i64);

fn tasks(count: i64, minute: i64) -> Vec<Task> {
    let task = |n: i64| (MIDNIGHT + n * 6 * HOUR_MS / count + minute, Some(n % 3).filter(|id| *id > 0), n % 11 + 1);
    (0..count).map(task).collect()
}

/// What the tasks cost, at `in_house` cents a page where no partner did them; partner 1 takes 12 cents after its rise, else 10.
fn count(figures: &mut Figures, tasks: &[Task], risen: bool, in_house: i64) {
    for &(at, partner, pages) in tasks {
        let (name, price) = match partner {
            Some(1) if risen && at >= RISE => ("Acme", 12),
            Some(1) => ("Acme", 10),
            Some(_) => ("Bolt", 7),
            None => ("in house", in_house),
        };
        let row = figures.entry(((at - MIDNIGHT).div_euclid(HOUR_MS), name.to_owned())).or_default();
        *row = (row.0 + 1, row.1 + pages * price);
    }
}

fn publish(platform: &Tidemark, topic: &str, events: &[Value]) {
    let body: String = events.iter().map(|event| format!("{event}\n")).collect();
    let url = format!("{}/v1/events/{topic}", platform.url);
    let answer = post(&url, "application/x-ndjson", body.as_bytes()).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
}

fn publish_tasks(platform: &Tidemark, tasks: &[Task]) {
    let event = |(at, partner, pages): &Task| json!({"at": at, "partner_id": partner, "pages": pages});
    for chunk in tasks.chunks(100) {
        publish(platform, "labeling.done", &chunk.iter().map(event).collect::<Vec<_>>());
    }
}

/// Publishes changes of partners and waits until they are on the topic: what is appended after them sees them.
fn change_partners(servers: &Servers, platform: &Tidemark, changes: &[Value], all: usize) {
    publish(platform, "labeling.partners", changes);
    eventually("the partners are on their topic", || {
        let there = records_on(servers, "labeling.partners");
        if there == all { Ok(()) } else { Err(format!("{there} of {all}")) }
    });
}

fn records_on(servers: &Servers, topic: &str) -> usize {
    let log = servers.log();
    let count = log.partitions(topic).unwrap().unwrap();
    let partitions: Vec<_> = (0..count).map(|partition| TopicPartition::new(topic, partition)).collect();
    let ends = log.offsets(&partitions, At::StableEnd).unwrap();
    let mut reader = log.reader(&partitions.iter().map(|at| (at.clone(), 0)).collect::<Vec<_>>()).unwrap();
    let mut records = 0;
    while partitions.iter().zip(&ends).any(|(at, end)| reader.position(at).unwrap() < *end) {
        reader.poll(Duration::from_millis(50), &mut |batch| records += batch.records.len()).unwrap();
    }
    records
}

fn served(platform: &Tidemark, version: u32) -> Figures {
    let figure = |row: Value| {
        let start = row["window_start"].as_str().unwrap().to_owned();
        let hour = start["2026-01-01T".len()..][..2].parse().unwrap();
        let number = |name: &str| row[name].as_i64().unwrap();
        ((hour, row["partner"].as_str().unwrap().to_owned()), (number("tasks"), number("cents")))
    };
    rows(platform, VIEW, &format!("&version={version}")).into_iter().map(figure).collect()
}

fn until_served(platform: &Tidemark, version: u32, wanted: &Figures) {
    eventually(&format!("the figures of version {version}"), || {
        let found = served(platform, version);
        if found == *wanted { Ok(()) } else { Err(format!("{found:?}\nwanted {wanted:?}")) }
    });
}

/// Runs a command that is to end with this status, and gives what it said.
fn told(platform: &Tidemark, args: &[&str], status: i32) -> String {
    let (exit, said, told) = job(&platform.url, args);
    assert_eq!(exit, status, "{args:?}: {said}{told}");
    said + &told
}

fn until_current(platform: &Tidemark, version: i64) {
    eventually(&format!("version {version} is current"), || {
        let answer = get(&format!("{}/v1/views/{VIEW}?window=2026-01-01T00:00:00Z", platform.url)).unwrap();
        match answer.json()["version"].as_i64() {
            Some(found) if found == version => Ok(()),
            _ => Err(answer.body),
        }
    });
}

/// A file of version 2, in which pages of no partner cost so many cents.
fn version_two(dir: &Path, in_house: i64) -> String {
    let text = std::fs::read_to_string(format!("{EXAMPLES}labeling.by_partner.yaml")).unwrap();
    let (from, to) = ("cents_a_page, 0)", format!("cents_a_page, {in_house})"));
    assert!(text.contains(from) && text.contains("version: 1"));
    let text = text.split("tests:").next().unwrap().replace("version: 1", "version: 2").replace(from, &to);
    let file = dir.join("labeling.by_partner.yaml");
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

/// Topics, groups and tables of a version, by Kafka's own tools and the store's own answer.
fn left_of(servers: &Servers, version: u32) -> Vec<String> {
    let topics = servers.tool("org.apache.kafka.tools.TopicCommand", &["--list"]);
    let groups = servers.tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", &["--list"]);
    let names = topics.lines().chain(groups.lines()).map(str::trim);
    let mut left: Vec<String> =
        names.filter(|name| name.contains(&format!("{VIEW}.v{version}"))).map(str::to_owned).collect();
    let tables = ["", "_ledger", "_progress"].map(|suffix| format!("labeling_by_partner_v{version}{suffix}"));
    left.extend(tables.into_iter().filter(|table| servers.has_table(table)));
    left
}

#[test]
fn a_job_with_a_join_is_proved_upgraded_and_retired_on_servers() {
    let dir = tempfile::tempdir().unwrap();
    let servers = Servers::start();
    let platform = servers.run(&dir.path().join("data"), &["up"]);
    told(&platform, &["apply", &format!("{EXAMPLES}labeling.by_partner.yaml")], 0);
    let partner = |id: i64, name: &str, cents: i64, at: i64| json!({"id": id, "name": name, "cents_a_page": cents, "updated_at": at});
    change_partners(&servers, &platform, &[partner(1, "Acme", 10, MIDNIGHT), partner(2, "Bolt", 7, MIDNIGHT)], 2);
    let mut wanted = [Figures::new(), Figures::new(), Figures::new()];
    let early = tasks(600, 0);
    publish_tasks(&platform, &early);
    wanted.iter_mut().zip([0, 1, 5]).for_each(|(figures, in_house)| count(figures, &early, false, in_house));
    until_served(&platform, 1, &wanted[0]);
    told(&platform, &["apply", &version_two(dir.path(), 1)], 0);
    until_served(&platform, 2, &wanted[1]);

    // From here on the price is higher, where it is later: what is counted stays as it is.
    change_partners(&servers, &platform, &[partner(1, "Acme", 12, RISE)], 3);
    let late = tasks(600, 60_000);
    publish_tasks(&platform, &late);
    wanted.iter_mut().zip([0, 1, 5]).for_each(|(figures, in_house)| count(figures, &late, true, in_house));
    until_served(&platform, 1, &wanted[0]);
    until_served(&platform, 2, &wanted[1]);
    for version in ["1", "2"] {
        let said = told(&platform, &["recompute", VIEW, "--compare", "--version", version], 0);
        assert!(said.contains(": equal"), "{said}");
    }
    let said = told(&platform, &["diff", VIEW, "--open", "--versions", "1,2"], 1);
    assert!(said.contains("differ") && said.contains("partner=in house") && !said.contains("partner=Acme"), "{said}");

    until_current(&platform, 1);
    told(&platform, &["promote", VIEW], 0);
    until_current(&platform, 2);
    told(&platform, &["rollback", VIEW], 0);
    until_current(&platform, 1);
    let there = left_of(&servers, 2);
    assert_eq!(there.len(), 5 + 3 + 3, "topics, groups and tables: {there:?}");
    told(&platform, &["retire", VIEW, "--version", "2"], 0);
    eventually("the tables of version 2 are gone", || {
        if servers.has_table("labeling_by_partner_v2_progress") { Err("they are there".into()) } else { Ok(()) }
    });
    assert_eq!(left_of(&servers, 2), [""; 0]);
    assert_eq!(left_of(&servers, 1).len(), 5 + 3 + 3);
    until_served(&platform, 1, &wanted[0]);

    // The number again, with another meaning: it reads everything in a few commits, so that its revisions are below the old ones.
    eventually("version 2 is applied again", || {
        let (exit, said, told) = job(&platform.url, &["apply", &version_two(dir.path(), 5)]);
        if exit == 0 { Ok(()) } else { Err(said + &told) }
    });
    until_served(&platform, 2, &wanted[2]);
    told(&platform, &["recompute", VIEW, "--compare", "--version", "2"], 0);
    told(&platform, &["promote", VIEW], 0);
    until_current(&platform, 2);
    platform.stop();
}
