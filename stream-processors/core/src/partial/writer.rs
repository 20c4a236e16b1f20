//! Puts `Partial` data together by hand: straight from the tables, split at [`PARTIAL_BYTES_MAX`].

use super::{PARTIAL_BYTES_MAX, PartialFold, Share};
use crate::job::Accumulator;
use crate::session::{self, Extent, Session};
use tidemark_schemas::avro::{Avro, put_bytes, put_long};

/// Writes the partials of one merge partition. The late counts of a window stand in its first part only, so that they are
/// counted once.
pub(super) struct PartialWriter<'w, F> {
    fingerprint: i64,
    topic: &'w str,
    partition: u32,
    merge_partition: u32,
    send: &'w mut F,
    datum: Vec<u8>,
    rows: Rows,
    windows: i64,
    body: Vec<u8>,
}

/// Encoded rows, end to end.
#[derive(Default)]
pub(super) struct Rows {
    bytes: Vec<u8>,
    scratch: Vec<u8>,
    row_key: Vec<u8>,
    count: i64,
}

impl Rows {
    /// Appends a row, of which `accumulator` appends the accumulators.
    #[inline]
    pub(super) fn row(&mut self, key: &[u8], records: i64, accumulator: impl FnOnce(&mut Vec<u8>)) {
        self.scratch.clear();
        accumulator(&mut self.scratch);
        put_bytes(&mut self.bytes, key);
        put_long(&mut self.bytes, records);
        put_bytes(&mut self.bytes, &self.scratch);
        self.count += 1;
    }

    /// Appends a session's row.
    pub(super) fn session<A: Accumulator>(&mut self, key: &[u8], session: &Session<A>) {
        let Session { span, records, late, ref sum } = *session;
        let mut row_key = std::mem::take(&mut self.row_key);
        row_key.clear();
        session::put_row_key(span.start, key, &mut row_key);
        self.row(&row_key, records, |out| {
            Extent { last: span.last, late }.put(out);
            sum.put(out);
        });
        self.row_key = row_key;
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }
}

impl<'w, E, F: FnMut(u32, &[u8]) -> Result<(), E>> PartialWriter<'w, F> {
    pub(super) fn new<A>(fold: &'w PartialFold<A>, merge_partition: u32, send: &'w mut F) -> Self {
        let PartialFold { fingerprint, ref topic, partition, .. } = *fold;
        let (datum, body, rows) = (Vec::new(), Vec::new(), Rows::default());
        Self { fingerprint, topic, partition, merge_partition, send, datum, rows, windows: 0, body }
    }

    /// Writes a window and its rows, if it got anything; `put` appends one of them.
    pub(super) fn window<R>(
        &mut self,
        start: i64,
        share: &Share,
        rows: &[R],
        put: impl Fn(&R, &mut Rows),
    ) -> Result<(), E> {
        let Some(offsets) = share.offsets else { return Ok(()) };
        let (mut late, mut held) = (share.late, share.held);
        let mut rows = rows.iter();
        loop {
            let room = PARTIAL_BYTES_MAX.saturating_sub(self.body.len());
            self.rows.clear();
            while self.rows.bytes.len() < room
                && let Some(row) = rows.next()
            {
                put(row, &mut self.rows);
            }
            put_long(&mut self.body, start);
            put_long(&mut self.body, offsets.0);
            put_long(&mut self.body, offsets.1);
            put_long(&mut self.body, std::mem::take(&mut late));
            put_long(&mut self.body, std::mem::take(&mut held));
            if self.rows.count > 0 {
                put_long(&mut self.body, self.rows.count);
                self.body.extend_from_slice(&self.rows.bytes);
            }
            put_long(&mut self.body, 0);
            self.windows += 1;
            if self.body.len() >= PARTIAL_BYTES_MAX {
                self.end()?;
            }
            if rows.as_slice().is_empty() {
                return Ok(());
            }
        }
    }

    /// Sends what is left.
    pub(super) fn end(&mut self) -> Result<(), E> {
        if self.windows == 0 {
            return Ok(());
        }
        self.datum.clear();
        self.fingerprint.put(&mut self.datum);
        put_bytes(&mut self.datum, self.topic.as_bytes());
        put_long(&mut self.datum, i64::from(self.partition));
        put_long(&mut self.datum, self.windows);
        self.datum.extend_from_slice(&self.body);
        put_long(&mut self.datum, 0);
        self.windows = 0;
        self.body.clear();
        (self.send)(self.merge_partition, &self.datum)
    }
}
