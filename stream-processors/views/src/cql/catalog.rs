//! The catalogue, one small partition, and the end of a view.

use super::CqlViews;
use super::bind::{Bound, Cells};
use super::session::unreadable;
use crate::{CatalogEntry, Error, Revision, ViewSpec, catalog, check};

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

    /// Drops the table, then what the shared tables have of the view. These deletes carry the highest revision there is: with
    /// the time of today they would hide for days whatever a mistaken second use of the name wrote.
    pub(super) async fn remove_view(&self, view: &ViewSpec) -> Result<(), Error> {
        check::spec(view)?;
        let (ledger, progress) = (self.read_ledger(view, i64::MIN, i64::MAX).await?, self.read_progress(view).await?);
        self.session.change_schema(view, &format!("DROP TABLE IF EXISTS {}", self.table(&view.name))).await?;
        let revisions = ledger.iter().map(|l| (l.epoch, l.revision));
        self.forget(view, "ledger", revisions).await?;
        self.forget(view, "progress", progress.iter().map(|p| (p.epoch, p.revision))).await
    }

    async fn forget(
        &self,
        view: &ViewSpec,
        table: &str,
        revisions: impl Iterator<Item = (i32, i64)>,
    ) -> Result<(), Error> {
        let highest = revisions.map(|(epoch, offset)| Revision { epoch, offset }).max();
        let Some(highest) = highest else { return Ok(()) };
        let delete = format!("DELETE FROM {} USING TIMESTAMP ? WHERE view_name = ?", self.table(table));
        let values = vec![Bound::Long(highest.timestamp()), Bound::Text(&view.name)];
        self.session.write(view, &delete, values).await
    }
}

/// Errors name a view; the catalogue has none.
fn about(name: &str) -> ViewSpec {
    ViewSpec { name: name.to_owned(), clustering: vec![], values: vec![], retention_ms: 0 }
}
