//! A record of the partials topic into the state of its merge partition.

use super::{Owned, sealed_letter, unreadable};
use crate::{Error, Plan};
use tidemark_core::Accumulator;
use tidemark_log::{Batch, Record};
use tidemark_schemas::avro::{Avro, Reader};
use tidemark_schemas::catalog::{self, Schema};
use tidemark_schemas::engine::{Marker, Partial, Repair};
use tidemark_schemas::wire;

/// What is on the topic.
pub(super) static INPUT: &[Schema] = &[catalog::PARTIAL, catalog::MARKER, catalog::REPAIR];

/// What a record of the partials topic was.
pub(super) enum Kind {
    Partial,
    Marker,
    /// Recomputed rows of a sealed window.
    Repair,
    /// A partial that is not folded yet: memory is full.
    Waits,
}

impl<A: Accumulator> Owned<A> {
    pub(super) fn fold_record(
        &mut self,
        plan: &Plan,
        decoder: &mut wire::Decoder,
        scratch: &mut Vec<u8>,
        is_short: bool,
        batch: &Batch<'_>,
        record: &Record<'_>,
    ) -> Result<Kind, Error> {
        let wrong = |reason: wire::Error| unreadable(batch, record, reason);
        let (schema, datum) = decoder.datum(record.value.unwrap_or_default(), scratch).map_err(wrong)?;
        let mut reader = Reader::new(datum);
        let kind = match schema {
            0 => self.fold_partial(plan, is_short, record, &Partial::get(&mut reader).map_err(|e| wrong(e.into()))?)?,
            1 => {
                let marker = Marker::get(&mut reader).map_err(|error| wrong(error.into()))?;
                self.moved = true;
                self.held.fold.fold_marker(record.offset, record.timestamp, &marker)?;
                Kind::Marker
            }
            _ => {
                let repair = Repair::get(&mut reader).map_err(|error| wrong(error.into()))?;
                self.moved = true;
                self.fold_repair(batch, record, &repair);
                Kind::Repair
            }
        };
        if !matches!(kind, Kind::Waits) {
            self.next_offset = record.offset + 1;
        }
        Ok(kind)
    }

    /// What does not fit is passed over: the window stays as it is, and whoever sent it finds that out.
    fn fold_repair(&mut self, batch: &Batch<'_>, record: &Record<'_>, repair: &Repair<'_>) {
        if let Err(reason) = self.held.fold.fold_repair(record.offset, record.timestamp, repair) {
            let (partition, offset, window_start) = (batch.partition, record.offset, repair.window_start);
            tracing::warn!(
                partition,
                offset,
                window_start,
                "recomputed rows of a window are passed over: {reason}; recompute it again if it still differs"
            );
        }
    }

    fn fold_partial(
        &mut self,
        plan: &Plan,
        is_short: bool,
        record: &Record<'_>,
        partial: &Partial<'_>,
    ) -> Result<Kind, Error> {
        // A checkpoint makes room; once it holds everything, there is no more to be made.
        let is_saved = self.held.disk.as_ref().is_none_or(|disk| disk.is_saved(self.version()));
        if is_short && !is_saved {
            self.crowded = true;
            return Ok(Kind::Waits);
        }
        // Before anything can go wrong: what is folded in part is not to be taken for what was committed.
        self.moved = true;
        while let Some(window_start) = self.held.fold.lacking(partial) {
            self.held.load_whole(window_start)?;
        }
        let letters = &mut self.sealed_out;
        self.held.fold.fold_partial(record.offset, record.timestamp, partial, |row| {
            letters.push(sealed_letter(plan, partial, &row))
        })?;
        Ok(Kind::Partial)
    }
}
