//! What must come out, by plain arithmetic on what is in the input: one partition after the other, one record after the
//! other. It shares no code with the folds but the hash that names a key's merge partition.

use std::collections::{BTreeMap, BTreeSet};

use tidemark_core::table;
use tidemark_schemas::avro::Avro;

use crate::events;
use crate::job::WINDOW_MS;
use crate::joins::{self, Version};
use crate::schedule::Config;
use crate::sessions::{self, Event, Sessions};

/// A record of the input.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    pub(crate) offset: i64,
    pub(crate) appended_at: i64,
    pub(crate) value: Option<Vec<u8>>,
}

/// Window start, merge partition and key fields → records and sums.
pub(crate) type Rows = BTreeMap<(i64, i32, [String; 4]), (i64, i128, i128)>;

/// Running counts of a source partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) watermark: Option<i64>,
    pub(crate) records: i64,
    pub(crate) late: i64,
    pub(crate) held: i64,
    pub(crate) dead_lettered: i64,
    pub(crate) duplicates: i64,
}

/// What a window holds in a merge partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) records: i64,
    pub(crate) late: i64,
    pub(crate) held: i64,
    /// Source partition → first and last offset.
    pub(crate) sources: BTreeMap<i32, (i64, i64)>,
}

/// A late record: partition, offset, event time, window start, watermark before it.
pub(crate) type Late = (i32, i64, i64, i64, i64);

/// Everything.
#[derive(Debug, Default)]
pub(crate) struct Reference {
    pub(crate) rows: Rows,
    /// What is folded of each key, in place of rows, where windows are sessions.
    pub(crate) sessions: Sessions,
    pub(crate) windows: BTreeMap<(i64, i32), Window>,
    pub(crate) late: BTreeSet<Late>,
    /// Partition and offset → rule.
    pub(crate) dead: BTreeMap<(i32, i64), &'static str>,
    /// Partition → next offset → counts so far; the first entry is the empty one at 0.
    pub(crate) counts: BTreeMap<i32, BTreeMap<i64, Counts>>,
    pub(crate) records: i64,
    /// Those that found a row of the table.
    pub(crate) joined: i64,
}

/// Folds the input; its partitions are numbered over all topics.
pub(crate) fn fold(config: &Config, schema: u32, input: &BTreeMap<i32, Vec<Input>>, table: &[Version]) -> Reference {
    let mut reference = Reference::default();
    for (&partition, records) in input {
        reference.partition(config, schema, partition, records, table);
    }
    if let Some(gap_ms) = config.gap_ms {
        reference
            .sessions
            .values_mut()
            .for_each(|sessions| *sessions = sessions::cut(std::mem::take(sessions), gap_ms));
        for ((merge_partition, _), session) in sessions::each(&reference.sessions) {
            let window = reference.windows.entry((sessions::bucket(session.start), *merge_partition)).or_default();
            session.count(window);
        }
    }
    reference
}

impl Reference {
    /// Late records in sessions.
    pub(crate) fn folded_late(&self) -> i64 {
        sessions::each(&self.sessions).map(|(_, session)| session.late).sum()
    }

    fn partition(&mut self, config: &Config, schema: u32, partition: i32, records: &[Input], table: &[Version]) {
        let mut counts = Counts::default();
        let mut seen: BTreeMap<String, i64> = BTreeMap::new();
        let mut log_time = i64::MIN;
        let mut all = BTreeMap::from([(0, counts)]);
        for record in records {
            self.records += 1;
            counts.records += 1;
            self.record(config, schema, partition, record, table, &mut counts, &mut seen, &mut log_time);
            all.insert(record.offset + 1, counts);
        }
        self.counts.insert(partition, all);
    }

    #[allow(clippy::too_many_arguments, reason = "the state of one partition's fold")]
    fn record(
        &mut self,
        config: &Config,
        schema: u32,
        partition: i32,
        record: &Input,
        table: &[Version],
        counts: &mut Counts,
        seen: &mut BTreeMap<String, i64>,
        log_time: &mut i64,
    ) {
        let flow = match events::read(record.value.as_deref(), schema) {
            Ok(flow) => flow,
            Err(rule) => {
                counts.dead_lettered += 1;
                self.dead.insert((partition, record.offset), rule);
                return;
            }
        };
        if let Some(for_ms) = config.dedupe_ms {
            *log_time = (*log_time).max(record.appended_at);
            // Repeats are a tenant's own.
            let id = format!("{}/{}", flow.tenant, flow.event_id);
            if seen.get(&id).is_some_and(|first| *log_time - first < for_ms) {
                counts.duplicates += 1;
                return;
            }
            seen.insert(id, *log_time);
        }
        if flow.observed_at > record.appended_at + config.max_future_ms() {
            counts.dead_lettered += 1;
            self.dead.insert((partition, record.offset), "far_future");
            return;
        }
        let before = counts.watermark;
        counts.watermark = before.max(Some(flow.observed_at));
        let (time, grace_ms) = (flow.observed_at, config.grace_ms());
        let (start, late) = match config.gap_ms {
            None => {
                let start = time.div_euclid(WINDOW_MS) * WINDOW_MS;
                (start, before.is_some_and(|before| start + WINDOW_MS + grace_ms <= before))
            }
            Some(_) => (time, before.is_some_and(|before| time + grace_ms < before)),
        };
        let held = late && config.hold;
        counts.late += i64::from(late && !held);
        counts.held += i64::from(held);
        if let (true, Some(before)) = (late, before) {
            self.late.insert((partition, record.offset, flow.observed_at, start, before));
        }
        let team = joins::team(table, flow.src_app, time, record.appended_at);
        self.joined += i64::from(team.is_some());
        let names = [flow.tenant, team.unwrap_or(flow.src_app), flow.dest_app, flow.vpc_id].map(str::to_owned);
        let merge_partition = merge_partition(&names, config.merge_partitions);
        if config.gap_ms.is_some() && !held {
            let (tx, rx) = (i128::from(flow.bytes_tx), i128::from(flow.bytes_rx));
            let event = Event { time, late, tx, rx, at: (partition, record.offset) };
            self.sessions.entry((merge_partition, names)).or_default().push(event.into());
            return;
        }
        let start = if config.gap_ms.is_some() { sessions::bucket(time) } else { start };
        let window = self.windows.entry((start, merge_partition)).or_default();
        window.late += i64::from(late && !held);
        window.held += i64::from(held);
        let range = window.sources.entry(partition).or_insert((record.offset, record.offset));
        range.1 = record.offset;
        if !held {
            window.records += 1;
            let row = self.rows.entry((start, merge_partition, names)).or_default();
            row.0 += 1;
            row.1 += i128::from(flow.bytes_tx);
            row.2 += i128::from(flow.bytes_rx);
        }
    }
}

/// The merge partition of a key.
pub(crate) fn merge_partition(names: &[String; 4], merge_partitions: u32) -> i32 {
    let mut key = Vec::new();
    names.iter().for_each(|name| name.as_str().put(&mut key));
    table::merge_partition(table::hash(&key), merge_partitions) as i32
}
