//! Repeats of a record, counted once: the ids that a source partition brought lately.
//!
//! A record is a repeat when its partition brought one with the same id less than `for` before, in *log time*: the highest
//! append time of the partition so far, which depends on the partition's contents alone, so that a replay decides alike.
//! Ids are held by their 128-bit hash.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use tidemark_schemas::avro;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

/// Length of an entry of the ids seen, bytes.
pub const ENTRY_BYTES: usize = 24;
/// Expired ids are taken out this many times while one expires.
const SWEEPS: i64 = 8;

/// Hash of a record's id.
pub type Id = u128;

/// The hash of an id, as it stands in the record: an id is one with its repeats within a tenant, whose ids nobody else knows.
#[inline]
pub fn id(tenant: &[u8], bytes: &[u8]) -> Id {
    xxh3_128_with_seed(bytes, xxh3_64(tenant))
}

/// Ids are hashes already: half of one is as good as another hash of it.
#[derive(Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, &byte| hash.rotate_left(8) ^ u64::from(byte));
    }
    fn write_u128(&mut self, id: u128) {
        self.0 = id as u64;
    }
}

/// What one source partition brought lately. 40 to 80 bytes of memory for each id.
#[derive(Debug, Default)]
pub struct Seen {
    for_ms: i64,
    ids: HashMap<Id, i64, BuildHasherDefault<AsIs>>,
    log_time: Option<i64>,
    swept_at: i64,
    fresh: Vec<(Id, i64)>,
}

impl Seen {
    /// Nothing yet; `log_time` is the partition's highest append time so far.
    pub fn new(for_ms: i64, log_time: Option<i64>) -> Self {
        Self { for_ms, log_time, swept_at: log_time.unwrap_or(0), ..Self::default() }
    }

    /// Highest append time so far, milliseconds: committed together with the offset.
    pub fn log_time(&self) -> Option<i64> {
        self.log_time
    }

    /// Whether the record is a repeat; notes its id when it is not.
    pub fn is_repeat(&mut self, id: Id, appended_at: i64) -> bool {
        let now = self.log_time.map_or(appended_at, |before| before.max(appended_at));
        self.log_time = Some(now);
        self.sweep(now);
        match self.ids.entry(id) {
            Entry::Occupied(first) if now - first.get() < self.for_ms => return true,
            Entry::Occupied(mut expired) => drop(expired.insert(now)),
            Entry::Vacant(place) => drop(place.insert(now)),
        }
        self.fresh.push((id, now));
        false
    }

    fn sweep(&mut self, now: i64) {
        if now - self.swept_at >= self.for_ms / SWEEPS {
            let for_ms = self.for_ms;
            self.ids.retain(|_, first| now - *first < for_ms);
            self.swept_at = now;
        }
    }

    /// How many ids the next commit has to write.
    pub fn fresh(&self) -> usize {
        self.fresh.len()
    }

    /// The ids first seen since the last commit, [`ENTRY_BYTES`] each, at most `most` of them in a piece.
    pub fn pieces(&self, most: usize) -> impl Iterator<Item = Vec<u8>> + '_ {
        self.fresh.chunks(most.max(1)).map(|chunk| {
            chunk.iter().flat_map(|(id, at)| id.to_be_bytes().into_iter().chain(at.to_be_bytes())).collect()
        })
    }

    /// Takes a piece back in, in any order: of an id that was seen again after its time, at most one sight is not expired.
    ///
    /// # Errors
    /// The piece is not a whole number of entries.
    pub fn restore(&mut self, piece: &[u8]) -> Result<(), avro::Error> {
        let (entries, rest) = piece.as_chunks::<ENTRY_BYTES>();
        if !rest.is_empty() {
            return Err(avro::Error::Trailing(rest.len()));
        }
        for entry in entries {
            let (mut id, mut at) = ([0; 16], [0; 8]);
            let (front, back) = entry.split_at(16);
            id.copy_from_slice(front);
            at.copy_from_slice(back);
            let (id, at) = (Id::from_be_bytes(id), i64::from_be_bytes(at));
            if self.log_time.is_none_or(|now| now - at < self.for_ms) {
                self.ids.insert(id, at);
            }
        }
        Ok(())
    }

    /// Forgets which ids are to be written: they have been.
    pub fn committed(&mut self) {
        self.fresh.clear();
    }

    /// Ids in memory.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rule by itself: log time of each first sight, nothing ever taken out.
    fn naive(for_ms: i64, records: &[(u8, i64)]) -> Vec<bool> {
        let (mut firsts, mut now) = (std::collections::BTreeMap::new(), i64::MIN);
        let mut repeat = |&(id, at): &(u8, i64)| {
            now = now.max(at);
            let repeat = firsts.get(&id).is_some_and(|first| now - first < for_ms);
            if !repeat {
                firsts.insert(id, now);
            }
            repeat
        };
        records.iter().map(&mut repeat).collect()
    }

    proptest! {
        /// At any number of commits and restarts, with what was written read back in any order, and append times that step back.
        #[test]
        fn a_restart_changes_nothing(
            steps in proptest::collection::vec((0..12_u8, -5..40_i64, 0..6_u8), 1..200),
            turn in 0..100_usize,
        ) {
            const FOR_MS: i64 = 100;
            let mut at = 1_000;
            let records: Vec<(u8, i64)> = steps.iter().map(|&(id, later, _)| { at += later; (id, at) }).collect();
            let (mut seen, mut written, mut got) = (Seen::new(FOR_MS, None), Vec::new(), Vec::new());
            for (&(id_byte, at), &(.., act)) in records.iter().zip(&steps) {
                got.push(seen.is_repeat(id(b"a", &[id_byte]), at));
                if act < 2 {
                    written.extend(seen.pieces(2));
                    seen.committed();
                }
                if act == 0 {
                    seen = Seen::new(FOR_MS, seen.log_time());
                    let middle = turn % (written.len() + 1);
                    written.rotate_left(middle);
                    written.iter().for_each(|piece| seen.restore(piece).unwrap());
                }
            }
            prop_assert_eq!(got, naive(FOR_MS, &records));
        }
    }

    #[test]
    fn ids_are_a_tenants_own() {
        let ids = [id(b"a", b"x"), id(b"b", b"x"), id(b"", b"ax"), id(b"ax", b""), id(b"a", b"y")];
        let different: std::collections::BTreeSet<Id> = ids.into_iter().collect();
        assert_eq!(different.len(), ids.len());
        assert_eq!(id(b"a", b"x"), ids[0]);
    }

    #[test]
    fn expired_ids_take_no_memory() {
        let mut seen = Seen::new(100, None);
        (0..1_000).for_each(|n: i64| assert!(!seen.is_repeat(id(b"a", &n.to_be_bytes()), n)));
        assert!(seen.len() <= 100 + 100 / 8, "{}", seen.len());
        assert!(seen.restore(&[0; 25]).is_err());
    }
}
