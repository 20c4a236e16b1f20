//! What the notifier needs around it: topics, schemas, first offsets.

use std::time::Duration;

use tidemark_core::table;
use tidemark_log::{At, Cleanup, GroupOffset, Log, TopicPartition, TopicSpec, committed_within};
use tidemark_runtime::Error;
use tidemark_schemas::catalog::{DEAD_LETTER, MAIL_HANDLED, MAIL_REQUESTED};
use tidemark_schemas::registry::Registry;

/// `MailRequested` by mail_id: mails to be sent.
pub const MAILS: &str = "notifications.mails";
/// `MailHandled` by mail_id: what has become of them.
pub const HANDLED: &str = "notifications.handled";
/// `DeadLetter`: requests that cannot be read or break a rule, with the reason.
pub const DEAD_LETTERS: &str = "tidemark.notifier.dead-letter";
/// The consumer group.
pub const GROUP: &str = "tidemark.notifier";

/// How many partitions each of the topics gets.
const PARTITIONS: u32 = 4;
/// How long each is kept: a mail must be sent within that time.
const RETENTION_MS: i64 = 30 * 86_400_000;
/// How long a start waits for the open transaction of a process that died.
const PATIENCE: Duration = Duration::from_secs(60);

/// Schema ids and partitions of what the notifier writes.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub(crate) handled_id: u32,
    pub(crate) dead_letter_id: u32,
    pub(crate) handled_partitions: u32,
    pub(crate) dead_letter_partitions: u32,
}

/// The notifier's topics. Whoever writes to [`MAILS`] may make it as well.
pub fn topics() -> Vec<TopicSpec> {
    let topic = |name: &str| TopicSpec {
        name: name.to_owned(),
        partitions: PARTITIONS,
        cleanup: Cleanup::Delete,
        retention_ms: Some(RETENTION_MS),
    };
    [MAILS, HANDLED, DEAD_LETTERS].map(topic).into()
}

impl Plan {
    /// Makes the topics that are missing, registers the schemas and gives the group its first offsets: the start of each partition.
    /// May be called again at any time; what is there stays as it is.
    ///
    /// # Errors
    /// The log or the registry refuses or does not answer.
    pub fn create(log: &dyn Log, registry: &dyn Registry) -> Result<Self, Error> {
        for topic in topics() {
            if log.partitions(&topic.name)?.is_none() {
                log.create_topics(std::slice::from_ref(&topic))?;
            }
        }
        let register = |topic: &str, avsc: &str| registry.register(&format!("{topic}-value"), avsc);
        register(MAILS, &MAIL_REQUESTED.avsc)?;
        let plan = Self {
            handled_id: register(HANDLED, &MAIL_HANDLED.avsc)?,
            dead_letter_id: register(DEAD_LETTERS, &DEAD_LETTER.avsc)?,
            handled_partitions: partitions(log, HANDLED)?,
            dead_letter_partitions: partitions(log, DEAD_LETTERS)?,
        };
        init_group(log)?;
        Ok(plan)
    }

    /// Where what has become of a mail goes: what is said of one mail keeps its order.
    pub(crate) fn handled_partition(&self, mail_id: &str) -> u32 {
        table::merge_partition(table::hash(mail_id.as_bytes()), self.handled_partitions)
    }
}

fn partitions(log: &dyn Log, topic: &str) -> Result<u32, Error> {
    log.partitions(topic)?.ok_or_else(|| Error::NoSource(topic.to_owned()))
}

fn init_group(log: &dyn Log) -> Result<(), Error> {
    let all: Vec<_> = (0..partitions(log, MAILS)?).map(|partition| TopicPartition::new(MAILS, partition)).collect();
    // Partitions added later are begun by whoever they are assigned to; the group may have members by then.
    if committed_within(log, GROUP, &all, PATIENCE)?.iter().any(Option::is_some) {
        return Ok(());
    }
    let starts = log.offsets(&all, At::Start)?;
    let first = |(partition, offset)| GroupOffset { partition, offset, metadata: String::new() };
    let first: Vec<GroupOffset> = all.into_iter().zip(starts).map(first).collect();
    Ok(log.init_group(GROUP, &first)?)
}
