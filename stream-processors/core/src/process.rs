//! Keyed processes: a state machine for each key, `(state, event or tick) → (state', events)`, with nothing else in it.
//!
//! A process owns all keys of a partition of its input topic. Its state is a map of entries: after each record it names the
//! entries that have changed, and the runtime writes those to the changelog, in the transaction that holds the events and moves
//! the offset. A restart reads the entries back and goes on.
//!
//! Time is the highest append time of the input so far, so it is in the log: a replay sees the same times and fires the same
//! timers in the same places. When a timer is due and nothing comes, the owner of the partition writes a tick to it
//! ([`tidemark_schemas::engine::Ticked`]) and goes by that.

use std::collections::BTreeSet;

use tidemark_schemas::avro::{self, Avro};

/// A record of the input topic.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// Place of its schema in the list of those that the process reads.
    pub schema: usize,
    /// Its value, without the wire format's header.
    pub datum: &'a [u8],
    /// The time, milliseconds since the epoch: never less than before.
    pub now: i64,
    /// Offset of the record: what it changes has revision `offset + 1`.
    pub offset: i64,
}

/// A record for an output topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emitted {
    /// Place of the topic in the list of outputs.
    pub output: usize,
    /// Its partition is the hash of the key, modulo the partitions.
    pub key: Vec<u8>,
    /// Without the wire format's header; `None` is a tombstone.
    pub datum: Option<Vec<u8>>,
}

/// What came of a record: events, and the names of the entries that have changed.
#[derive(Debug, Default)]
pub struct Output {
    /// In order.
    pub emitted: Vec<Emitted>,
    /// Keys of changed entries, each once: [`Process::entry`] is asked for them at the commit.
    pub changed: BTreeSet<Vec<u8>>,
}

impl Output {
    /// Adds an event.
    pub fn emit<'a>(&mut self, output: usize, key: &[u8], record: &impl Avro<'a>) {
        let mut datum = Vec::with_capacity(128);
        record.put(&mut datum);
        self.emitted.push(Emitted { output, key: key.to_vec(), datum: Some(datum) });
    }

    /// Adds a tombstone.
    pub fn forget(&mut self, output: usize, key: &[u8]) {
        self.emitted.push(Emitted { output, key: key.to_vec(), datum: None });
    }

    /// Says that an entry is another one now, or is gone.
    pub fn change(&mut self, entry: Vec<u8>) {
        self.changed.insert(entry);
    }
}

/// A record that the process does not take: it is dead-lettered, and the state is as before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// Its bytes are not what its schema says.
    #[error(transparent)]
    Unreadable(#[from] avro::Error),
    /// It breaks a rule.
    #[error("{field}: {rule}")]
    Rule {
        /// Of the record.
        field: &'static str,
        /// What it should be.
        rule: String,
    },
}

/// A keyed process over one partition. It is a function of its input: no clock, no randomness, no order of hash maps in what it
/// emits.
pub trait Process: Send {
    /// Takes a record in.
    ///
    /// # Errors
    /// The record is not taken and has changed nothing.
    fn apply(&mut self, input: &Input<'_>, out: &mut Output) -> Result<(), Reject>;

    /// Time has come to `now`: fires every timer that is due at it or before. Called with each record, before it, and with
    /// each tick; `offset` is of that record.
    fn tick(&mut self, now: i64, offset: i64, out: &mut Output);

    /// When the next timer is due, milliseconds since the epoch.
    fn due(&self) -> Option<i64>;

    /// The entry as it is now: writes its datum to `datum` and gives the place of its schema in the list of entry schemas; `None`
    /// when it is gone.
    fn entry(&self, key: &[u8], datum: &mut Vec<u8>) -> Option<usize>;

    /// Takes an entry back in at a restore, before any record: each key once, in no order, and no entry that is gone.
    ///
    /// # Errors
    /// The entry is none of this process.
    fn restore(&mut self, key: &[u8], schema: usize, datum: &[u8]) -> Result<(), Reject>;
}
