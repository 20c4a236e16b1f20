//! The table that some runs join with: its changes, the job that looks them up, and what each record must find there, by plain
//! comparison of all that is on its topic.

use std::collections::{BTreeMap, BTreeSet};

use tidemark_jobs::flows::TOPIC;
use tidemark_log::simulated::Dice;
use tidemark_schemas::avro::{Avro, Reader};
use tidemark_schemas::{catalog, wire};
use tidemark_spec::{SpecJob, Topics, compile};

use crate::rest::Seen;

/// Which team an application belongs to, from when on.
pub(crate) const TABLE: &str = "flows.apps";
pub(crate) const TABLE_PARTITIONS: u32 = 2;

pub(crate) const APP: &str = r#"{"type": "record", "name": "App", "fields": [{"name": "id", "type": "string"},
    {"name": "team", "type": "string"}, {"name": "since", "type": {"type": "long", "logicalType": "timestamp-millis"}}]}"#;

/// What reads the records of runs with a join; windows and all else are those of the run.
const JOB: &str = "
job: flows.by_team
source: {topics: flows.observed, time: observed_at}
join:
  app: {table: flows.apps, key: id, on: src_app, time: since}
key: [src_app: 'coalesce(app.team, src_app)', dest_app, vpc_id]
window: {tumbling: 1m}
late: amend for 7d
aggregate: {tx: sum(bytes_tx), rx: sum(bytes_rx)}
";

struct Known;

impl Topics for Known {
    fn schema(&self, topic: &str) -> Result<Option<String>, String> {
        Ok(match topic {
            TOPIC => Some(catalog::FLOW_OBSERVED.avsc.to_string()),
            TABLE => Some(APP.to_owned()),
            _ => None,
        })
    }
    fn names(&self) -> Vec<String> {
        vec![]
    }
}

/// With a table of its own, of which nothing is read.
pub(crate) fn job() -> SpecJob {
    compile("job.yaml", JOB, &Known).unwrap_or_else(|problems| panic!("{problems}"))
}

/// A record of the table's topic.
pub(crate) struct Change {
    pub(crate) partition: u32,
    pub(crate) key: String,
    pub(crate) value: Option<Vec<u8>>,
}

/// The next change, at `now` on a clock so many times as fast.
pub(crate) fn change(dice: &mut Dice, now: i64, speed: i64, schema: u32) -> Change {
    let app = dice.below(4);
    let id = format!("app-{app}");
    // Versions of the odd ones are on any partition; deletions go by the order of one.
    let spread = !app.is_multiple_of(2);
    let partition = if spread { dice.below(u64::from(TABLE_PARTITIONS)) as u32 } else { app as u32 / 2 };
    if !spread && dice.strikes(150) {
        return Change { partition, key: id, value: None };
    }
    let lag = match dice.below(10) {
        0 => -(dice.below(20_000) as i64),
        1..5 => dice.below(200_000) as i64,
        _ => dice.below(5_000) as i64,
    };
    let mut value = Vec::new();
    wire::put_header(schema, &mut value);
    id.as_str().put(&mut value);
    format!("team-{}", dice.below(5)).as_str().put(&mut value);
    (now - lag * speed).put(&mut value);
    if dice.strikes(40) {
        value.truncate(value.len() - 9);
    }
    Change { partition, key: id, value: Some(value) }
}

/// A row from a time on.
#[derive(Debug)]
pub(crate) struct Version {
    id: String,
    since: i64,
    appended_at: i64,
    place: (u32, i64),
    /// None: deleted.
    team: Option<String>,
}

/// All versions on the topic. What cannot be read is none, nor is the deletion of what was not there.
pub(crate) fn versions(topic: &BTreeMap<u32, Vec<Seen>>) -> Vec<Version> {
    let mut versions = Vec::new();
    for (&partition, records) in topic {
        let mut there = BTreeSet::new();
        for record in records {
            let (appended_at, place) = (record.appended_at, (partition, record.offset));
            let key = String::from_utf8(record.key.clone().unwrap_or_default()).unwrap();
            let Some(value) = &record.value else {
                if there.contains(&key) {
                    versions.push(Version { id: key, since: appended_at, appended_at, place, team: None });
                }
                continue;
            };
            let mut reader = Reader::new(&value[5..]);
            let fields = (reader.string(), reader.string(), reader.long());
            if let (Ok(id), Ok(team), Ok(since)) = fields {
                there.insert(key);
                let (id, team) = (id.to_owned(), Some(team.to_owned()));
                versions.push(Version { id, since, appended_at, place, team });
            }
        }
    }
    versions
}

/// The team that a record of these times finds.
pub(crate) fn team<'v>(versions: &'v [Version], id: &str, time: i64, appended_at: i64) -> Option<&'v str> {
    let seen = versions.iter().filter(|v| v.id == id && v.appended_at <= appended_at && v.since <= time);
    seen.max_by_key(|v| (v.since, v.appended_at, v.place)).and_then(|v| v.team.as_deref())
}
