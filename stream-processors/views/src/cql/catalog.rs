//! The catalogue, one small partition, and the end of a view.

use super::CqlViews;
use super::bind::{Bound, Cells};
use super::session::unreadable;
use crate::{CatalogEntry, Error, ViewSpec, catalog, check};

/// The one partition of the catalogue: it is always read whole.
const ALL: &str = "views";

impl CqlViews {
    pub(super) async fn write_catalog(&self, entry: &CatalogEntry) -> Result<(), Error> {
        entry.check()?;
        let text = catalog::write(entry)?;
        let insert = format!(
            "INSERT INTO {} (scope, view_name, entry) VALUES (?, ?, ?) USING TIMESTAMP ?",
            self.table("catalog")
        );
        let values = vec![Bound::Text(ALL), Bound::Text(&entry.view), Bound::Text(&text), Bound::Long(entry.revision)];
        self.session.write(&about(&entry.view), &insert, values).await
    }

    pub(super) async fn read_catalog(&self) -> Result<Vec<CatalogEntry>, Error> {
        let about = about("catalog");
        let select = format!("SELECT view_name, entry FROM {} WHERE scope = ?", self.table("catalog"));
        let rows = self.session.read(&about, &select, vec![Bound::Text(ALL)]).await?;
        let mut entries = Vec::with_capacity(rows.len());
        for row in rows {
            let mut cells = Cells::of(row);
            let name = cells.text().map_err(|e| unreadable(&about, e))?;
            let text = cells.text().map_err(|e| unreadable(&about, e))?;
            entries.push(catalog::read(&name, text.as_bytes())?);
        }
        Ok(catalog::listed(entries))
    }

    pub(super) async fn remove_view(&self, view: &ViewSpec) -> Result<(), Error> {
        check::spec(view)?;
        self.drop_view_tables(view).await
    }
}

/// Errors name a view; the catalogue has none.
fn about(name: &str) -> ViewSpec {
    ViewSpec { name: name.to_owned(), clustering: vec![], values: vec![], retention_ms: 0 }
}
