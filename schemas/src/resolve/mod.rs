//! Schema resolution: how data of a writer's schema is read as a reader's schema.
//!
//! The rules are those of the Avro 1.11 specification, "Schema Resolution", and stricter where the specification would let
//! a number change its meaning: two different time units, or decimals of different scale, do not resolve. One walk over
//! both schemas yields a [`Plan`] that turns data from the one form into the other, and the [`Problem`]s that registries
//! and release checks report; so what the check accepts is what the decoder reads.
//!
//! Schemas and data come from strangers. Limits: schemas of [`MAX_SCHEMA_BYTES`], plans of [`MAX_NODES`], data nested
//! [`MAX_DEPTH`] deep, and work in proportion to the datum's length. Nothing panics and nothing recurses without bound.

use std::collections::HashMap;
use std::fmt;

use apache_avro::Schema;
use apache_avro::schema::{NamesRef, ResolvedSchema};
use serde_json::Value;

use crate::avro::{Error, Reader};
use compile::Compiler;

mod compile;
mod default;
mod run;
mod types;

/// Longest schema text that is read, in bytes.
pub const MAX_SCHEMA_BYTES: usize = 256 * 1024;
/// Largest plan, in nodes: about one for each type that either schema mentions.
pub const MAX_NODES: usize = 50_000;
/// Deepest nesting of records, arrays, maps and unions, in schemas and in data.
pub const MAX_DEPTH: usize = 64;
/// What apache-avro may allocate at once, process-wide.
const MAX_ALLOCATION_BYTES: usize = 1024 * 1024;

/// Parses Avro JSON of at most [`MAX_SCHEMA_BYTES`]; the error says what is wrong with it.
pub fn parse(text: &str) -> Result<Schema, String> {
    apache_avro::util::max_allocation_bytes(MAX_ALLOCATION_BYTES);
    if text.len() > MAX_SCHEMA_BYTES {
        return Err(format!("schema of {} bytes is longer than {MAX_SCHEMA_BYTES}", text.len()));
    }
    let schema = Schema::parse_str(text).map_err(|e| e.to_string())?;
    ResolvedSchema::new(&schema).map_err(|e| e.to_string())?;
    Ok(schema)
}

/// The full name of a record, enum or fixed.
pub fn name(schema: &Schema) -> Option<String> {
    schema.name().map(|n| n.fullname(None))
}

/// The binary form of a field's default, as the specification writes defaults in JSON; `names` are the named types of the whole
/// schema.
///
/// # Errors
/// The default is not of the field's type; the text says so.
pub fn encode_default(json: &Value, schema: &Schema, names: &NamesRef<'_>) -> Result<Vec<u8>, String> {
    default::encode(json, schema, names)
}

/// One way in which a reader's schema cannot read a writer's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Field names from the root joined by dots, `[]` for array items and `{}` for map values; empty at the root.
    pub field: String,
    /// What does not fit.
    pub reason: String,
    /// No datum can be read. Otherwise only data that take this union branch or enum symbol, or have items here, cannot.
    pub always: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            "" => f.write_str(&self.reason),
            field => write!(f, "field {field}: {}", self.reason),
        }
    }
}

/// Why a datum could not be turned into the reader's form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// It is not of the writer's schema.
    #[error("{0}")]
    Datum(#[from] Error),
    /// It takes a branch or symbol that the reader's schema does not have.
    #[error("{0}")]
    Unreadable(Problem),
}

/// How to turn data of one schema into the binary form of another.
#[derive(Debug, Clone)]
pub struct Plan {
    nodes: Vec<Node>,
    root: usize,
    identity: bool,
    problems: Vec<Problem>,
}

impl Plan {
    /// Plans the reading of `writer`'s data as `reader`. With `any_name` the two outermost records may be named apart.
    pub fn new(writer: &Schema, reader: &Schema, any_name: bool) -> Self {
        let names =
            |schema| ResolvedSchema::new(schema).map(|r| r.get_names().clone()).unwrap_or_else(|_| HashMap::new());
        Compiler::new(names(writer), names(reader), any_name).plan(writer, reader)
    }

    /// What does not fit, in the order of the reader's schema; empty when every datum can be read.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The problems that keep every datum from being read, as one text; `None` when there is no such problem.
    pub fn refusal(&self) -> Option<String> {
        let always: Vec<String> = self.problems.iter().filter(|p| p.always).map(Problem::to_string).collect();
        (!always.is_empty()).then(|| always.join("; "))
    }

    /// Both schemas have one binary form: the bytes need no change.
    pub fn is_identity(&self) -> bool {
        self.identity
    }

    /// Appends `datum` in the reader's form to `out`; on an error `out` holds a part of it. The whole datum must be used up.
    pub fn run(&self, datum: &[u8], out: &mut Vec<u8>) -> Result<(), RunError> {
        let mut run = run::Run::new(&self.nodes, Reader::new(datum), out);
        run.node(self.root, 0)?;
        Ok(run.finish()?)
    }
}

/// Types without parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Primitive {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
}

/// A step of a plan. Numbers point into [`Plan::nodes`], so that recursive schemas have finite plans.
#[derive(Debug, Clone)]
enum Node {
    /// From the writer's type to the reader's, the same or a promotion.
    Primitive(Primitive, Primitive),
    /// So many bytes.
    Fixed(usize),
    /// The reader's symbol for each of the writer's.
    Enum(Vec<Result<i64, Problem>>),
    /// Items.
    Array(usize),
    /// String keys and values.
    Map(usize),
    /// Fields.
    Record(Record),
    /// One node for each of the writer's branches.
    WriterUnion(Vec<usize>),
    /// The reader's branch, then its value.
    ReaderUnion(i64, usize),
    /// Cannot be read.
    Fail(Problem),
}

/// A record of the writer, read as one of the reader.
#[derive(Debug, Clone)]
struct Record {
    /// In the writer's order.
    fields: Vec<Field>,
    /// In the reader's order; `None` when it is the writer's order with nothing to add.
    order: Option<Vec<Part>>,
}

#[derive(Debug, Clone)]
struct Field {
    node: usize,
    /// The reader has no such field.
    skip: bool,
}

#[derive(Debug, Clone)]
enum Part {
    /// The writer's field of this number.
    Written(usize),
    /// A default, already encoded.
    Default(Vec<u8>),
}

#[cfg(test)]
mod tests;
