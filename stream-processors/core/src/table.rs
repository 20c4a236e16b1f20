//! A hash table from key bytes to a value that does not allocate per key: keys lie end to end in one arena.

use hashbrown::HashTable;

/// The stable hash of a key. It decides the merge partition, so it belongs to a job version and never changes: XXH3, 64 bits,
/// seed 0.
#[inline]
pub fn hash(key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key)
}

/// The merge partition of a key's hash among `merge_partitions`.
#[inline]
pub fn merge_partition(hash: u64, merge_partitions: u32) -> u32 {
    // Not the low bits: the table uses those, and all keys of one partition would then share them.
    ((hash >> 32) % u64::from(merge_partitions.max(1))) as u32
}

/// An entry of a [`Table`].
#[derive(Debug, Clone)]
pub struct Entry<V> {
    hash: u64,
    key_start: usize,
    key_length: u32,
    /// The value.
    pub value: V,
}

impl<V> Entry<V> {
    /// The key's hash.
    #[inline]
    pub fn hash(&self) -> u64 {
        self.hash
    }
}

/// From key bytes to `V`, in insertion order.
#[derive(Debug, Clone)]
pub struct Table<V> {
    index: HashTable<u32>,
    entries: Vec<Entry<V>>,
    arena: Vec<u8>,
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self { index: HashTable::new(), entries: Vec::new(), arena: Vec::new() }
    }
}

impl<V> Table<V> {
    /// Number of keys.
    #[inline]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes in use, allocator overhead apart.
    pub fn bytes(&self) -> usize {
        self.arena.len() + self.entries.len() * (size_of::<Entry<V>>() + 8)
    }

    /// The position of `key`, put in with `make()` when it is new. `key_hash` is [`hash`]`(key)`.
    #[inline]
    pub fn position(&mut self, key_hash: u64, key: &[u8], make: impl FnOnce() -> V) -> usize {
        if let Some(at) = self.find(key_hash, key) {
            return at;
        }
        let Self { index, entries, arena } = self;
        let at = entries.len();
        entries.push(Entry { hash: key_hash, key_start: arena.len(), key_length: key.len() as u32, value: make() });
        arena.extend_from_slice(key);
        index.insert_unique(key_hash, at as u32, |&at| entries.get(at as usize).map_or(0, |entry| entry.hash));
        at
    }

    /// The position of `key`, if it is there. `key_hash` is [`hash`]`(key)`.
    #[inline]
    pub fn find(&self, key_hash: u64, key: &[u8]) -> Option<usize> {
        let Self { index, entries, arena } = self;
        let found = index.find(key_hash, |&at| {
            entries.get(at as usize).is_some_and(|entry| entry.hash == key_hash && key_of(arena, entry) == key)
        });
        found.map(|&at| at as usize)
    }

    /// The entry at a position.
    #[inline]
    pub fn get_mut(&mut self, position: usize) -> Option<&mut V> {
        self.entries.get_mut(position).map(|entry| &mut entry.value)
    }

    /// The key and entry at a position.
    #[inline]
    pub fn get(&self, position: usize) -> Option<(&[u8], &Entry<V>)> {
        self.entries.get(position).map(|entry| (key_of(&self.arena, entry), entry))
    }

    /// Keys and entries in insertion order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Entry<V>)> {
        self.entries.iter().map(|entry| (key_of(&self.arena, entry), entry))
    }

    /// Takes everything out and keeps the memory.
    pub fn clear(&mut self) {
        self.index.clear();
        self.entries.clear();
        self.arena.clear();
    }
}

#[inline]
fn key_of<'a, V>(arena: &'a [u8], entry: &Entry<V>) -> &'a [u8] {
    arena.get(entry.key_start..entry.key_start + entry.key_length as usize).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn counts_like_a_map(keys in prop::collection::vec(prop::collection::vec(0..3u8, 0..4), 0..200)) {
            let (mut table, mut map) = (Table::<u32>::default(), HashMap::<Vec<u8>, u32>::new());
            for key in &keys {
                let at = table.position(hash(key), key, || 0);
                *table.get_mut(at).unwrap() += 1;
                *map.entry(key.clone()).or_default() += 1;
            }
            let got: HashMap<_, _> = table.iter().map(|(key, entry)| (key.to_vec(), entry.value)).collect();
            prop_assert_eq!(got, map);
        }
    }

    /// Changing the hash would move keys between merge partitions of a running job.
    #[test]
    fn the_hash_is_pinned() {
        assert_eq!(hash(b"tidemark"), xxhash_rust::xxh3::xxh3_64_with_seed(b"tidemark", 0));
        assert_eq!(hash(b""), 0x2d06_8005_38d3_94c2);
        assert_eq!(merge_partition(0x0000_0007_ffff_ffff, 4), 3);
    }
}
