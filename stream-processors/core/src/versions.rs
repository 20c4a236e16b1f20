//! The versions of a keyed table's rows: what a record is joined with, whatever else was read when.
//!
//! Promise: [`Versions::get`] depends on nothing but the table's records and the two times of whoever asks. A record of event
//! time `t`, appended at `a`, sees the version of the greatest event time that is not after `t` among those appended by `a`; of
//! several of one event time the one that was appended last. A deletion is a version without a row, whose event time is its
//! append time.
//!
//! Invariants:
//! - the append times of a partition do not fall: where a log's clock went back, the time before it counts;
//! - a record that is taken in twice counts once;
//! - what was forgotten is not made up: who asks for it is told so, and the table has to be read again.
//!
//! Limits: [`Limits`]; a version takes its row's bytes and about 64 more, a key about 100.

use hashbrown::HashMap;

/// Memory of a version besides its row, bytes.
const VERSION_BYTES: usize = 64;
/// Memory of a key besides its own bytes.
const KEY_BYTES: usize = 96;

/// Where a record of the table stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Append time, milliseconds.
    pub appended_at: i64,
    /// Partition.
    pub partition: u32,
    /// Offset.
    pub offset: i64,
}

/// The times of everything that will be asked from now on: at or after both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Event time, milliseconds.
    pub event_time: i64,
    /// Append time, milliseconds.
    pub appended_at: i64,
}

impl Need {
    /// What serves both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { event_time: self.event_time.min(other.event_time), appended_at: self.appended_at.min(other.appended_at) }
    }
}

/// What a table may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Versions of all rows.
    pub versions: usize,
    /// Bytes, as they are counted here.
    pub bytes: usize,
}

/// A table has grown beyond its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it has {versions} versions of rows in {bytes} bytes, and at most {} in {} bytes are kept in memory", limits.versions, limits.bytes)]
pub struct Full {
    /// What it would hold.
    pub versions: usize,
    /// Their bytes.
    pub bytes: usize,
    /// What it may.
    pub limits: Limits,
}

/// What is found for a record.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'v, R> {
    /// The version that it sees.
    Row(&'v R),
    /// There was no such row.
    Nothing,
    /// It asks for times that were forgotten.
    Forgotten,
}

#[derive(Debug)]
struct Version<R> {
    event_time: i64,
    place: Place,
    /// None: deleted.
    row: Option<R>,
    bytes: usize,
}

impl<R> Version<R> {
    fn order(&self) -> (i64, Place) {
        (self.event_time, self.place)
    }
}

/// A table.
#[derive(Debug)]
pub struct Versions<R> {
    limits: Limits,
    /// In the order of event time, then place.
    rows: HashMap<Box<[u8]>, Vec<Version<R>>>,
    /// The row of each record key on the log: deletions come with that key alone.
    named: HashMap<Box<[u8]>, Box<[u8]>>,
    /// Highest append time of each partition.
    log_times: HashMap<u32, i64>,
    versions: usize,
    bytes: usize,
    forgotten: Option<Need>,
}

impl<R> Versions<R> {
    /// Empty.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            rows: HashMap::new(),
            named: HashMap::new(),
            log_times: HashMap::new(),
            versions: 0,
            bytes: 0,
            forgotten: None,
        }
    }

    /// Versions that are held.
    pub fn len(&self) -> usize {
        self.versions
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.versions == 0
    }

    /// Whether so many parts of a hundred of the limits are taken.
    pub fn is_above(&self, percent: usize) -> bool {
        let above = |is: usize, most: usize| is > most / 100 * percent;
        above(self.versions, self.limits.versions) || above(self.bytes, self.limits.bytes)
    }

    fn log_time(&mut self, place: Place) -> Place {
        let known = self.log_times.entry(place.partition).or_insert(place.appended_at);
        *known = (*known).max(place.appended_at);
        Place { appended_at: *known, ..place }
    }

    /// Takes a version of the row `key` in, of `event_time` or its append time; `row_bytes` is what the row takes beyond `R`
    /// itself, and `log_key` the record's key on the log.
    ///
    /// # Errors
    /// There are too many.
    pub fn put(
        &mut self,
        key: &[u8],
        log_key: Option<&[u8]>,
        event_time: Option<i64>,
        place: Place,
        row: R,
        row_bytes: usize,
    ) -> Result<(), Full> {
        let place = self.log_time(place);
        if let Some(log_key) = log_key
            && self.named.get(log_key).is_none_or(|known| **known != *key)
            && self.named.insert(log_key.into(), key.into()).is_none()
        {
            self.bytes += KEY_BYTES + log_key.len() + key.len();
        }
        let event_time = event_time.unwrap_or(place.appended_at);
        let bytes = VERSION_BYTES + size_of::<R>() + row_bytes;
        self.insert(key, Version { event_time, place, row: Some(row), bytes })
    }

    /// Takes a deletion in; of a record key that is not known there is nothing to delete.
    ///
    /// # Errors
    /// There are too many.
    pub fn delete(&mut self, log_key: &[u8], place: Place) -> Result<(), Full> {
        let place = self.log_time(place);
        let Some(key) = self.named.get(log_key).cloned() else { return Ok(()) };
        let bytes = VERSION_BYTES + size_of::<R>();
        self.insert(&key, Version { event_time: place.appended_at, place, row: None, bytes })
    }

    fn insert(&mut self, key: &[u8], version: Version<R>) -> Result<(), Full> {
        if !self.rows.contains_key(key) {
            self.bytes += KEY_BYTES + key.len();
            self.rows.insert(key.into(), Vec::new());
        }
        let Some(of_key) = self.rows.get_mut(key) else { return Ok(()) };
        let at = of_key.partition_point(|known| known.order() < version.order());
        if of_key.get(at).is_some_and(|known| known.order() == version.order()) {
            return Ok(());
        }
        self.versions += 1;
        self.bytes += version.bytes;
        of_key.insert(at, version);
        let Self { limits, versions, bytes, .. } = *self;
        if versions > limits.versions || bytes > limits.bytes {
            return Err(Full { versions, bytes, limits });
        }
        Ok(())
    }

    /// What a record of `event_time`, appended at `appended_at`, sees under `key`.
    pub fn get(&self, key: &[u8], event_time: i64, appended_at: i64) -> Found<'_, R> {
        if self.forgotten.is_some_and(|need| event_time < need.event_time || appended_at < need.appended_at) {
            return Found::Forgotten;
        }
        let Some(of_key) = self.rows.get(key) else { return Found::Nothing };
        let known = of_key.partition_point(|version| version.event_time <= event_time);
        // As a rule the last one: rows change about when it is said so.
        let seen = of_key.iter().take(known).rev().find(|version| version.place.appended_at <= appended_at);
        seen.and_then(|version| version.row.as_ref()).map_or(Found::Nothing, Found::Row)
    }

    /// Drops what nobody sees who asks from `need` on; everything that was appended by then has been taken in. The last version
    /// of each key stays, also where it is a deletion: it hides what may still be appended of an earlier event time.
    pub fn forget(&mut self, need: Need) {
        let before = self.versions;
        let settled = |version: &Version<R>| {
            version.event_time <= need.event_time && version.place.appended_at <= need.appended_at
        };
        for of_key in self.rows.values_mut() {
            let hidden = of_key.iter().rposition(settled).unwrap_or(0);
            self.versions -= hidden;
            self.bytes -= of_key.drain(..hidden).map(|version| version.bytes).sum::<usize>();
        }
        if self.versions < before {
            let floor = |known: Need| Need {
                event_time: known.event_time.max(need.event_time),
                appended_at: known.appended_at.max(need.appended_at),
            };
            self.forgotten = Some(self.forgotten.map_or(need, floor));
        }
    }
}

#[cfg(test)]
mod tests;
