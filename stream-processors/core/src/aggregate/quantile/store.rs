//! Counts by bucket, a bounded number of them.

use tidemark_schemas::avro::{self, Reader, put_long};

/// A store spans at most so many indices.
pub const BUCKETS_MAX: usize = 2048;

const REACH: i32 = BUCKETS_MAX as i32 - 1;

/// Counts of the magnitudes of one sign.
///
/// Invariant: with `floor` = highest index of any value - 2047, a bucket above `floor` counts the values of its index, the one
/// at `floor` those of all lower indices too, and `collapsed` says whether there are such. That is a function of the
/// values alone, so collapsing is commutative and associative: floors only rise, and lifting an index to one floor and then
/// to a higher one is lifting it to the higher, max(max(i, f), F) = max(i, F).
///
/// The paper bounds the number of buckets that are not empty instead. Then what has collapsed depends on which were empty
/// at the time, and on the order.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Store {
    /// Index and count, ascending, no count 0.
    buckets: Vec<(i32, i64)>,
    collapsed: bool,
}

/// Reads a count, at least 1.
pub(super) fn count(reader: &mut Reader<'_>) -> Result<i64, avro::Error> {
    match reader.long()? {
        count @ 1.. => Ok(count),
        other => Err(avro::Error::Length(other)),
    }
}

impl Store {
    #[inline]
    pub(super) fn add(&mut self, index: i32) {
        let highest = self.buckets.last().map_or(index, |(highest, _)| *highest);
        let lifted = index.max(highest.saturating_sub(REACH));
        self.collapsed |= lifted > index;
        match self.buckets.binary_search_by_key(&lifted, |(index, _)| *index) {
            Ok(at) => {
                if let Some((_, count)) = self.buckets.get_mut(at) {
                    *count = count.saturating_add(1);
                }
            }
            Err(at) => {
                self.buckets.insert(at, (lifted, 1));
                if index > highest {
                    self.collapse();
                }
            }
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.buckets.extend_from_slice(&other.buckets);
        // A stable sort finds the two runs and merges them.
        self.buckets.sort_by_key(|(index, _)| *index);
        self.collapsed |= other.collapsed;
        self.collapse();
        self.unite();
    }

    /// Lifts what is below the floor. Buckets are in order, and may stand side by side for one index.
    fn collapse(&mut self) {
        let floor = self.buckets.last().map_or(i32::MIN, |(highest, _)| highest.saturating_sub(REACH));
        let mut lifted = false;
        for (index, _) in self.buckets.iter_mut().take_while(|(index, _)| *index < floor) {
            (*index, lifted) = (floor, true);
        }
        if lifted {
            self.collapsed = true;
            self.unite();
        }
    }

    fn unite(&mut self) {
        self.buckets.dedup_by(|(next, more), (index, count)| {
            let same = next == index;
            if same {
                *count = count.saturating_add(*more);
            }
            same
        });
    }

    pub(super) fn total(&self) -> i128 {
        self.buckets.iter().map(|(_, count)| i128::from(*count)).sum()
    }

    /// Counts and indices, ascending; no index where others have collapsed into it.
    pub(super) fn buckets(&self) -> impl DoubleEndedIterator<Item = (i128, Option<i32>)> {
        let unknown = if self.collapsed { self.buckets.first().map(|(index, _)| *index) } else { None };
        self.buckets
            .iter()
            .map(move |(index, count)| ((*count).into(), Some(*index).filter(|_| unknown != Some(*index))))
    }

    pub(super) fn bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<(i32, i64)>()
    }

    /// Appends twice the number of buckets, plus 1 when collapsed; the first index, the gaps between indices, the counts.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_long(out, (self.buckets.len() as i64) << 1 | i64::from(self.collapsed));
        let mut after = 0;
        for (index, count) in &self.buckets {
            put_long(out, i64::from(*index) - after);
            put_long(out, *count);
            after = i64::from(*index);
        }
    }

    pub(super) fn get(reader: &mut Reader<'_>) -> Result<Self, avro::Error> {
        let head = reader.long()?;
        let (length, collapsed) = (head >> 1, head & 1 == 1);
        if !(i64::from(collapsed)..=BUCKETS_MAX as i64).contains(&length) {
            return Err(avro::Error::Length(length));
        }
        let mut store = Self { buckets: Vec::new(), collapsed };
        for _ in 0..length {
            let gap = reader.long()?;
            let after = store.buckets.last().map_or(0, |(index, _)| i64::from(*index));
            let index = after.checked_add(gap).and_then(|index| i32::try_from(index).ok());
            let first = store.buckets.first().map(|(index, _)| *index);
            let sound =
                index.filter(|index| first.is_none_or(|first| gap > 0 && *index <= first.saturating_add(REACH)));
            store.buckets.push((sound.ok_or(avro::Error::Integer)?, count(reader)?));
        }
        Ok(store)
    }
}
