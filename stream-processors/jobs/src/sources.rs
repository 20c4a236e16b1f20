//! What job files can read: topics and their schemas, as they are, as they were when a version was checked, and as they will be
//! once what came with a file is made; and views.

use crate::directory::Entries;
use crate::flows;
use crate::platform::ApplyError;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidemark_log::Log;
use tidemark_schemas::jobs::{JobEntry, JobVersion};
use tidemark_schemas::registry::Registry;
use tidemark_schemas::registry::compat::Level;
use tidemark_schemas::resolve;
use tidemark_spec::source::Source;
use tidemark_spec::view::{Asked, View};
use tidemark_spec::{Problems, SpecJob, Topics, file, yaml};

/// The schemas that a version was checked against.
pub(crate) struct Stored<'v>(pub(crate) &'v JobVersion);

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
#[derive(Clone, Copy)]
pub struct Registered<'r> {
    /// Has the topics.
    pub log: &'r dyn Log,
    /// Has their schemas.
    pub registry: &'r dyn Registry,
}

impl Topics for Registered<'_> {
    fn schema(&self, topic: &str) -> Result<Option<String>, String> {
        if self.log.partitions(topic).map_err(|error| error.to_string())?.is_none() {
            return Ok(None);
        }
        let latest = self.registry.latest_of(&subject(topic)).map_err(|error| error.to_string())?;
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
pub(crate) struct Sources<'s> {
    topics: &'s dyn Topics,
    entries: &'s Entries,
    built_in: &'s [View],
}

impl<'s> Sources<'s> {
    /// Of a platform with these topics and jobs, those that were applied and those of its own.
    pub(crate) fn new(topics: &'s dyn Topics, entries: &'s Entries, built_in: &'s [View]) -> Self {
        Self { topics, entries, built_in }
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

/// What a schema that came with a file is to the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The first one of its topic.
    First,
    /// The next version: it can read what was written with the one before.
    Next,
    /// It is the one in force.
    Same,
    /// An earlier version: the topic's schema has grown since, and the one in force is taken.
    Earlier,
    /// A topic of the platform itself, whose schema is the platform's.
    Ours,
}

/// A topic that a file names, and the schema that came for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The topic.
    pub topic: String,
    /// Avro JSON.
    pub schema: String,
    /// What becomes of it.
    pub step: Step,
    /// It holds a table: all that was ever said of its rows.
    pub is_table: bool,
}

/// The subject of a topic's values.
pub fn subject(topic: &str) -> String {
    format!("{topic}-value")
}

/// Name and version of a file's job, if the file can be read as far.
pub(crate) fn named(text: &str) -> Option<(String, u32)> {
    let root = yaml::parse(text).ok()?;
    let file = file::read(&root).ok()?;
    Some((file.job.value.clone(), file.version.value))
}

/// The schemas that came with a file, by topic, of those topics that it names; others do not matter.
///
/// # Errors
/// One is no schema of records, or cannot be the next one of its topic; the registry does not answer.
pub fn proposals(
    registered: &Registered<'_>,
    text: &str,
    schemas: &BTreeMap<String, String>,
) -> Result<Vec<Proposal>, ApplyError> {
    // What is wrong with the file is told when it is compiled.
    let Some(file) = yaml::parse(text).ok().and_then(|root| file::read(&root).ok()) else { return Ok(vec![]) };
    let sources = file.topics.iter().map(|topic| (&topic.value, false));
    let named = sources.chain(file.joins.iter().map(|join| (&join.table.value, true)));
    let mut proposals: Vec<Proposal> = Vec::new();
    for (topic, is_table) in named {
        let Some(schema) = schemas.get(topic) else { continue };
        if proposals.iter().all(|known| known.topic != *topic) {
            let step = step(registered, topic, schema)?;
            proposals.push(Proposal { topic: topic.clone(), schema: schema.clone(), step, is_table });
        }
    }
    Ok(proposals)
}

fn step(registered: &Registered<'_>, topic: &str, schema: &str) -> Result<Step, ApplyError> {
    if topic == flows::TOPIC {
        return Ok(Step::Ours);
    }
    let wrong = |why: String| ApplyError::Schema(format!("{topic}.avsc: {why}"));
    Source::new(schema).map_err(|why| wrong(why.clone()))?;
    let latest = registered.registry.latest_of(&subject(topic));
    let Some(latest) = latest.map_err(|error| ApplyError::Unavailable(error.to_string()))? else {
        return Ok(Step::First);
    };
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    if json(schema) == json(&latest.schema) {
        return Ok(Step::Same);
    }
    let known = registered.registry.id_of(&subject(topic), schema);
    match known.map_err(|error| ApplyError::Unavailable(error.to_string()))? {
        Some(id) if id == latest.id => return Ok(Step::Same),
        Some(_) => return Ok(Step::Earlier),
        None => {}
    }
    let new = resolve::parse(schema).map_err(|why| wrong(why.to_string()))?;
    // What cannot be read has no readers: the registry has the last word.
    let Ok(old) = resolve::parse(&latest.schema) else { return Ok(Step::Next) };
    let reasons = Level::Backward.problems(&new, &old);
    if reasons.is_empty() {
        return Ok(Step::Next);
    }
    Err(wrong(format!(
        "it differs from version {} of {}, and cannot read what was written with that: {}; mend it, or take that version's \
         schema: GET /registry/subjects/{0}/versions/latest",
        latest.version,
        subject(topic),
        reasons.join("; ")
    )))
}

/// The topics of the platform, and those that are made of what came with a file.
pub(crate) struct Proposed<'r> {
    registered: Registered<'r>,
    proposals: Vec<Proposal>,
}

impl<'r> Proposed<'r> {
    pub(crate) fn new(registered: Registered<'r>, proposals: Vec<Proposal>) -> Self {
        Self { registered, proposals }
    }
}

impl Topics for Proposed<'_> {
    fn schema(&self, topic: &str) -> Result<Option<String>, String> {
        match self.proposals.iter().find(|proposal| proposal.topic == topic) {
            Some(Proposal { schema, step: Step::First | Step::Next | Step::Same, .. }) => Ok(Some(schema.clone())),
            Some(Proposal { step: Step::Ours | Step::Earlier, .. }) | None => self.registered.schema(topic),
        }
    }
    fn names(&self) -> Vec<String> {
        let proposed = self.proposals.iter().map(|proposal| proposal.topic.clone());
        self.registered.names().into_iter().chain(proposed).collect()
    }
}
