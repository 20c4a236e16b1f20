//! The invariants of a run at rest (INV-1 to INV-4 of the platform), against the reference fold of what is in the input.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use tidemark_core::partial::read_accumulator;
use tidemark_jobs::flows::FlowSums;
use tidemark_schemas::avro::{Avro, Reader};
use tidemark_schemas::engine::{DeadLetter, LateReason, LateRecord, Ledger, Marker, Progress, SealedOut, SourceRange};
use tidemark_views::{Row, Value};

use crate::job::{MORE, place};
use crate::joins;
use crate::reference::{self, Counts, Input, Reference, Rows};
use crate::rest::Seen;
use crate::sessions::{self, Part};
use crate::views::{Contents, records_of};
use crate::world::World;

/// How much was checked.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Checked {
    pub(crate) records: u64,
    pub(crate) rows: u64,
    pub(crate) late: u64,
    pub(crate) sealed_out: u64,
    pub(crate) outrun: u64,
    pub(crate) markers: u64,
    pub(crate) views_struck: u64,
    /// Sessions of the reference, rows of them that were retracted, and records that came for sealed ones.
    pub(crate) sessions: u64,
    pub(crate) retracted: u64,
    pub(crate) sessions_sealed_out: u64,
    /// Records that found a row of the joined table, and those of the second topic.
    pub(crate) joined: u64,
    pub(crate) second: u64,
}

pub(crate) type Wrong = Result<(), String>;

pub(crate) fn same<T: PartialEq + Debug>(what: &str, got: &T, want: &T) -> Wrong {
    if got == want { Ok(()) } else { Err(format!("{what}: got {got:?}, want {want:?}")) }
}

/// Checks everything; the first thing that is wrong.
pub(crate) fn check(world: &World<'_>) -> Result<Checked, String> {
    let mut raw = BTreeMap::new();
    for topic in world.config.topics() {
        let partitions = world.topic(topic)?.into_iter();
        raw.extend(partitions.map(|(partition, records)| (place(topic, partition as i32), records)));
    }
    publishers(world, &raw)?;
    let table = if world.config.joins { joins::versions(&world.topic(joins::TABLE)?) } else { vec![] };
    let input: BTreeMap<i32, Vec<Input>> = raw
        .into_iter()
        .map(|(partition, records)| {
            let input = |seen: Seen| Input { offset: seen.offset, appended_at: seen.appended_at, value: seen.value };
            (partition, records.into_iter().map(input).collect())
        })
        .collect();
    let reference = reference::fold(&world.config, world.source_schema, &input, &table);
    let second = input.range(place(MORE, 0)..).map(|(_, records)| records.len() as u64).sum();
    let sealed = letters(world, &reference)?;
    let markers = markers(world, &reference)?;
    world.views.look(|contents| {
        if let Some(wrong) = contents.wrong.first() {
            return Err(format!("view store: {wrong}"));
        }
        match world.config.gap_ms {
            None => {
                rows(contents, &reference, &sealed.rows)?;
                ledgers(world, contents, &reference)?;
            }
            Some(gap_ms) => {
                sessions::check(contents, &reference, &sealed.sessions, gap_ms, world.config.grace_ms())?;
                let amended = contents.ledgers.values().find(|ledger| ledger.amended);
                if let Some(ledger) = amended.filter(|_| !stragglers(world) && reference.folded_late() == 0) {
                    return Err(format!("amended without reason: {ledger:?}"));
                }
            }
        }
        contents.history.iter().try_for_each(|entry| progress(world, &reference, entry))?;
        last_progress(world, contents, &reference)?;
        Ok(Checked {
            records: reference.records as u64,
            rows: contents.rows.len() as u64,
            late: reference.late.len() as u64,
            sealed_out: sealed.rows.values().map(|sums| sums.0 as u64).sum(),
            sessions: sessions::each(&reference.sessions).count() as u64,
            retracted: contents.rows.values().filter(|row| records_of(row) == 0).count() as u64,
            sessions_sealed_out: sealed.sessions.iter().map(|part| part.records as u64).sum(),
            joined: reference.joined as u64,
            second,
            outrun: contents.outrun,
            markers,
            views_struck: contents.struck,
        })
    })
}

/// INV-1: what was acknowledged is there; and nothing is there twice.
fn publishers(world: &World<'_>, raw: &BTreeMap<i32, Vec<Seen>>) -> Wrong {
    let mut serials = BTreeSet::new();
    for (partition, records) in raw {
        for record in records {
            let serial = record.serial.ok_or_else(|| format!("a record without serial: {record:?}"))?;
            if !serials.insert(serial) {
                return Err(format!("record {serial} is in the input twice, again at {partition}:{}", record.offset));
            }
        }
    }
    match world.acknowledged.difference(&serials).next() {
        Some(lost) => Err(format!("record {lost} was acknowledged and is not in the input")),
        None => Ok(()),
    }
}

/// What came too late for windows that were sealed.
#[derive(Debug, Default)]
struct Sealed {
    rows: Rows,
    sessions: Vec<Part>,
}

/// The late and dead-letter topics hold each record that belongs there once. Gives what was sealed out.
fn letters(world: &World<'_>, reference: &Reference) -> Result<Sealed, String> {
    let (mut late, mut dead, mut sealed) = (BTreeSet::new(), BTreeMap::new(), Sealed::default());
    let reason = if world.config.hold { LateReason::Held } else { LateReason::Amended };
    for (merge_partition, letter) in flat(world.topic(&world.plan.late)?) {
        let value = letter.value.unwrap_or_default();
        let (id, datum) = tidemark_schemas::wire::split(&value).map_err(|e| e.to_string())?;
        let mut reader = Reader::new(datum);
        if id == world.plan.ids.sealed_out {
            let letter = SealedOut::get(&mut reader).map_err(|e| e.to_string())?;
            let sums: FlowSums = read_accumulator(letter.accumulator).map_err(|e| e.to_string())?;
            let names = names(letter.key)?;
            if let Some(gap_ms) = world.config.gap_ms {
                let (start, last) = (letter.window_start, letter.window_end - gap_ms);
                let (key, records) = ((merge_partition as i32, names), letter.records);
                sealed.sessions.push(Part { key, start, last, records, tx: sums.bytes_tx, rx: sums.bytes_rx });
                continue;
            }
            let row = sealed.rows.entry((letter.window_start, merge_partition as i32, names)).or_default();
            *row = (row.0 + letter.records, row.1 + sums.bytes_tx, row.2 + sums.bytes_rx);
            continue;
        }
        let letter = LateRecord::get(&mut reader).map_err(|e| e.to_string())?;
        let at = place(letter.topic, letter.partition);
        let entry = (at, letter.offset, letter.event_time, letter.window_start, letter.watermark);
        same("reason of a late letter", &letter.reason, &reason)?;
        if !late.insert(entry) {
            return Err(format!("two late letters about one record: {entry:?}"));
        }
    }
    same("late letters", &late, &reference.late)?;
    for (_, letter) in flat(world.topic(&world.plan.dead_letter)?) {
        let value = letter.value.unwrap_or_default();
        let (_, datum) = tidemark_schemas::wire::split(&value).map_err(|e| e.to_string())?;
        let letter = DeadLetter::get(&mut Reader::new(datum)).map_err(|e| e.to_string())?;
        let at = (place(letter.topic, letter.partition), letter.offset);
        if dead.insert(at, letter.rule.to_owned()).is_some() {
            return Err(format!("two dead letters about {at:?}"));
        }
    }
    let want = reference.dead.iter().map(|(at, rule)| (*at, (*rule).to_owned())).collect();
    same("dead letters", &dead, &want)?;
    Ok(sealed)
}

fn flat(topic: BTreeMap<u32, Vec<Seen>>) -> impl Iterator<Item = (u32, Seen)> {
    topic.into_iter().flat_map(|(partition, records)| records.into_iter().map(move |record| (partition, record)))
}

fn names(key: &[u8]) -> Result<[String; 4], String> {
    let mut reader = Reader::new(key);
    let mut next = || reader.string().map(str::to_owned).map_err(|e| e.to_string());
    Ok([next()?, next()?, next()?, next()?])
}

/// The markers of each merge partition cover the input without gap or overlap, in order: none is of a replaced owner.
fn markers(world: &World<'_>, reference: &Reference) -> Result<u64, String> {
    let mut count = 0;
    for (merge_partition, records) in world.topic(&world.plan.partials)? {
        let mut at: BTreeMap<i32, i64> = BTreeMap::new();
        for record in records {
            let value = record.value.unwrap_or_default();
            let (id, datum) = tidemark_schemas::wire::split(&value).map_err(|e| e.to_string())?;
            if id != world.plan.ids.marker {
                continue;
            }
            count += 1;
            let marker = Marker::get(&mut Reader::new(datum)).map_err(|e| e.to_string())?;
            for mark in marker.sources {
                let of = place(&mark.topic, mark.partition);
                let from = at.insert(of, mark.next_offset).unwrap_or(0);
                let (before, after) = (counts(reference, of, from), counts(reference, of, mark.next_offset));
                if mark.next_offset < from {
                    return Err(format!("merge partition {merge_partition}: a mark of a replaced owner, {mark:?}"));
                }
                same("watermark of a mark", &mark.watermark, &after.watermark)?;
                let got = [mark.records, mark.late, mark.held, mark.dead_lettered, mark.duplicates, mark.filtered];
                let want = [
                    after.records - before.records,
                    after.late - before.late,
                    after.held - before.held,
                    after.dead_lettered - before.dead_lettered,
                    after.duplicates - before.duplicates,
                    0,
                ];
                same(&format!("counts of a mark from offset {from}, {mark:?}"), &got, &want)?;
            }
        }
    }
    Ok(count)
}

/// The reference's counts of all records below an offset.
fn counts(reference: &Reference, partition: i32, next_offset: i64) -> Counts {
    let all = reference.counts.get(&partition);
    all.and_then(|all| all.range(..=next_offset).next_back()).map_or_else(Counts::default, |(_, counts)| *counts)
}

/// INV-3: every row, and what was sealed out beside it.
fn rows(contents: &Contents, reference: &Reference, sealed: &Rows) -> Wrong {
    let mut got = sealed.clone();
    for row in contents.rows.values() {
        let (key, sums) = plain(row)?;
        let all = got.entry(key).or_default();
        *all = (all.0 + sums.0, all.1 + sums.1, all.2 + sums.2);
    }
    let wrong = got.iter().find(|(key, sums)| reference.rows.get(*key) != Some(sums));
    if let Some((key, sums)) = wrong {
        return Err(format!("row {key:?}: got {sums:?}, want {:?}", reference.rows.get(key)));
    }
    match reference.rows.iter().find(|(key, _)| !got.contains_key(*key)) {
        Some((key, sums)) => Err(format!("row {key:?} is missing, want {sums:?}")),
        None => Ok(()),
    }
}

type PlainRow = ((i64, i32, [String; 4]), (i64, i128, i128));

fn plain(row: &Row) -> Result<PlainRow, String> {
    let [Value::Text(src), Value::Text(dest), Value::Text(vpc)] = row.clustering.as_slice() else {
        return Err(format!("{row:?}"));
    };
    let [Value::Integer(rx), Value::Integer(tx), Value::Long(records)] = row.values.as_slice() else {
        return Err(format!("{row:?}"));
    };
    let partition = &row.partition;
    let names = [&partition.tenant, src, dest, vpc].map(Clone::clone);
    Ok(((partition.window_start, partition.merge_partition, names), (*records, *tx, *rx)))
}

/// Every figure of every ledger entry.
fn ledgers(world: &World<'_>, contents: &Contents, reference: &Reference) -> Wrong {
    let got: BTreeSet<_> = contents.ledgers.keys().copied().collect();
    same("windows in the ledger", &got, &reference.windows.keys().copied().collect())?;
    for (key, want) in &reference.windows {
        let Some(ledger) = contents.ledgers.get(key) else { continue };
        let rows =
            contents.rows.values().filter(|row| (row.partition.window_start, row.partition.merge_partition) == *key);
        same("rows of a ledger", &ledger.rows, &(rows.count() as i64))?;
        same("records of a ledger", &(ledger.records + ledger.sealed_out), &want.records)?;
        same(&format!("held of {ledger:?}"), &ledger.held, &want.held)?;
        if ledger.sealed_out == 0 && !ledger.sealed {
            same(&format!("late of {ledger:?}"), &ledger.late, &want.late)?;
            let range = |s: &SourceRange| (place(&s.topic, s.partition), (s.first_offset, s.last_offset));
            let sources = ledger.sources.iter().map(range).collect();
            same("sources of a ledger", &sources, &want.sources)?;
        }
        amended(world, ledger)?;
    }
    Ok(())
}

/// Whether records may come that are on time and behind the watermark of all partitions together.
fn stragglers(world: &World<'_>) -> bool {
    world.config.idles() || world.grown
}

/// Where no partition is ever idle or added, a window that was final is amended by late records alone.
fn amended(world: &World<'_>, ledger: &Ledger) -> Wrong {
    match (ledger.amended, ledger.late > 0) {
        (true, true) | (false, false) => Ok(()),
        (true, false) if stragglers(world) => Ok(()),
        _ => Err(format!("amended without reason, or not amended with it: {ledger:?}")),
    }
}

/// A progress entry says of each source partition what the reference says at that offset.
fn progress(world: &World<'_>, reference: &Reference, entry: &Progress) -> Wrong {
    let idle_after_ms = world.config.idle_after_ms;
    let mut lowest_possible = Some(i64::MAX);
    for source in &entry.sources {
        let want = counts(reference, place(&source.topic, source.partition), source.next_offset);
        let got = Counts {
            watermark: source.watermark,
            records: source.records,
            late: source.late,
            held: source.held,
            dead_lettered: source.dead_lettered,
            duplicates: source.duplicates,
        };
        same(&format!("progress of source {} at {}", source.partition, source.next_offset), &got, &want)?;
        // An idle partition counts with the time it was found idle, whichever time that was.
        let idle = Some(world.wall_max_ms - idle_after_ms).filter(|_| world.config.idles());
        // One that was added later held nothing back before it was there.
        if source.partition < world.config.source_partitions as i32 {
            lowest_possible = lowest_possible.min(want.watermark.max(idle));
        }
    }
    let counted: i32 = entry.partition_counts.iter().map(|count| count.partitions).sum();
    if entry.watermark.is_some() && !world.grown && entry.sources.len() < counted as usize {
        return Err(format!("a watermark with source partitions missing: {entry:?}"));
    }
    if entry.watermark > lowest_possible {
        return Err(format!("a watermark above what the contents say, {lowest_possible:?}: {entry:?}"));
    }
    Ok(())
}

/// At rest every merge partition has heard of every record.
fn last_progress(world: &World<'_>, contents: &Contents, reference: &Reference) -> Wrong {
    for merge_partition in 0..world.config.merge_partitions as i32 {
        let Some(entry) = contents.progress.get(&merge_partition) else {
            return Err(format!("no progress of merge partition {merge_partition}"));
        };
        let heard: BTreeSet<_> = entry.sources.iter().map(|source| place(&source.topic, source.partition)).collect();
        same("source partitions heard of", &heard, &reference.counts.keys().copied().collect())?;
        let records: i64 = entry.sources.iter().map(|source| source.records).sum();
        same("records in the last progress", &records, &reference.records)?;
    }
    Ok(())
}
