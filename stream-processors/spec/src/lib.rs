//! Jobs as data: a YAML file, checked against the schemas of its sources, becomes a job.
//!
//! Promise: what [`compile`] lets through runs: every name is known, every type fits, and whatever a record may still do
//! to an expression (a division by zero, a text that is no number) sends that record to the dead letters with the
//! expression and the values. What is refused is refused with `file:line:column`, the rule and the fix, all of it at once.
//!
//! The way of a file: [`yaml`] → [`file`] (keys and their forms) → [`cel`] and [`source`] (expressions against Avro
//! schemas) → [`job::SpecJob`], which the runtime and the test driver take like a job in Rust.

pub mod agree;
pub mod cel;
pub mod compile;
pub mod datum;
pub mod file;
pub mod inline;
pub mod instant;
pub mod job;
pub mod join;
pub mod problem;
pub mod readable;
pub mod replay;
pub mod row;
pub mod source;
pub mod starter;
pub mod trial;
pub mod yaml;

pub use compile::{Topics, compile};
pub use job::SpecJob;
pub use problem::Problems;
pub use tidemark_schemas::near;
