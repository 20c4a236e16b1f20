//! The state of one aggregate: what of each function it holds, how two of them merge, and what it answers.

use super::{Exact, Function, Latest, Pick, Registers, Scalar, Sketch, Top, Whole, quantile, scalar};
use crate::value::{Place, Value};
use std::cmp::Ordering;
use tidemark_schemas::avro::{self, Reader, put_long};

/// One aggregate's state, 32 bytes; the default is the identity. Equal states have equal bytes.
///
/// States of one aggregate are of one variant. Two of different variants, which only forged bytes bring together, merge to the
/// one of the higher branch, so that even then order changes nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum State {
    /// No value yet.
    #[default]
    Empty,
    /// How many values.
    Count(i64),
    /// Sum or mean of whole numbers.
    Whole(Whole),
    /// Sum or mean of doubles.
    Exact(Box<Exact>),
    /// The smallest.
    Min(Scalar),
    /// The largest.
    Max(Scalar),
    /// The first.
    First(Box<Pick>),
    /// The last.
    Last(Box<Pick>),
    /// A quantile sketch.
    Quantile(Box<Sketch>),
    /// A cardinality sketch.
    Distinct(Box<Registers>),
    /// Values with counts.
    Top(Box<Top>),
    /// What rows of views add, as of their latest revisions.
    Latest(Box<Latest>),
}

/// What an aggregate came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer<'a> {
    /// A value, borrowed from the state where it can be.
    Value(Value<'a>),
    /// JSON text.
    Json(String),
}

impl State {
    /// Adds a value; null is skipped. A value that the function does not take, see [`Function::output`], is skipped too.
    #[inline]
    pub fn add(&mut self, function: &Function, value: Value<'_>, place: Place) {
        if matches!(value, Value::Null) {
            return;
        }
        match *function {
            Function::Count => match self {
                Self::Count(count) => *count = count.saturating_add(1),
                Self::Empty => *self = Self::Count(1),
                _ => {}
            },
            Function::Sum => self.add_number(value, 0),
            Function::Mean => self.add_number(value, 1),
            Function::Min => self.add_least(scalar::canonical(value)),
            Function::Max => self.add_largest(scalar::canonical(value)),
            Function::First => self.add_first(scalar::canonical(value), place),
            Function::Last => self.add_last(scalar::canonical(value), place),
            Function::Quantile { error, .. } => {
                let Some(number) = quantile::number(value) else { return };
                if let Self::Empty = self {
                    *self = Self::Quantile(Box::default());
                }
                if let Self::Quantile(sketch) = self {
                    sketch.add(number, error);
                }
            }
            Function::Distinct { precision } => {
                if let Self::Empty = self {
                    *self = Self::Distinct(Box::new(Registers::new(precision)));
                }
                if let Self::Distinct(registers) = self {
                    registers.add(scalar::hash(&scalar::canonical(value)));
                }
            }
            Function::TopK { capacity, .. } => {
                if let Self::Empty = self {
                    *self = Self::Top(Box::new(Top::new(capacity)));
                }
                if let Self::Top(top) = self {
                    top.add(scalar::canonical(value));
                }
            }
            Function::Latest => {
                let Value::Bytes(bytes) = value else { return };
                let Ok(latest) = Latest::get(&mut Reader::new(bytes)) else { return };
                self.merge(&Self::Latest(Box::new(latest)));
            }
        }
    }

    #[inline]
    fn add_number(&mut self, value: Value<'_>, count: i64) {
        let whole = match value {
            Value::Long(value) => i128::from(value),
            Value::Integer(value) => value,
            Value::Double(value) => return self.add_double(value, count),
            Value::Null | Value::Boolean(_) | Value::Text(_) | Value::Bytes(_) | Value::Time(_) => return,
        };
        if let Self::Empty = self {
            *self = Self::Whole(Whole::default());
        }
        if let Self::Whole(sum) = self {
            sum.add(whole, count);
        }
    }

    #[inline]
    fn add_double(&mut self, value: f64, count: i64) {
        if let Self::Empty = self {
            *self = Self::Exact(Box::default());
        }
        if let Self::Exact(sum) = self {
            sum.add(value, count);
        }
    }

    #[inline]
    fn add_least(&mut self, value: Value<'_>) {
        let replace = match self {
            Self::Min(least) => scalar::order(&value, &least.value()) == Ordering::Less,
            Self::Empty => true,
            _ => false,
        };
        if let Some(value) = replace.then(|| Scalar::of(value)).flatten() {
            *self = Self::Min(value);
        }
    }

    #[inline]
    fn add_largest(&mut self, value: Value<'_>) {
        let replace = match self {
            Self::Max(largest) => scalar::order(&value, &largest.value()) == Ordering::Greater,
            Self::Empty => true,
            _ => false,
        };
        if let Some(value) = replace.then(|| Scalar::of(value)).flatten() {
            *self = Self::Max(value);
        }
    }

    fn add_first(&mut self, value: Value<'_>, place: Place) {
        match self {
            Self::First(pick) if pick.order(place, &value) == Ordering::Greater => pick.set(place, value),
            Self::Empty => *self = Pick::new(place, value).map_or(Self::Empty, |pick| Self::First(Box::new(pick))),
            _ => {}
        }
    }

    fn add_last(&mut self, value: Value<'_>, place: Place) {
        match self {
            Self::Last(pick) if pick.order(place, &value) == Ordering::Less => pick.set(place, value),
            Self::Empty => *self = Pick::new(place, value).map_or(Self::Empty, |pick| Self::Last(Box::new(pick))),
            _ => {}
        }
    }

    /// Adds what `other` has seen.
    pub fn merge(&mut self, other: &Self) {
        match (self.branch().cmp(&other.branch()), self, other) {
            (Ordering::Less, this, other) => *this = other.clone(),
            (Ordering::Equal, Self::Count(count), Self::Count(more)) => *count = count.saturating_add(*more),
            (Ordering::Equal, Self::Whole(sum), Self::Whole(more)) => sum.merge(more),
            (Ordering::Equal, Self::Exact(sum), Self::Exact(more)) => sum.merge(more),
            (Ordering::Equal, this, Self::Min(value)) => this.add_least(value.value()),
            (Ordering::Equal, this, Self::Max(value)) => this.add_largest(value.value()),
            (Ordering::Equal, this, Self::First(pick)) => this.add_first(pick.value().value(), pick.place()),
            (Ordering::Equal, this, Self::Last(pick)) => this.add_last(pick.value().value(), pick.place()),
            (Ordering::Equal, Self::Quantile(sketch), Self::Quantile(more)) => sketch.merge(more),
            (Ordering::Equal, Self::Distinct(registers), Self::Distinct(more)) => registers.merge(more),
            (Ordering::Equal, Self::Top(top), Self::Top(more)) => top.merge(more),
            (Ordering::Equal, Self::Latest(rows), Self::Latest(more)) => rows.merge(more),
            (Ordering::Greater | Ordering::Equal, ..) => {}
        }
    }

    /// Branch of the union that is the Avro form.
    fn branch(&self) -> i64 {
        match self {
            Self::Empty => 0,
            Self::Count(_) => 1,
            Self::Whole(sum) => 2 + i64::from(sum.count() > 0),
            Self::Exact(sum) => 4 + i64::from(sum.count() > 0),
            Self::Min(_) => 6,
            Self::Max(_) => 7,
            Self::First(_) => 8,
            Self::Last(_) => 9,
            Self::Quantile(_) => 10,
            Self::Distinct(_) => 11,
            Self::Top(_) => 12,
            Self::Latest(_) => 13,
        }
    }

    /// Appends the Avro form.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_long(out, self.branch());
        match self {
            Self::Empty => {}
            Self::Count(count) => put_long(out, *count),
            Self::Whole(sum) => sum.put(out),
            Self::Exact(sum) => sum.put(out),
            Self::Min(value) | Self::Max(value) => value.put(out),
            Self::First(pick) | Self::Last(pick) => pick.put(out),
            Self::Quantile(sketch) => sketch.put(out),
            Self::Distinct(registers) => registers.put(out),
            Self::Top(top) => top.put(out),
            Self::Latest(rows) => rows.put(out),
        }
    }

    /// Reads the Avro form. What is not in canonical form is refused or brought into it.
    pub fn get(reader: &mut Reader<'_>) -> Result<Self, avro::Error> {
        match reader.long()? {
            13 => Ok(Self::Latest(Box::new(Latest::get(reader)?))),
            branch => Self::get_branch(branch, reader),
        }
    }

    /// Reads what holds no contributors: those have no others inside.
    pub(super) fn get_plain(reader: &mut Reader<'_>) -> Result<Self, avro::Error> {
        let branch = reader.long()?;
        Self::get_branch(branch, reader)
    }

    fn get_branch(branch: i64, reader: &mut Reader<'_>) -> Result<Self, avro::Error> {
        Ok(match branch {
            0 => Self::Empty,
            1 => match reader.long()? {
                count @ 1.. => Self::Count(count),
                other => return Err(avro::Error::Length(other)),
            },
            branch @ (2 | 3) => Self::Whole(Whole::get(reader, branch == 3)?),
            branch @ (4 | 5) => Self::Exact(Box::new(Exact::get(reader, branch == 5)?)),
            6 => Self::Min(Scalar::get(reader)?),
            7 => Self::Max(Scalar::get(reader)?),
            8 => Self::First(Box::new(Pick::get(reader)?)),
            9 => Self::Last(Box::new(Pick::get(reader)?)),
            10 => Self::Quantile(Box::new(Sketch::get(reader)?)),
            11 => Self::Distinct(Box::new(Registers::get(reader)?)),
            12 => Self::Top(Box::new(Top::get(reader)?)),
            other => return Err(avro::Error::Branch(other)),
        })
    }

    /// What it comes to. Without a value, count and distinct are 0 and all others null. Null as well: a sum of big integers
    /// beyond 128 bits, and a quantile that fell where the sketch no longer keeps its error, see [`Sketch`].
    pub fn result(&self, function: &Function) -> Answer<'_> {
        let double = |value| Value::Double(value);
        Answer::Value(match (function, self) {
            (Function::Count, Self::Count(count)) => Value::Long(*count),
            (Function::Sum, Self::Whole(sum)) => sum.sum().map_or(Value::Null, Value::Integer),
            (Function::Sum, Self::Exact(sum)) => double(sum.sum()),
            (Function::Mean, Self::Whole(sum)) => double(sum.mean()),
            (Function::Mean, Self::Exact(sum)) => double(sum.mean()),
            (Function::Min, Self::Min(value)) | (Function::Max, Self::Max(value)) => value.value(),
            (Function::First, Self::First(pick)) | (Function::Last, Self::Last(pick)) => pick.value().value(),
            (Function::Quantile { q, error }, Self::Quantile(sketch)) => {
                sketch.quantile(*q, *error).map_or(Value::Null, double)
            }
            (Function::Distinct { .. }, Self::Distinct(registers)) => Value::Long(registers.estimate()),
            (Function::TopK { k, .. }, Self::Top(top)) => return Answer::Json(top.json(*k as usize)),
            (Function::Count | Function::Distinct { .. }, _) => Value::Long(0),
            _ => Value::Null,
        })
    }

    /// Memory used on the heap, bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Empty | Self::Count(_) | Self::Whole(_) => 0,
            Self::Exact(sum) => sum.bytes(),
            Self::Min(value) | Self::Max(value) => value.bytes(),
            Self::First(pick) | Self::Last(pick) => size_of::<Pick>() + pick.value().bytes(),
            Self::Quantile(sketch) => sketch.bytes(),
            Self::Distinct(registers) => registers.bytes(),
            Self::Top(top) => top.bytes(),
            Self::Latest(rows) => size_of::<Latest>() + rows.bytes(),
        }
    }
}
