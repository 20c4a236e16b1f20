//! Aggregates that a job names in its specification: count, sum, min, max, mean, quantile, distinct, top-k, first and last.
//!
//! Promise: merging is bitwise commutative and associative, so equal records give equal bytes in any order, in any split and
//! however merges nest. The one exception is top-k beyond its capacity, see [`Function::order_matters`]. Quantile and
//! distinct are approximate in what they answer ([`Function::error`]), not in how they merge.
//!
//! Limits: all values of one aggregate have one type, the one that [`Function::output`] was asked about. Nulls are skipped,
//! as in SQL. A NaN is one value, larger than all others; -0 is 0.

mod distinct;
mod exact;
mod function;
mod json;
mod latest;
mod quantile;
mod rounding;
mod scalar;
mod state;
#[cfg(test)]
mod tests;
mod top;
mod whole;

pub use distinct::{PRECISION_DEFAULT, PRECISION_MAX, PRECISION_MIN, Registers};
pub use exact::Exact;
pub use function::{Function, Output};
pub use latest::{Contribution, Latest};
pub use quantile::{BUCKETS_MAX, ERROR_DEFAULT, ERROR_MAX, ERROR_MIN, Sketch};
pub use scalar::{Pick, Scalar, Wide};
pub use state::{Answer, State};
pub use top::{CAPACITY_DEFAULT, CAPACITY_MAX, TEXT_BYTES_MAX, Top};
pub use whole::Whole;

use crate::job::Accumulator;
use crate::value::{Place, Value};
use smallvec::SmallVec;
use tidemark_schemas::avro::{self, put_long};

/// The most aggregates of a row: what is read allocates no more, whatever its bytes claim.
pub const AGGREGATES_MAX: usize = 256;

/// All aggregates of a row, at most [`AGGREGATES_MAX`], in the order of the job's functions. Empty until the first record.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Accumulators(pub SmallVec<[State; 4]>);

/// What one record adds to every aggregate of its row.
#[derive(Debug, Clone, PartialEq)]
pub struct Items<'a> {
    /// The job's functions.
    pub functions: &'a [Function],
    /// The value for each of them, in the same order. `count` without an expression gets any value but null.
    pub values: SmallVec<[Value<'a>; 4]>,
    /// Where the record stands.
    pub place: Place,
}

impl Accumulators {
    /// Memory used on the heap, bytes.
    pub fn bytes(&self) -> usize {
        let spilled = if self.0.spilled() { self.0.capacity() * size_of::<State>() } else { 0 };
        spilled + self.0.iter().map(State::bytes).sum::<usize>()
    }

    /// The answers, one for each function; a row without records answers as if every value had been null.
    pub fn results<'a>(&'a self, functions: &'a [Function]) -> impl Iterator<Item = Answer<'a>> {
        let states = self.0.iter().chain(std::iter::repeat(&State::Empty));
        functions.iter().zip(states).map(|(function, state)| state.result(function))
    }

    /// Of a job that reads views: how many of their rows count, and the sum of what they add.
    pub fn latest(&self) -> (i64, Self) {
        match self.0.first() {
            Some(State::Latest(rows)) => rows.sum(),
            _ => (0, Self::default()),
        }
    }

    #[inline]
    fn grow(&mut self, states: usize) {
        if self.0.len() < states {
            self.extend(states);
        }
    }

    #[cold]
    fn extend(&mut self, states: usize) {
        self.0.resize(states, State::Empty);
    }
}

impl Accumulator for Accumulators {
    type Item<'a> = Items<'a>;

    #[inline]
    fn add(&mut self, item: &Items<'_>) {
        self.grow(item.functions.len());
        for ((state, function), value) in self.0.iter_mut().zip(item.functions).zip(&item.values) {
            // What most aggregates are, without a copy of the value.
            match (state, function, value) {
                (State::Whole(sum), Function::Sum, Value::Long(n)) => sum.add(i128::from(*n), 0),
                (State::Count(count), Function::Count, Value::Boolean(_) | Value::Long(_)) => {
                    *count = count.saturating_add(1);
                }
                (state, function, value) => state.add(function, *value, item.place),
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        self.grow(other.0.len());
        for (state, other) in self.0.iter_mut().zip(&other.0) {
            state.merge(other);
        }
    }

    /// How many states there are, then each of them.
    fn put(&self, out: &mut Vec<u8>) {
        put_long(out, self.0.len() as i64);
        self.0.iter().for_each(|state| state.put(out));
    }

    fn get(reader: &mut avro::Reader<'_>) -> Result<Self, avro::Error> {
        let count = reader.long()?;
        if !(0..=AGGREGATES_MAX as i64).contains(&count) {
            return Err(avro::Error::Length(count));
        }
        (0..count).map(|_| State::get(reader)).collect::<Result<_, _>>().map(Self)
    }
}
