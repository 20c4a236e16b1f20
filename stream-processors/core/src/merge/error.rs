//! Why the merge fold stops.

use tidemark_schemas::avro;

/// Why the fold stops. None of these can be passed over: rows would be wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Written by another version of the job.
    #[error(
        "partials offset {offset} carries fingerprint {found:016x}, this job has {expected:016x}: undo the change of the job, or give it a new version"
    )]
    Fingerprint {
        /// Partials offset.
        offset: i64,
        /// What it carries.
        found: i64,
        /// What this job has.
        expected: i64,
    },
    /// Source records that earlier markers cover already.
    #[error(
        "partials offset {offset} repeats {topic}-{partition} from offset {first_offset}, which is folded up to {next_offset}"
    )]
    Repeated {
        /// Partials offset.
        offset: i64,
        /// Source topic.
        topic: String,
        /// Source partition.
        partition: i32,
        /// Where the repetition begins.
        first_offset: i64,
        /// How far the source partition is folded.
        next_offset: i64,
    },
    /// An accumulator that is not of this job.
    #[error("partials offset {offset}: accumulator: {reason}")]
    Accumulator {
        /// Partials offset.
        offset: i64,
        /// What is wrong with it.
        reason: avro::Error,
    },
    /// The rows of a window are not in memory: load them first, see [`super::MergeFold::lacking`].
    #[error("the rows of window {window_start} are not in memory; please report this with the log of the process")]
    Lacking {
        /// Start of the window.
        window_start: i64,
    },
    /// State that was restored is not whole.
    #[error("{0}")]
    Gap(#[from] super::Gap),
}
