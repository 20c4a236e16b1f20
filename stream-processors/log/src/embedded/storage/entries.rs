//! What a range of the storage holds, read step by step.

use fjall::Slice;

/// Entries in the order of their keys, as they were when they were asked for.
pub(super) enum Entries {
    Disk(fjall::Iter),
    Memory(std::vec::IntoIter<(Slice, Slice)>),
}

impl Iterator for Entries {
    type Item = Result<(Slice, Slice), fjall::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Disk(entries) => entries.next().map(fjall::Guard::into_inner),
            Self::Memory(entries) => entries.next().map(Ok),
        }
    }
}

impl DoubleEndedIterator for Entries {
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Self::Disk(entries) => entries.next_back().map(fjall::Guard::into_inner),
            Self::Memory(entries) => entries.next_back().map(Ok),
        }
    }
}

/// As [`Entries`], without the values, which are not read.
pub(super) enum Keys {
    Disk(fjall::Iter),
    Memory(std::vec::IntoIter<(Slice, Slice)>),
}

impl Iterator for Keys {
    type Item = Result<Slice, fjall::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Disk(entries) => entries.next().map(fjall::Guard::key),
            Self::Memory(entries) => entries.next().map(|(key, _)| Ok(key)),
        }
    }
}
