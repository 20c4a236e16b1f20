//! The most frequent values: exact counts while they are few, a mergeable summary beyond.

use super::json;
use super::scalar::{self, Scalar};
use crate::value::Value;
use std::cmp::{Ordering, Reverse};
use tidemark_schemas::avro::{self, Reader, put_long};
use xxhash_rust::xxh3::xxh3_128;

/// So many different values at least are counted exactly.
pub(super) const CAPACITY_MIN: u32 = 8;
/// So many different values at most are counted exactly; at 290 bytes each, the state stays below 300 KiB.
pub const CAPACITY_MAX: u32 = 1000;
/// The capacity where a specification states none.
pub const CAPACITY_DEFAULT: u32 = 1000;
/// Longer texts and bytes are counted, and given, under their first 256 bytes and their XXH3-128: as `text…#32 hex digits`. Two
/// are taken for one only where these are the same, by accident never (10³ values: 10⁻³³); a hostile sender could.
pub const TEXT_BYTES_MAX: usize = 256;

/// A Misra-Gries summary whose merge is that of Agarwal et al., "Mergeable summaries", PODS 2012.
///
/// At most `capacity` values are listed. One more, and only the `kept` most frequent stay, all counts lowered by the largest of
/// those that go; `lost` adds up by how much. A value not listed has come `lost` times at most, and `lost · (kept + 1)` is at
/// most the number of values. Up to the capacity nothing is lost and the state is a function of the values alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Top {
    capacity: u32,
    lost: i64,
    /// Ascending by value.
    entries: Vec<Entry>,
}

/// A value that came at least `count + lost - error` and at most `count + lost` times.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    value: Scalar,
    count: i64,
    /// `lost` when the value was first listed: so often it may have come unseen.
    error: i64,
}

/// How many values stay when there are more than the capacity. Not all of the capacity: then each new value of a long tail
/// would go through all of the list.
pub(super) fn kept(capacity: u32) -> usize {
    (capacity - capacity / 4) as usize
}

impl Top {
    /// Nothing seen; `capacity` is brought into its bounds.
    pub(super) fn new(capacity: u32) -> Self {
        Self { capacity: capacity.clamp(CAPACITY_MIN, CAPACITY_MAX), lost: 0, entries: Vec::new() }
    }

    pub(super) fn add(&mut self, value: Value<'_>) {
        let (text, bytes);
        let value = match value {
            Value::Text(long) if long.len() > TEXT_BYTES_MAX => {
                text = shorten_text(long);
                Value::Text(&text)
            }
            Value::Bytes(long) if long.len() > TEXT_BYTES_MAX => {
                bytes = shorten_bytes(long);
                Value::Bytes(&bytes)
            }
            other => other,
        };
        match self.entries.binary_search_by(|entry| scalar::order(&entry.value.value(), &value)) {
            Ok(at) => {
                if let Some(entry) = self.entries.get_mut(at) {
                    entry.count = entry.count.saturating_add(1);
                }
            }
            Err(at) => {
                if let Some(value) = Scalar::of(value) {
                    self.entries.insert(at, Entry { value, count: 1, error: self.lost });
                    self.bound();
                }
            }
        }
    }

    fn bound(&mut self) {
        if self.entries.len() <= self.capacity as usize {
            return;
        }
        // Entries are in the order of values, so the place breaks ties by value.
        let rank = |(at, entry): (usize, &Entry)| (Reverse(entry.count), at);
        let mut ranks: Vec<_> = self.entries.iter().enumerate().map(rank).collect();
        let (_, first_out, _) = ranks.select_nth_unstable(kept(self.capacity));
        let (Reverse(lost), _) = *first_out;
        let mut at = 0..;
        self.entries.retain(|entry| at.next().is_some_and(|at| rank((at, entry)) < *first_out));
        self.entries.iter_mut().for_each(|entry| entry.count -= lost);
        self.lost = self.lost.saturating_add(lost);
    }

    /// Two capacities, which only forged bytes bring together, merge to the higher.
    pub(super) fn merge(&mut self, other: &Self) {
        if self.capacity != other.capacity {
            if self.capacity < other.capacity {
                *self = other.clone();
            }
            return;
        }
        // What only one side lists may have come unseen on the other.
        let unseen = |entry: Entry, lost: i64| Entry { error: entry.error.saturating_add(lost), ..entry };
        let both_lost = self.lost.saturating_add(other.lost);
        let mut entries: Vec<_> =
            std::mem::take(&mut self.entries).into_iter().map(|entry| unseen(entry, other.lost)).collect();
        entries.extend(other.entries.iter().map(|entry| unseen(entry.clone(), self.lost)));
        entries.sort_by(|a, b| scalar::order(&a.value.value(), &b.value.value()));
        entries.dedup_by(|more, entry| {
            let same = more.value == entry.value;
            if same {
                entry.count = entry.count.saturating_add(more.count);
                entry.error = entry.error.saturating_add(more.error).saturating_sub(both_lost).max(0);
            }
            same
        });
        (self.entries, self.lost) = (entries, both_lost);
        self.bound();
    }

    /// The `k` most frequent as a JSON array of `{"value":…,"count":n,"error":e}`: the value came at most n times and at
    /// least n - e. Most frequent first, then the smaller value.
    pub(super) fn json(&self, k: usize) -> String {
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by_key(|entry| Reverse(entry.count)); // stable: ties stay in the order of values
        let mut out = String::from("[");
        for (at, entry) in entries.into_iter().take(k).enumerate() {
            out.push_str(if at == 0 { "{\"value\":" } else { ",{\"value\":" });
            json::put(entry.value.value(), &mut out);
            out.push_str(&format!(",\"count\":{},\"error\":{}}}", entry.count.saturating_add(self.lost), entry.error));
        }
        out.push(']');
        out
    }

    pub(super) fn bytes(&self) -> usize {
        let values = self.entries.iter().map(|entry| entry.value.bytes()).sum::<usize>();
        size_of::<Self>() + self.entries.capacity() * size_of::<Entry>() + values
    }

    /// Appends capacity, what is lost, the number of values and each with its count, and its error when something is lost.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_long(out, i64::from(self.capacity));
        put_long(out, self.lost);
        put_long(out, self.entries.len() as i64);
        for entry in &self.entries {
            entry.value.put(out);
            put_long(out, entry.count);
            if self.lost > 0 {
                put_long(out, entry.error);
            }
        }
    }

    pub(super) fn get(reader: &mut Reader<'_>) -> Result<Self, avro::Error> {
        let capacity = reader.long()?;
        let capacity = u32::try_from(capacity)
            .ok()
            .filter(|capacity| (CAPACITY_MIN..=CAPACITY_MAX).contains(capacity))
            .ok_or(avro::Error::Length(capacity))?;
        let (lost, length) = (reader.long()?, reader.long()?);
        if lost < 0 || !(1..=i64::from(capacity)).contains(&length) {
            return Err(avro::Error::Length(length));
        }
        let mut top = Self { capacity, lost, entries: Vec::new() };
        for _ in 0..length {
            let (value, count) = (Scalar::get(reader)?, reader.long()?);
            let error = if lost > 0 { reader.long()? } else { 0 };
            let before = top.entries.last().map(|entry| scalar::order(&entry.value.value(), &value.value()));
            if before.unwrap_or(Ordering::Less) != Ordering::Less || count < i64::from(lost == 0) {
                return Err(avro::Error::Integer);
            }
            if !(0..=lost).contains(&error) {
                return Err(avro::Error::Length(error));
            }
            top.entries.push(Entry { value, count, error });
        }
        Ok(top)
    }
}

fn shorten_text(long: &str) -> String {
    // 253 to 256 bytes, four of a mark and 32 digits: longer than any text that stays as it is.
    let start = long.get(..long.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or_default();
    format!("{start}…#{:032x}", xxh3_128(long.as_bytes()))
}

fn shorten_bytes(long: &[u8]) -> Vec<u8> {
    let start = long.get(..TEXT_BYTES_MAX).unwrap_or_default();
    [start, &xxh3_128(long).to_be_bytes()].concat()
}
