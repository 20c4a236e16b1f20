//! A fold in Rust in the place of aggregates: what it reads is checked against the sources, what it gives is columns.

use super::Compiler;
use crate::job::Added;
use crate::problem::{At, Problem};
use crate::row::{Cell, Columns};
use crate::yaml::Scalar;
use tidemark_core::aggregate::{Function, Output};
use tidemark_core::value::Type;
use tidemark_schemas::catalog::Schema;

/// What there is to know of a fold in Rust.
pub(crate) struct InRust {
    /// Where the job is built.
    pub(crate) at: At,
    /// What it reads: expressions.
    pub(crate) reads: &'static [&'static str],
    /// What it reads them into: the type, and whether it takes null.
    pub(crate) types: &'static [(Type, bool)],
    /// What stands for it in the specification; unless given, its columns and what it reads.
    pub(crate) aggregates: &'static [&'static str],
    /// Its columns.
    pub(crate) cells: Vec<Cell>,
    /// The schema that the view's rows were registered with before, and the order of the values in its table.
    pub(crate) registered: Option<(At, Schema, Vec<String>)>,
}

/// How a value is taken in Rust.
fn rust(kind: Type) -> &'static str {
    match kind {
        Type::Boolean => "bool",
        Type::Long => "i64",
        Type::Double => "f64",
        Type::Integer => "i128",
        Type::Text => "&str",
        Type::Bytes => "&[u8]",
        Type::Time => "Timestamp",
    }
}

impl InRust {
    /// As it stands in the specification.
    pub(super) fn aggregates(&self, added: &[Added]) -> Vec<String> {
        if !self.aggregates.is_empty() {
            return self.aggregates.iter().map(|&text| text.to_owned()).collect();
        }
        let column = |cell: &Cell| {
            let null = if cell.nullable { " or null" } else { "" };
            format!("{}: {:?}{null}", cell.column.name, cell.column.kind).to_lowercase()
        };
        let read = |added: &Added| {
            let kind = added.value.as_ref().map(|checked| checked.kind.name()).unwrap_or_default();
            format!("reads {}: {kind}", added.text)
        };
        self.cells.iter().map(column).chain(added.iter().map(read)).collect()
    }

    /// The columns as they were registered before.
    pub(super) fn columns(&self, made: Columns) -> Result<Columns, Problem> {
        match &self.registered {
            None => Ok(made),
            Some((at, schema, order)) => {
                made.registered(schema, order).map_err(|(what, fix)| Problem::new(*at, what).fix(fix))
            }
        }
    }
}

impl Compiler<'_> {
    /// The values that a fold reads, each as if it were counted: what an aggregate is given is what the fold gets.
    pub(super) fn read_by(&mut self, fold: &InRust) -> Vec<Added> {
        if fold.reads.len() != fold.types.len() {
            let (reads, types) = (fold.reads.len(), fold.types.len());
            let what = format!("the fold names {reads} values under `READS`, and its `Input` has {types}");
            self.problems.push(Problem::new(fold.at, what).fix("give each value one type"));
            return Vec::new();
        }
        let pairs = fold.reads.iter().zip(fold.types);
        pairs.filter_map(|(text, (kind, nullable))| self.read(text, *kind, *nullable, fold.at)).collect()
    }

    fn read(&mut self, text: &'static str, kind: Type, nullable: bool, at: At) -> Option<Added> {
        let checked = self.check(&Scalar::at(text, at))?;
        let (found, taken) = (checked.kind, rust(kind));
        if found.kind != Some(kind) {
            let what = format!("`{text}` is {}, and the fold takes it as {taken}", found.name());
            let fix = found.kind.map_or("leave it out".to_owned(), |kind| format!("take it as {}", rust(kind)));
            self.problems.push(Problem::new(at, what).fix(fix));
            return None;
        }
        if found.nullable && !nullable {
            let what = format!("`{text}` may be null, and the fold takes it as {taken}");
            let fix = format!("take it as Option<{taken}>, or read `coalesce({text}, …)`");
            self.problems.push(Problem::new(at, what).fix(fix));
            return None;
        }
        Some(Added {
            name: "read".to_owned(),
            function: Function::Count,
            value: Some(checked),
            conditional: false,
            output: Output::Long,
            nullable: false,
            text: text.to_owned(),
        })
    }
}
