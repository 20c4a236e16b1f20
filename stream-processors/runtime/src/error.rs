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
    /// A defect of the platform.
    #[error("the stage panicked: {0}; please report it with the log of the process")]
    Panicked(String),
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
                | tidemark_log::Error::Retriable(_) => true,
                tidemark_log::Error::Invalid(_) | tidemark_log::Error::OffsetGone { .. } => false,
            },
            Self::Views(error) => matches!(error, tidemark_views::Error::Unavailable(_)),
            Self::Registry(error) => matches!(error, registry::Error::Unavailable(_)),
            Self::NoSource(_) | Self::Panicked(_) => true,
            Self::Unreadable { reason, .. } => matches!(reason, wire::Error::Registry(_)),
            Self::Merge(_) | Self::Position(_) | Self::Spec(_) => false,
        }
    }
}
