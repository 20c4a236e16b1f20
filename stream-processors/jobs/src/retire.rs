//! What a retired version leaves behind is removed: its consumer groups, its topics, the tables of its view, its state on
//! local disks.
//!
//! What is to be removed is a fact on the directory topic until nothing of it is left, and each step may be made again: a
//! process that ends in the middle goes on at its next start, or another one does once its lease is over. One process at a time
//! removes a version: two could end one after the other, and the slower one would delete what was applied in between.
//!
//! The groups come first. They cannot be deleted before the stages of the last process have left them, so that nobody writes to
//! the topics and tables that go after them.

use crate::decide::{self, Others, Refusal};
use crate::directory::{self, Directory};
use crate::platform::Id;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io};
use tidemark_log::Clock;
use tidemark_runtime::run::Parts;
use tidemark_runtime::state::StateConfig;
use tidemark_schemas::jobs::{JobEntry, JobRetiring};
use tidemark_views::ViewSpec;

/// First and longest pause before a removal that did not come to its end is tried again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// How long the remover sleeps between two looks at what is to be removed.
const STEP: Duration = Duration::from_millis(50);

/// Why a removal has not come to its end. It is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Directory(#[from] directory::Error<Refusal>),
    #[error("{0}")]
    Log(#[from] tidemark_log::Error),
    #[error("{0}")]
    Views(#[from] tidemark_views::Error),
}

/// Removes what retired versions have left.
pub(crate) struct Remover<'j> {
    pub(crate) directory: &'j Directory,
    pub(crate) parts: &'j Parts,
    /// Names of the platform's own jobs.
    pub(crate) built_in: &'j [String],
    /// This process.
    pub(crate) replica: &'j str,
    pub(crate) stop: &'j AtomicBool,
}

impl Remover<'_> {
    /// Removes what `due` names until it is told to stop; one that fails waits longer each time and holds up no other.
    pub(crate) fn run(&self, due: impl Fn() -> Vec<Id>) {
        let mut waiting: HashMap<Id, (Instant, Duration)> = HashMap::new();
        while !self.stop.load(Ordering::Relaxed) {
            let due = due();
            waiting.retain(|id, _| due.contains(id));
            for id in due {
                let (next, pause) = waiting.get(&id).copied().unwrap_or((Instant::now(), BACKOFF.0));
                if Instant::now() < next {
                    continue;
                }
                self.report(&id, self.remove(&id), pause);
                waiting.insert(id, (Instant::now() + pause, (pause * 2).min(BACKOFF.1)));
            }
            std::thread::sleep(STEP);
        }
    }

    fn report(&self, (job, version): &Id, removed: Result<bool, Error>, pause: Duration) {
        let pause_ms = pause.as_millis() as u64;
        match removed {
            Ok(true) => tracing::info!(job, version, "nothing is left of the retired version"),
            Ok(false) => {}
            Err(Error::Directory(directory::Error::Refused(why))) => {
                tracing::debug!(job, version, %why, "the retired version is not removed here");
            }
            Err(error) => {
                tracing::warn!(job, version, %error, pause_ms, "the retired version is not removed yet; it is tried again");
            }
        }
    }

    /// True when nothing is left; false when this process is about to end.
    fn remove(&self, id: &Id) -> Result<bool, Error> {
        let log = self.parts.log.as_ref();
        let left = self.claim(id)?;
        log.delete_groups(&left.groups)?;
        for topic in &left.topics {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            self.renew(id, &left)?;
            log.delete_topics(std::slice::from_ref(topic))?;
        }
        self.renew(id, &left)?;
        self.drop_table(id, &left)?;
        self.change(id, decide::removed)?;
        Ok(true)
    }

    fn drop_table(&self, id: &Id, left: &JobRetiring) -> Result<(), Error> {
        let applied: Vec<JobEntry> = self.directory.entries()?.into_values().map(|(_, entry)| entry).collect();
        if let Some(owner) = decide::owner_of(Others { built_in: self.built_in, applied: &applied }, left) {
            tracing::warn!(
                job = id.0,
                version = id.1,
                owner,
                table = left.table,
                "the table stays: another job has it too"
            );
            return Ok(());
        }
        // A table is dropped by its name: its columns do not matter.
        let view = ViewSpec { name: left.table.clone(), clustering: vec![], values: vec![], retention_ms: 1_000 };
        Ok(self.parts.handle.block_on(self.parts.views.drop_view(&view))?)
    }

    /// Has the removal to itself for a while.
    fn claim(&self, id: &Id) -> Result<JobRetiring, Error> {
        let entry = self.change(id, decide::claim)?;
        let left = entry.retiring.into_iter().find(|gone| gone.version == id.1);
        // Always there: the decision has changed it.
        left.ok_or_else(|| directory::Error::Refused(Refusal::Unknown(format!("{} v{} is removed", id.0, id.1))).into())
    }

    /// Claims it again once half of the time is over, so that no step outlasts the claim.
    fn renew(&self, id: &Id, left: &JobRetiring) -> Result<(), Error> {
        if self.now() < left.until.saturating_sub(decide::LEASE_MS / 2) {
            return Ok(());
        }
        self.change(id, decide::claim).map(drop)
    }

    fn now(&self) -> i64 {
        let clock: &Clock = &self.parts.clock;
        clock()
    }

    fn change(
        &self,
        (job, version): &Id,
        decide: impl Fn(&JobEntry, i32, &str, i64) -> Result<JobEntry, Refusal>,
    ) -> Result<JobEntry, Error> {
        let changed = self.directory.change(|entries| {
            let known = entries.get(job).map(|(_, entry)| entry);
            let known = known.ok_or_else(|| Refusal::Unknown(format!("there is no job {job}")))?;
            decide(known, *version, self.replica, self.now()).map(|entry| (entry, ()))
        });
        Ok(changed.map(|(entry, ())| entry)?)
    }
}

/// Says of a version's state directory when the version was applied first. Only directories with such a file are the applied
/// jobs' own: others are left alone.
const LIFE: &str = "applied";

fn dir_of(state: &StateConfig, (job, version): &Id) -> PathBuf {
    state.path.join(format!("{job}.v{version}"))
}

/// Makes the state directory of a version ready. What is there of an earlier version of the same number, retired while this
/// process was away, is removed: its checkpoints would be taken for this one's.
pub(crate) fn prepare(state: &StateConfig, id: &Id, created_at: i64) -> io::Result<()> {
    let (dir, life) = (dir_of(state, id), created_at.to_string());
    if fs::read_to_string(dir.join(LIFE)).is_ok_and(|known| known == life) {
        return Ok(());
    }
    remove_dir(&dir)?;
    fs::create_dir_all(&dir)?;
    fs::write(dir.join(LIFE), life)
}

/// Removes the state of versions that are not wanted here any more.
pub(crate) fn sweep(state: &StateConfig, wanted: &[Id]) {
    let wanted: BTreeSet<PathBuf> = wanted.iter().map(|id| dir_of(state, id)).collect();
    let Ok(entries) = fs::read_dir(&state.path) else { return };
    for dir in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        if dir.join(LIFE).is_file()
            && !wanted.contains(&dir)
            && let Err(error) = remove_dir(&dir)
        {
            tracing::warn!(dir = %dir.display(), %error, "the state of a retired version is not removed; it is at the next start");
        }
    }
}

fn remove_dir(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn state(dir: &Path) -> StateConfig {
        let (settings, sharers) = Default::default();
        StateConfig { path: dir.to_owned(), settings, sharers, standby: false }
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = entries.collect();
        names.sort();
        names
    }

    #[test]
    fn state_is_kept_over_restarts_and_not_over_lives() {
        let dir = tempfile::tempdir().unwrap();
        let (state, id) = (state(dir.path()), ("a.b".to_owned(), 1));
        let own = dir.path().join("a.b.v1");
        // What a platform left that knew of no lives.
        fs::create_dir_all(own.join("0")).unwrap();
        prepare(&state, &id, 7).unwrap();
        assert_eq!(names(&own), [LIFE]);
        fs::create_dir_all(own.join("0")).unwrap();
        prepare(&state, &id, 7).unwrap();
        assert_eq!(names(&own), ["0", LIFE], "the same version goes on with it");
        prepare(&state, &id, 8).unwrap();
        assert_eq!(names(&own), [LIFE], "another one of that number does not");
    }

    #[test]
    fn only_the_state_of_retired_versions_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let state = state(dir.path());
        let ids = [("a.b".to_owned(), 1), ("a.b".to_owned(), 2), ("c".to_owned(), 1)];
        ids.iter().for_each(|id| prepare(&state, id, 7).unwrap());
        fs::create_dir_all(dir.path().join("flows.hourly.v1").join("0")).unwrap();
        sweep(&state, &ids[..1]);
        assert_eq!(names(dir.path()), ["a.b.v1", "flows.hourly.v1"]);
        sweep(&StateConfig { path: dir.path().join("none"), ..state }, &[]);
    }
}
