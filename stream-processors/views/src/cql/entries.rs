//! Ledger and progress: the Avro record as a blob, with plain columns beside it for people.

use futures::{StreamExt, TryStreamExt, stream};
use tidemark_schemas::avro::{Avro, Reader};
use tidemark_schemas::engine::{Ledger, Progress};

use super::CqlViews;
use super::bind::{Bound, Cells};
use super::rows::{CONCURRENCY, now, ttl};
use super::session::unreadable;
use super::tables;
use crate::{Error, Revision, ViewSpec, check};

impl CqlViews {
    pub(super) async fn write_ledger(&self, view: &ViewSpec, entries: &[Ledger]) -> Result<(), Error> {
        let text = format!(
            "INSERT INTO {} (view_name, window_start, merge_partition, window_end, records, late, held, amended, sealed, epoch, \
             revision, entry) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?",
            self.ledger_table(view)
        );
        let now = now();
        // Collected first: rustc cannot see that a lazy map over borrowed entries may cross threads.
        let writes: Vec<_> = entries.iter().map(|entry| self.write_entry(view, &text, entry, now)).collect();
        stream::iter(writes).buffer_unordered(CONCURRENCY).try_collect().await
    }

    async fn write_entry(&self, view: &ViewSpec, text: &str, entry: &Ledger, now: i64) -> Result<(), Error> {
        let revision = Revision { epoch: entry.epoch, offset: entry.revision };
        check::revision(view, revision)?;
        let Some(ttl) = ttl(view, view.ledger_written_at(entry.opened_at), now) else {
            return Ok(());
        };
        let mut blob = Vec::with_capacity(256);
        entry.put(&mut blob);
        let values = vec![
            Bound::Text(&view.name),
            Bound::Long(entry.window_start),
            Bound::Int(entry.merge_partition),
            Bound::Long(entry.window_end),
            Bound::Long(entry.records),
            Bound::Long(entry.late),
            Bound::Long(entry.held),
            Bound::Boolean(entry.amended),
            Bound::Boolean(entry.sealed),
            Bound::Int(entry.epoch),
            Bound::Long(entry.revision),
            Bound::Blob(&blob),
            Bound::Long(revision.timestamp()),
            Bound::Int(ttl),
        ];
        self.session.write(view, text, values).await
    }

    pub(super) async fn write_progress(&self, view: &ViewSpec, progress: &Progress) -> Result<(), Error> {
        let revision = Revision { epoch: progress.epoch, offset: progress.revision };
        check::revision(view, revision)?;
        let text = format!(
            "INSERT INTO {} (view_name, merge_partition, as_of, epoch, revision, entry) VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?",
            self.progress_table(view)
        );
        let mut blob = Vec::with_capacity(256);
        progress.put(&mut blob);
        let values = vec![
            Bound::Text(&view.name),
            Bound::Int(progress.merge_partition),
            Bound::Long(progress.as_of),
            Bound::Int(progress.epoch),
            Bound::Long(progress.revision),
            Bound::Blob(&blob),
            Bound::Long(revision.timestamp()),
        ];
        self.session.write(view, &text, values).await
    }

    pub(super) async fn read_ledger(&self, view: &ViewSpec, from: i64, to: i64) -> Result<Vec<Ledger>, Error> {
        let table = self.ledger_table(view);
        let text = format!("SELECT entry FROM {table} WHERE view_name = ? AND window_start >= ? AND window_start < ?");
        let values = vec![Bound::Text(&view.name), Bound::Long(from), Bound::Long(to)];
        self.read_entries(view, tables::LEDGER.0, &text, values).await
    }

    pub(super) async fn read_progress(&self, view: &ViewSpec) -> Result<Vec<Progress>, Error> {
        let text = format!("SELECT entry FROM {} WHERE view_name = ?", self.progress_table(view));
        self.read_entries(view, tables::PROGRESS.0, &text, vec![Bound::Text(&view.name)]).await
    }

    async fn read_entries<T>(
        &self,
        view: &ViewSpec,
        suffix: &str,
        text: &str,
        values: Vec<Bound<'_>>,
    ) -> Result<Vec<T>, Error>
    where
        T: for<'a> Avro<'a>,
    {
        match self.session.read(view, text, values).await {
            // A view that is not there, or not yet, has no entries.
            Err(Error::Invalid { .. }) if !self.has_table(view, suffix).await? => Ok(vec![]),
            rows => rows?.into_iter().map(|row| read(view, Cells::of(row))).collect(),
        }
    }
}

fn read<T: for<'a> Avro<'a>>(view: &ViewSpec, mut cells: Cells) -> Result<T, Error> {
    let blob = cells.blob().map_err(|e| unreadable(view, e))?;
    let mut reader = Reader::new(&blob);
    let entry = T::get(&mut reader).map_err(|e| unreadable(view, e))?;
    reader.finish().map_err(|e| unreadable(view, e))?;
    Ok(entry)
}
