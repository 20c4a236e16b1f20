//! A keyed table that records are joined with: what the runtime needs of it to read it from a topic.
//!
//! The runtime reads all partitions of [`KeyedTable::topic`] from their start, hands each record to [`KeyedTable::apply`], and
//! says with [`KeyedTable::is_read`] how far it has come. A record appended later than that is refused by the job's `read` with
//! the rule [`TABLE_BEHIND`], which is no verdict: nothing was decided, and it is read again.

use crate::versions::{Full, Need};
use tidemark_schemas::catalog::Schema;

/// Rule of a [`Reject`](crate::Reject) that is none: the record needs rows that are not read yet.
pub const TABLE_BEHIND: &str = "table_behind";

/// A record of a table's topic.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// Append time, milliseconds.
    pub appended_at: i64,
    /// Partition.
    pub partition: u32,
    /// Offset.
    pub offset: i64,
    /// Key on the log.
    pub key: Option<&'a [u8]>,
    /// Avro datum of the table's schema; none deletes.
    pub datum: Option<&'a [u8]>,
}

/// Why a record of the table is not in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It has no key or is not of the schema: it is passed over, each time it is read.
    #[error("{0}")]
    Unusable(String),
    /// The table is too large: nothing more can be joined.
    #[error("{0}")]
    Full(#[from] Full),
}

/// A table, shared by those who read it and those who look things up.
pub trait KeyedTable: Send + Sync + std::fmt::Debug {
    /// Its topic.
    fn topic(&self) -> &str;

    /// How its records are read.
    fn schema(&self) -> &Schema;

    /// Throws everything away: it is about to be read from its start, and nothing of it counts as read.
    fn clear(&self);

    /// Takes a record in.
    ///
    /// # Errors
    /// It cannot be.
    fn apply(&self, change: Change<'_>) -> Result<(), Error>;

    /// Everything that was appended before this time (milliseconds) has been taken in.
    fn is_read(&self, before: i64);

    /// Drops what nobody will ask for, if the table is large.
    fn forget(&self, need: Need);

    /// Whether somebody has asked for what was dropped: the table is to be read from its start.
    fn is_missed(&self) -> bool;
}
