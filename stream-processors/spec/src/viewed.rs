//! What jobs from files and jobs in Rust share.

use crate::job::SpecJob;
use tidemark_core::{Accumulator, Job};

/// A job of which everything but the fold was checked against the schemas of its sources: the planner, the runtime, the test
/// driver and the platform need no more of it, whichever way it came in.
pub trait Viewed: Job {
    /// The job but for its fold: keys and their meaning, sources, tables, the view's columns.
    fn head(&self) -> &SpecJob;

    /// Whether two sums of the same records, which came in different orders, can both be right: bit for bit, unless the fold
    /// states an error.
    fn agree(&self, a: &Self::Accumulator, b: &Self::Accumulator) -> bool {
        let bytes = |sums: &Self::Accumulator| {
            let mut out = Vec::new();
            sums.put(&mut out);
            out
        };
        bytes(a) == bytes(b)
    }
}
