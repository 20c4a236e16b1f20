//! Values that expressions work with and aggregates add up.

/// A value, borrowed from a record where it can be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// Nothing: an absent field, or an expression on one.
    Null,
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Long(i64),
    /// A floating-point number.
    Double(f64),
    /// A whole number beyond 64 bits: sums, and decimals of scale 0.
    Integer(i128),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// An instant, milliseconds since the epoch.
    Time(i64),
}

/// The type of a value; any value may also be [`Value::Null`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "one for each kind of value")]
pub enum Type {
    Boolean,
    Long,
    Double,
    Integer,
    Text,
    Bytes,
    Time,
}

impl Type {
    /// As messages name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Boolean => "bool",
            Self::Long => "int",
            Self::Double => "double",
            Self::Integer => "big integer",
            Self::Text => "string",
            Self::Bytes => "bytes",
            Self::Time => "timestamp",
        }
    }
}

impl Value<'_> {
    /// Its type; none for null.
    pub fn kind(&self) -> Option<Type> {
        match self {
            Self::Null => None,
            Self::Boolean(_) => Some(Type::Boolean),
            Self::Long(_) => Some(Type::Long),
            Self::Double(_) => Some(Type::Double),
            Self::Integer(_) => Some(Type::Integer),
            Self::Text(_) => Some(Type::Text),
            Self::Bytes(_) => Some(Type::Bytes),
            Self::Time(_) => Some(Type::Time),
        }
    }
}

/// Where a record stands among all others of the same event time: what breaks ties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// Event time.
    pub time: i64,
    /// Which of the job's sources.
    pub topic: u32,
    /// Partition.
    pub partition: u32,
    /// Offset.
    pub offset: i64,
}
