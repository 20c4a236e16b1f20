//! The catalogue, and the end of a view.

use std::sync::PoisonError;

use fjall::{Keyspace, OwnedWriteBatch};

use super::key;
use super::store::{Store, failed, rows_of};
use crate::{CatalogEntry, Error, ViewSpec, catalog, check};

impl Store {
    pub(super) fn put_catalog(&self, entry: &CatalogEntry) -> Result<(), Error> {
        entry.check()?;
        let text = catalog::write(entry)?;
        self.write(|batch| {
            let there = self.catalog.get(&entry.view).map_err(failed)?;
            let there = there.map(|text| catalog::read(&entry.view, &text)).transpose()?;
            if there.is_none_or(|there| there.revision < entry.revision) {
                batch.insert(&self.catalog, entry.view.as_str(), text);
            }
            Ok(())
        })
    }

    pub(super) fn catalog(&self) -> Result<Vec<CatalogEntry>, Error> {
        let read = |item: fjall::Guard| {
            let (name, text) = item.into_inner().map_err(failed)?;
            catalog::read(&String::from_utf8_lossy(&name), &text)
        };
        self.catalog.iter().map(read).collect::<Result<_, _>>().map(catalog::listed)
    }

    /// The rows first and the spec last: whatever a crash leaves is found, and removed, by the next call.
    pub(super) fn drop_view(&self, view: &ViewSpec) -> Result<(), Error> {
        check::spec(view)?;
        let mut views = self.views.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = views.get(&view.name).filter(|_| self.db.keyspace_exists(&rows_of(&view.name))) {
            self.db.delete_keyspace(there.rows.clone()).map_err(failed)?;
        }
        let own = key::of_text(&view.name, &[]);
        self.write(|batch| {
            batch.remove(&self.specs, view.name.as_str());
            let shared = [&self.partitions, &self.ledger, &self.progress];
            shared.into_iter().try_for_each(|table| remove_all(batch, table, &own))
        })?;
        views.remove(&view.name);
        Ok(())
    }
}

fn remove_all(batch: &mut OwnedWriteBatch, table: &Keyspace, prefix: &[u8]) -> Result<(), Error> {
    for item in table.prefix(prefix) {
        batch.remove(table, item.key().map_err(failed)?);
    }
    Ok(())
}
