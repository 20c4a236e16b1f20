//! Files, checked and added to the directory.

use super::{ApplyError, Jobs};
use crate::decide::{self, Applied, Others, Refusal};
use crate::directory::{Entries, Error};
use crate::sources::{self, Proposed, Registered, Sources, Stored};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidemark_core::Job;
use tidemark_schemas::jobs::{JobEntry, JobVersion};
use tidemark_spec::{SpecJob, Topics, inline};

/// A job file as it is sent.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'s> {
    /// Its name, for messages.
    pub name: &'s str,
    /// Its text.
    pub text: &'s str,
    /// Schemas that came with it, by topic.
    pub schemas: &'s BTreeMap<String, String>,
}

impl Jobs {
    /// Checks a file against the registry, runs its tests and adds it to the directory.
    ///
    /// # Errors
    /// The file is wrong, its tests fail, or it contradicts what is there.
    pub fn apply(&self, name: &str, text: &str) -> Result<(JobEntry, Applied, u32), ApplyError> {
        let entries = self.directory.entries().map_err(Error::Log)?;
        let job = self.checked(name, text, &entries, &self.registered())?;
        let (entry, applied) = self.directory.change(|entries| self.decided(entries, &job))?;
        Ok((entry, applied, job.spec().version))
    }

    /// Applies a file that comes with the platform, unless this version of it or a later one has been: what became of it since, such
    /// as that it was retired, stays. Gives whether it was applied.
    ///
    /// # Errors
    /// As [`Jobs::apply`].
    pub fn apply_new(&self, name: &str, text: &str) -> Result<bool, ApplyError> {
        let entries = self.directory.entries().map_err(Error::Log)?;
        let is_known = sources::named(text).is_some_and(|(job, version)| {
            let known = entries.get(&job).map(|(_, entry)| entry);
            known.is_some_and(|entry| {
                let latest = entry.versions.iter().filter_map(|there| u32::try_from(there.version).ok()).max();
                latest.is_none_or(|latest| latest >= version)
            })
        });
        if is_known { Ok(false) } else { self.apply(name, text).map(|_| true) }
    }

    /// What [`Jobs::apply`] would do once the files in `before` were applied, the topics that are missing made, and the schemas
    /// that came with the file registered. Nothing is changed.
    ///
    /// # Errors
    /// As [`Jobs::apply`]; a schema cannot be registered. What is wrong with the files before is told when they are checked.
    pub fn check(&self, file: Sent<'_>, before: &[Sent<'_>]) -> Result<(JobEntry, Applied, u32), ApplyError> {
        let mut entries = self.directory.entries().map_err(Error::Log)?;
        for file in before {
            if let Ok((entry, ..)) = self.would_be(*file, &entries) {
                let revision = entries.get(&entry.job).map_or(0, |(revision, _)| *revision);
                entries.insert(entry.job.clone(), (revision, entry));
            }
        }
        self.would_be(file, &entries)
    }

    fn would_be(&self, file: Sent<'_>, entries: &Entries) -> Result<(JobEntry, Applied, u32), ApplyError> {
        let Sent { name, text, schemas } = file;
        let proposed = Proposed::new(self.registered(), sources::proposals(&self.registered(), text, schemas)?);
        let job = self.checked(name, text, entries, &proposed)?;
        let (entry, applied) = self.decided(entries, &job).map_err(Error::Refused)?;
        Ok((entry, applied, job.spec().version))
    }

    /// The topics and schemas of the platform.
    pub fn registered(&self) -> Registered<'_> {
        Registered { log: self.parts.log.as_ref(), registry: self.parts.registry.as_ref() }
    }

    /// The job of a file whose tests pass. A version that is there is what it was checked against when it came: the schemas of
    /// its sources may have grown since.
    fn checked(
        &self,
        name: &str,
        text: &str,
        entries: &Entries,
        topics: &dyn Topics,
    ) -> Result<Arc<SpecJob>, ApplyError> {
        let there = sources::named(text).and_then(|(job, version)| {
            let (_, entry) = entries.get(&job)?;
            entry.versions.iter().find(|there| u32::try_from(there.version) == Ok(version))
        });
        let stored = there.and_then(|there| tidemark_spec::compile(name, text, &Stored(there)).ok());
        let sources = Sources::new(topics, entries, &self.built_in);
        let job = Arc::new(stored.map_or_else(|| tidemark_spec::compile(name, text, &sources), Ok)?);
        let failed: Vec<String> = inline::run(name, &job)?
            .into_iter()
            .filter(|outcome| !outcome.failures.is_empty())
            .map(|outcome| outcome.to_string())
            .collect();
        if failed.is_empty() { Ok(job) } else { Err(ApplyError::Tests(failed.join("\n"))) }
    }

    fn decided(&self, entries: &Entries, job: &SpecJob) -> Result<(JobEntry, Applied), Refusal> {
        let known = entries.get(&job.spec().name).map(|(_, entry)| entry);
        // One that is being removed still has its tables.
        let there = |entry: &&JobEntry| !entry.versions.is_empty() || !entry.retiring.is_empty();
        let applied: Vec<JobEntry> = entries.values().map(|(_, entry)| entry).filter(there).cloned().collect();
        decide::views::readable(entries, &self.built_in, &job.spec().name, &job.views().collect::<Vec<_>>())?;
        let old = |version: &JobVersion| sources::compiled(version).ok().map(|job| job.spec().clone());
        decide::apply(known, Others { built_in: &self.own_names(), applied: &applied }, job, old, self.now())
    }
}
