//! A schema registry in memory that never fails; every test binary here includes it by its path.

use std::sync::{Arc, Mutex};

use tidemark_schemas::registry::{Error, Registry};

/// Schemas by id − 1.
#[derive(Default)]
pub(crate) struct MemoryRegistry(Mutex<Vec<Arc<str>>>);

impl Registry for MemoryRegistry {
    fn register(&self, _subject: &str, schema: &str) -> Result<u32, Error> {
        let mut schemas = self.0.lock().unwrap();
        let at = schemas.iter().position(|known| **known == *schema).unwrap_or(schemas.len());
        if at == schemas.len() {
            schemas.push(schema.into());
        }
        Ok(at as u32 + 1)
    }

    fn schema(&self, id: u32) -> Result<Option<Arc<str>>, Error> {
        Ok(self.0.lock().unwrap().get((id as usize).wrapping_sub(1)).cloned())
    }
}
