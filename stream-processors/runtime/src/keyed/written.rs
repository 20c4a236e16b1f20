//! What the changelog holds of a partition, known by a digest: a state that is restored is held against it.

use std::collections::HashMap;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed, xxh3_128};

/// The entries that are committed, or about to be: for each a hash of its value, 24 bytes.
#[derive(Debug, Default)]
pub(super) struct Written {
    values: HashMap<u128, u64>,
    /// Of all entries, in whatever order they came.
    digest: u64,
}

impl Written {
    /// An entry is written.
    pub(super) fn set(&mut self, key: &[u8], value: &[u8]) {
        let hash = xxh3_64_with_seed(value, xxh3_64(key));
        let before = self.values.insert(xxh3_128(key), hash);
        self.digest ^= hash ^ before.unwrap_or(0);
    }

    /// An entry is removed; false when there is none.
    pub(super) fn remove(&mut self, key: &[u8]) -> bool {
        let before = self.values.remove(&xxh3_128(key));
        self.digest ^= before.unwrap_or(0);
        before.is_some()
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.values.len()
    }

    /// Offset metadata: process time, entries, their digest; at most 57 bytes.
    pub(super) fn metadata(&self, time: i64) -> String {
        format!("{time} {} {:016x}", self.count(), self.digest)
    }
}

/// Process time from offset metadata; `None` when it is none of ours.
pub(super) fn time_of(metadata: &str) -> Option<i64> {
    metadata.split(' ').next()?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_of_the_entries_alone() {
        let mut one = Written::default();
        one.set(b"a", b"1");
        one.set(b"b", b"2");
        one.set(b"a", b"3");
        assert!(one.remove(b"b"));
        assert!(!one.remove(b"b"));
        let mut other = Written::default();
        other.set(b"a", b"3");
        assert_eq!(one.metadata(7), other.metadata(7));
        other.set(b"a", b"1");
        assert_ne!(one.metadata(7), other.metadata(7));
        let mut swapped = Written::default();
        swapped.set(b"c", b"3");
        assert_ne!(one.metadata(7), swapped.metadata(7));
    }

    #[test]
    fn metadata_is_short_and_holds_the_time() {
        let mut written = Written::default();
        written.set(b"a", b"1");
        assert_eq!(time_of(&written.metadata(1_700_000_000_123)).unwrap(), 1_700_000_000_123);
        assert!(written.metadata(i64::MIN).len() <= 57);
        assert_eq!(time_of(""), None);
        assert_eq!(time_of("v1 12"), None);
    }
}
