//! What an aggregate is: its name, its parameters, and the types that it takes and gives.

use super::{CAPACITY_MAX, ERROR_MAX, ERROR_MIN, PRECISION_MAX, PRECISION_MIN, top};
use crate::value::Type;
use std::fmt;

/// What is added up, with its parameters. [`fmt::Display`] gives the canonical form with the number of the accumulator's
/// format, for example `quantile(0.99, error 0.01) #1`: it is part of a job's fingerprint. The type of the values is not in
/// it, and decides the accumulator too: whoever makes a fingerprint adds it.
#[derive(Debug, Clone, PartialEq)]
pub enum Function {
    /// Values that are not null; without an expression, records.
    Count,
    /// The sum. Whole numbers: exact, up to 2³² values of 128 bits or 2⁹⁵ of 64. Doubles: the exact sum, rounded once.
    Sum,
    /// The smallest value.
    Min,
    /// The largest value.
    Max,
    /// The exact sum by the count, rounded once.
    Mean,
    /// The least value that at least a share q of all do not exceed, within a relative error.
    Quantile {
        /// 0 is the smallest value, 0.5 the median, 1 the largest.
        q: f64,
        /// Relative error, [`ERROR_MIN`] to [`ERROR_MAX`]: 0.01 is 1 % of the value.
        error: f64,
    },
    /// How many different values.
    Distinct {
        /// The logarithm of the number of registers, [`PRECISION_MIN`] to [`PRECISION_MAX`].
        precision: u8,
    },
    /// The most frequent values with their counts.
    TopK {
        /// How many are given.
        k: u32,
        /// So many different values are counted exactly, at most [`CAPACITY_MAX`]; `k` is at most three quarters of it.
        capacity: u32,
    },
    /// The value of the first record by [`crate::value::Place`].
    First,
    /// The value of the last record by [`crate::value::Place`].
    Last,
    /// What a row of a view adds, by its latest revision: all aggregates of a job that reads views, as [`super::Latest`] has
    /// them. No file names it.
    Latest,
}

/// The type of an answer; every answer but those of count and distinct may also be null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "one for each type of a value")]
pub enum Output {
    Long,
    Double,
    Integer,
    Text,
    Boolean,
    Time,
    Bytes,
    /// The list of top-k: `[{"value":"a","count":3,"error":0}]`.
    Json,
}

impl From<Type> for Output {
    fn from(kind: Type) -> Self {
        match kind {
            Type::Boolean => Self::Boolean,
            Type::Long => Self::Long,
            Type::Double => Self::Double,
            Type::Integer => Self::Integer,
            Type::Text => Self::Text,
            Type::Bytes => Self::Bytes,
            Type::Time => Self::Time,
        }
    }
}

impl Function {
    /// Its name, as specifications write it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Min => "min",
            Self::Max => "max",
            Self::Mean => "mean",
            Self::Quantile { .. } => "quantile",
            Self::Distinct { .. } => "distinct",
            Self::TopK { .. } => "top_k",
            Self::First => "first",
            Self::Last => "last",
            Self::Latest => "latest",
        }
    }

    /// What it gives for values of type `input` (`None`: it stands without an expression), or which rule is broken and what
    /// to write instead, for people.
    pub fn output(&self, input: Option<Type>) -> Result<Output, String> {
        self.check_parameters()?;
        let name = self.name();
        let input = match (self, input) {
            (Self::Count, _) => return Ok(Output::Long),
            (_, Some(input)) => input,
            (_, None) => {
                return Err(format!("{name} needs an expression: name a field, or use count to count records"));
            }
        };
        match (self, input) {
            (Self::Sum, Type::Long | Type::Integer) => Ok(Output::Integer),
            (Self::Sum | Self::Mean | Self::Quantile { .. }, Type::Double) => Ok(Output::Double),
            (Self::Mean | Self::Quantile { .. }, Type::Long | Type::Integer) => Ok(Output::Double),
            (Self::Sum | Self::Mean | Self::Quantile { .. }, other) => Err(format!(
                "{name} takes numbers, not {}: give it an int, big integer or double, or use count, min or max",
                other.name()
            )),
            (Self::Min | Self::Max | Self::First | Self::Last, other) => Ok(other.into()),
            (Self::Latest, _) => Err("latest is what the engine keeps of rows of views, and no aggregate".to_owned()),
            (Self::Distinct { .. } | Self::Count, _) => Ok(Output::Long),
            (Self::TopK { .. }, _) => Ok(Output::Json),
        }
    }

    fn check_parameters(&self) -> Result<(), String> {
        match *self {
            Self::Quantile { q, .. } if !(0.0..=1.0).contains(&q) => {
                Err(format!("quantile {q} must be 0 to 1: 0.99 for the 99th percentile"))
            }
            Self::Quantile { error, .. } if !(ERROR_MIN..=ERROR_MAX).contains(&error) => {
                Err(format!("quantile error {error} must be {ERROR_MIN} to {ERROR_MAX}: 0.01 for 1 % of the value"))
            }
            Self::Distinct { precision } if !(PRECISION_MIN..=PRECISION_MAX).contains(&precision) => Err(format!(
                "distinct precision {precision} must be {PRECISION_MIN} to {PRECISION_MAX}: 14 for an error of 0.8 %"
            )),
            Self::TopK { capacity, .. } if !(top::CAPACITY_MIN..=CAPACITY_MAX).contains(&capacity) => {
                Err(format!("top_k capacity {capacity} must be {} to {CAPACITY_MAX}", top::CAPACITY_MIN))
            }
            Self::TopK { k, capacity } if k == 0 || k as usize > top::kept(capacity) => Err(format!(
                "top_k of {k} must be 1 to {}, three quarters of the capacity: lower k or raise the capacity",
                top::kept(capacity)
            )),
            _ => Ok(()),
        }
    }

    /// How far off an answer may be; `None` is exact. Quantile: the largest relative error of the value. Distinct: the
    /// standard error relative to the count. Top-k: the largest overcount relative to the values folded, reached only
    /// beyond the capacity; the answer itself says how far each count may be off.
    pub fn error(&self) -> Option<f64> {
        match *self {
            Self::Quantile { error, .. } => Some(error),
            Self::Distinct { precision } => Some(1.04 / f64::from(1u32 << precision.min(31)).sqrt()),
            Self::TopK { capacity, .. } => Some(1.0 / (top::kept(capacity) as f64 + 1.0)),
            Self::Count | Self::Sum | Self::Min | Self::Max | Self::Mean | Self::First | Self::Last | Self::Latest => {
                None
            }
        }
    }

    /// Whether the order of records and merges can change the answer: only top-k, once it has seen more different values
    /// than its capacity. Any other answer can be compared bit by bit after a recomputation.
    pub fn order_matters(&self) -> bool {
        matches!(self, Self::TopK { .. })
    }
}

/// Formats of the accumulators. A change of what [`super::State`] writes or of how a value is placed raises the number.
impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        match self {
            Self::Quantile { q, error } => write!(f, "{name}({q}, error {error}) #1"),
            Self::Distinct { precision } => write!(f, "{name}(precision {precision}) #1"),
            Self::TopK { k, capacity } => write!(f, "{name}({k}, capacity {capacity}) #1"),
            Self::Count | Self::Sum | Self::Min | Self::Max | Self::Mean | Self::First | Self::Last | Self::Latest => {
                write!(f, "{name} #1")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canonical_form_is_pinned() {
        let forms = [
            (Function::Count, "count #1"),
            (Function::Sum, "sum #1"),
            (Function::Min, "min #1"),
            (Function::Max, "max #1"),
            (Function::Mean, "mean #1"),
            (Function::Quantile { q: 0.99, error: 0.01 }, "quantile(0.99, error 0.01) #1"),
            (Function::Distinct { precision: 14 }, "distinct(precision 14) #1"),
            (Function::TopK { k: 10, capacity: 1000 }, "top_k(10, capacity 1000) #1"),
            (Function::First, "first #1"),
            (Function::Last, "last #1"),
            (Function::Latest, "latest #1"),
        ];
        for (function, form) in forms {
            assert_eq!(function.to_string(), form);
        }
    }

    #[test]
    fn types_are_checked() {
        assert_eq!(Function::Count.output(None), Ok(Output::Long));
        assert_eq!(Function::Count.output(Some(Type::Bytes)), Ok(Output::Long));
        assert_eq!(Function::Sum.output(Some(Type::Long)), Ok(Output::Integer));
        assert_eq!(Function::Sum.output(Some(Type::Double)), Ok(Output::Double));
        assert_eq!(Function::Mean.output(Some(Type::Integer)), Ok(Output::Double));
        assert_eq!(Function::Min.output(Some(Type::Text)), Ok(Output::Text));
        assert_eq!(Function::Last.output(Some(Type::Time)), Ok(Output::Time));
        assert_eq!(Function::TopK { k: 3, capacity: 1000 }.output(Some(Type::Text)), Ok(Output::Json));
        let quantile = Function::Quantile { q: 0.5, error: 0.01 };
        assert_eq!(quantile.output(Some(Type::Long)), Ok(Output::Double));
        assert!(quantile.output(Some(Type::Time)).is_err_and(|rule| rule.contains("not timestamp")));
        assert!(Function::Sum.output(Some(Type::Text)).is_err_and(|rule| rule.contains("not string")));
        assert!(Function::Sum.output(None).is_err_and(|rule| rule.contains("needs an expression")));
    }

    #[test]
    fn parameters_are_checked() {
        let refused = [
            (Function::Quantile { q: 99.0, error: 0.01 }, "0 to 1"),
            (Function::Quantile { q: f64::NAN, error: 0.01 }, "0 to 1"),
            (Function::Quantile { q: 0.5, error: 0.001 }, "error 0.001 must be"),
            (Function::Quantile { q: 0.5, error: f64::NAN }, "error NaN must be"),
            (Function::Distinct { precision: 3 }, "4 to 18"),
            (Function::Distinct { precision: 19 }, "4 to 18"),
            (Function::TopK { k: 0, capacity: 1000 }, "1 to 750"),
            (Function::TopK { k: 751, capacity: 1000 }, "1 to 750"),
            (Function::TopK { k: 1, capacity: 1001 }, "capacity 1001 must be"),
        ];
        for (function, rule) in refused {
            let message = function.output(Some(Type::Long)).unwrap_err();
            assert!(message.contains(rule), "{message}");
        }
        let taken = [
            Function::Quantile { q: 0.0, error: ERROR_MIN },
            Function::Quantile { q: 1.0, error: ERROR_MAX },
            Function::Distinct { precision: 4 },
            Function::TopK { k: 750, capacity: 1000 },
        ];
        assert!(taken.iter().all(|function| function.output(Some(Type::Long)).is_ok()));
    }

    #[test]
    fn errors_are_stated() {
        assert_eq!(Function::Sum.error(), None);
        assert_eq!(Function::Quantile { q: 0.5, error: 0.02 }.error(), Some(0.02));
        assert_eq!(Function::Distinct { precision: 14 }.error(), Some(1.04 / 128.0));
        assert_eq!(Function::TopK { k: 3, capacity: 1000 }.error(), Some(1.0 / 751.0));
    }
}
