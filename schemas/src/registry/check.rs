//! Release checks: can the schemas of today read what those of the last release, or of a running registry, have written?

use std::fmt;
use std::sync::Arc;

use super::{Error, HttpRegistry};
use crate::catalog;
use crate::resolve::{self, Plan, Problem};

macro_rules! baseline {
    ($($file:literal),* $(,)?) => {
        &[$(($file, include_str!(concat!("../../baseline/", $file)))),*]
    };
}

/// The schemas as they were last released, by file under `baseline/`: at a release the files of `avsc/` are copied there.
pub const BASELINE: &[(&str, &str)] = baseline![
    "engine/DeadLetter.avsc",
    "engine/LateRecord.avsc",
    "engine/Ledger.avsc",
    "engine/Marker.avsc",
    "engine/Partial.avsc",
    "engine/Progress.avsc",
    "engine/Repair.avsc",
    "engine/RowState.avsc",
    "engine/SealedOut.avsc",
    "engine/SeenIds.avsc",
    "flows/FlowHourly.avsc",
    "flows/FlowObserved.avsc",
    "gateway/Answer.avsc",
    "gateway/SpoolPosition.avsc",
    "jobs/JobEntry.avsc",
];

/// A schema that data may have been written by.
#[derive(Debug, Clone)]
pub struct Released {
    /// Where it is from: a file or a subject.
    pub source: String,
    /// Avro JSON.
    pub schema: Arc<str>,
}

/// What one comparison found.
#[derive(Debug, Clone)]
pub struct Compared {
    /// Full name.
    pub schema: String,
    /// Where the earlier schema is from.
    pub against: String,
    /// What today's schema cannot read of it.
    pub problems: Vec<Problem>,
}

/// What a check found. Its text has a line for each comparison and one for each breaking change.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// In the order of the catalog, then of the sources.
    pub compared: Vec<Compared>,
    /// Schemas that have no earlier one.
    pub new: Vec<String>,
}

impl Report {
    /// Some change keeps today's schemas from reading data of earlier ones.
    pub fn is_breaking(&self) -> bool {
        self.compared.iter().any(|c| !c.problems.is_empty())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for compared in &self.compared {
            let verdict = if compared.problems.is_empty() { "compatible" } else { "BREAKING" };
            writeln!(f, "{verdict:<10}  {}  against {}", compared.schema, compared.against)?;
            compared.problems.iter().try_for_each(|p| writeln!(f, "            {p}"))?;
        }
        self.new.iter().try_for_each(|name| writeln!(f, "{:<10}  {name}", "new"))
    }
}

/// The built-in baseline.
pub fn baseline() -> Vec<Released> {
    let released =
        |(file, text): &(&str, &str)| Released { source: format!("baseline/{file}"), schema: (*text).into() };
    BASELINE.iter().map(released).collect()
}

/// The latest version of every subject of a registry.
pub fn registered(registry: &HttpRegistry) -> Result<Vec<Released>, Error> {
    let mut released = vec![];
    for subject in registry.subjects()? {
        match registry.latest(&subject) {
            Ok(Some(schema)) => released.push(Released { source: format!("subject {subject}"), schema }),
            Ok(None) | Err(Error::Invalid(_)) => {} // deleted meanwhile, or not Avro: not ours
            Err(e @ (Error::Unavailable(_) | Error::Incompatible { .. })) => return Err(e),
        }
    }
    Ok(released)
}

/// Holds each of `schemas` against each of `earlier` that has its full name: BACKWARD, so that today's readers read
/// yesterday's data. Earlier schemas of other names are left out.
pub fn check(schemas: &[catalog::Schema], earlier: &[Released]) -> Result<Report, Error> {
    let mut report = Report::default();
    for schema in schemas {
        let ours = resolve::parse(&schema.avsc).map_err(|e| Error::Invalid(format!("{}: {e}", schema.name)))?;
        let before = report.compared.len();
        for released in earlier {
            let theirs =
                resolve::parse(&released.schema).map_err(|e| Error::Invalid(format!("{}: {e}", released.source)))?;
            if resolve::name(&theirs).as_deref() == Some(&*schema.name) {
                let problems = Plan::new(&theirs, &ours, false).problems().to_vec();
                report.compared.push(Compared {
                    schema: schema.name.to_string(),
                    against: released.source.clone(),
                    problems,
                });
            }
        }
        if report.compared.len() == before {
            report.new.push(schema.name.to_string());
        }
    }
    Ok(report)
}

#[cfg(test)]
mod tests;
