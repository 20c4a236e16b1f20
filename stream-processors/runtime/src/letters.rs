//! Letters about records that were late or could not be counted: encoded when a record is read, written by the commit.

use crate::{Error, Plan};
use tidemark_core::LatePolicy;
use tidemark_core::window::Window;
use tidemark_log::{Outgoing, Record, Sink};
use tidemark_schemas::avro::Avro;
use tidemark_schemas::engine::{DeadLetter, LateReason, LateRecord};
use tidemark_schemas::wire;

/// Bytes of a record's key, and of its value, that a letter about it holds.
const LETTER_BYTES_MAX: usize = 256 << 10;

/// Encoded records that wait for the commit, end to end.
#[derive(Default)]
pub(crate) struct Letters {
    pub(crate) bytes: Vec<u8>,
    /// End of each value in `bytes`, and the partition it goes to.
    ends: Vec<(usize, u32)>,
}

impl Letters {
    pub(crate) fn push<'a>(&mut self, partition: u32, id: u32, letter: &impl Avro<'a>) {
        wire::put(id, letter, &mut self.bytes);
        self.ends.push((self.bytes.len(), partition));
    }

    pub(crate) fn send(&self, topic: &str, sink: &mut dyn Sink) -> Result<(), tidemark_log::Error> {
        let mut start = 0;
        for &(end, partition) in &self.ends {
            let value = self.bytes.get(start..end);
            sink.send(Outgoing { topic, partition, key: None, value, headers: &[] })?;
            start = end;
        }
        Ok(())
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

/// Where a record was read, for letters about it.
pub(crate) struct Address<'r> {
    pub(crate) plan: &'r Plan,
    pub(crate) topic: &'r str,
    pub(crate) partition: u32,
    pub(crate) record: &'r Record<'r>,
}

impl Address<'_> {
    /// Letters about one source partition keep their order.
    fn target(&self) -> u32 {
        self.plan.letter_partition(self.partition)
    }

    pub(crate) fn unreadable(&self, reason: wire::Error) -> Error {
        Error::Unreadable {
            topic: self.topic.to_owned(),
            partition: self.partition,
            offset: self.record.offset,
            reason,
        }
    }

    pub(crate) fn dead(&self, out: &mut Letters, rule: &str, detail: &str) {
        let letter = dead_letter(self.topic, self.partition, self.record, rule, detail);
        out.push(self.target(), self.plan.ids.dead_letter, &letter);
    }

    pub(crate) fn late(&self, out: &mut Letters, event_time: i64, window: Window, watermark: i64, policy: LatePolicy) {
        let letter = LateRecord {
            topic: self.topic,
            partition: self.partition as i32,
            offset: self.record.offset,
            event_time,
            window_start: window.start,
            window_end: window.end,
            watermark,
            grace_ms: self.plan.spec.grace_ms,
            reason: match policy {
                LatePolicy::Amend => LateReason::Amended,
                LatePolicy::Hold => LateReason::Held,
            },
            value_length: self.record.value.map_or(0, |value| value.len() as i64),
            value: self.record.value.map_or(&[], first),
        };
        out.push(self.target(), self.plan.ids.late_record, &letter);
    }
}

/// A letter about a record that is not counted or not taken.
pub(crate) fn dead_letter<'r>(
    topic: &'r str,
    partition: u32,
    record: &'r Record<'r>,
    rule: &'r str,
    detail: &'r str,
) -> DeadLetter<'r> {
    DeadLetter {
        topic,
        partition: partition as i32,
        offset: record.offset,
        appended_at: record.timestamp,
        rule,
        detail,
        key: record.key.map(first),
        value_length: record.value.map_or(0, |value| value.len() as i64),
        value: record.value.map(first),
    }
}

/// What a letter holds of a key or value: a letter about the largest record still fits a record.
fn first(bytes: &[u8]) -> &[u8] {
    bytes.get(..LETTER_BYTES_MAX).unwrap_or(bytes)
}

/// The short name of why a value could not be read.
pub(crate) fn rule_of(error: &wire::Error) -> &'static str {
    match error {
        wire::Error::Short(_) => "short",
        wire::Error::BadMagic(_) => "bad_magic",
        wire::Error::UnknownSchema(_) => "unknown_schema",
        wire::Error::Incompatible { .. } => "incompatible_schema",
        wire::Error::Datum(_) => "malformed",
        wire::Error::Registry(_) => "registry",
    }
}
