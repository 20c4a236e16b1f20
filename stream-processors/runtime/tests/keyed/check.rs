//! What a run should have come to: a plain fold of the same input on one thread, with neither commits nor restores.

use std::collections::BTreeMap;
use std::fmt::Debug;

use tidemark_core::process::{Input, Output, Process};
use tidemark_runtime::keyed::partition_of;
use tidemark_schemas::avro::{Avro, Reader};
use tidemark_schemas::catalog::TICKED;
use tidemark_schemas::engine::{DeadLetter, Ticked};
use tidemark_schemas::wire;

use crate::accounts::{Accounts, BALANCES, CLOSED, EVENTS, MOVED, OUTPUT_PARTITIONS, State, Tap};
use crate::topics::{Seen, Topics};

/// Key and datum of what was emitted, in order.
type Emitted = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// What one partition of the input comes to.
#[derive(Debug, Default)]
pub(crate) struct Partition {
    pub(crate) time: i64,
    next_offset: i64,
    pub(crate) due: Option<i64>,
    pub(crate) state: State,
    /// Offset and rule.
    dead: Vec<(i64, &'static str)>,
    /// Timer, append time.
    pub(crate) ticks: Vec<(i64, i64)>,
    records: u64,
}

/// What the input comes to.
#[derive(Debug, Default)]
pub(crate) struct Reference {
    pub(crate) partitions: BTreeMap<u32, Partition>,
    /// By output, its partition, and the partition of the input that it comes from.
    emitted: BTreeMap<(usize, u32, u32), Emitted>,
}

/// How much there was to check.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Checked {
    pub(crate) records: u64,
    pub(crate) ticks: u64,
    pub(crate) dead: u64,
    pub(crate) expired: u64,
    pub(crate) entries: u64,
    pub(crate) tombstones: u64,
}

/// Folds what the input holds now.
pub(crate) fn reference(topics: &Topics<'_>) -> Result<Reference, String> {
    let mut reference = Reference::default();
    for partition in 0..topics.partitions() {
        let records = topics.all(topics.input(), partition)?;
        reference.fold(topics, partition, &records);
    }
    Ok(reference)
}

impl Reference {
    fn fold(&mut self, topics: &Topics<'_>, partition: u32, records: &[Seen]) {
        let mut process = Accounts::new(partition, &Tap::default());
        let mut found = Partition::default();
        for Seen { offset, appended_at, value, .. } in records {
            found.time = found.time.max(*appended_at);
            found.next_offset = offset + 1;
            let mut out = Output::default();
            process.tick(found.time, *offset, &mut out);
            self.emit(partition, out);
            let refused = match read(topics, value.as_deref()) {
                Err(rule) => Some(rule),
                Ok((2, datum)) => {
                    let Ticked { due } = Ticked::get(&mut Reader::new(&datum)).unwrap();
                    found.ticks.push((due, *appended_at));
                    None
                }
                Ok((schema, datum)) => {
                    found.records += 1;
                    let mut out = Output::default();
                    let input = Input { schema, datum: &datum, now: found.time, offset: *offset };
                    match process.apply(&input, &mut out) {
                        Ok(()) => {
                            self.emit(partition, out);
                            None
                        }
                        Err(tidemark_core::process::Reject::Unreadable(_)) => Some("malformed"),
                        Err(tidemark_core::process::Reject::Rule { .. }) => Some("invalid"),
                    }
                }
            };
            found.dead.extend(refused.map(|rule| (*offset, rule)));
        }
        (found.due, found.state) = (process.due(), process.state.clone());
        self.partitions.insert(partition, found);
    }

    fn emit(&mut self, from: u32, out: Output) {
        for emitted in out.emitted {
            let to = partition_of(&emitted.key, OUTPUT_PARTITIONS);
            self.emitted.entry((emitted.output, to, from)).or_default().push((emitted.key, emitted.datum));
        }
    }

    /// What stands last under each key of an output.
    fn last(&self, output: usize) -> BTreeMap<&[u8], &[u8]> {
        let of_output = self.emitted.iter().filter(|((of, ..), _)| *of == output);
        let mut last = BTreeMap::new();
        for (key, datum) in of_output.flat_map(|(_, emitted)| emitted) {
            last.insert(key.as_slice(), datum.as_deref());
        }
        last.into_iter().filter_map(|(key, datum)| Some((key, datum?))).collect()
    }
}

/// Place of the schema, and datum; or the rule that is broken.
fn read(topics: &Topics<'_>, value: Option<&[u8]>) -> Result<(usize, Vec<u8>), &'static str> {
    let value = value.ok_or("no_value")?;
    let (found, datum) = wire::split(value).map_err(|error| match error {
        wire::Error::Short(_) => "short",
        _ => "bad_magic",
    })?;
    let schemas = [MOVED, CLOSED, TICKED];
    let ids = schemas.map(|schema| topics.id(&format!("{}-{}", topics.input(), schema.name), &schema));
    let place = ids.iter().position(|id| *id == found).ok_or("unknown_schema")?;
    Ok((place, datum.to_vec()))
}

fn same<T: PartialEq + Debug>(what: &str, got: &T, want: &T) -> Result<(), String> {
    if got == want { Ok(()) } else { Err(format!("{what}: got {got:?}, want {want:?}")) }
}

/// Holds everything that the run has left against the reference.
pub(crate) fn check(topics: &Topics<'_>) -> Result<Checked, String> {
    let reference = reference(topics)?;
    let mut checked = Checked::default();
    events(topics, &reference, &mut checked)?;
    balances(topics, &reference)?;
    for (partition, want) in &reference.partitions {
        changelog(topics, *partition, &want.state, &mut checked)?;
        dead(topics, *partition, &want.dead)?;
        ticks(*partition, &want.ticks)?;
        offset(topics, *partition, want)?;
        checked.records += want.records;
        checked.dead += want.dead.len() as u64;
        checked.ticks += want.ticks.len() as u64;
    }
    let states = reference.partitions.iter().map(|(partition, want)| (*partition, want.state.clone())).collect();
    same("what a restore gives", &topics.restored()?, &states)?;
    Ok(checked)
}

fn events(topics: &Topics<'_>, reference: &Reference, checked: &mut Checked) -> Result<(), String> {
    let (topic, schema) = topics.output(EVENTS);
    let schema = topics.id(&format!("{topic}-value"), schema);
    let mut got: BTreeMap<(usize, u32, u32), Emitted> = BTreeMap::new();
    for to in 0..OUTPUT_PARTITIONS {
        for Seen { key, value, .. } in topics.all(topic, to)? {
            let key = key.ok_or("an event without key")?;
            let value = value.ok_or("an event without value")?;
            let (found, datum) = wire::split(&value).map_err(|e| e.to_string())?;
            same("schema of an event", &found, &schema)?;
            let from = partition_of(&key, topics.partitions());
            checked.expired += u64::from(datum.get(1..8) == Some(b"expired"));
            got.entry((EVENTS, to, from)).or_default().push((key, Some(datum.to_vec())));
        }
    }
    let want = reference.emitted.iter().filter(|((output, ..), _)| *output == EVENTS);
    let want: BTreeMap<_, _> = want.map(|(at, emitted)| (*at, emitted.clone())).collect();
    for (at, want) in &want {
        let got = got.get(at).cloned().unwrap_or_default();
        let wrong = got.iter().zip(want).position(|(got, want)| got != want).unwrap_or(got.len().min(want.len()));
        if got != *want {
            return Err(format!(
                "events {at:?}: {} and not {}; at {wrong}: got {:?}, want {:?}",
                got.len(),
                want.len(),
                got.get(wrong).map(plain),
                want.get(wrong).map(plain)
            ));
        }
    }
    same("streams of events", &got.len(), &want.len())
}

fn plain((key, datum): &(Vec<u8>, Option<Vec<u8>>)) -> String {
    let event = datum.as_ref().map(|datum| crate::accounts::Event::get(&mut Reader::new(datum)));
    format!("{} {event:?}", String::from_utf8_lossy(key))
}

/// The compacted output: the last under each key, and none whose last is a tombstone.
fn balances(topics: &Topics<'_>, reference: &Reference) -> Result<(), String> {
    let mut got: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for to in 0..OUTPUT_PARTITIONS {
        keep_last(&mut got, topics.all(topics.output(BALANCES).0, to)?)?;
    }
    let got: BTreeMap<&[u8], &[u8]> = got.iter().map(|(key, value)| (key.as_slice(), &value[5..])).collect();
    same("balances", &got, &reference.last(BALANCES))
}

fn keep_last(last: &mut BTreeMap<Vec<u8>, Vec<u8>>, records: Vec<Seen>) -> Result<u64, String> {
    let mut tombstones = 0;
    for Seen { key, value, .. } in records {
        let key = key.ok_or("a record without key")?;
        match value {
            Some(value) => drop(last.insert(key, value)),
            None => {
                tombstones += 1;
                last.remove(&key);
            }
        }
    }
    Ok(tombstones)
}

fn changelog(topics: &Topics<'_>, partition: u32, state: &State, checked: &mut Checked) -> Result<(), String> {
    let topic = &topics.plan.changelog;
    let mut got = BTreeMap::new();
    checked.tombstones += keep_last(&mut got, topics.all(topic, partition)?)?;
    let ids: Vec<u32> =
        topics.plan.spec.entries.iter().map(|schema| topics.id(&format!("{topic}-{}", schema.name), schema)).collect();
    let value = |(schema, datum): (usize, Vec<u8>)| {
        let mut value = Vec::new();
        wire::put_header(ids[schema], &mut value);
        [value, datum].concat()
    };
    let want: BTreeMap<_, _> = state.entries().into_iter().map(|(key, entry)| (key, value(entry))).collect();
    checked.entries += want.len() as u64;
    same(&format!("entries of partition {partition}"), &got, &want)
}

fn dead(topics: &Topics<'_>, partition: u32, want: &[(i64, &'static str)]) -> Result<(), String> {
    let letters = topics.all(&topics.plan.dead_letter, partition)?;
    let schema = topics.id(&format!("{}-value", topics.plan.dead_letter), &tidemark_schemas::catalog::DEAD_LETTER);
    let mut got = Vec::new();
    for Seen { value, .. } in &letters {
        let (found, datum) = wire::split(value.as_deref().unwrap()).map_err(|e| e.to_string())?;
        same("schema of a letter", &found, &schema)?;
        let letter = DeadLetter::get(&mut Reader::new(datum)).map_err(|e| e.to_string())?;
        same("origin of a letter", &(letter.topic, letter.partition), &(topics.input(), partition as i32))?;
        got.push((letter.offset, letter.rule));
    }
    same(&format!("dead letters of partition {partition}"), &got, &want.to_vec())
}

/// A timer is ticked for once, unless the log's clock was behind it when the tick came.
fn ticks(partition: u32, ticks: &[(i64, i64)]) -> Result<(), String> {
    for (at, (due, _)) in ticks.iter().enumerate() {
        if ticks[..at].iter().any(|(other, appended_at)| other == due && appended_at >= due) {
            return Err(format!("partition {partition} was ticked twice for {due}: {ticks:?}"));
        }
    }
    Ok(())
}

fn offset(topics: &Topics<'_>, partition: u32, want: &Partition) -> Result<(), String> {
    let committed = topics.committed()?[partition as usize].clone().ok_or("no offset")?;
    if committed.offset < want.next_offset {
        return Err(format!("{} is committed, everything before {} is read", committed.offset, want.next_offset));
    }
    let time = committed.metadata.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or(0);
    same("committed process time", &time, &want.time)
}
