//! The Confluent wire format: `0x00`, the schema id as 4 bytes big-endian, the Avro datum.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::avro::Avro;
use crate::catalog;
use crate::registry::{self, Registry};
use crate::resolve::{self, Plan, RunError};
use unknown::{Advice, Unknown};

mod unknown;

/// Why a value could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Fewer than five bytes.
    #[error("value of {0} bytes is shorter than the 5-byte header")]
    Short(usize),
    /// The first byte is not zero.
    #[error("magic byte is {0:#04x}, not 0x00: the value is not in the Confluent wire format")]
    BadMagic(u8),
    /// The registry does not know the id.
    #[error("schema id {0} is not in the registry")]
    UnknownSchema(u32),
    /// The writer's schema is not one that ours can read.
    #[error("schema id {id} cannot be read as {reader}: {reason}")]
    Incompatible {
        /// The writer's schema.
        id: u32,
        /// Our schema's name.
        reader: String,
        /// Why not.
        reason: String,
    },
    /// The datum is not of its schema.
    #[error("{0}")]
    Datum(#[from] crate::avro::Error),
    /// The registry did not answer: the record may be fine, try again.
    #[error("{0}")]
    Registry(crate::registry::Error),
}

/// Splits a value into schema id and datum.
#[inline]
pub fn split(value: &[u8]) -> Result<(u32, &[u8]), Error> {
    match value {
        [0, a, b, c, d, datum @ ..] => Ok((u32::from_be_bytes([*a, *b, *c, *d]), datum)),
        [] | [0, ..] => Err(Error::Short(value.len())),
        [magic, ..] => Err(Error::BadMagic(*magic)),
    }
}

/// Appends a record with its header.
#[inline]
pub fn put<'a>(id: u32, record: &impl Avro<'a>, out: &mut Vec<u8>) {
    put_header(id, out);
    record.put(out);
}

/// Appends the five header bytes.
#[inline]
pub fn put_header(id: u32, out: &mut Vec<u8>) {
    out.push(0);
    out.extend_from_slice(&id.to_be_bytes());
}

/// Reads values whoever wrote them: finds which of our schemas the writer's is, and gives the datum in our form.
///
/// A writer's schema is resolved once and remembered by its id; a run of values of one id takes neither look-up nor
/// allocation. One decoder belongs to one thread.
pub struct Decoder {
    registry: Arc<dyn Registry>,
    readers: Arc<[catalog::Schema]>,
    known: HashMap<u32, Arc<Known>>,
    unknown: Unknown,
    last: Option<(u32, Arc<Known>)>,
}

/// Ids are forgotten, all together, when there are so many: somebody registers schemas without end.
const MAX_KNOWN: usize = 1_024;

/// What is known of a writer's schema.
enum Known {
    /// In our form already: which reader.
    Same(usize),
    /// To be turned into the form of that reader.
    Resolved(usize, Plan),
    /// Cannot be read: the reader it was held against, and the reason.
    Refused(String, String),
}

impl Decoder {
    /// Reads values of `readers`' schemas. When there is only one, a writer may have its own name for the record.
    pub fn new(registry: Arc<dyn Registry>, readers: impl Into<Arc<[catalog::Schema]>>) -> Self {
        Self { registry, readers: readers.into(), known: HashMap::new(), unknown: Unknown::default(), last: None }
    }

    /// Splits `value` and gives the index of our schema and the datum in that schema's binary form: borrowed from `value`
    /// when the writer's form is the same, else written to `scratch`, which is cleared first.
    ///
    /// [`Error::Registry`] says nothing of the value: try again. All other errors are the value's own; an unknown id is
    /// asked for again a second later, since its schema may be registered meanwhile. Values of ever new ids take half of the
    /// caller's time for questions to the registry at most, and are [`Error::Registry`] beyond that.
    #[inline]
    pub fn datum<'a>(&mut self, value: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<(usize, &'a [u8]), Error> {
        let (id, datum) = split(value)?;
        match &self.last {
            Some((last, known)) if *last == id => known.read(id, datum, scratch, &self.readers),
            _ => {
                let known = self.known(id)?;
                let read = known.read(id, datum, scratch, &self.readers);
                self.last = Some((id, known));
                read
            }
        }
    }

    fn known(&mut self, id: u32) -> Result<Arc<Known>, Error> {
        if let Some(known) = self.known.get(&id) {
            return Ok(Arc::clone(known));
        }
        // Ids are positive Java ints: no registry gives another, and some answer such a question with nonsense.
        if id == 0 || i32::try_from(id).is_err() {
            return Err(Error::UnknownSchema(id));
        }
        let began = Instant::now();
        match self.unknown.advise(id, began) {
            Advice::Ask => {}
            Advice::Unknown => return Err(Error::UnknownSchema(id)),
            Advice::Later => return Err(Error::Registry(registry::Error::Unavailable(too_many(id)))),
        }
        let answer = self.registry.schema(id);
        let now = Instant::now();
        self.unknown.asked(id, began, now);
        let known = match answer {
            Ok(Some(text)) => Known::of(&text, &self.readers),
            Ok(None) => {
                self.unknown.add(id, now);
                return Err(Error::UnknownSchema(id));
            }
            Err(e @ registry::Error::Unavailable(_)) => return Err(Error::Registry(e)),
            Err(e @ (registry::Error::Invalid(_) | registry::Error::Incompatible { .. })) => {
                Known::Refused(names(&self.readers), e.to_string())
            }
        };
        self.unknown.remove(id);
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        let known = Arc::new(known);
        self.known.insert(id, Arc::clone(&known));
        Ok(known)
    }
}

impl Known {
    fn of(writer: &str, readers: &[catalog::Schema]) -> Self {
        let writer = match resolve::parse(writer) {
            Ok(writer) => writer,
            Err(reason) => {
                return Self::Refused(names(readers), format!("the writer's schema is not valid: {reason}"));
            }
        };
        let name = resolve::name(&writer);
        let named = readers.iter().enumerate().find(|(_, r)| Some(&*r.name) == name.as_deref());
        let found = named.or(if let [only] = readers { Some((0, only)) } else { None });
        let Some((index, reader)) = found else {
            let found = name.as_deref().unwrap_or("not a record");
            return Self::Refused(names(readers), format!("the writer's schema is {found}"));
        };
        Self::resolve(&writer, index, reader)
    }

    fn resolve(writer: &apache_avro::Schema, index: usize, reader: &catalog::Schema) -> Self {
        let plan = resolve::parse(&reader.avsc).map(|ours| Plan::new(writer, &ours, true));
        match plan.and_then(|plan| plan.refusal().map_or(Ok(plan), Err)) {
            Ok(plan) if plan.is_identity() => Self::Same(index),
            Ok(plan) => Self::Resolved(index, plan),
            Err(reason) => Self::Refused(reader.name.to_string(), reason),
        }
    }

    #[inline]
    fn read<'a>(
        &self,
        id: u32,
        datum: &'a [u8],
        scratch: &'a mut Vec<u8>,
        readers: &[catalog::Schema],
    ) -> Result<(usize, &'a [u8]), Error> {
        match self {
            Self::Same(reader) => Ok((*reader, datum)),
            Self::Resolved(reader, plan) => {
                scratch.clear();
                match plan.run(datum, scratch) {
                    Ok(()) => Ok((*reader, scratch)),
                    Err(RunError::Datum(e)) => Err(Error::Datum(e)),
                    Err(RunError::Unreadable(problem)) => Err(Error::Incompatible {
                        id,
                        reader: readers.get(*reader).map(|r| r.name.to_string()).unwrap_or_default(),
                        reason: problem.to_string(),
                    }),
                }
            }
            Self::Refused(reader, reason) => {
                Err(Error::Incompatible { id, reader: reader.clone(), reason: reason.clone() })
            }
        }
    }
}

fn too_many(id: u32) -> String {
    format!(
        "values come with more schema ids than can be asked for at a time, {id} among them; reading goes on slowly. Look for a \
         publisher that writes without registering its schemas"
    )
}

fn names(readers: &[catalog::Schema]) -> String {
    readers.iter().map(|r| &*r.name).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests;
