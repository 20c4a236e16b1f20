//! Removes what is past its retention. Reads leave it out already, so this only frees space and nothing waits for it.

use tidemark_schemas::avro::Reader;
use tidemark_schemas::engine::Ledger;

use super::store::{Store, View, corrupt, failed};
use super::{key, record};
use crate::{Error, ViewSpec};

/// Keys looked at while writers wait, some 5 ms.
const STEP: usize = 1_000;

impl Store {
    /// Returns how many rows and ledger entries were removed. Stops early, without an error, when the store is closed.
    pub(super) fn sweep(&self) -> Result<u64, Error> {
        let mut removed = 0;
        for view in self.views() {
            for partition in self.expired_partitions(&view.spec)? {
                removed += self.sweep_partition(&view, &partition)?;
            }
            removed += self.sweep_ledger(&view.spec)?;
        }
        Ok(removed)
    }

    /// Partition keys in which even the latest row is past its retention.
    fn expired_partitions(&self, view: &ViewSpec) -> Result<Vec<Vec<u8>>, Error> {
        let name = key::of_text(&view.name, &[]);
        let mut expired = Vec::new();
        for item in self.partitions.prefix(&name) {
            let (key, value) = item.into_inner().map_err(failed)?;
            let latest = record::read::<i64>(&value).map_err(|e| corrupt(view, "partition entry", e))?;
            if self.expired(view, latest) {
                expired.extend(key.get(name.len()..).map(<[u8]>::to_vec));
            }
        }
        Ok(expired)
    }

    fn sweep_partition(&self, view: &View, partition: &[u8]) -> Result<u64, Error> {
        let (mut removed, mut after) = (0, None);
        while !self.closing() {
            let step = self.sweep_step(view, partition, after)?;
            removed += step.0;
            after = step.1;
            if after.is_none() {
                break;
            }
        }
        Ok(removed)
    }

    /// Removes the next rows after `after`: how many, and the last key unless that was the end of the partition. Rows are
    /// judged under the write lock: one may have come since the partition was found expired.
    fn sweep_step(
        &self,
        view: &View,
        partition: &[u8],
        after: Option<Vec<u8>>,
    ) -> Result<(u64, Option<Vec<u8>>), Error> {
        let _writers_wait = self.writing();
        let Some(range) = key::range(partition.to_vec(), after) else {
            return Ok((0, None));
        };
        let (mut batch, mut seen, mut last) = (self.db.batch(), 0, None);
        for item in view.rows.range::<Vec<u8>, _>(range).take(STEP) {
            let (key, value) = item.into_inner().map_err(failed)?;
            let head = record::head(&mut Reader::new(&value)).map_err(|e| corrupt(&view.spec, "row", e))?;
            if self.expired(&view.spec, head.written_at) {
                batch.remove(&view.rows, key.clone());
            }
            seen += 1;
            last = Some(key.to_vec());
        }
        let removed = batch.len() as u64;
        if seen < STEP {
            last = None;
            self.forget_partition(view, partition, &mut batch)?;
        }
        batch.commit().map_err(failed)?;
        Ok((removed, last))
    }

    /// Takes the partition out of the sweep's index unless a live row came meanwhile.
    fn forget_partition(&self, view: &View, partition: &[u8], batch: &mut fjall::OwnedWriteBatch) -> Result<(), Error> {
        let key = key::of_text(&view.spec.name, partition);
        let latest = self.partitions.get(&key).map_err(failed)?.map(|value| record::read::<i64>(&value)).transpose();
        if latest.map_err(|e| corrupt(&view.spec, "partition entry", e))?.is_some_and(|at| self.expired(&view.spec, at))
        {
            batch.remove(&self.partitions, key);
        }
        Ok(())
    }

    fn sweep_ledger(&self, view: &ViewSpec) -> Result<u64, Error> {
        let _writers_wait = self.writing();
        let mut batch = self.db.batch();
        for item in self.ledger.prefix(key::of_text(&view.name, &[])) {
            let (key, value) = item.into_inner().map_err(failed)?;
            let entry: Ledger = record::read(&value).map_err(|e| corrupt(view, "ledger entry", e))?;
            if self.expired(view, view.ledger_written_at(entry.opened_at)) {
                batch.remove(&self.ledger, key);
            }
        }
        let removed = batch.len() as u64;
        batch.commit().map_err(failed)?;
        Ok(removed)
    }
}
