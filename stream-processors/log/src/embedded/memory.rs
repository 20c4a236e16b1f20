//! A disk in memory that loses what was not synced: the storage of the simulated log.
//!
//! A write is seen at once and durable once a later sync has returned. A crash takes back every write since the last sync
//! but a prefix of them, whole writes only and in order, as a journal does. A sync that fails leaves its writes in doubt.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fjall::Slice;

/// The two keyspaces of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Space {
    /// Stored batches.
    Records,
    /// Topics, marks and offsets.
    Meta,
}

/// A put, or a removal when there is no value.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) space: Space,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<Slice>,
}

type Table = BTreeMap<Vec<u8>, Slice>;

#[derive(Debug, Clone, Default)]
struct Tables {
    records: Table,
    meta: Table,
}

impl Tables {
    fn of(&self, space: Space) -> &Table {
        match space {
            Space::Records => &self.records,
            Space::Meta => &self.meta,
        }
    }

    fn apply(&mut self, change: &Change) {
        let table = match change.space {
            Space::Records => &mut self.records,
            Space::Meta => &mut self.meta,
        };
        match &change.value {
            Some(value) => table.insert(change.key.clone(), value.clone()),
            None => table.remove(&change.key),
        };
    }
}

#[derive(Debug, Default)]
struct State {
    /// As after the last sync.
    durable: Tables,
    /// As reads see it.
    seen: Tables,
    unsynced: Vec<Vec<Change>>,
    failing_syncs: u32,
}

/// The disk.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    state: Mutex<State>,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, State> {
        // What is under the lock is whole between any two statements that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, space: Space, key: &[u8]) -> Option<Slice> {
        self.lock().seen.of(space).get(key).cloned()
    }

    /// Entries of `[from, to)` as they are now, in the order of their keys.
    pub(crate) fn range(&self, space: Space, from: &[u8], to: &[u8]) -> Vec<(Slice, Slice)> {
        let state = self.lock();
        let found = state.seen.of(space).range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        found.map(|(key, value)| (Slice::from(key), value.clone())).collect()
    }

    /// Entries whose key begins with `prefix`.
    pub(crate) fn prefix(&self, space: Space, prefix: &[u8]) -> Vec<(Slice, Slice)> {
        let state = self.lock();
        let from = state.seen.of(space).range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded));
        let found = from.take_while(|(key, _)| key.starts_with(prefix));
        found.map(|(key, value)| (Slice::from(key), value.clone())).collect()
    }

    /// Writes the changes together; not durable before [`Memory::sync`].
    pub(crate) fn write(&self, changes: Vec<Change>) {
        let mut state = self.lock();
        changes.iter().for_each(|change| state.seen.apply(change));
        state.unsynced.push(changes);
    }

    /// Makes durable all that was written before, unless it is to fail.
    pub(crate) fn sync(&self) -> Result<(), String> {
        let mut state = self.lock();
        if state.failing_syncs > 0 {
            state.failing_syncs -= 1;
            return Err("the disk of the simulation did not sync".to_owned());
        }
        let State { durable, unsynced, .. } = &mut *state;
        unsynced.drain(..).flatten().for_each(|change| durable.apply(&change));
        Ok(())
    }

    /// The next sync fails.
    pub(crate) fn fail_a_sync(&self) {
        self.lock().failing_syncs += 1;
    }

    /// Writes since the last sync.
    pub(crate) fn unsynced(&self) -> usize {
        self.lock().unsynced.len()
    }

    /// Takes back every write since the last sync but the first `kept`.
    pub(crate) fn crash(&self, kept: usize) {
        let mut state = self.lock();
        let State { durable, seen, unsynced, .. } = &mut *state;
        unsynced.drain(..).take(kept).flatten().for_each(|change| durable.apply(&change));
        *seen = durable.clone();
        state.failing_syncs = 0;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn put(memory: &Memory, key: &str) {
        let (key, value) = (key.as_bytes().to_vec(), Some(Slice::from(b"v".as_slice())));
        memory.write(vec![Change { space: Space::Meta, key, value }]);
    }

    fn keys(memory: &Memory) -> Vec<String> {
        let key = |(key, _): (Slice, Slice)| String::from_utf8(key.to_vec()).unwrap();
        memory.prefix(Space::Meta, b"").into_iter().map(key).collect()
    }

    #[test]
    fn a_crash_takes_back_what_was_not_synced_but_a_prefix() {
        let memory = Memory::default();
        put(&memory, "a");
        memory.sync().unwrap();
        ["b", "c", "d"].iter().for_each(|key| put(&memory, key));
        memory.write(vec![Change { space: Space::Meta, key: b"a".to_vec(), value: None }]);
        assert_eq!((keys(&memory), memory.unsynced()), (vec!["b".into(), "c".into(), "d".into()], 4));
        memory.crash(2);
        assert_eq!((keys(&memory), memory.unsynced()), (vec!["a".into(), "b".into(), "c".into()], 0));
        put(&memory, "e");
        memory.crash(0);
        assert_eq!(keys(&memory), ["a", "b", "c"]);
    }

    #[test]
    fn a_sync_that_fails_leaves_the_write_in_doubt() {
        let memory = Memory::default();
        put(&memory, "a");
        memory.fail_a_sync();
        assert!(memory.sync().is_err());
        assert_eq!(keys(&memory), ["a"]);
        memory.crash(0);
        assert!(keys(&memory).is_empty());
        put(&memory, "b");
        memory.sync().unwrap();
        memory.crash(0);
        assert_eq!(keys(&memory), ["b"]);
    }
}
