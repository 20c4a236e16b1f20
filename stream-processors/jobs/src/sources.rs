//! What job files can read here: topics that have schemas, and views.

use crate::directory::Entries;
use std::sync::Arc;
use tidemark_log::Log;
use tidemark_schemas::jobs::{JobEntry, JobVersion};
use tidemark_schemas::registry::Registry;
use tidemark_spec::view::{Asked, View};
use tidemark_spec::{Problems, SpecJob, Topics};

/// The schemas that a version was checked against.
struct Stored<'v>(&'v JobVersion);

impl Topics for Stored<'_> {
    fn schema(&self, topic: &str) -> Result<Option<String>, String> {
        Ok(self.0.sources.iter().find(|source| source.topic == topic).map(|source| source.schema.clone()))
    }
    fn names(&self) -> Vec<String> {
        self.0.sources.iter().map(|source| source.topic.clone()).collect()
    }
    fn view(&self, asked: &Asked<'_>) -> Result<Option<View>, String> {
        Ok(views(self.0).find(|view| is_asked(view, asked)))
    }
    fn view_names(&self) -> Vec<String> {
        views(self.0).map(|view| view.name).collect()
    }
}

fn is_asked(view: &View, asked: &Asked<'_>) -> bool {
    view.name == asked.view && asked.version.is_none_or(|version| version == view.version)
}

/// The views that a version reads.
pub fn views(version: &JobVersion) -> impl Iterator<Item = View> {
    version.sources.iter().filter_map(|source| View::parse(&source.schema))
}

/// The job of a version, as it was applied.
pub(crate) fn compiled(version: &JobVersion) -> Result<Arc<SpecJob>, Problems> {
    tidemark_spec::compile("job.yaml", &version.spec, &Stored(version)).map(Arc::new)
}

/// The schemas of the registry, of topics that there are.
struct Registered<'r> {
    log: &'r dyn Log,
    registry: &'r dyn Registry,
}

impl Topics for Registered<'_> {
    fn schema(&self, topic: &str) -> Result<Option<String>, String> {
        if self.log.partitions(topic).map_err(|error| error.to_string())?.is_none() {
            return Ok(None);
        }
        let latest = self.registry.latest_of(&format!("{topic}-value")).map_err(|error| error.to_string())?;
        Ok(latest.map(|latest| latest.schema.to_string()))
    }
    fn names(&self) -> Vec<String> {
        let subjects = self.registry.subject_names().unwrap_or_default();
        let topic = |subject: &String| subject.strip_suffix("-value").map(str::to_owned);
        subjects
            .iter()
            .filter_map(topic)
            .filter(|topic| !topic.starts_with("tidemark.") && !topic.starts_with("view."))
            .collect()
    }
}

/// What a file that is applied now can read.
pub struct Sources<'s> {
    topics: Registered<'s>,
    entries: &'s Entries,
    built_in: &'s [View],
}

impl<'s> Sources<'s> {
    /// Of a platform with these jobs, those that were applied and those of its own.
    pub fn new(log: &'s dyn Log, registry: &'s dyn Registry, entries: &'s Entries, built_in: &'s [View]) -> Self {
        Self { topics: Registered { log, registry }, entries, built_in }
    }

    fn entry(&self, job: &str) -> Option<&JobEntry> {
        self.entries.get(job).map(|(_, entry)| entry).filter(|entry| !entry.versions.is_empty())
    }
}

impl Topics for Sources<'_> {
    fn schema(&self, topic: &str) -> Result<Option<String>, String> {
        self.topics.schema(topic)
    }

    fn names(&self) -> Vec<String> {
        self.topics.names()
    }

    /// A version that was applied goes on with what it reads, whatever is current by now.
    fn view(&self, asked: &Asked<'_>) -> Result<Option<View>, String> {
        let number = |version: i32| u32::try_from(version).unwrap_or(0);
        let applied = self.entry(asked.by);
        let applied = applied.and_then(|entry| entry.versions.iter().find(|v| number(v.version) == asked.by_version));
        if let Some(pinned) = applied.and_then(|version| views(version).find(|view| is_asked(view, asked))) {
            return Ok(Some(pinned));
        }
        if let Some(own) = self.built_in.iter().find(|view| view.name == asked.view) {
            let Asked { view, .. } = asked;
            return match is_asked(own, asked) {
                true => Ok(Some(own.clone())),
                false => Err(format!("{view} has version {} and no other", own.version)),
            };
        }
        let Some(entry) = self.entry(asked.view) else { return Ok(None) };
        let wanted = asked.version.or(entry.current.map(number));
        let Some(version) = entry.versions.iter().find(|version| Some(number(version.version)) == wanted) else {
            let numbers: Vec<String> = entry.versions.iter().map(|version| version.version.to_string()).collect();
            let wanted = wanted.map_or("that is current".to_owned(), |version| version.to_string());
            return Err(format!("{} has no version {wanted}; it has {}", asked.view, numbers.join(", ")));
        };
        compiled(version).map(|job| Some(View::of(&job))).map_err(|problems| problems.to_string())
    }

    fn view_names(&self) -> Vec<String> {
        let applied = self.entries.values().filter(|(_, entry)| !entry.versions.is_empty());
        applied.map(|(_, entry)| entry.job.clone()).chain(self.built_in.iter().map(|view| view.name.clone())).collect()
    }
}
