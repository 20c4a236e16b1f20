//! What the catalogue of views is told of jobs: the versions that have a table.

use super::{Id, Jobs, Published, RETRY, State, view_version};
use crate::decide;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemark_core::Job;
use tidemark_runtime::Running;
use tidemark_schemas::jobs::JobEntry;
use tidemark_spec::SpecJob;
use tidemark_views::CatalogEntry;

/// A revision of the directory is so many of the catalogue: one for each number of versions that have a table.
const PARTS_OF_REVISION: i64 = 2 * decide::VERSIONS_MAX as i64;

impl Jobs {
    /// Puts entries that changed into the catalogue of views, and those of which a version has got its table since.
    pub(super) fn publish(&self) {
        let due: Vec<(i64, JobEntry)> = {
            let set = self.set();
            let fresh = |(job, (revision, entry)): &(&String, &(i64, JobEntry))| match set.published.get(*job) {
                Some(has) if has.revision == *revision && has.versions == entry.versions.len() => false,
                _ => set.unpublished.get(*job).is_none_or(|(at, _)| *at <= Instant::now()),
            };
            set.entries.iter().filter(fresh).map(|(_, (revision, entry))| (*revision, entry.clone())).collect()
        };
        for (revision, entry) in due {
            let published = self.publish_one(revision, &entry);
            let mut set = self.set();
            let whole = matches!(&published, Ok(published) if published.versions == entry.versions.len());
            let pause = set.unpublished.remove(&entry.job).map_or(RETRY.0, |(_, pause)| (pause * 2).min(RETRY.1));
            if !whole {
                set.unpublished.insert(entry.job.clone(), (Instant::now() + pause, pause));
            }
            match published {
                Ok(published) => {
                    set.published.insert(entry.job, published);
                }
                Err(error) => {
                    let pause_ms = pause.as_millis() as u64;
                    tracing::warn!(job = entry.job, %error, pause_ms, "the catalogue of views does not have the job yet; it is tried again");
                }
            }
        }
    }

    fn publish_one(&self, revision: i64, entry: &JobEntry) -> Result<Published, tidemark_views::Error> {
        let mut listed: Vec<Arc<SpecJob>> = Vec::new();
        for version in &entry.versions {
            let id = (entry.job.clone(), version.version);
            // The table first: whoever finds the view listed can read it.
            if let Some(job) = self.with_table(&id)? {
                listed.push(job);
            }
        }
        let number = |version: Option<i32>| {
            let number = version.and_then(|version| u32::try_from(version).ok());
            number.filter(|number| listed.iter().any(|job| job.spec().version == *number))
        };
        let catalog = CatalogEntry {
            view: entry.job.clone(),
            // Of one revision the entry with more versions stays.
            revision: revision * PARTS_OF_REVISION + listed.len() as i64,
            current: number(entry.current),
            previous: number(entry.previous),
            versions: listed.iter().map(|job| view_version(job)).collect(),
        };
        self.parts.handle.block_on(self.parts.views.put_catalog(&catalog))?;
        Ok(Published { revision, versions: listed.len() })
    }

    /// A version's job, once it has its table; none for one that cannot have it, which is told of it.
    fn with_table(&self, id: &Id) -> Result<Option<Arc<SpecJob>>, tidemark_views::Error> {
        let job = self.set().work.get(id).and_then(|work| work.job.clone());
        let Some(job) = job.filter(|_| self.built_in.iter().all(|own| !decide::have_one_table(&own.name, &id.0)))
        else {
            return Ok(None);
        };
        let made = match self.parts.handle.block_on(self.parts.views.create(&job.columns().view)) {
            // Whether there is a table is not known: what the catalogue says of the job stays.
            Err(error @ tidemark_views::Error::Unavailable(_)) => return Err(error),
            Err(error @ tidemark_views::Error::Invalid { .. }) => Err(error.to_string()),
            Ok(()) => Ok(()),
        };
        let mut running = None;
        if let Some(work) = self.set().work.get_mut(id) {
            if let Err(why) = &made
                && work.table.as_ref() != Some(&made)
            {
                tracing::warn!(job = id.0, version = id.1, why, "the version has no table; it is tried again");
            }
            if made.is_ok() && matches!(work.table, Some(Err(_))) {
                // Its writer has stopped for want of the table: it begins anew.
                (running, work.state, work.pause) =
                    (work.running.take(), State::Failed("it had no table".to_owned()), Duration::ZERO);
            }
            work.table = Some(made.clone());
        }
        running.into_iter().for_each(Running::stop);
        Ok(made.is_ok().then_some(job))
    }
}
