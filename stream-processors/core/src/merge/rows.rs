//! Rows as the merge fold hands them over.

use super::RowCell;
use crate::job::Accumulator;
use crate::session::{self, Extent};
use tidemark_schemas::avro;

/// A row that changed since the last commit.
#[derive(Debug)]
pub struct TouchedRow<'m, A> {
    /// Start of its window.
    pub window_start: i64,
    /// Append time of the first partial of the window here.
    pub opened_at: i64,
    /// Its key, as the changelog has it: of a session the start comes first.
    pub key: &'m [u8],
    /// What it holds now.
    pub cell: &'m RowCell<A>,
    /// Of a session.
    pub extent: Option<Extent>,
}

impl<A: Accumulator> TouchedRow<'_, A> {
    /// Appends what the changelog has in the place of the accumulator.
    pub fn put_accumulator(&self, out: &mut Vec<u8>) {
        self.extent.into_iter().for_each(|extent| extent.put(out));
        self.cell.sum.put(out);
    }

    /// The key that the view has: the key fields, and the start of a session after them, one field more. `scratch` is for
    /// putting it together.
    pub fn view_key<'k>(&'k self, scratch: &'k mut Vec<u8>) -> &'k [u8] {
        let Some(Ok((start, key))) = self.extent.map(|_| session::split_row_key(self.key)) else { return self.key };
        scratch.clear();
        scratch.extend_from_slice(key);
        avro::put_long(scratch, start);
        scratch
    }
}

/// What a partial row was that came for a sealed window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedRow<'p> {
    /// Start of that window; of a session, its own: the bucket that is sealed is the hour that it lies in.
    pub window_start: i64,
    /// End of that window; of a session, a gap after its last event.
    pub window_end: i64,
    /// Lowest source offset of the partial window.
    pub first_offset: i64,
    /// Highest one.
    pub last_offset: i64,
    /// Its key.
    pub key: &'p [u8],
    /// Records in it.
    pub records: i64,
    /// Their sum, encoded.
    pub accumulator: &'p [u8],
}
