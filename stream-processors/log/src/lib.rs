//! The log: the one seam between the engine and the outside.
//!
//! Topics of partitions of records, consumer groups, and commits that are atomic over any number of topics and the
//! group's offsets. [`embedded`] keeps it on local disk in one process; [`kafka`] is a Kafka cluster; [`simulated`] is the
//! embedded one in memory, with faults. One conformance suite holds all of them to the same promises:
//!
//! - a partition's records are read in offset order, each at most once by a member between two assignments;
//! - a commit is seen whole or not at all, and only once it is durable;
//! - a member that is no longer of its group's generation commits nothing;
//! - what was acknowledged outlives kill −9.
//!
//! Every call blocks and belongs on a thread of its own, never on an async executor.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub mod embedded;
pub mod failpoint;
pub mod kafka;
pub mod simulated;
pub mod span;
pub mod trace_context;
pub mod watch;

pub use trace_context::{TRACEPARENT, TraceContext};

/// Milliseconds since the Unix epoch. Passed in wherever time matters, so that tests move it by hand.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The clock of the machine.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
    })
}

/// What a topic should be. Every topic uses LogAppendTime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Name; letters, digits, `.`, `_` and `-`, at most 249 bytes (Kafka's rule).
    pub name: String,
    /// 1 to 10,000.
    pub partitions: u32,
    /// What happens to old records.
    pub cleanup: Cleanup,
    /// Milliseconds a record is kept when `cleanup` deletes by age; `None` keeps for ever.
    pub retention_ms: Option<i64>,
}

/// What happens to old records of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleanup {
    /// Deleted by age.
    Delete,
    /// All but the last record of each key are deleted; a last one without a value goes after a day.
    Compact,
    /// Both.
    CompactAndDelete,
}

/// One partition of one topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// Topic name.
    pub topic: Arc<str>,
    /// 0 to partitions − 1.
    pub partition: u32,
}

impl TopicPartition {
    /// Of `topic`, number `partition`.
    pub fn new(topic: impl Into<Arc<str>>, partition: u32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// A record, borrowed from the batch that it came in.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Unique in its partition and growing; gaps are normal (compaction, control markers).
    pub offset: i64,
    /// Append time, milliseconds since the epoch.
    pub timestamp: i64,
    /// Key, if any.
    pub key: Option<&'a [u8]>,
    /// Value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers, read when asked for.
    pub headers: Headers<'a>,
}

/// Headers of a record.
#[derive(Debug, Clone, Copy, Default)]
pub struct Headers<'a>(pub(crate) RawHeaders<'a>);

#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum RawHeaders<'a> {
    #[default]
    None,
    /// As the embedded log writes them.
    Encoded(&'a [u8]),
    /// As librdkafka holds them.
    Native(kafka::NativeHeaders<'a>),
}

impl<'a> Headers<'a> {
    /// The value of the last header called `name`, as Kafka's `lastHeader`.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        match self.0 {
            RawHeaders::None => None,
            RawHeaders::Encoded(bytes) => embedded::header(bytes, name),
            RawHeaders::Native(headers) => headers.get(name),
        }
    }
}

/// Consecutive records of one partition.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// Topic name.
    pub topic: &'a str,
    /// Partition.
    pub partition: u32,
    /// In offset order, at least one.
    pub records: &'a [Record<'a>],
}

/// Takes batches as they are read. It cannot fail: what it finds wrong it keeps, and the caller looks after the poll.
pub type OnBatch<'h> = &'h mut dyn FnMut(Batch<'_>);

/// A record to write.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outgoing<'a> {
    /// Topic name.
    pub topic: &'a str,
    /// Partition; the writer decides, the log never hashes.
    pub partition: u32,
    /// Key, if any.
    pub key: Option<&'a [u8]>,
    /// Value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Header names and values.
    pub headers: &'a [(&'a str, &'a [u8])],
}

/// Where the records of a commit go. The bytes are copied before `send` returns.
pub trait Sink {
    /// Adds a record to the commit under way. Records of one partition keep their order.
    fn send(&mut self, record: Outgoing<'_>) -> Result<(), Error>;
}

/// Writes the records of a commit into the sink it is given.
pub type Produce<'p> = &'p mut dyn FnMut(&mut dyn Sink) -> Result<(), Error>;

/// A position that a commit moves its group to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupOffset {
    /// Of which partition.
    pub partition: TopicPartition,
    /// Next offset to read.
    pub offset: i64,
    /// Kept with it, at most 4,000 bytes.
    pub metadata: String,
}

/// Which offset of a partition is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The first record still kept.
    Start,
    /// One past the last record written, open transactions included (read_uncommitted end).
    End,
    /// One past the last record that read_committed readers see.
    StableEnd,
    /// The first record appended at or after this time (milliseconds); the end when there is none.
    Time(i64),
}

/// What became of a poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Batches were handed over, or none came in time.
    Polled,
    /// The member owns exactly these partitions now and reads none of them until [`Member::start`].
    Assigned(Vec<TopicPartition>),
    /// The member is to give these partitions up: commit what was folded, then call [`Member::release`].
    Revoking(Vec<TopicPartition>),
    /// The partitions are gone already (session expired, fenced): nothing may be committed. Call [`Member::release`].
    Lost(Vec<TopicPartition>),
}

/// What a group member is called and reads.
#[derive(Debug, Clone)]
pub struct MemberConfig {
    /// Consumer group.
    pub group: String,
    /// Topics to share among the group's members.
    pub topics: Vec<String>,
    /// Stable and unique per stage thread: the transactional id, and the client id in the broker's logs.
    pub id: String,
    /// A member silent for longer is taken out of the group.
    pub session_timeout: Duration,
}

/// A member of a consumer group together with its transactional producer: one per stage thread.
pub trait Member: Send {
    /// Waits up to `timeout` for records and hands them over, or reports a change of assignment. Partitions are read only
    /// after [`Member::start`].
    fn poll(&mut self, timeout: Duration, on_batch: OnBatch<'_>) -> Result<Event, Error>;

    /// Answers [`Event::Assigned`]: begin reading each partition at the given offset.
    fn start(&mut self, from: &[(TopicPartition, i64)]) -> Result<(), Error>;

    /// Answers [`Event::Revoking`] and [`Event::Lost`]: let the partitions go.
    fn release(&mut self) -> Result<(), Error>;

    /// Stops or goes on reading some of the owned partitions; membership is kept. A pause ends with its assignment.
    fn pause(&mut self, partitions: &[TopicPartition], paused: bool) -> Result<(), Error>;

    /// Where the next record would be read from: past everything handed over *and* past control markers.
    fn position(&self, partition: &TopicPartition) -> Result<i64, Error>;

    /// The end of the partition as of when the last records were fetched that have been handed over, or later; none while that is
    /// not known, as after a fetch that failed. It asks nobody. Once [`Member::position`] has come there, every key's last record up to those has been handed over, whatever
    /// compaction took away before they were fetched.
    fn end(&self, partition: &TopicPartition) -> Result<Option<i64>, Error>;

    /// Writes the records that `produce` sends and moves the group to `offsets`, all or nothing, durable on return. The
    /// offsets name every partition whose data or marker is in the commit, else a zombie is not fenced.
    ///
    /// After any error the member is of no further use: drop it, throw away what was folded since the last commit, and
    /// make a new one under the same id. That holds above all for [`Error::Indefinite`], where the commit may have
    /// happened or may still happen.
    fn commit(&mut self, produce: Produce<'_>, offsets: &[GroupOffset]) -> Result<(), Error>;

    /// Leaves the group at once, so that others need not wait for the session to expire.
    fn leave(&mut self) -> Result<(), Error>;
}

/// Reads given partitions, read_committed, without a group: for restores and views that replay.
pub trait Reader: Send {
    /// Waits up to `timeout` for records and hands them over.
    fn poll(&mut self, timeout: Duration, on_batch: OnBatch<'_>) -> Result<(), Error>;

    /// Where the next record would be read from, past control markers: a restore is over when this reaches the target.
    fn position(&self, partition: &TopicPartition) -> Result<i64, Error>;
}

/// Writes atomically without reading: the gateway's side.
pub trait Producer: Send {
    /// Writes the records that `produce` sends, all or nothing, durable on return. After an error: drop it and make a
    /// new one under the same id; on [`Error::Indefinite`] the records may have been written.
    fn commit(&mut self, produce: Produce<'_>) -> Result<(), Error>;
}

/// A log.
pub trait Log: Send + Sync {
    /// Makes the topics that are missing. One that exists with fewer partitions is grown; with more, or another cleanup or
    /// retention, it is brought in line where that loses nothing and refused otherwise.
    fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), Error>;

    /// Deletes topics and everything in them, also what groups have committed for them; those that are not there are deleted
    /// already. On return they are gone for good: a topic of that name is a new one, empty and from offset 0 on. Stop their
    /// readers and members first: those of a log of one process fail from then on, those on Kafka find nothing more (librdkafka
    /// does not tell them) and fail when they commit.
    ///
    /// After an error some may be deleted: call it again.
    fn delete_topics(&self, names: &[String]) -> Result<(), Error>;

    /// Deletes groups with what they have committed; those that are not there are deleted already. One that has members is not
    /// deleted, and none beside it on a log of one process: [`Error::Retriable`], since it is as soon as they have left or their
    /// sessions have ended.
    ///
    /// After an error some may be deleted: call it again.
    fn delete_groups(&self, groups: &[String]) -> Result<(), Error>;

    /// Number of partitions, `None` when there is no such topic. Asked of the log each time, never cached.
    fn partitions(&self, topic: &str) -> Result<Option<u32>, Error>;

    /// One offset for each partition, in the order asked. Asked of the log each time, never cached.
    fn offsets(&self, partitions: &[TopicPartition], at: At) -> Result<Vec<i64>, Error>;

    /// What the group has committed, in the order asked; `None` where it never did. Only a *stable* answer is one: while a
    /// transaction that moves one of the offsets is open, such as that of an owner that died, this waits for its end for up to
    /// a second and is [`Error::Unstable`] then. A member asks again after its next poll, so that it stays in its group;
    /// who is no member asks through [`committed_within`].
    fn committed(&self, group: &str, partitions: &[TopicPartition]) -> Result<Vec<Option<GroupOffset>>, Error>;

    /// Commits a first offset for partitions that have none yet; leaves the others alone. For a group without members:
    /// how a job is created.
    fn init_group(&self, group: &str, offsets: &[GroupOffset]) -> Result<(), Error>;

    /// Joins a group.
    fn member(&self, config: &MemberConfig) -> Result<Box<dyn Member>, Error>;

    /// Reads partitions from given offsets.
    fn reader(&self, from: &[(TopicPartition, i64)]) -> Result<Box<dyn Reader>, Error>;

    /// Makes a producer under a stable id; an older one under the same id is fenced.
    fn producer(&self, id: &str) -> Result<Box<dyn Producer>, Error>;
}

/// As [`Log::committed`], asked again for up to `patience` while a transaction is open.
///
/// # Errors
/// As [`Log::committed`]; [`Error::Unstable`] when the transaction has not ended by then.
pub fn committed_within(
    log: &dyn Log,
    group: &str,
    partitions: &[TopicPartition],
    patience: Duration,
) -> Result<Vec<Option<GroupOffset>>, Error> {
    let asked = std::time::Instant::now();
    loop {
        match log.committed(group, partitions) {
            Err(Error::Unstable(_)) if asked.elapsed() < patience => {}
            answer => return answer,
        }
    }
}

/// A group is not deleted as long as somebody may commit to it.
pub(crate) fn members_left(group: &str, members: Option<usize>) -> Error {
    let members = members.map_or_else(|| "members".to_owned(), |count| format!("{count} member(s)"));
    Error::Retriable(format!(
        "group {group} still has {members} and is not deleted: stop what reads with it; it can be deleted when they have left or \
         their sessions have ended"
    ))
}

/// Why the log refused or failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Somebody else owns the partitions or the id now. Drop the member; what it folded is refolded by its successor.
    #[error("fenced: {0}")]
    Fenced(String),
    /// The commit ended without a definite answer. Drop the member and rewind; never try the same commit again.
    #[error("the commit ended without a definite answer: {0}")]
    Indefinite(String),
    /// The commit or call failed for sure and nothing of it is there. Worth another try with a new member.
    #[error("{0}")]
    Retriable(String),
    /// Offsets that an open transaction may still move. Nothing has failed: ask again, the broker ends the transaction when its
    /// time is over.
    #[error("{0}")]
    Unstable(String),
    /// What is asked for does not exist or contradicts what is there; another try does not help.
    #[error("{0}")]
    Invalid(String),
    /// An offset that is no longer kept: reading on would lose data unseen.
    #[error("offset {wanted} of {partition} is gone: the log starts at {start}")]
    OffsetGone {
        /// Which partition.
        partition: TopicPartition,
        /// Offset asked for.
        wanted: i64,
        /// First offset kept.
        start: i64,
    },
}
