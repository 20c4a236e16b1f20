//! Where the fields of a flow stand in the rows of its view.

use serde::Serialize;
use tidemark_views::{Kind, Row, Value, ViewSpec};
use utoipa::ToSchema;

use crate::instant::HOUR_MS;
use crate::values::text;

/// The key fields of a flow, in clustering order: what can be filtered and grouped by.
pub const KEYS: [&str; 3] = ["src_app", "dest_app", "vpc_id"];

/// The sums of one (src_app, dest_app, vpc_id) in one hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Flow {
    /// Application that opened the connections.
    pub src_app: String,
    /// Application or address they went to.
    pub dest_app: String,
    /// Virtual network of the source.
    pub vpc_id: String,
    /// Hours since the Unix epoch.
    pub hour: i64,
    /// Bytes received, exact; may be larger than a 64-bit integer.
    #[schema(value_type = i64, format = "")]
    pub bytes_rx: i128,
    /// Bytes sent, exact; may be larger than a 64-bit integer.
    #[schema(value_type = i64, format = "")]
    pub bytes_tx: i128,
    /// Flow records summed.
    pub records: i64,
}

/// Sums of flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct Sums {
    /// Bytes received, exact.
    #[schema(value_type = i64, format = "")]
    pub bytes_rx: i128,
    /// Bytes sent, exact.
    #[schema(value_type = i64, format = "")]
    pub bytes_tx: i128,
    /// Flow records summed.
    pub records: i64,
}

impl Sums {
    /// Adds other sums; saturates at the ends of the types, far beyond what 2^63 records of 2^53 bytes come to.
    pub(crate) fn add(&mut self, other: Self) {
        self.bytes_rx = self.bytes_rx.saturating_add(other.bytes_rx);
        self.bytes_tx = self.bytes_tx.saturating_add(other.bytes_tx);
        self.records = self.records.saturating_add(other.records);
    }

    /// Bytes both ways.
    pub(crate) fn bytes(self) -> i128 {
        self.bytes_rx.saturating_add(self.bytes_tx)
    }
}

/// Positions of the value columns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns {
    bytes_rx: usize,
    bytes_tx: usize,
    records: usize,
}

impl Columns {
    /// Finds the columns of a flow in a view; says which is missing or of another kind.
    pub(crate) fn of(view: &ViewSpec) -> Result<Self, String> {
        let keys: Vec<_> = view.clustering.iter().map(|c| (c.name.as_str(), c.kind)).collect();
        if keys != KEYS.map(|name| (name, Kind::Text)) {
            return Err(format!("clustering columns are {keys:?}; they must be the texts {KEYS:?}"));
        }
        let value = |name: &str, kind| {
            let found = view.values.iter().position(|c| c.name == name && c.kind == kind);
            found.ok_or_else(|| format!("there is no column `{name}` of kind {kind:?}"))
        };
        Ok(Self {
            bytes_rx: value("bytes_rx", Kind::Integer)?,
            bytes_tx: value("bytes_tx", Kind::Integer)?,
            records: value("records", Kind::Long)?,
        })
    }

    /// The sums of a row.
    pub(crate) fn sums(&self, row: &Row) -> Sums {
        Sums {
            bytes_rx: integer(row.values.get(self.bytes_rx)),
            bytes_tx: integer(row.values.get(self.bytes_tx)),
            records: i64::try_from(integer(row.values.get(self.records))).unwrap_or(i64::MAX),
        }
    }

    /// A row as a flow.
    pub(crate) fn flow(&self, row: &Row) -> Flow {
        let sums = self.sums(row);
        let hour = row.partition.window_start.div_euclid(HOUR_MS);
        let mut keys = row.clustering.iter().map(text);
        let mut key = || keys.next().unwrap_or_default();
        Flow {
            src_app: key(),
            dest_app: key(),
            vpc_id: key(),
            hour,
            bytes_rx: sums.bytes_rx,
            bytes_tx: sums.bytes_tx,
            records: sums.records,
        }
    }
}

/// A store checks rows against the view's spec, so other kinds do not come.
fn integer(value: Option<&Value>) -> i128 {
    match value {
        Some(Value::Integer(n)) => *n,
        Some(Value::Long(n)) => i128::from(*n),
        Some(Value::Null | Value::Text(_) | Value::Double(_) | Value::Boolean(_) | Value::Time(_) | Value::Json(_))
        | None => 0,
    }
}
