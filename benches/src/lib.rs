//! The `flow-hourly` workload: a day of flow records, read as a backlog, with the exact result known beforehand.
//!
//! Records come from a seed alone ([`Workload`]): 94.9 % in order, 5 % up to 30 minutes behind, 0.1 % 30 minutes to 3 hours
//! behind, keys by Zipf's law. [`Reference`] adds them up one by one and judges lateness by each source partition's own
//! watermark: what `flows.hourly` must arrive at, whatever its threads, commits and speed. An engine that judges lateness
//! after a shuffle loses on-time records here, more of them the faster it reads.
//!
//! On any Kafka and schema registry, on a broker where nothing has run yet:
//!
//! ```text
//! cargo run --release -p tidemark-benches --bin load -- --kafka HOST:PORT --registry URL \
//!     --records 2000000 --partitions 4 --keys 10000 --seed 42 --expected expected.csv
//! cargo run --release -p tidemark-benches --bin run -- --kafka HOST:PORT --registry URL --records 2000000 --threads 2
//! cargo run --release -p tidemark-benches --bin verify -- --kafka HOST:PORT --registry URL --expected expected.csv
//! ```
//!
//! `load` fills `flows.observed`; `run` runs the job's stages until everything is committed and says how fast that was;
//! `verify` compares every row, ledger entry and late letter, and ends with status 1 unless all are exact. Instead of `run`
//! any number of `tidemark serve jobs` may do the work, before, while or after the records are loaded.
//!
//! `spec` compares the same jobs in Rust and from a YAML file, in one run: the folds alone, and with `--end-to-end` the whole way
//! over a broker and registry of its own.

pub mod load;
pub mod memory;
pub mod observed;
pub mod outcome;
pub mod reference;
pub mod servers;
pub mod stages;
pub mod usage;
pub mod workload;
mod zipf;

pub use load::load;
pub use observed::Observed;
pub use outcome::Outcome;
pub use reference::Reference;
pub use workload::Workload;

/// Why a workload could not be loaded, run or verified.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log refused or failed.
    #[error("log: {0}")]
    Log(#[from] tidemark_log::Error),
    /// The registry refused or failed.
    #[error("{0}")]
    Registry(#[from] tidemark_schemas::registry::Error),
    /// The stages cannot be started.
    #[error("{0}")]
    Stages(#[from] tidemark_runtime::Error),
    /// The job that is measured breaks a rule.
    #[error("{0}")]
    Job(#[from] tidemark_spec::Problems),
    /// A file cannot be read or written.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// A file of expected results is not one.
    #[error("line {line} of the expected results is not understood: write the file again with `load`")]
    Expected {
        /// Line, from 1.
        line: usize,
    },
    /// The source topic already has records: they would be counted too.
    #[error("topic {0} already has records: load into a broker where nothing has run yet")]
    NotEmpty(&'static str),
    /// A record on one of the job's topics is not what the job writes.
    #[error("{topic}-{partition} offset {offset}: {reason}")]
    Unreadable {
        /// Topic.
        topic: String,
        /// Its partition.
        partition: u32,
        /// Offset of the record.
        offset: i64,
        /// What is wrong with it.
        reason: String,
    },
    /// The records were not committed in time.
    #[error("not committed in time: {0}")]
    Slow(String),
    /// The end of a topic was not reached in time.
    #[error("{0} could not be read to its end in time: is a transaction open?")]
    TimedOut(String),
}
