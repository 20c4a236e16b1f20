//! Who reads whose view: what is read is there and stays, and nobody reads what comes of itself.

use super::Refusal;
use crate::directory::Entries;
use crate::sources::views;
use tidemark_schemas::jobs::JobEntry;
use tidemark_spec::view::View;

/// A version that reads a view of another job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// Name of the job that reads.
    pub job: String,
    /// Its version.
    pub version: i32,
    /// The version that it reads.
    pub reads: u32,
}

/// The versions that read a job's view.
pub fn readers(entries: &Entries, job: &str) -> Vec<Reader> {
    let of = |entry: &JobEntry| {
        let reader = |version| move |view: View| Reader { job: entry.job.clone(), version, reads: view.version };
        let reads = entry.versions.iter().flat_map(|version| {
            views(version).filter(|view| view.name == job).map(reader(version.version)).collect::<Vec<_>>()
        });
        reads.collect::<Vec<_>>()
    };
    entries.values().flat_map(|(_, entry)| of(entry)).collect()
}

/// That nobody reads the version, or with none any of them.
///
/// # Errors
/// Somebody does: who.
pub fn unread(entries: &Entries, job: &str, version: Option<i32>) -> Result<(), Refusal> {
    let meant = |reader: &Reader| version.is_none_or(|version| i64::from(version) == i64::from(reader.reads));
    let readers: Vec<Reader> = readers(entries, job).into_iter().filter(meant).collect();
    let Some(first) = readers.first() else { return Ok(()) };
    let names: Vec<String> =
        readers.iter().map(|reader| format!("{} version {}", reader.job, reader.version)).collect();
    Err(Refusal::Conflict(format!(
        "version {} of {job} is read by {}: retire that first, or apply a version of it that reads another",
        first.reads,
        names.join(", ")
    )))
}

/// That the views which a version of `job` reads are there, and do not come of `job` itself by way of others.
///
/// # Errors
/// One is not, or does: which.
pub fn readable(entries: &Entries, built_in: &[View], job: &str, reads: &[View]) -> Result<(), Refusal> {
    for view in reads {
        let sources = sources_of(entries, view);
        if sources.is_none() && built_in.iter().all(|own| own.name != view.name) {
            let View { name, version, .. } = view;
            return Err(Refusal::Conflict(format!("version {version} of {name} is gone by now: it was retired")));
        }
        if let Some(way) = way_to(entries, job, sources.unwrap_or_default()) {
            let way: Vec<&str> = [view.name.as_str()].into_iter().chain(way.iter().map(String::as_str)).collect();
            return Err(Refusal::Conflict(format!(
                "{job} would read what comes of itself: {job} reads {}; take a source that is not made of its rows",
                way.join(", which reads ")
            )));
        }
    }
    Ok(())
}

/// The views that a version of a view is made of; none when it is not there.
fn sources_of(entries: &Entries, view: &View) -> Option<Vec<View>> {
    let (_, entry) = entries.get(&view.name)?;
    let version = entry.versions.iter().find(|version| i64::from(version.version) == i64::from(view.version))?;
    Some(views(version).collect())
}

/// The views on the way from some to a job's. Versions read what was there before them, so that the way has an end.
fn way_to(entries: &Entries, job: &str, from: Vec<View>) -> Option<Vec<String>> {
    from.into_iter().find_map(|view| {
        if view.name == job {
            return Some(vec![view.name]);
        }
        let on = way_to(entries, job, sources_of(entries, &view)?)?;
        Some([view.name].into_iter().chain(on).collect())
    })
}
