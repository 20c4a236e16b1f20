//! A schema registry in memory, for a log of one's own.

use std::sync::{Arc, Mutex, PoisonError};
use tidemark_schemas::registry::{Error, Registry};

/// Gives ids 1, 2, …; the same schema has the same id.
#[derive(Debug, Default)]
pub struct Schemas(Mutex<Vec<String>>);

impl Registry for Schemas {
    fn register(&self, _subject: &str, schema: &str) -> Result<u32, Error> {
        let mut schemas = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = schemas.iter().position(|known| known == schema).unwrap_or_else(|| {
            schemas.push(schema.to_owned());
            schemas.len() - 1
        });
        Ok(at as u32 + 1)
    }

    fn schema(&self, id: u32) -> Result<Option<Arc<str>>, Error> {
        let schemas = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((id as usize).checked_sub(1).and_then(|at| schemas.get(at)).map(|schema| schema.as_str().into()))
    }
}
