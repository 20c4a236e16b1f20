//! What rows of views add to a row: of each of them its latest revision, and no other.
//!
//! Promise: merging takes for each contributor the contribution of the higher (epoch, revision). That is commutative, associative
//! and idempotent, bit for bit: a revision that comes twice, late or out of order changes nothing that it should not.
//!
//! Limits: every contributor is kept, about 250 bytes each in memory and 30 bytes and its aggregates in a record.

use super::{AGGREGATES_MAX, Accumulators, State};
use crate::job::Accumulator;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use tidemark_schemas::avro::{self, Reader, put_long};

/// What one row adds, as of one of its revisions.
#[derive(Debug, Clone, PartialEq)]
pub struct Contribution {
    /// Epoch of the row, then its revision: the higher pair counts.
    pub revision: (i32, i64),
    /// None: the row is retracted, or left out; it adds nothing.
    pub sum: Option<Accumulators>,
}

impl Contribution {
    fn put(&self, out: &mut Vec<u8>) {
        put_long(out, i64::from(self.revision.0));
        put_long(out, self.revision.1);
        out.push(u8::from(self.sum.is_some()));
        self.sum.iter().for_each(|sum| sum.put(out));
    }

    fn get(reader: &mut Reader<'_>) -> Result<Self, avro::Error> {
        let epoch = reader.long()?;
        let epoch = i32::try_from(epoch).map_err(|_| avro::Error::Length(epoch))?;
        let revision = (epoch, reader.long()?);
        let sum = match reader.take(1)? {
            [0] => None,
            _ => Some(plain(reader)?),
        };
        Ok(Self { revision, sum })
    }

    /// Equal revisions have equal contents; where forged bytes have not, the greater ones count, so that order changes nothing.
    fn beats(&self, other: &Self) -> bool {
        let bytes = |contribution: &Self| {
            let mut out = Vec::new();
            contribution.put(&mut out);
            out
        };
        match self.revision.cmp(&other.revision) {
            Ordering::Equal => self != other && bytes(self) > bytes(other),
            order => order.is_gt(),
        }
    }
}

/// Accumulators without contributors among them: bytes that nest them without end would exhaust the stack.
fn plain(reader: &mut Reader<'_>) -> Result<Accumulators, avro::Error> {
    let count = reader.long()?;
    if !(0..=AGGREGATES_MAX as i64).contains(&count) {
        return Err(avro::Error::Length(count));
    }
    (0..count).map(|_| State::get_plain(reader)).collect::<Result<_, _>>().map(Accumulators)
}

/// The contributors of a row, by a 128-bit hash of what tells them apart.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Latest(BTreeMap<u128, Contribution>);

impl Latest {
    /// Of one contributor.
    pub fn of(contributor: u128, contribution: Contribution) -> Self {
        Self(BTreeMap::from([(contributor, contribution)]))
    }

    /// How many contributors are known, those that add nothing included.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many contributors count, and their sum.
    pub fn sum(&self) -> (i64, Accumulators) {
        let (mut records, mut total) = (0, Accumulators::default());
        // In the order of their hashes: the same wherever they come together.
        for sum in self.0.values().filter_map(|contribution| contribution.sum.as_ref()) {
            records += 1;
            total.merge(sum);
        }
        (records, total)
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (contributor, theirs) in &other.0 {
            match self.0.entry(*contributor) {
                Entry::Vacant(entry) => {
                    entry.insert(theirs.clone());
                }
                Entry::Occupied(mut ours) => {
                    if theirs.beats(ours.get()) {
                        ours.insert(theirs.clone());
                    }
                }
            }
        }
    }

    /// Memory used on the heap, bytes.
    pub(super) fn bytes(&self) -> usize {
        let sums = self.0.values().filter_map(|contribution| contribution.sum.as_ref()).map(Accumulators::bytes);
        // Nodes of the tree are two thirds full as a rule.
        self.0.len() * size_of::<(u128, Contribution)>() * 3 / 2 + sums.sum::<usize>()
    }

    /// Appends how many there are, then each of them by its hash, ascending.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_long(out, self.0.len() as i64);
        for (contributor, contribution) in &self.0 {
            out.extend_from_slice(&contributor.to_be_bytes());
            contribution.put(out);
        }
    }

    /// Reads what [`Latest::put`] appended.
    ///
    /// # Errors
    /// The bytes are something else.
    pub fn get(reader: &mut Reader<'_>) -> Result<Self, avro::Error> {
        let count = reader.long()?;
        let mut all = Self::default();
        for _ in 0..u64::try_from(count).map_err(|_| avro::Error::Length(count))? {
            let hash = reader.take(16)?.try_into().map_err(|_| avro::Error::Truncated)?;
            all.merge(&Self::of(u128::from_be_bytes(hash), Contribution::get(reader)?));
        }
        Ok(all)
    }
}
