//! Records in and out: mails that are read, what has become of them, dead letters.

use tidemark_log::{Batch, Outgoing, Record, Sink, TopicPartition};
use tidemark_runtime::Error;
use tidemark_schemas::avro::{Avro, Reader};
use tidemark_schemas::engine::DeadLetter;
use tidemark_schemas::notifications::{MailHandled, MailRequested};
use tidemark_schemas::wire;

use super::NotifierStage;
use crate::mail::{Broken, Mail};
use crate::metrics::Metrics;
use crate::plan::{DEAD_LETTERS, HANDLED, Plan};
use crate::waiting::{Item, Pending, Waiting};

/// Bytes of a record's key, and of its value, that a dead letter holds.
const LETTER_BYTES_MAX: usize = 256 << 10;

/// What a commit says of a record that is handled.
pub(super) struct Settled {
    pub(super) partition: u32,
    pub(super) offset: i64,
    pub(super) what: What,
}

pub(super) enum What {
    /// A mail that was sent, or refused: why; and the number of tries.
    Mail(Box<Mail>, Option<String>, u32),
    /// A dead letter, encoded.
    Dead(Vec<u8>),
}

impl Settled {
    pub(super) fn write(
        &self,
        plan: &Plan,
        now: i64,
        header: Option<(&'static str, &[u8])>,
        sink: &mut dyn Sink,
    ) -> Result<(), tidemark_log::Error> {
        let headers = header.as_slice();
        let (mail, refused, tries) = match &self.what {
            What::Dead(letter) => {
                let partition = self.partition % plan.dead_letter_partitions.max(1);
                return sink.send(Outgoing { topic: DEAD_LETTERS, partition, key: None, value: Some(letter), headers });
            }
            What::Mail(mail, refused, tries) => (mail, refused, *tries),
        };
        let handled = MailHandled {
            tenant: mail.tenant.clone(),
            mail_id: mail.mail_id.clone(),
            at: now,
            to: mail.to.to_string(),
            template: mail.template.clone(),
            outcome: if refused.is_some() { "REFUSED" } else { "SENT" }.to_owned(),
            message: refused.clone(),
            tries: i32::try_from(tries).unwrap_or(i32::MAX),
        };
        let mut value = Vec::with_capacity(256);
        wire::put(plan.handled_id, &handled, &mut value);
        let (key, partition) = (Some(mail.mail_id.as_bytes()), plan.handled_partition(&mail.mail_id));
        sink.send(Outgoing { topic: HANDLED, partition, key, value: Some(&value), headers })
    }

    pub(super) fn count(&self, metrics: &Metrics) {
        match &self.what {
            What::Mail(_, None, _) => metrics.count_sent(),
            What::Mail(_, Some(_), _) => metrics.count_refused(),
            What::Dead(_) => metrics.count_dead_lettered(),
        }
    }
}

impl NotifierStage {
    /// Takes what was read. A registry that does not answer ends it: all since the last commit is read again.
    pub(super) fn take(&mut self, batch: &Batch<'_>) {
        let of_batch = |waiting: &Waiting| waiting.partition.partition == batch.partition;
        let Some(at) = self.owned.iter().position(of_batch) else { return };
        for record in batch.records {
            if self.failed.is_some() {
                return;
            }
            if let Err(reason) = self.take_one(at, batch, record) {
                let (topic, partition) = (batch.topic.to_owned(), batch.partition);
                self.failed = Some(Error::Unreadable { topic, partition, offset: record.offset, reason });
            }
        }
    }

    fn take_one(&mut self, at: usize, batch: &Batch<'_>, record: &Record<'_>) -> Result<(), wire::Error> {
        let read = self.mail(record)?;
        self.trace.see(&TopicPartition::new(batch.topic, batch.partition), record);
        let Some(waiting) = self.owned.get_mut(at) else { return Ok(()) };
        if !waiting.read(record.offset) {
            return Ok(());
        }
        let item = match read {
            // Nobody deletes mails by key: nothing to do, and nothing is wrong.
            None => return Ok(()),
            Some(Ok(mail)) => Item::Mail(Box::new(Pending::new(mail))),
            Some(Err(Broken { rule, detail })) => {
                tracing::warn!(
                    topic = batch.topic,
                    partition = batch.partition,
                    offset = record.offset,
                    rule,
                    detail,
                    "a mail is not sent but dead-lettered"
                );
                Item::Dead(dead_letter(self.plan.dead_letter_id, batch, record, rule, &detail))
            }
        };
        waiting.push(record.offset, item);
        Ok(())
    }

    /// The mail of a record, or the rule that it breaks; `None` for a tombstone.
    fn mail(&mut self, record: &Record<'_>) -> Result<Option<Result<Mail, Broken>>, wire::Error> {
        let Some(value) = record.value else { return Ok(None) };
        let read = self.decoder.datum(value, &mut self.scratch).and_then(|(_, datum)| {
            let mut reader = Reader::new(datum);
            let requested = MailRequested::get(&mut reader)?;
            reader.finish()?;
            Ok(requested)
        });
        match read {
            Ok(requested) => Ok(Some(Mail::new(requested, &self.setup.templates))),
            Err(error @ wire::Error::Registry(_)) => Err(error),
            Err(error) => Ok(Some(Err(Broken { rule: rule_of(&error), detail: error.to_string() }))),
        }
    }
}

fn dead_letter(id: u32, batch: &Batch<'_>, record: &Record<'_>, rule: &str, detail: &str) -> Vec<u8> {
    let letter = DeadLetter {
        topic: batch.topic,
        partition: batch.partition as i32,
        offset: record.offset,
        appended_at: record.timestamp,
        rule,
        detail,
        key: record.key.map(first),
        value_length: record.value.map_or(0, |value| value.len() as i64),
        value: record.value.map(first),
    };
    let mut encoded = Vec::with_capacity(512);
    wire::put(id, &letter, &mut encoded);
    encoded
}

/// What a letter holds of a key or value: a letter about the largest record still fits a record.
fn first(bytes: &[u8]) -> &[u8] {
    bytes.get(..LETTER_BYTES_MAX).unwrap_or(bytes)
}

/// The short name of why a value could not be read.
fn rule_of(error: &wire::Error) -> &'static str {
    match error {
        wire::Error::Short(_) => "short",
        wire::Error::BadMagic(_) => "bad_magic",
        wire::Error::UnknownSchema(_) => "unknown_schema",
        wire::Error::Incompatible { .. } => "incompatible_schema",
        wire::Error::Datum(_) => "malformed",
        wire::Error::Registry(_) => "registry",
    }
}
