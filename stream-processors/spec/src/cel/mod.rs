//! Expressions: CEL, the Common Expression Language, checked against the types of what they name.
//!
//! The `cel` crate parses; checking and evaluating are done here, so that a wrong name or type is found before anything runs
//! and a record costs no look-up by name. The meaning is that of the CEL specification (github.com/google/cel-spec), for this part
//! of it: literals, names, `!`, `&&`, `||`, `?:`, comparisons, `+ - * / %`, `in [..]`, and the functions of [`functions::FUNCTIONS`].
//! Where the specification leaves a type error to run time, the checker refuses: a name that may be null must be tested
//! (`x != null ? … : …`, `x != null && …`) or given a value (`coalesce(x, 0)`) before it is used in sums or calls.

pub mod call;
pub mod check;
pub mod eval;
pub mod functions;
pub mod parse;
mod quick;

pub use check::{Checked, Scope};
pub use eval::{EvalError, Text, Val};
