//! Columns and what is in them.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

/// A column of a view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Name as in the Avro schema: a letter, then letters, digits and `_`, at most 48 bytes; not `tenant`,
    /// `window_start`, `merge_partition`, `epoch`, `revision` or `written_at`, which every view has.
    pub name: String,
    /// Type.
    pub kind: Kind,
}

/// Column types: Avro on one side, CQL on the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `string`, `text`.
    Text,
    /// `long`, `bigint`.
    Long,
    /// `decimal` of scale 0, `varint`.
    Integer,
    /// `double`, `double`. Not a clustering column: no two sources agree on the bits of one number.
    Double,
    /// `boolean`, `boolean`.
    Boolean,
    /// `timestamp-millis`, `timestamp`.
    Time,
    /// JSON as a `string`, `text`: for lists. Not a clustering column: one document can be written in many ways.
    Json,
}

/// For messages: `client text`.
impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.kind.name())
    }
}

impl Kind {
    /// In words, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Long => "long",
            Self::Integer => "integer",
            Self::Double => "double",
            Self::Boolean => "boolean",
            Self::Time => "time",
            Self::Json => "json",
        }
    }

    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Text, Self::Long, Self::Integer, Self::Double, Self::Boolean, Self::Time, Self::Json];

    /// The CQL type.
    pub fn cql(self) -> &'static str {
        match self {
            Self::Text | Self::Json => "text",
            Self::Long => "bigint",
            Self::Integer => "varint",
            Self::Double => "double",
            Self::Boolean => "boolean",
            Self::Time => "timestamp",
        }
    }

    /// Whether rows can be ordered by it.
    pub fn can_cluster(self) -> bool {
        match self {
            Self::Text | Self::Long | Self::Integer | Self::Boolean | Self::Time => true,
            Self::Double | Self::Json => false,
        }
    }
}

/// A column's value. Values of one kind are ordered as a CQL store orders them; doubles by IEEE 754's total order, so that a
/// NaN equals itself.
#[derive(Debug, Clone)]
pub enum Value {
    /// Nothing, of any kind: a minimum of no records. Not in a key.
    Null,
    /// Of [`Kind::Text`].
    Text(String),
    /// Of [`Kind::Long`].
    Long(i64),
    /// Of [`Kind::Integer`].
    Integer(i128),
    /// Of [`Kind::Double`].
    Double(f64),
    /// Of [`Kind::Boolean`].
    Boolean(bool),
    /// Of [`Kind::Time`]: milliseconds since the Unix epoch.
    Time(i64),
    /// Of [`Kind::Json`]: a JSON text.
    Json(String),
}

impl Value {
    /// Which type it is of; `None` for [`Value::Null`], which is of all.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Self::Null => None,
            Self::Text(_) => Some(Kind::Text),
            Self::Long(_) => Some(Kind::Long),
            Self::Integer(_) => Some(Kind::Integer),
            Self::Double(_) => Some(Kind::Double),
            Self::Boolean(_) => Some(Kind::Boolean),
            Self::Time(_) => Some(Kind::Time),
            Self::Json(_) => Some(Kind::Json),
        }
    }

    /// Places the kinds one after the other.
    fn rank(&self) -> Option<u8> {
        self.kind().map(|kind| kind as u8)
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) | (Self::Json(a), Self::Json(b)) => a.cmp(b),
            (Self::Long(a), Self::Long(b)) | (Self::Time(a), Self::Time(b)) => a.cmp(b),
            (Self::Integer(a), Self::Integer(b)) => a.cmp(b),
            (Self::Double(a), Self::Double(b)) => a.total_cmp(b),
            (Self::Boolean(a), Self::Boolean(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.rank().hash(state);
        match self {
            Self::Null => {}
            Self::Text(text) | Self::Json(text) => text.hash(state),
            Self::Long(long) | Self::Time(long) => long.hash(state),
            Self::Integer(integer) => integer.hash(state),
            // Two doubles are the same in the total order iff their bits are.
            Self::Double(double) => double.to_bits().hash(state),
            Self::Boolean(boolean) => boolean.hash(state),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use super::*;

    #[test]
    fn doubles_have_a_total_order_and_kinds_stay_apart() {
        let doubles = [f64::NEG_INFINITY, -1.0, -0.0, 0.0, f64::MIN_POSITIVE, 1.0, f64::INFINITY, f64::NAN];
        let mut all = vec![Value::Null, Value::Text("1".into()), Value::Long(1), Value::Integer(1)];
        all.extend(doubles.map(Value::Double));
        all.extend([Value::Boolean(false), Value::Boolean(true), Value::Time(1), Value::Json("1".into())]);
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "in this order");
        let twice = || all.iter().chain(&all).cloned();
        assert_eq!(twice().collect::<HashSet<_>>().len(), all.len());
        assert_eq!(twice().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>(), all);
    }
}
