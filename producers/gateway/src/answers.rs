//! Answers given to requests with an Idempotency-Key.
//!
//! What a key was answered is in the spool's entry of its request, durable with the events; the pump writes it to the topic
//! `tidemark.gateway.answers` in the same commit as the events, for the other gateways; and it outlives the entry in a file of
//! keys (`keys.rs`). An answer is a function of body, time of receipt and first event id: only the last two are kept, and
//! the answer is computed again from the repeated body. Memory is 130 to 220 bytes per key (measured; a table that
//! has just grown is half empty), some 100 more while its entry is in the spool, and bounded by the number of keys. Keys are
//! held by their 128-bit hash.
//!
//! Every gateway follows the topic, so an answer given by one is replayed by the others as soon as they have read it. Two
//! gateways that take the same key before that both accept it, with the same event ids: those of a request with a key follow
//! from tenant, key and request. A job with `dedupe` counts such events once.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidemark_schemas::avro::{Avro, Reader};
use tidemark_schemas::gateway::Answer;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

use crate::keys::Key;

/// How long an answer is replayed: 24 hours.
pub const ANSWERS_KEPT_MS: i64 = 24 * 3_600_000;

/// An answer given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Given {
    /// Hash of the request that it was given to.
    pub(crate) request: u128,
    pub(crate) received_at: i64,
    pub(crate) first_id: Uuid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    InFlight(u128),
    Done(Given),
}

/// What a key means for a request.
#[derive(Debug)]
pub(crate) enum Begin {
    /// Not seen before: the request may go ahead.
    New(Claim),
    /// Answered before.
    Replay(Given),
    /// The same request is under way.
    InFlight,
    /// The key belongs to another request.
    Other,
    /// No room for more keys until this time, when the oldest is forgotten.
    Full(i64),
}

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<u128, Entry>,
    /// Done entries by time of receipt, oldest first. They do not come in that order: a start learns them from three places.
    order: BinaryHeap<Reverse<(i64, u128)>>,
}

/// The answers of the last 24 hours.
#[derive(Debug)]
pub(crate) struct Answers {
    entries_max: usize,
    inner: Mutex<Inner>,
}

/// A key taken for a request under way; given back when dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    answers: Arc<Answers>,
    hash: u128,
    pub(crate) key: String,
    pub(crate) given: Given,
}

impl Claim {
    /// The answer is durable.
    pub(crate) fn done(self) {
        self.answers.lock().learn(self.hash, self.given);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut inner = self.answers.lock();
        if matches!(inner.entries.get(&self.hash), Some(Entry::InFlight(_))) {
            inner.entries.remove(&self.hash);
        }
    }
}

impl Answers {
    pub(crate) fn new(entries_max: usize) -> Self {
        Self { entries_max, inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change leaves the maps whole, so a panic elsewhere while holding the lock is no reason to stop.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `key` for a request, or says why not. `given` is what its answer would be.
    pub(crate) fn begin(self: &Arc<Self>, tenant: &str, key: &str, given: Given) -> Begin {
        let hash = key_hash(tenant, key);
        let mut inner = self.lock();
        inner.expire(given.received_at);
        match inner.entries.get(&hash) {
            Some(Entry::InFlight(request)) if *request == given.request => Begin::InFlight,
            Some(Entry::Done(first)) if first.request == given.request => Begin::Replay(*first),
            Some(_) => Begin::Other,
            None if inner.entries.len() >= self.entries_max => {
                let oldest =
                    inner.order.peek().map(|Reverse((received_at, _))| received_at.saturating_add(ANSWERS_KEPT_MS));
                Begin::Full(oldest.unwrap_or(given.received_at))
            }
            None => {
                inner.entries.insert(hash, Entry::InFlight(given.request));
                Begin::New(Claim { answers: Arc::clone(self), hash, key: key.to_owned(), given })
            }
        }
    }

    /// Takes in a record of the topic.
    pub(crate) fn read(&self, datum: &[u8], now: i64) -> Result<(), tidemark_schemas::avro::Error> {
        let mut reader = Reader::new(datum);
        let answer = Answer::get(&mut reader)?;
        reader.finish()?;
        let first_id = Uuid::parse_str(answer.first_id).unwrap_or_default();
        let request = answer.request_hash.try_into().map_or(0, u128::from_be_bytes);
        let given = Given { request, received_at: answer.received_at, first_id };
        self.recall(Key { hash: key_hash(answer.tenant, answer.key), given }, now);
        Ok(())
    }

    /// Takes in an answer given earlier, unless it has expired.
    pub(crate) fn recall(&self, key: Key, now: i64) {
        if key.given.received_at.saturating_add(ANSWERS_KEPT_MS) > now {
            self.lock().learn(key.hash, key.given);
        }
    }

    /// Keys remembered and under way.
    pub(crate) fn len(&self) -> usize {
        self.lock().entries.len()
    }
}

impl Inner {
    fn learn(&mut self, hash: u128, given: Given) {
        if self.entries.insert(hash, Entry::Done(given)) != Some(Entry::Done(given)) {
            self.order.push(Reverse((given.received_at, hash)));
        }
    }

    fn expire(&mut self, now: i64) {
        while let Some(&Reverse((received_at, hash))) = self.order.peek() {
            if received_at.saturating_add(ANSWERS_KEPT_MS) > now {
                return;
            }
            self.order.pop();
            let expired =
                matches!(self.entries.get(&hash), Some(Entry::Done(given)) if given.received_at == received_at);
            if expired {
                self.entries.remove(&hash);
            }
        }
    }
}

/// What stands for a tenant's key.
pub(crate) fn key_hash(tenant: &str, key: &str) -> u128 {
    let mut bytes = Vec::with_capacity(tenant.len() + key.len() + 4);
    crate::ids::put_key(tenant, key, &mut bytes);
    xxh3_128(&bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    fn given(request: u128, received_at: i64) -> Given {
        Given { request, received_at, first_id: Uuid::nil() }
    }

    fn claim(answers: &Arc<Answers>, key: &str, given: Given) -> Claim {
        match answers.begin("t", key, given) {
            Begin::New(claim) => claim,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_key_is_taken_given_back_and_answered() {
        let answers = Arc::new(Answers::new(10));
        let first = claim(&answers, "a", given(1, 0));
        assert!(matches!(answers.begin("t", "a", given(1, 5)), Begin::InFlight));
        assert!(matches!(answers.begin("t", "a", given(2, 5)), Begin::Other));
        drop(first);
        claim(&answers, "a", given(2, 6)).done();
        assert!(matches!(answers.begin("t", "a", given(2, 7)), Begin::Replay(g) if g.received_at == 6));
        assert!(matches!(answers.begin("t", "a", given(3, 7)), Begin::Other));
        drop(claim(&answers, "a", given(3, 6 + ANSWERS_KEPT_MS)));
        assert_eq!((answers.len(), answers.lock().order.len()), (0, 0));
    }

    #[test]
    fn keys_learnt_in_any_order_expire_when_their_time_comes() {
        let answers = Arc::new(Answers::new(10));
        for (key, received_at) in [("late", 5_000), ("early", 0), ("between", 2_000)] {
            answers.recall(Key { hash: key_hash("t", key), given: given(1, received_at) }, 5_000);
        }
        drop(claim(&answers, "early", given(2, ANSWERS_KEPT_MS)));
        assert!(matches!(answers.begin("t", "between", given(2, ANSWERS_KEPT_MS)), Begin::Other));
        drop(claim(&answers, "between", given(2, ANSWERS_KEPT_MS + 2_000)));
        assert_eq!((answers.len(), answers.lock().order.len()), (1, 1));
    }

    #[test]
    fn keys_are_bounded() {
        let answers = Arc::new(Answers::new(2));
        let held = [claim(&answers, "a", given(1, 0)), claim(&answers, "b", given(1, 0))];
        assert!(matches!(answers.begin("t", "c", given(1, 7)), Begin::Full(7)), "soon: both are under way");
        drop(held);
        claim(&answers, "a", given(1, 8)).done();
        claim(&answers, "b", given(1, 9)).done();
        assert!(matches!(answers.begin("t", "c", given(1, 10)), Begin::Full(at) if at == 8 + ANSWERS_KEPT_MS));
    }
}
