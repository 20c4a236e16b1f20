//! A job whose fold is in Rust.

use crate::fold::{Fold, Put};
use crate::job::SpecJob;
use crate::viewed::Viewed;
use std::fmt;
use std::sync::Arc;
use tidemark_core::join::KeyedTable;
use tidemark_core::{Input, Job, JobSpec, Reject, Sample, ViewRow};

/// A job whose fold is in Rust; [`crate::Builder`] makes it.
pub struct RustJob<F> {
    /// The values of its aggregates are what the fold reads.
    head: SpecJob,
    columns: Vec<Box<Put<F>>>,
}

impl<F> RustJob<F> {
    pub(crate) fn new(head: SpecJob, columns: Vec<Box<Put<F>>>) -> Self {
        Self { head, columns }
    }

    /// The job but for its fold.
    pub fn head(&self) -> &SpecJob {
        &self.head
    }
}

impl<F> fmt::Debug for RustJob<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RustJob").field("head", &self.head).finish_non_exhaustive()
    }
}

impl<F: Fold> RustJob<F> {
    fn put(&self, row: &ViewRow<'_, F>, last: Option<i64>, out: &mut Vec<u8>) {
        self.head
            .columns
            .put_around(row, last, out, |out| self.columns.iter().for_each(|put| put(row.accumulator, out)));
    }
}

impl<F: Fold> Job for RustJob<F>
where
    for<'i> F::Item<'i>: Default,
{
    type Accumulator = F;

    fn spec(&self) -> &JobSpec {
        &self.head.spec
    }

    #[inline]
    fn read<'a>(&'a self, input: Input<'a>, scratch: &'a mut Vec<u8>) -> Result<Sample<'a, F>, Reject> {
        F::read(&self.head, input, scratch)
    }

    fn tables(&self) -> &[Arc<dyn KeyedTable>] {
        self.head.tables()
    }

    fn put_row(&self, row: &ViewRow<'_, F>, out: &mut Vec<u8>) {
        self.put(row, None, out);
    }

    fn put_session(&self, row: &ViewRow<'_, F>, last: i64, out: &mut Vec<u8>) {
        self.put(row, Some(last), out);
    }
}

impl<F: Fold> Viewed for RustJob<F>
where
    for<'i> F::Item<'i>: Default,
{
    fn head(&self) -> &SpecJob {
        &self.head
    }
}
