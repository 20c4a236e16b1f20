//! Writes: the highest revision stays.

use std::collections::HashMap;

use fjall::{Keyspace, OwnedWriteBatch};
use tidemark_schemas::avro;
use tidemark_schemas::engine::{Ledger, Progress};

use super::store::{Store, corrupt, failed};
use super::{key, record};
use crate::{Error, Revision, Row, ViewSpec, check};

/// Encoded entries by key, each key once.
#[derive(Default)]
struct Puts(HashMap<Vec<u8>, (Revision, Vec<u8>)>);

impl Puts {
    fn add(&mut self, key: Vec<u8>, revision: Revision, value: Vec<u8>) {
        if self.0.get(&key).is_none_or(|there| there.0 < revision) {
            self.0.insert(key, (revision, value));
        }
    }
}

/// Rows of one call, encoded.
#[derive(Default)]
pub(super) struct RowPuts {
    rows: Puts,
    /// Partition key → latest `written_at`.
    partitions: HashMap<Vec<u8>, i64>,
}

impl RowPuts {
    pub(super) fn encode(store: &Store, view: &ViewSpec, rows: &[Row]) -> Result<Self, Error> {
        let mut puts = Self::default();
        for row in rows {
            check::row(view, row)?;
            if store.expired(view, row.written_at) {
                continue;
            }
            let partition = key::of_partition(&row.partition);
            let latest = puts.partitions.entry(key::of_text(&view.name, &partition)).or_insert(row.written_at);
            *latest = row.written_at.max(*latest);
            puts.rows.add(key::of_row(&row.partition, &row.clustering), row.revision, record::put_row(row));
        }
        Ok(puts)
    }
}

type ReadRevision = fn(&[u8]) -> Result<Revision, avro::Error>;

impl Store {
    pub(super) fn put_rows(&self, view: &ViewSpec, puts: RowPuts) -> Result<(), Error> {
        let table = self.view(view)?.rows;
        self.write(|batch| {
            for (key, latest) in &puts.partitions {
                self.note_partition(view, batch, key, *latest)?;
            }
            put_newer(view, batch, &table, puts.rows, record::row_revision)
        })
    }

    /// Keeps the partition in the sweep's index.
    fn note_partition(
        &self,
        view: &ViewSpec,
        batch: &mut OwnedWriteBatch,
        key: &[u8],
        latest: i64,
    ) -> Result<(), Error> {
        let there = self.partitions.get(key).map_err(failed)?;
        let there = there.map(|value| record::read::<i64>(&value)).transpose();
        if there.map_err(|e| corrupt(view, "partition entry", e))?.is_none_or(|there| there < latest) {
            batch.insert(&self.partitions, key, record::write(&latest));
        }
        Ok(())
    }

    pub(super) fn put_ledger(&self, view: &ViewSpec, entries: &[Ledger]) -> Result<(), Error> {
        self.view(view)?;
        let mut puts = Puts::default();
        for entry in entries {
            let revision = Revision { epoch: entry.epoch, offset: entry.revision };
            check::revision(view, revision)?;
            if self.expired(view, view.ledger_written_at(entry.opened_at)) {
                continue;
            }
            let mut key = key::of_text(&view.name, &[]);
            key::put_long(&mut key, entry.window_start);
            key::put_long(&mut key, entry.merge_partition.into());
            puts.add(key, revision, record::write(entry));
        }
        self.write(|batch| put_newer(view, batch, &self.ledger, puts, record::ledger_revision))
    }

    pub(super) fn put_progress(&self, view: &ViewSpec, progress: &Progress) -> Result<(), Error> {
        self.view(view)?;
        let revision = Revision { epoch: progress.epoch, offset: progress.revision };
        check::revision(view, revision)?;
        let mut key = key::of_text(&view.name, &[]);
        key::put_long(&mut key, progress.merge_partition.into());
        let mut puts = Puts::default();
        puts.add(key, revision, record::write(progress));
        self.write(|batch| put_newer(view, batch, &self.progress, puts, record::progress_revision))
    }

    /// Makes one batch under the write lock and returns once it is on disk. An empty one waits for the disk too: what made
    /// it empty may be a batch that is still on its way there.
    pub(super) fn write(&self, fill: impl FnOnce(&mut OwnedWriteBatch) -> Result<(), Error>) -> Result<(), Error> {
        let mut batches = self.writing();
        let mut batch = self.db.batch();
        fill(&mut batch)?;
        batch.commit().map_err(failed)?;
        *batches += 1;
        let last = *batches;
        drop(batches);
        self.sync(last)
    }
}

/// Adds those entries to the batch whose revision is above the stored one; an equal revision has equal contents.
fn put_newer(
    view: &ViewSpec,
    batch: &mut OwnedWriteBatch,
    table: &Keyspace,
    puts: Puts,
    read: ReadRevision,
) -> Result<(), Error> {
    for (key, (revision, value)) in puts.0 {
        let there = table.get(&key).map_err(failed)?;
        let there = there.map(|value| read(&value)).transpose().map_err(|e| corrupt(view, "value", e))?;
        if there.is_none_or(|there| there < revision) {
            batch.insert(table, key, value);
        }
    }
    Ok(())
}
