//! Files in memory, for simulations and tests: what was not synced is lost in a crash, and any write can be made to fail.

use super::Storage;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default, Clone)]
struct Stored {
    written: Vec<u8>,
    synced: usize,
}

type Files = BTreeMap<(String, String), Stored>;

#[derive(Debug, Default)]
struct State {
    files: Files,
    /// As a crash leaves it: files by name at the last sync of their directory.
    durable: Files,
    /// Changes that still go through; after that every one fails.
    changes_left: Option<usize>,
    changes: usize,
}

/// The disk of a simulated machine. Clones are the same disk.
#[derive(Debug, Default, Clone)]
pub struct MemoryStorage {
    state: Arc<Mutex<State>>,
}

impl MemoryStorage {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes everything away that was not synced.
    pub fn crash(&self) {
        let mut state = self.lock();
        state.files = state.durable.clone();
        for file in state.files.values_mut() {
            file.written.truncate(file.synced);
        }
        state.changes_left = None;
    }

    /// Takes everything away: a new machine.
    pub fn wipe(&self) {
        *self.lock() = State::default();
    }

    /// Lets so many more changes through and fails the others, as a full disk does; `None` lets all through.
    pub fn fail_after(&self, changes: Option<usize>) {
        self.lock().changes_left = changes;
    }

    /// Changes asked for so far.
    pub fn changes(&self) -> usize {
        self.lock().changes
    }

    /// Every file, by directory and name.
    pub fn files(&self) -> Vec<(String, String)> {
        self.lock().files.keys().cloned().collect()
    }

    /// Changes the bytes of a file, durably.
    pub fn damage(&self, dir: &str, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.lock();
        let key = (dir.to_owned(), name.to_owned());
        if let Some(file) = state.files.get_mut(&key) {
            change(&mut file.written);
            file.synced = file.written.len();
            let file = file.clone();
            state.durable.insert(key, file);
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.lock();
        state.changes += 1;
        match &mut state.changes_left {
            Some(0) => return Err(io::Error::from(io::ErrorKind::StorageFull)),
            Some(left) => *left -= 1,
            None => {}
        }
        change(&mut state)
    }
}

fn key(dir: &str, name: &str) -> (String, String) {
    (dir.to_owned(), name.to_owned())
}

fn missing() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

impl Storage for MemoryStorage {
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        Ok(self.lock().files.keys().filter(|(at, _)| at == dir).map(|(_, name)| name.clone()).collect())
    }

    fn read(&self, dir: &str, name: &str) -> io::Result<Vec<u8>> {
        self.lock().files.get(&key(dir, name)).map(|file| file.written.clone()).ok_or_else(missing)
    }

    fn append(&self, dir: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.change(|state| {
            state.files.entry(key(dir, name)).or_default().written.extend_from_slice(bytes);
            Ok(())
        })
    }

    fn sync(&self, dir: &str, name: &str) -> io::Result<()> {
        self.change(|state| {
            let file = state.files.get_mut(&key(dir, name)).ok_or_else(missing)?;
            file.synced = file.written.len();
            let synced = file.clone();
            if let Some(durable) = state.durable.get_mut(&key(dir, name)) {
                *durable = synced;
            }
            Ok(())
        })
    }

    fn replace(&self, dir: &str, from: &str, to: &str) -> io::Result<()> {
        self.change(|state| {
            let file = state.files.remove(&key(dir, from)).ok_or_else(missing)?;
            state.files.insert(key(dir, to), file);
            let kept = state.files.iter().filter(|((at, _), _)| at == dir);
            let kept: Files = kept.map(|(key, file)| (key.clone(), file.clone())).collect();
            state.durable.retain(|(at, _), _| at != dir);
            state.durable.extend(kept);
            Ok(())
        })
    }

    fn remove(&self, dir: &str, name: &str) -> io::Result<()> {
        self.change(|state| state.files.remove(&key(dir, name)).map(|_| ()).ok_or_else(missing))
    }

    fn is_slow(&self) -> bool {
        false
    }
}
