//! Jobs as data: a YAML file, checked against the schemas of its sources, becomes a job.
//!
//! Promise: what [`compile`] lets through runs: every name is known, every type fits, and whatever a record may still do
//! to an expression (a division by zero, a text that is no number) sends that record to the dead letters with the
//! expression and the values. What is refused is refused with `file:line:column`, the rule and the fix, all of it at once.
//!
//! The way of a file: [`yaml`] → [`file`] (keys and their forms) → [`cel`] and [`source`] (expressions against Avro
//! schemas) → [`job::SpecJob`]. A job whose fold needs code goes the same way: [`Builder`] makes the tree that a file is
//! parsed to, and a [`Fold`] takes the place of the aggregates. Runtime, test driver and platform take both, as [`Viewed`].

pub mod agree;
pub mod builder;
pub mod cel;
pub mod compile;
pub mod datum;
pub mod expect;
pub mod file;
pub mod fold;
pub mod inline;
pub mod instant;
pub mod job;
pub mod join;
pub mod problem;
pub mod readable;
pub mod replay;
pub mod row;
pub mod rust_job;
pub mod source;
pub mod starter;
pub mod trial;
pub mod view;
pub mod viewed;
pub mod yaml;

pub use builder::Builder;
pub use compile::{Topics, compile};
pub use fold::Fold;
pub use job::SpecJob;
pub use problem::Problems;
pub use rust_job::RustJob;
pub use tidemark_schemas::near;
pub use view::View;
pub use viewed::Viewed;
