//! Why a stage fails, and whether another try is of use.

use tidemark_schemas::{registry, wire};

/// Why a stage failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The log refused or failed.
    #[error("log: {0}")]
    Log(#[from] tidemark_log::Error),
    /// The view store refused or failed.
    #[error("{0}")]
    Views(#[from] tidemark_views::Error),
    /// The registry refused or failed.
    #[error("{0}")]
    Registry(#[from] registry::Error),
    /// A record of an internal topic cannot be read: it was written by something else, or damaged.
    #[error("{topic}-{partition} offset {offset}: {reason}; only this platform may write to this topic")]
    Unreadable {
        /// Internal topic.
        topic: String,
        /// Its partition.
        partition: u32,
        /// Offset of the record.
        offset: i64,
        /// What is wrong with it.
        reason: wire::Error,
    },
    /// Partials that do not belong to this job version.
    #[error("{0}")]
    Merge(#[from] tidemark_core::merge::Error),
    /// Committed offsets that do not belong to this job version.
    #[error("{0}")]
    Position(#[from] tidemark_core::partial::MetadataError),
    /// The job's specification breaks a rule.
    #[error("{0}")]
    Spec(#[from] tidemark_core::job::Invalid),
    /// The job version was made for another number of merge partitions.
    #[error(
        "topic {topic} was made for {found} merge partitions and {declared} are declared: keys would move between them; set merge_partitions back to {found}, or give the job a new version"
    )]
    MergePartitions {
        /// A topic of the job version.
        topic: String,
        /// Its partitions.
        found: u32,
        /// Partitions that the job wants.
        declared: u32,
    },
    /// State on disk that is needed now cannot be used: the next try reads the changelog instead.
    #[error("state of merge partition {partition} on disk: {reason}")]
    State {
        /// Merge partition.
        partition: u32,
        /// What is wrong with it.
        reason: String,
    },
    /// The changelog does not give the state that was committed: it was deleted, made anew, or records of it are gone.
    #[error(
        "the changelog {topic}-{partition} does not hold what was committed: {reason}; was the topic deleted or written to? give the job a new version to count anew"
    )]
    Changelog {
        /// The topic.
        topic: String,
        /// Its partition.
        partition: u32,
        /// What is missing.
        reason: String,
    },
    /// A defect of the platform.
    #[error("the stage panicked: {0}; please report it with the log of the process")]
    Panicked(String),
    /// A group's offsets are gone while the job's topics are not.
    #[error(
        "group {group} has no offsets, but {topic} holds what its job has written: kafka deletes the offsets of a group that has \
         had no members for offsets.retention.minutes (7 days by default), or somebody has deleted them. To begin again would \
         count records twice, so the job does not start: give it a new version (flows.version = {next_version} in the \
         configuration), which counts everything that the source topics still hold into a view of its own; a longer \
         offsets.retention.minutes on the brokers keeps this from happening again"
    )]
    OffsetsDeleted {
        /// Consumer group.
        group: String,
        /// Topic of the job that is not empty.
        topic: String,
        /// A version that has not been used.
        next_version: u32,
    },
    /// The input of a keyed process has another number of partitions than its keys were placed by.
    #[error(
        "topic {topic} has {found} partition(s) and {declared} are declared: keys would move between them and leave their state \
         behind; declare {found} again, or give the process a new version with an input topic of its own"
    )]
    KeyedPartitions {
        /// Its input or changelog.
        topic: String,
        /// Partitions that are there.
        found: u32,
        /// Partitions that are declared.
        declared: u32,
    },
    /// A keyed process's offsets are gone while its changelog is not.
    #[error(
        "group {group} has no offsets, but {topic} holds the state of its process: kafka deletes the offsets of a group that has \
         had no members for offsets.retention.minutes (7 days by default), or somebody has deleted them. To begin again would \
         apply records a second time, so the process does not start: give it version {next_version}, which begins without state \
         at the first record that {input} still holds; a longer offsets.retention.minutes on the brokers keeps this from \
         happening again"
    )]
    KeyedOffsetsDeleted {
        /// Consumer group.
        group: String,
        /// The changelog.
        topic: String,
        /// Its input.
        input: String,
        /// A version that has not been used.
        next_version: u32,
    },
    /// A keyed process does what its plan does not provide for: a defect.
    #[error("the process {process} is not as it was declared: {what}; please report it")]
    Process {
        /// Its name.
        process: String,
        /// What is wrong.
        what: String,
    },
    /// A table is not read as far as the records that are joined with it: nothing is folded meanwhile.
    #[error("table {topic}: {reason}")]
    Table {
        /// Its topic.
        topic: String,
        /// What is in the way.
        reason: String,
    },
    /// A table is too large to be held.
    #[error(
        "table {topic}: {full}; compact the topic or let it delete old records, or join a topic that has less, and restart the job"
    )]
    TableFull {
        /// Its topic.
        topic: String,
        /// How large it is.
        full: tidemark_core::versions::Full,
    },
    /// What a stage writes to outside of the log takes nothing for now.
    #[error("{0}")]
    Unavailable(String),
    /// A source topic is not there.
    #[error("source topic {0} does not exist: create it with `tidemark topics apply`")]
    NoSource(String),
}

impl Error {
    /// Whether a new member may succeed where this one failed. If not, the stage stops and says why: going on would give
    /// wrong rows or the same failure again.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Log(error) => match error {
                tidemark_log::Error::Fenced(_)
                | tidemark_log::Error::Indefinite(_)
                | tidemark_log::Error::Retriable(_)
                | tidemark_log::Error::Unstable(_) => true,
                tidemark_log::Error::Invalid(_) | tidemark_log::Error::OffsetGone { .. } => false,
            },
            Self::Views(error) => matches!(error, tidemark_views::Error::Unavailable(_)),
            Self::Registry(error) => matches!(error, registry::Error::Unavailable(_)),
            Self::NoSource(_) | Self::Unavailable(_) | Self::Panicked(_) | Self::State { .. } | Self::Table { .. } => {
                true
            }
            Self::Unreadable { reason, .. } => matches!(reason, wire::Error::Registry(_)),
            Self::Merge(_)
            | Self::Position(_)
            | Self::Spec(_)
            | Self::OffsetsDeleted { .. }
            | Self::KeyedOffsetsDeleted { .. }
            | Self::KeyedPartitions { .. }
            | Self::Process { .. }
            | Self::MergePartitions { .. }
            | Self::TableFull { .. }
            | Self::Changelog { .. } => false,
        }
    }
}
