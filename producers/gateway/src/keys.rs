//! Idempotency keys whose entries the spool no longer has: kept for the rest of their 24 hours in a small spool of their own,
//! so that they are known after a restart also while the log cannot be reached.

use std::collections::VecDeque;
use std::sync::Arc;

use tidemark_log::Clock;
use tidemark_spool::disk::Disk;
use tidemark_spool::{Entry, Error, Limits, Place, Spool};
use uuid::Uuid;

use crate::answers::{ANSWERS_KEPT_MS, Answers, Given};

/// Small, since a segment stays until its last key has expired.
const LIMITS: Limits = Limits { bytes_max: u64::MAX, age_max_ms: i64::MAX, segment_bytes: 1 << 20 };
/// Bytes of a key: hash, request hash, time of receipt, first id.
const KEY: usize = 56;
/// Keys that are written as one entry.
const CHUNK: usize = 10_000;

/// A key by its hash, and what was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) hash: u128,
    pub(crate) given: Given,
}

/// Keys on their way from the spool's entries into their own.
pub(crate) struct Keys {
    spool: Arc<Spool>,
    /// Entries of keys that may still be live, without their payload.
    kept: VecDeque<Entry>,
    /// Keys of entries that the spool still has, in order.
    pending: VecDeque<(Place, Key)>,
}

impl Keys {
    /// Opens the keys' spool; `answers` learns the live ones.
    pub(crate) fn open(disk: Arc<dyn Disk>, clock: Clock, answers: &Answers) -> Result<Self, Error> {
        let (now, mut kept) = (clock(), VecDeque::new());
        let spool = Spool::open(disk, LIMITS, clock, &mut |mut entry| {
            let payload = std::mem::take(&mut entry.payload);
            payload.as_chunks().0.iter().map(decode).for_each(|key| answers.recall(key, now));
            kept.push_back(entry);
        })?;
        Ok(Self { spool, kept, pending: VecDeque::new() })
    }

    /// An entry of the spool has this key. Entries come in order; one that came before is passed over.
    pub(crate) fn add(&mut self, place: Place, key: Key) {
        if self.pending.back().is_none_or(|(last, _)| *last < place) {
            self.pending.push_back((place, key));
        }
    }

    /// Writes down the live keys of entries before `place`, which are about to be deleted.
    pub(crate) fn save(&mut self, place: Place, now: i64) -> Result<(), Error> {
        // First, since it makes room: also on a disk that takes no more keys.
        self.forget(now)?;
        let live = |key: &Key| key.given.received_at.saturating_add(ANSWERS_KEPT_MS) > now;
        while self.pending.front().is_some_and(|(at, _)| *at < place) {
            let gone = self.pending.iter().take_while(|(at, _)| *at < place).take(CHUNK);
            let (count, keys) = (gone.clone().count(), gone.map(|(_, key)| *key).filter(live).collect::<Vec<_>>());
            if !keys.is_empty() {
                self.write(&keys, now)?;
            }
            self.pending.drain(..count);
        }
        Ok(())
    }

    fn write(&mut self, keys: &[Key], now: i64) -> Result<(), Error> {
        let mut payload = Vec::with_capacity(keys.len() * KEY);
        keys.iter().for_each(|key| encode(key, &mut payload));
        let (bytes, records) = (payload.len() as u64, u32::try_from(keys.len()).unwrap_or(u32::MAX));
        let place = self.spool.append(payload, records)?.blocking_recv().unwrap_or(Err(Error::Closed))?;
        self.kept.push_back(Entry { place, appended_at: now, records, bytes, payload: Vec::new() });
        Ok(())
    }

    /// Deletes what has expired: every key of an entry was received before the entry was written.
    fn forget(&mut self, now: i64) -> Result<(), Error> {
        while let Some(entry) = self.kept.front().filter(|e| e.appended_at.saturating_add(ANSWERS_KEPT_MS) <= now) {
            self.spool.release(std::slice::from_ref(entry));
            self.kept.pop_front();
        }
        self.spool.trimmable().map_or(Ok(()), |place| self.spool.trim(place))
    }
}

fn encode(key: &Key, out: &mut Vec<u8>) {
    let Given { request, received_at, first_id } = key.given;
    out.extend_from_slice(&key.hash.to_le_bytes());
    out.extend_from_slice(&request.to_le_bytes());
    out.extend_from_slice(&received_at.to_le_bytes());
    out.extend_from_slice(first_id.as_bytes());
}

fn decode(bytes: &[u8; KEY]) -> Key {
    // The three splits cannot fail: 16 + 16 + 8 + 16 = KEY.
    let (hash, rest) = bytes.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
    let (request, rest) = rest.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
    let (received_at, first_id) = rest.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
    let given = Given {
        request: u128::from_le_bytes(*request),
        received_at: i64::from_le_bytes(*received_at),
        first_id: Uuid::from_slice(first_id).unwrap_or_default(),
    };
    Key { hash: u128::from_le_bytes(*hash), given }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tidemark_spool::disk::Dir;

    fn key(hash: u128, received_at: i64) -> Key {
        Key { hash, given: Given { request: hash + 1, received_at, first_id: Uuid::from_u128(hash + 2) } }
    }

    #[test]
    fn keys_are_known_again_until_they_expire() {
        let dir = tempfile::tempdir().unwrap();
        let place = |position| Place { run: 1, position };
        let open = |now: i64, answers: &Answers| {
            Keys::open(Arc::new(Dir::claim(dir.path()).unwrap()), Arc::new(move || now), answers).unwrap()
        };
        let mut keys = open(0, &Answers::new(10));
        (0..4).for_each(|at| keys.add(place(at), key(u128::from(at), i64::try_from(at).unwrap() * 1_000)));
        keys.add(place(1), key(99, 0));
        keys.save(place(3), 3_000).unwrap();
        assert_eq!(keys.pending, [(place(3), key(3, 3_000))]);
        drop(keys);
        let known = |now| {
            let answers = Answers::new(10);
            drop(open(now, &answers));
            answers.len()
        };
        assert_eq!((known(4_000), known(ANSWERS_KEPT_MS + 1_000), known(ANSWERS_KEPT_MS + 2_000)), (3, 1, 0));
    }
}
