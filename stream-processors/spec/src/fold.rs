//! Folds in Rust: what one reads of a record, and what its columns hold. [`crate::Builder`] makes a job of one.

use crate::job::SpecJob;
use crate::row::Cell;
use tidemark_core::value::{Place, Type, Value};
use tidemark_core::{Accumulator, Input, Job, Reject, Sample};
use tidemark_schemas::avro::{Avro, put_bytes, put_long};
use tidemark_views::{Column, Kind};

/// A fold in Rust: state that records are added to, and what it takes of a record.
///
/// An [`Accumulator::Item`] has a default, which stands for that of a record that `where` leaves out; it is never added.
///
/// The job stops when what [`Fold::READS`] or the columns say changes without a new version; it cannot see that the *code* of a
/// fold has changed. A change of what a row means is a new `version` all the same.
pub trait Fold: Accumulator {
    /// What is read of a record: names of fields and `let`s, or other CEL expressions, in the order of [`Fold::Input`].
    const READS: &'static [&'static str];

    /// What stands in the specification, and so in its fingerprint, for the fold; unless given, its columns and what it reads.
    const AGGREGATES: &'static [&'static str] = &[];

    /// The values that are read: a tuple of up to eight of [`FromValue`], `()` for none. What does not fit the types of the
    /// sources is refused when the job is built.
    type Input<'a>: FromValues<'a>;

    /// What the record adds. `place` has its event time and what breaks ties.
    ///
    /// # Errors
    /// Why the record cannot be counted: it goes to the dead letters with that.
    fn item<'a>(input: Self::Input<'a>, place: Place) -> Result<Self::Item<'a>, Reject>;

    /// Reads a record. `head` is the job but for its fold, and has read it: time, id, key, joins, `where`, and the values.
    ///
    /// A fold for which every nanosecond counts may read the datum of its one source by itself instead. It keeps to what
    /// [`Job::read`] says, and reads what the builder was told: the same time, key and id.
    ///
    /// # Errors
    /// As [`Job::read`].
    fn read<'a>(head: &'a SpecJob, input: Input<'a>, scratch: &'a mut Vec<u8>) -> Result<Sample<'a, Self>, Reject>
    where
        for<'i> Self::Item<'i>: Default,
    {
        read(head, input, scratch)
    }
}

/// [`Fold::read`] by the head: what a fold's own way of reading is to be equal to.
///
/// # Errors
/// As [`Job::read`].
pub fn read<'a, F: Fold>(head: &'a SpecJob, input: Input<'a>, scratch: &'a mut Vec<u8>) -> Result<Sample<'a, F>, Reject>
where
    for<'i> F::Item<'i>: Default,
{
    let Sample { event_time, key, add, id, wanted } = head.read(input, scratch)?;
    if !wanted {
        return Ok(Sample { event_time, key, add: Default::default(), id, wanted });
    }
    // The builder has refused what could be missing here.
    let values = F::Input::from_values(&add.values).ok_or_else(|| Reject {
        rule: "expression",
        detail: format!("{:?} are not what the fold reads: {}", add.values, F::READS.join(", ")),
    })?;
    Ok(Sample { event_time, key, add: F::item(values, add.place)?, id, wanted })
}

/// An instant, milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

/// JSON, for columns of lists and maps.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Json(pub serde_json::Value);

/// A type that a value is read into.
pub trait FromValue<'a>: Sized {
    /// Of the values.
    const TYPE: Type;
    /// Null is one of them.
    const NULLABLE: bool = false;

    /// The value; none when it is of another type.
    fn from_value(value: Value<'a>) -> Option<Self>;
}

/// A type that a column holds.
pub trait ToColumn {
    /// Of the column.
    const KIND: Kind;
    /// A row may have none.
    const NULLABLE: bool = false;

    /// Appends the Avro form of [`ToColumn::KIND`].
    fn put(&self, out: &mut Vec<u8>);
}

macro_rules! from_value {
    ($($ty:ty, $variant:ident => $make:expr;)*) => {$(
        impl<'a> FromValue<'a> for $ty {
            const TYPE: Type = Type::$variant;
            #[inline]
            fn from_value(value: Value<'a>) -> Option<Self> {
                match value {
                    Value::$variant(value) => Some($make(value)),
                    _ => None,
                }
            }
        }
    )*};
}

from_value! {
    bool, Boolean => |value| value;
    i64, Long => |value| value;
    f64, Double => |value| value;
    i128, Integer => |value| value;
    &'a str, Text => |value| value;
    &'a [u8], Bytes => |value| value;
    Timestamp, Time => Timestamp;
}

impl<'a, T: FromValue<'a>> FromValue<'a> for Option<T> {
    const TYPE: Type = T::TYPE;
    const NULLABLE: bool = true;
    #[inline]
    fn from_value(value: Value<'a>) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}

/// A tuple of types that values are read into.
pub trait FromValues<'a>: Sized {
    /// Type of each, and whether it takes null.
    const TYPES: &'static [(Type, bool)];

    /// The values in their order; none when there are others.
    fn from_values(values: &[Value<'a>]) -> Option<Self>;
}

macro_rules! from_values {
    ($($($name:ident)*;)*) => {$(
        impl<'a, $($name: FromValue<'a>),*> FromValues<'a> for ($($name,)*) {
            const TYPES: &'static [(Type, bool)] = &[$(($name::TYPE, $name::NULLABLE)),*];
            #[inline]
            #[allow(unused_mut, unused_variables, clippy::unused_unit, reason = "of the tuple without values")]
            fn from_values(values: &[Value<'a>]) -> Option<Self> {
                let mut values = values.iter().copied();
                Some(($($name::from_value(values.next()?)?,)*))
            }
        }
    )*};
}

from_values! {
    ;
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
    A B C D E F G;
    A B C D E F G H;
}

macro_rules! to_column {
    ($($ty:ty, $kind:ident => |$value:ident, $out:ident| $put:expr;)*) => {$(
        impl ToColumn for $ty {
            const KIND: Kind = Kind::$kind;
            fn put(&self, $out: &mut Vec<u8>) {
                let $value = self;
                $put
            }
        }
    )*};
}

to_column! {
    bool, Boolean => |value, out| out.push(u8::from(*value));
    i64, Long => |value, out| put_long(out, *value);
    f64, Double => |value, out| out.extend_from_slice(&value.to_le_bytes());
    i128, Integer => |value, out| Avro::put(value, out);
    String, Text => |value, out| put_bytes(out, value.as_bytes());
    Timestamp, Time => |value, out| put_long(out, value.0);
    Json, Json => |value, out| put_bytes(out, value.0.to_string().as_bytes());
}

impl<T: ToColumn> ToColumn for Option<T> {
    const KIND: Kind = T::KIND;
    const NULLABLE: bool = true;
    fn put(&self, out: &mut Vec<u8>) {
        const { assert!(!T::NULLABLE, "an option of an option is no column") };
        match self {
            None => put_long(out, 0),
            Some(value) => {
                put_long(out, 1);
                value.put(out);
            }
        }
    }
}

/// Appends what a column holds.
pub(crate) type Put<F> = dyn Fn(&F, &mut Vec<u8>) + Send + Sync;

/// The column `name`, of what `value` gives.
pub(crate) fn column<F, T: ToColumn>(
    name: &str,
    value: impl Fn(&F) -> T + Send + Sync + 'static,
) -> (Cell, Box<Put<F>>) {
    let cell = Cell { column: Column { name: name.to_owned(), kind: T::KIND }, nullable: T::NULLABLE };
    (cell, Box::new(move |fold: &F, out: &mut Vec<u8>| value(fold).put(out)))
}
