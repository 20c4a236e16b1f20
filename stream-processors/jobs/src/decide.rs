//! What may be done to a job: pure decisions on what is known of it.

pub mod views;

use tidemark_core::{Dedupe, Job, JobSpec};
use tidemark_runtime::Plan;
use tidemark_schemas::jobs::{JobEntry, JobRetiring, JobSource, JobVersion};
use tidemark_spec::SpecJob;

/// Most versions of a job side by side, those that are being removed included: each reads its sources and keeps a view of its own.
pub const VERSIONS_MAX: usize = 8;
/// A process has the removal of a version to itself for so long, and renews that before half of it is over; longer than any one
/// step takes, so that what another process deletes late never meets topics that were made since.
pub const LEASE_MS: i64 = 120_000;
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

/// What else has a name: the jobs of the platform itself, and those that were applied, of which something is still there.
#[derive(Debug, Clone, Copy)]
pub struct Others<'o> {
    /// Names of the platform's own jobs.
    pub built_in: &'o [String],
    /// Applied ones; the job that is decided on may be among them.
    pub applied: &'o [JobEntry],
}

/// Adds a version to a job, or changes the settings of one.
///
/// # Errors
/// The version is there with another meaning, or is being retired; its number is too low or too high; another job has the
/// view's table.
pub fn apply(
    known: Option<&JobEntry>,
    others: Others<'_>,
    job: &SpecJob,
    running: impl Fn(&JobVersion) -> Option<JobSpec>,
    now: i64,
) -> Result<(JobEntry, Applied), Refusal> {
    let spec = job.spec();
    let name = &spec.name;
    let conflict = |why: String| Err(Refusal::Conflict(why));
    let Ok(version) = i32::try_from(spec.version) else {
        return conflict(format!("`version: {}` is above {}, the highest that there is", spec.version, i32::MAX));
    };
    if let Some(own) = others.built_in.iter().find(|own| have_one_table(own, name)) {
        return conflict(match own == name {
            true => format!("{name} is a job of the platform itself; give yours another name"),
            false => format!(
                "the view of {name} would have the table of {own}, which is a job of the platform itself; give it another name"
            ),
        });
    }
    let others = others.applied;
    if let Some(other) = others.iter().find(|other| other.job != *name && have_one_table(&other.job, name)) {
        return conflict(format!(
            "the view of {name} would have the table of {}: two jobs cannot write one view; give it another name",
            other.job
        ));
    }
    let applied = JobVersion {
        version,
        created_at: now,
        applied_at: now,
        fingerprint: spec.fingerprint(),
        spec: job.text().to_owned(),
        sources: sources(job),
    };
    let retiring = known.map(|known| known.retiring.clone()).unwrap_or_default();
    if retiring.iter().any(|gone| gone.version == version) {
        let next = known.map_or(version, highest).saturating_add(1);
        return conflict(format!(
            "version {version} of {name} was retired, and its topics and tables are still being removed: apply it again when \
             that is done, or write `version: {next}`"
        ));
    }
    let Some(known) = known.filter(|known| !known.versions.is_empty()) else {
        if others.len() >= JOBS_MAX {
            return conflict(format!("there are {JOBS_MAX} jobs; retire one first"));
        }
        let (job, versions, current) = (name.clone(), vec![applied], Some(version));
        let entry = JobEntry { job, changed_at: now, current, previous: None, versions, retiring };
        return Ok((entry, Applied::Created));
    };
    let mut entry = JobEntry { changed_at: now, ..known.clone() };
    if let Some(there) = entry.versions.iter_mut().find(|there| there.version == version) {
        // Word for word: whatever became of its schemas since, nothing is asked for.
        if there.spec == applied.spec {
            return Ok((known.clone(), Applied::Unchanged));
        }
        if there.fingerprint != applied.fingerprint {
            let what = running(there).map_or_else(|| "its meaning".to_owned(), |old| changes(&old, spec));
            let next = highest(known).saturating_add(1);
            return conflict(format!(
                "version {version} of {name} is there and would change its meaning: {what}; write `version: {next}`, and it \
                 runs beside the old one until you promote it"
            ));
        }
        // What it was checked against stays: the schema may have grown since.
        *there = JobVersion { sources: there.sources.clone(), created_at: there.created_at, ..applied };
        return Ok((entry, Applied::Settings));
    }
    if let Some(higher) = entry.versions.iter().map(|there| there.version).max().filter(|max| *max > version) {
        let next = highest(known).saturating_add(1);
        return conflict(format!("{name} has version {higher} already; write `version: {next}`"));
    }
    if entry.versions.len() + entry.retiring.len() >= VERSIONS_MAX {
        let removed = entry.retiring.len();
        return conflict(format!(
            "{name} has {VERSIONS_MAX} versions, {removed} of them being removed; retire one first, or wait for that: tidemark \
             job retire {name} --version N"
        ));
    }
    entry.versions.push(applied);
    Ok((entry, Applied::Version))
}

/// The highest number that is in use.
fn highest(known: &JobEntry) -> i32 {
    let numbers = known.versions.iter().map(|there| there.version);
    numbers.chain(known.retiring.iter().map(|gone| gone.version)).max().unwrap_or(0)
}

/// Whether versions of two jobs with one number have one table.
pub(crate) fn have_one_table(one: &str, other: &str) -> bool {
    Plan::named(one, 1).spec.view_table() == Plan::named(other, 1).spec.view_table()
}

/// Whoever has the table of a retired version besides it: it must not be dropped then. No apply lets that come about; a
/// directory that was written before may have it so.
pub fn owner_of<'o>(others: Others<'o>, retired: &JobRetiring) -> Option<&'o str> {
    let of = |job: &str, version: i32| Plan::named(job, version.unsigned_abs()).spec.view_table();
    // The version of a platform's own job is a setting: it may be any.
    let own = others.built_in.iter().find(|own| of(own, retired.version) == retired.table);
    let live = |entry: &&JobEntry| entry.versions.iter().any(|there| of(&entry.job, there.version) == retired.table);
    own.map(String::as_str).or_else(|| others.applied.iter().find(live).map(|entry| entry.job.as_str()))
}

/// Every schema that the job was checked against: of its sources, then of the tables that it joins.
fn sources(job: &SpecJob) -> Vec<JobSource> {
    let source = |(topic, schema): &(String, String)| JobSource { topic: topic.clone(), schema: schema.clone() };
    let mut sources: Vec<JobSource> = job.topics().iter().map(source).collect();
    for table in job.tables() {
        if sources.iter().all(|source| source.topic != table.topic()) {
            sources.push(JobSource { topic: table.topic().to_owned(), schema: table.schema().avsc.to_string() });
        }
    }
    sources
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
    tell("dedupe", dedupe(old), dedupe(new));
    let gone = old
        .expressions
        .iter()
        .chain(&old.aggregates)
        .filter(|e| !new.expressions.contains(e) && !new.aggregates.contains(e));
    let came = new
        .expressions
        .iter()
        .chain(&new.aggregates)
        .filter(|e| !old.expressions.contains(e) && !old.aggregates.contains(e));
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

fn dedupe(spec: &JobSpec) -> String {
    let words = |dedupe: &Dedupe| format!("by {} for {}", dedupe.by, tidemark_spec::instant::duration(dedupe.for_ms));
    spec.dedupe.as_ref().map_or("none".to_owned(), words)
}

/// How a version that is to be promoted stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// Why it is not at work, or has no table.
    pub trouble: Option<String>,
    /// Records between what its stages have read and the ends of their topics, all stages together; none when it is not known.
    pub lag: Option<i64>,
    /// The same of the version that is current.
    pub lag_of_current: Option<i64>,
}

/// A version may be so many records further behind than twice the lag of the current one: both are behind by what comes between
/// two commits, and not at the same moment.
pub const BEHIND_MAX: i64 = 1_000;

/// Whether readers lose nothing when a version is promoted.
///
/// # Errors
/// It is not at work, or has still much to read.
pub fn may_serve(job: &str, version: i32, standing: &Standing) -> Result<(), Refusal> {
    let force = "or promote it as it is with --force";
    if let Some(why) = &standing.trouble {
        let why = format!("version {version} of {job} is not ready: {why}; mend that first, {force}");
        return Err(Refusal::Conflict(why));
    }
    let current = standing.lag_of_current.unwrap_or(0);
    match standing.lag {
        None => Err(Refusal::Conflict(format!(
            "it is not known yet how far version {version} of {job} has read; try again in a moment, {force}"
        ))),
        Some(lag) if lag > current.saturating_mul(2).saturating_add(BEHIND_MAX) => Err(Refusal::Conflict(format!(
            "version {version} of {job} has {lag} records still to read, the current one {current}; wait until it has caught \
             up, {force}"
        ))),
        Some(_) => Ok(()),
    }
}

/// The version that a promotion means: the newest unless it is said.
///
/// # Errors
/// There is no such version.
pub fn promoted(known: &JobEntry, version: Option<i32>) -> Result<i32, Refusal> {
    let newest = known.versions.iter().map(|there| there.version).max();
    let version = version.or(newest).unwrap_or(0);
    if known.versions.iter().any(|there| there.version == version) {
        return Ok(version);
    }
    Err(Refusal::Unknown(format!("{} has no version {version}; it has {}", known.job, versions(known))))
}

/// Makes a version the one that the view's bare name means.
///
/// # Errors
/// There is no such version.
pub fn promote(known: &JobEntry, version: Option<i32>, now: i64) -> Result<JobEntry, Refusal> {
    let version = promoted(known, version)?;
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

/// Takes a version away, or with none all of them. What it leaves behind is noted, to be removed.
///
/// # Errors
/// There is no such version, or it is the current one of several.
pub fn retire(known: &JobEntry, version: Option<i32>, now: i64) -> Result<JobEntry, Refusal> {
    let mut entry = JobEntry { changed_at: now, ..known.clone() };
    let Some(version) = version else {
        entry.retiring.extend(known.versions.iter().map(|there| left_by(&known.job, there.version, now)));
        return Ok(JobEntry { current: None, previous: None, versions: Vec::new(), ..entry });
    };
    if known.versions.iter().all(|there| there.version != version) {
        let gone = known.retiring.iter().any(|gone| gone.version == version);
        let gone = if gone { ", and this one is being removed" } else { "" };
        let why = format!("{} has no version {version}; it has {}{gone}", known.job, versions(known));
        return Err(Refusal::Unknown(why));
    }
    if known.current == Some(version) && known.versions.len() > 1 {
        return Err(Refusal::Conflict(format!(
            "version {version} of {} is the current one: promote another first, or retire the whole job with --all",
            known.job
        )));
    }
    entry.retiring.push(left_by(&known.job, version, now));
    entry.versions.retain(|there| there.version != version);
    entry.previous = entry.previous.filter(|previous| *previous != version);
    entry.current = entry.current.filter(|current| *current != version);
    Ok(entry)
}

/// What a version leaves behind. Its schemas stay in the registry: their ids are in records that were copied elsewhere, in
/// backups, mirrors and archives, which could not be read any more; and there is no harm in them.
fn left_by(job: &str, version: i32, now: i64) -> JobRetiring {
    let plan = Plan::named(job, u32::try_from(version).unwrap_or(0));
    JobRetiring {
        version,
        retired_at: now,
        topics: plan.topic_names(),
        groups: plan.groups(),
        table: plan.spec.view_table(),
        replica: None,
        until: 0,
    }
}

/// A process takes the removal of a retired version upon itself, or has it for longer.
///
/// # Errors
/// It has been removed, or another process is at it.
pub fn claim(known: &JobEntry, version: i32, replica: &str, now: i64) -> Result<JobEntry, Refusal> {
    let mut entry = known.clone();
    let gone = entry.retiring.iter_mut().find(|gone| gone.version == version);
    let gone = gone.ok_or_else(|| Refusal::Unknown(format!("version {version} of {} is removed", known.job)))?;
    match &gone.replica {
        Some(other) if other != replica && now < gone.until => {
            Err(Refusal::Conflict(format!("version {version} of {} is being removed by replica {other}", known.job)))
        }
        _ => {
            (gone.replica, gone.until) = (Some(replica.to_owned()), now.saturating_add(LEASE_MS));
            Ok(entry)
        }
    }
}

/// Nothing of a retired version is left: its number may be used again.
///
/// # Errors
/// Another process is at it, and may still delete things.
pub fn removed(known: &JobEntry, version: i32, replica: &str, now: i64) -> Result<JobEntry, Refusal> {
    let mut entry = claim(known, version, replica, now)?;
    entry.retiring.retain(|gone| gone.version != version);
    Ok(entry)
}

fn versions(entry: &JobEntry) -> String {
    let numbers: Vec<String> = entry.versions.iter().map(|there| there.version.to_string()).collect();
    if numbers.is_empty() { "none".to_owned() } else { numbers.join(", ") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
mod tests;
