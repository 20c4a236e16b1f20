//! What may be done to a job: pure decisions on what is known of it.

use tidemark_core::{Job, JobSpec};
use tidemark_schemas::jobs::{JobEntry, JobSource, JobVersion};
use tidemark_spec::SpecJob;

/// Most versions of a job side by side: each reads its sources and keeps a view of its own.
pub const VERSIONS_MAX: usize = 8;
/// Most jobs.
pub const JOBS_MAX: usize = 1_000;

/// Why something is not done. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such job or version.
    #[error("{0}")]
    Unknown(String),
    /// It contradicts what is there; the message says what to do.
    #[error("{0}")]
    Conflict(String),
}

/// What an apply did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// The first version of a job.
    Created,
    /// A version beside those that run.
    Version,
    /// The file changed in what a version may change: how long to wait or to keep, descriptions, tests.
    Settings,
    /// The file is the one that runs.
    Unchanged,
}

/// Adds a version to a job, or changes the settings of one.
///
/// # Errors
/// The version is there with another meaning; its number is too low; another job has the view's table.
pub fn apply(
    known: Option<&JobEntry>,
    others: &[JobEntry],
    job: &SpecJob,
    running: impl Fn(&JobVersion) -> Option<JobSpec>,
    now: i64,
) -> Result<(JobEntry, Applied), Refusal> {
    let spec = job.spec();
    let (name, version) = (&spec.name, spec.version as i32);
    let conflict = |why: String| Err(Refusal::Conflict(why));
    let table = table_of(name);
    if let Some(other) = others.iter().find(|other| other.job != *name && table_of(&other.job) == table) {
        return conflict(format!(
            "the view of {name} would have the table of {}: two jobs cannot write one view; give it another name",
            other.job
        ));
    }
    let applied = JobVersion {
        version,
        applied_at: now,
        fingerprint: spec.fingerprint(),
        spec: job.text().to_owned(),
        sources: sources(job),
    };
    let Some(known) = known.filter(|known| !known.versions.is_empty()) else {
        if others.len() >= JOBS_MAX {
            return conflict(format!("there are {JOBS_MAX} jobs; retire one first"));
        }
        let versions = vec![applied];
        let entry = JobEntry { job: name.clone(), changed_at: now, current: Some(version), previous: None, versions };
        return Ok((entry, Applied::Created));
    };
    let mut entry = JobEntry { changed_at: now, ..known.clone() };
    if let Some(there) = entry.versions.iter_mut().find(|there| there.version == version) {
        if there.fingerprint != applied.fingerprint {
            let what = running(there).map_or_else(|| "its meaning".to_owned(), |old| changes(&old, spec));
            let next = known.versions.iter().map(|there| there.version).max().unwrap_or(version) + 1;
            return conflict(format!(
                "version {version} of {name} is there and would change its meaning: {what}; write `version: {next}`, and it \
                 runs beside the old one until you promote it"
            ));
        }
        if there.spec == applied.spec {
            return Ok((known.clone(), Applied::Unchanged));
        }
        // What it was checked against stays: the schema may have grown since.
        *there = JobVersion { sources: there.sources.clone(), ..applied };
        return Ok((entry, Applied::Settings));
    }
    if let Some(higher) = entry.versions.iter().map(|there| there.version).max().filter(|max| *max > version) {
        return conflict(format!("{name} has version {higher} already; write `version: {}`", higher + 1));
    }
    if entry.versions.len() >= VERSIONS_MAX {
        return conflict(format!("{name} has {VERSIONS_MAX} versions; retire one first: tidemark job retire {name} --version N"));
    }
    entry.versions.push(applied);
    Ok((entry, Applied::Version))
}

fn table_of(job: &str) -> String {
    job.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

fn sources(job: &SpecJob) -> Vec<JobSource> {
    let source = |(topic, schema): &(String, String)| JobSource { topic: topic.clone(), schema: schema.clone() };
    job.topics().iter().map(source).collect()
}

/// What differs in meaning between two specifications, in words.
fn changes(old: &JobSpec, new: &JobSpec) -> String {
    let mut said = Vec::new();
    let mut tell = |what: &str, old: String, new: String| {
        if old != new {
            said.push(format!("{what} was {old} and is {new}"));
        }
    };
    let words = |list: &[String]| if list.is_empty() { "none".to_owned() } else { list.join(", ") };
    tell("the source", words(&old.sources), words(&new.sources));
    tell("the time", old.time.clone(), new.time.clone());
    tell("the key", words(&old.key), words(&new.key));
    tell("the window", window(old), window(new));
    tell("grace", tidemark_spec::instant::duration(old.grace_ms), tidemark_spec::instant::duration(new.grace_ms));
    tell("late", late(old), late(new));
    tell("partitions", old.merge_partitions.to_string(), new.merge_partitions.to_string());
    tell("dedupe", format!("{:?}", old.dedupe), format!("{:?}", new.dedupe));
    let gone = old.expressions.iter().chain(&old.aggregates).filter(|e| !new.expressions.contains(e) && !new.aggregates.contains(e));
    let came = new.expressions.iter().chain(&new.aggregates).filter(|e| !old.expressions.contains(e) && !old.aggregates.contains(e));
    said.extend(gone.map(|e| format!("`{e}` is gone")));
    said.extend(came.map(|e| format!("`{e}` is new")));
    if said.is_empty() { "its meaning".to_owned() } else { said.join("; ") }
}

fn window(spec: &JobSpec) -> String {
    use tidemark_core::Windowing;
    let text = tidemark_spec::instant::duration;
    match spec.window {
        Windowing::Tumbling { size_ms } => format!("tumbling {}", text(size_ms)),
        Windowing::Hopping { size_ms, hop_ms } => format!("hopping {} every {}", text(size_ms), text(hop_ms)),
        Windowing::Session { gap_ms } => format!("session {}", text(gap_ms)),
    }
}

fn late(spec: &JobSpec) -> String {
    format!("{:?} for {}", spec.late, tidemark_spec::instant::duration(spec.amend_for_ms)).to_lowercase()
}

/// Makes a version the one that the view's bare name means.
///
/// # Errors
/// There is no such version.
pub fn promote(known: &JobEntry, version: Option<i32>, now: i64) -> Result<JobEntry, Refusal> {
    let newest = known.versions.iter().map(|there| there.version).max();
    let version = version.or(newest).unwrap_or(0);
    if known.versions.iter().all(|there| there.version != version) {
        return Err(Refusal::Unknown(format!("{} has no version {version}; it has {}", known.job, versions(known))));
    }
    if known.current == Some(version) {
        return Ok(known.clone());
    }
    Ok(JobEntry { changed_at: now, current: Some(version), previous: known.current, ..known.clone() })
}

/// Goes back to the version that was current before.
///
/// # Errors
/// There is none.
pub fn rollback(known: &JobEntry, now: i64) -> Result<JobEntry, Refusal> {
    match known.previous {
        Some(previous) => {
            Ok(JobEntry { changed_at: now, current: Some(previous), previous: known.current, ..known.clone() })
        }
        None => Err(Refusal::Conflict(format!(
            "no version of {} was current before this one: there is nothing to go back to",
            known.job
        ))),
    }
}

/// Takes a version away, or with none all of them.
///
/// # Errors
/// There is no such version, or it is the current one of several.
pub fn retire(known: &JobEntry, version: Option<i32>, now: i64) -> Result<JobEntry, Refusal> {
    let mut entry = JobEntry { changed_at: now, ..known.clone() };
    let Some(version) = version else {
        return Ok(JobEntry { current: None, previous: None, versions: Vec::new(), ..entry });
    };
    if known.versions.iter().all(|there| there.version != version) {
        return Err(Refusal::Unknown(format!("{} has no version {version}; it has {}", known.job, versions(known))));
    }
    if known.current == Some(version) && known.versions.len() > 1 {
        return Err(Refusal::Conflict(format!(
            "version {version} of {} is the current one: promote another first, or retire the whole job with --all",
            known.job
        )));
    }
    entry.versions.retain(|there| there.version != version);
    entry.previous = entry.previous.filter(|previous| *previous != version);
    entry.current = entry.current.filter(|current| *current != version);
    Ok(entry)
}

fn versions(entry: &JobEntry) -> String {
    let numbers: Vec<String> = entry.versions.iter().map(|there| there.version.to_string()).collect();
    if numbers.is_empty() { "none".to_owned() } else { numbers.join(", ") }
}
